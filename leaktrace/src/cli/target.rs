//! `-p`, `--comm`, `--uid`: which processes an attached run is about.

use anyhow::Context;
use globset::{Glob, GlobMatcher};

use super::{Failure, args::TargetArgs};
use crate::{census::host, id::Pid, launch::Target, model::facts::ProcessFacts};

/// Chooses among processes.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pids: Vec<u32>,
    comm: Option<GlobMatcher>,
    uid: Option<u32>,
    pids_are_global: bool,
}

impl Choice {
    pub(super) fn new(args: &TargetArgs) -> Result<Choice, Failure> {
        let glob = |text: &String| {
            Glob::new(text)
                .map(|glob| glob.compile_matcher())
                .map_err(|error| Failure::usage(format!("--comm: `{text}` is no glob: {error}")))
        };
        Ok(Choice {
            pids: args.pid.clone(),
            comm: args.comm.as_ref().map(glob).transpose()?,
            uid: args.uid,
            pids_are_global: host::in_initial_pid_namespace(),
        })
    }

    /// Whether the run is about this process. What is not asked for does not exclude.
    pub(super) fn has(&self, process: &ProcessFacts) -> bool {
        let pid = match self.pids_are_global {
            true => process.key.pid,
            false => process.ns_pid,
        };
        self.has_row(pid, &process.comm, Some(process.uid))
    }

    /// The same for a row of a picture; a uid that is not known is none that was asked for.
    pub(super) fn has_row(&self, pid: Pid, comm: &[u8], uid: Option<u32>) -> bool {
        let comm = String::from_utf8_lossy(comm);
        (self.pids.is_empty() || self.pids.contains(&pid.0))
            && self.comm.as_ref().is_none_or(|glob| glob.is_match(&*comm))
            && (self.uid.is_none() || self.uid == uid)
    }
}

/// Takes hold of every `-p`.
pub(super) fn open(args: &TargetArgs) -> Result<Vec<Target>, Failure> {
    let open = |pid: &u32| {
        Target::open(*pid).with_context(|| format!("cannot watch process {pid} given by -p"))
    };
    let targets: anyhow::Result<Vec<Target>> = args.pid.iter().map(open).collect();
    targets.map_err(|error| Failure::usage(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{KtimeNs, ProcessKey};

    fn process(pid: u32, comm: &'static str, uid: u32) -> ProcessFacts {
        ProcessFacts {
            key: ProcessKey {
                pid: Pid(pid),
                start: KtimeNs(1),
            },
            comm: Bytes::from_static(comm.as_bytes()),
            uid,
            ..ProcessFacts::default()
        }
    }

    #[test]
    fn everything_asked_for_must_fit() {
        let mut choice = Choice {
            pids_are_global: true,
            ..Choice::default()
        };
        assert!(choice.has(&process(7, "make", 0)));
        choice.comm = Glob::new("py*").ok().map(|glob| glob.compile_matcher());
        assert!(choice.has(&process(7, "python3", 0)));
        assert!(!choice.has(&process(7, "make", 0)));
        choice.uid = Some(1000);
        assert!(!choice.has(&process(7, "python3", 0)));
        choice.pids = vec![8];
        assert!(!choice.has(&process(7, "python3", 1000)));
        assert!(choice.has(&process(8, "python3", 1000)));
    }
}
