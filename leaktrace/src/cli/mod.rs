//! The command line: arguments, where output goes, exit codes. One file per subcommand.

pub mod args;
pub mod exit;
pub mod output;
pub mod usage;
pub mod value;

use crate::report::Because;

/// What ends a call before there is a report. The text is for people: what, why, what to do.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: i32,
    /// Whose it is.
    pub because: Because,
    /// One sentence, without a final full stop.
    pub text: String,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By the signal that ended CMD.
    Signal(i32),
}

/// A subcommand's outcome.
pub type Outcome = Result<Ending, Failure>;

impl Failure {
    /// The command line is wrong: 2.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure {
            code: 2,
            because: Because::Usage,
            text: text.into(),
        }
    }

    /// leaktrace failed: 125.
    pub fn internal(text: impl Into<String>) -> Failure {
        Failure {
            code: 125,
            because: Because::Internal,
            text: text.into(),
        }
    }

    /// The last line on stderr: what happened and whose the exit code is.
    pub fn line(&self) -> String {
        let Failure {
            code,
            because,
            text,
        } = self;
        let whose = exit::whose(*because);
        format!("leaktrace: {text}; exit {code} ({whose})\n")
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::internal(format!("{error:#}"))
    }
}
