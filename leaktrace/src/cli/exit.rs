//! Ending as the verdict or CMD says.

use super::Ending;
use crate::report::{Because, Child, Exit};

/// Exit code where tracing is not possible.
pub use crate::audit::outcome::UNAVAILABLE;

/// How a live call ends with that code: by CMD's signal, if the code is CMD's.
pub fn ending(exit: Exit, child: Child) -> Ending {
    match (exit.because, child.signal) {
        (Because::Child, Some(signal)) => Ending::Signal(signal),
        (
            Because::Child
            | Because::Findings
            | Because::Inconclusive
            | Because::Unavailable
            | Because::Internal
            | Because::Usage
            | Because::Clean,
            _,
        ) => Ending::Code(exit.code),
    }
}

/// Whose the code is, in the words of the last line.
pub fn whose(because: Because) -> &'static str {
    match because {
        Because::Child => "CMD's own",
        Because::Findings => "findings",
        Because::Inconclusive => "inconclusive",
        Because::Unavailable => "cannot trace here",
        Because::Internal => "leaktrace failed",
        Because::Usage => "usage",
        Because::Clean => "clean",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Command, outcome},
        report::Verdict,
        source::End,
    };

    const KILLED: Child = Child {
        exit_code: None,
        signal: Some(9),
    };

    fn ends(command: Command, error_exitcode: Option<i32>) -> Ending {
        let end = End {
            child: KILLED,
            ..End::default()
        };
        let exit = outcome::exit(Verdict::Findings, &end, command, error_exitcode);
        ending(exit, KILLED)
    }

    #[test]
    fn a_call_ends_by_the_signal_that_ended_the_command() {
        assert_eq!(ends(Command::Run, None), Ending::Signal(9));
        assert_eq!(ends(Command::Check, None), Ending::Signal(9));
    }

    #[test]
    fn an_explicit_code_for_errors_wins_over_the_signal() {
        assert_eq!(ends(Command::Check, Some(9)), Ending::Code(9));
    }
}
