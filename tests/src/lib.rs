//! The harness of the scenarios: runs the real binary on real programs and reads its report.
//!
//! ```no_run
//! use leaktrace_tests::Run;
//! let outcome = Run::check(["ipcmk", "-M", "4096"]).end();
//! outcome.only_error("LT103");
//! ```
//!
//! A scenario panics where a claim does not hold, with the report in the message. None of them
//! skips: `environment_can_run_the_others` says what is missing.

mod arm32;
mod binary;
mod machine;
mod objects;
mod outcome;
mod place;
mod run;
mod sudo;
mod table;
mod terminal;
mod turn;

pub use arm32::write_arm32;
pub use binary::leaktrace;
pub use machine::{at_own_speed, is_emulated, linux, needs, needs_a_module, open_events, patience};
pub use objects::Objects;
pub use outcome::Outcome;
pub use place::{Place, copy_program};
pub use run::{NOBODY, Run, pristine, steps};
pub use sudo::Sudoer;
pub use terminal::Terminal;
pub use turn::{Alone, alone};
