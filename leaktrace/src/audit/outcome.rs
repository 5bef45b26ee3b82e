//! The exit code and whose it is.
//!
//! Precedence: leaktrace failed (125) > CMD's own non-zero status or signal > errors (100) >
//! inconclusive (75) > 0. An explicit `--error-exitcode` replaces 100 and also wins over CMD's
//! status, as in valgrind.

use crate::{
    report::{Because, Child, Exit, Verdict},
    source::End,
};

/// leaktrace itself failed.
pub const INTERNAL: i32 = 125;
/// Errors were found.
pub const FINDINGS: i32 = 100;
/// Cannot trace here.
pub const UNAVAILABLE: i32 = 77;
/// Evidence was lost.
pub const INCONCLUSIVE: i32 = 75;

/// What the code is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Judges: findings change the code.
    #[default]
    Check,
    /// Reports: the code is CMD's own.
    Run,
    /// Records: the code is CMD's own.
    Record,
}

/// The exit code of a run that ended as it should.
pub fn exit(verdict: Verdict, end: &End, command: Command, error_exitcode: Option<i32>) -> Exit {
    let own = own(&end.child, end.start_failed);
    match command {
        // A 0 beside findings is CMD's, not a claim of ours.
        Command::Run | Command::Record => own.unwrap_or(Exit {
            code: 0,
            because: match verdict {
                Verdict::Clean => Because::Clean,
                Verdict::Findings | Verdict::Inconclusive => Because::Child,
            },
        }),
        Command::Check => check(verdict, own, error_exitcode),
    }
}

fn check(verdict: Verdict, own: Option<Exit>, error_exitcode: Option<i32>) -> Exit {
    let findings = |code| Exit {
        code,
        because: Because::Findings,
    };
    match (verdict, error_exitcode, own) {
        (Verdict::Findings, Some(code), _) => findings(code),
        (_, _, Some(own)) => own,
        (Verdict::Findings, None, None) => findings(FINDINGS),
        (Verdict::Inconclusive, _, None) => Exit {
            code: INCONCLUSIVE,
            because: Because::Inconclusive,
        },
        (Verdict::Clean, _, None) => Exit {
            code: 0,
            because: Because::Clean,
        },
    }
}

/// CMD's own code, if it is not 0.
fn own(child: &Child, start_failed: Option<i32>) -> Option<Exit> {
    let code = start_failed
        .or(child.signal.map(|signal| 128 + signal))
        .or(child.exit_code)
        .filter(|code| *code != 0)?;
    Some(Exit {
        code,
        because: Because::Child,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(verdict: Verdict, child: Child, explicit: Option<i32>) -> (i32, Because) {
        let end = End {
            child,
            ..End::default()
        };
        let exit = exit(verdict, &end, Command::Check, explicit);
        (exit.code, exit.because)
    }

    const EXITED_0: Child = Child {
        exit_code: Some(0),
        signal: None,
    };
    const EXITED_3: Child = Child {
        exit_code: Some(3),
        signal: None,
    };
    const SEGV: Child = Child {
        exit_code: None,
        signal: Some(11),
    };

    #[test]
    fn run_ends_as_the_command_did_and_says_so_beside_findings() {
        let end = End {
            child: EXITED_0,
            ..End::default()
        };
        for command in [Command::Run, Command::Record] {
            let exit = |verdict| exit(verdict, &end, command, Some(9));
            let zero = |because| Exit { code: 0, because };
            assert_eq!(exit(Verdict::Findings), zero(Because::Child));
            assert_eq!(exit(Verdict::Inconclusive), zero(Because::Child));
            assert_eq!(exit(Verdict::Clean), zero(Because::Clean));
        }
    }

    #[test]
    fn the_command_s_own_status_wins_over_findings() {
        use Verdict::{Clean, Findings, Inconclusive};
        assert_eq!(code(Findings, EXITED_0, None), (100, Because::Findings));
        assert_eq!(code(Findings, EXITED_3, None), (3, Because::Child));
        assert_eq!(code(Findings, SEGV, None), (139, Because::Child));
        assert_eq!(
            code(Inconclusive, EXITED_0, None),
            (75, Because::Inconclusive)
        );
        assert_eq!(code(Inconclusive, EXITED_3, None), (3, Because::Child));
        assert_eq!(code(Clean, EXITED_0, None), (0, Because::Clean));
    }

    #[test]
    fn an_explicit_code_wins_over_the_command_s_status() {
        assert_eq!(
            code(Verdict::Findings, EXITED_3, Some(9)),
            (9, Because::Findings)
        );
        assert_eq!(code(Verdict::Clean, EXITED_3, Some(9)), (3, Because::Child));
        assert_eq!(
            code(Verdict::Inconclusive, EXITED_0, Some(9)),
            (75, Because::Inconclusive)
        );
    }

    #[test]
    fn a_command_that_did_not_start_gives_its_code() {
        let end = End {
            start_failed: Some(127),
            ..End::default()
        };
        assert_eq!(exit(Verdict::Clean, &end, Command::Check, None).code, 127);
    }
}
