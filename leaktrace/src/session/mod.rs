//! One run, from hold to verdict. The live kernel and a capture feed the same [`Pipeline`];
//! what is judged is what the pipeline took in, in that order, and nothing else.

mod attend;
mod live;
mod pipeline;
mod replay;

pub use attend::Until;
pub use live::{Live, Settled, Watched};
pub use pipeline::{Pipeline, Purpose};
pub use replay::replay;
