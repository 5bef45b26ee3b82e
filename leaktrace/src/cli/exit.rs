//! Exit codes: an API. Precedence of `check`: leaktrace failed (never gets here) > CMD's own
//! non-zero status or signal > errors found > inconclusive > clean; an explicit
//! `--error-exitcode` also wins over CMD's status, as in valgrind.

use super::Ending;
use crate::report::{Because, Child, Exit, Verdict};

/// Exit code of `check` when errors were found.
pub const FINDINGS: i32 = 100;
/// Exit code of `check` when evidence was lost.
pub const INCONCLUSIVE: i32 = 75;
/// Exit code where tracing is not possible.
pub const UNAVAILABLE: i32 = 77;

/// Whose exit code a subcommand returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// CMD's own, whatever was found (`run`, `hist`, `record`).
    Open,
    /// The verdict's (`check`); with the code of `--error-exitcode`.
    Closed(Option<i32>),
}

/// The exit code of a call that has a verdict.
pub fn decide(gate: Gate, child: Child, verdict: Verdict) -> Exit {
    let own = match child {
        Child {
            signal: Some(signal),
            ..
        } => 128 + signal,
        Child {
            exit_code,
            signal: None,
        } => exit_code.unwrap_or(0),
    };
    let exit = |code, because| Exit { code, because };
    match (gate, verdict) {
        (Gate::Closed(Some(code)), Verdict::Findings) => exit(code, Because::Findings),
        _ if own != 0 => exit(own, Because::Child),
        (Gate::Closed(None), Verdict::Findings) => exit(FINDINGS, Because::Findings),
        (Gate::Closed(_), Verdict::Inconclusive) => exit(INCONCLUSIVE, Because::Inconclusive),
        (Gate::Closed(_) | Gate::Open, Verdict::Clean) => exit(0, Because::Clean),
        (Gate::Open, Verdict::Findings | Verdict::Inconclusive) => exit(0, Because::Child),
    }
}

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

    const OK: Child = Child {
        exit_code: Some(0),
        signal: None,
    };
    const FAILED: Child = Child {
        exit_code: Some(3),
        signal: None,
    };
    const KILLED: Child = Child {
        exit_code: None,
        signal: Some(9),
    };
    const ATTACHED: Child = Child {
        exit_code: None,
        signal: None,
    };

    #[test]
    fn check_puts_the_commands_failure_before_its_own_verdict() {
        let check = |child, verdict| {
            let exit = decide(Gate::Closed(None), child, verdict);
            (exit.code, exit.because)
        };
        assert_eq!(check(OK, Verdict::Clean), (0, Because::Clean));
        assert_eq!(check(OK, Verdict::Findings), (100, Because::Findings));
        assert_eq!(
            check(OK, Verdict::Inconclusive),
            (75, Because::Inconclusive)
        );
        assert_eq!(check(ATTACHED, Verdict::Findings), (100, Because::Findings));
        for verdict in [Verdict::Clean, Verdict::Findings, Verdict::Inconclusive] {
            assert_eq!(check(FAILED, verdict), (3, Because::Child));
            assert_eq!(check(KILLED, verdict), (137, Because::Child));
        }
    }

    #[test]
    fn an_explicit_code_for_errors_wins_over_the_commands() {
        let check = |child, verdict| decide(Gate::Closed(Some(9)), child, verdict).code;
        assert_eq!(check(OK, Verdict::Findings), 9);
        assert_eq!(check(FAILED, Verdict::Findings), 9);
        assert_eq!(check(KILLED, Verdict::Findings), 9);
        assert_eq!(check(FAILED, Verdict::Inconclusive), 3);
        assert_eq!(check(OK, Verdict::Inconclusive), 75);
        assert_eq!(check(OK, Verdict::Clean), 0);
    }

    #[test]
    fn run_ends_as_the_command_did_whatever_was_found() {
        for verdict in [Verdict::Clean, Verdict::Findings, Verdict::Inconclusive] {
            assert_eq!(decide(Gate::Open, OK, verdict).code, 0);
            assert_eq!(decide(Gate::Open, FAILED, verdict).code, 3);
            let exit = decide(Gate::Open, KILLED, verdict);
            assert_eq!(ending(exit, KILLED), Ending::Signal(9));
        }
    }

    #[test]
    fn a_verdict_is_an_exit_code_even_if_the_command_was_killed() {
        let exit = decide(Gate::Closed(Some(9)), KILLED, Verdict::Findings);
        assert_eq!(ending(exit, KILLED), Ending::Code(9));
    }
}
