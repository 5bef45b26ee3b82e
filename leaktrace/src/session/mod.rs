//! One run, from hold to verdict. The live kernel and a capture feed the same [`Pipeline`];
//! what is judged is what the pipeline took in, in that order, and nothing else. For the
//! terminal a [`Gallery`] takes its place: it judges again and again, and forgets.

mod attend;
mod gallery;
mod live;
mod look;
mod mend;
mod paced;
mod pipeline;
mod replay;
mod studio;
mod verdicts;

pub use attend::{Over, Until};
pub use gallery::Gallery;
pub use live::{Live, Settled, Watched};
pub use look::When;
pub use paced::Paced;
pub use pipeline::{Pipeline, Purpose};
pub use replay::replay;
pub use studio::{Request, serve};
