//! `-p`, `--comm`, `--uid`, `--cgroup`, `--container`: which processes an attached run is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Context;
use globset::{Glob, GlobMatcher};

use super::{Failure, args::TargetArgs};
use crate::{
    bpf::Programs,
    census::{
        cgroup::{self, Cgroup},
        host,
        process::{self, Listed},
    },
    id::Pid,
    launch::Target,
    model::facts::ProcessFacts,
    sink::escape_str,
};

/// Chooses among processes.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pids: Vec<u32>,
    comm: Option<GlobMatcher>,
    uid: Option<u32>,
    group: Option<Group>,
    pids_are_global: bool,
}

/// A cgroup that is asked for, and whom it has had.
#[derive(Debug)]
struct Group {
    cgroup: Cgroup,
    /// kernfs ids, in the v2 hierarchy.
    ids: BTreeSet<u64>,
    seen: BTreeSet<u32>,
}

impl Choice {
    pub(super) fn new(args: &TargetArgs) -> Result<Choice, Failure> {
        let group = group(args)?.map(|cgroup| Group {
            ids: match cgroup.unified {
                Some(_) => cgroup.ids(),
                None => BTreeSet::new(),
            },
            seen: cgroup.members(),
            cgroup,
        });
        Ok(Choice {
            pids: args.pid.clone(),
            comm: args.comm.as_ref().map(|text| glob(text)).transpose()?,
            uid: args.uid,
            group,
            pids_are_global: host::in_initial_pid_namespace(),
        })
    }

    /// Looks again who is in the cgroup; who was in it stays chosen.
    pub(super) fn refresh(&mut self) {
        if let Some(group) = &mut self.group {
            group.seen.extend(group.cgroup.members());
        }
    }

    /// Whether the run is about this process. What is not asked for does not exclude.
    pub(super) fn has(&self, process: &ProcessFacts) -> bool {
        let pid = match self.pids_are_global {
            true => process.key.pid,
            false => process.ns_pid,
        };
        let in_group = self
            .group
            .as_ref()
            .is_none_or(|group| group.ids.contains(&process.cgroup) || group.seen.contains(&pid.0));
        in_group && self.fits(pid, &process.comm, Some(process.uid))
    }

    /// The same for a row of a picture; a uid that is not known is none that was asked for.
    pub(super) fn has_row(&self, pid: Pid, comm: &[u8], uid: Option<u32>) -> bool {
        let group = self.group.as_ref();
        group.is_none_or(|group| group.seen.contains(&pid.0)) && self.fits(pid, comm, uid)
    }

    fn fits(&self, pid: Pid, comm: &[u8], uid: Option<u32>) -> bool {
        let comm = String::from_utf8_lossy(comm);
        (self.pids.is_empty() || self.pids.contains(&pid.0))
            && self.comm.as_ref().is_none_or(|glob| glob.is_match(&*comm))
            && (self.uid.is_none() || self.uid == uid)
    }
}

fn glob(text: &str) -> Result<GlobMatcher, Failure> {
    Glob::new(text)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Failure::usage(format!("--comm: `{text}` is no glob: {error}")))
}

/// The cgroup that the options ask for.
pub(super) fn group(args: &TargetArgs) -> Result<Option<Cgroup>, Failure> {
    let failed = |option: &str, given: &str, error: std::io::Error| {
        let given = escape_str(given);
        Failure::usage(format!("cannot watch {given} given by {option}: {error}"))
    };
    if let Some(path) = &args.cgroup {
        return Cgroup::find(path)
            .map(Some)
            .map_err(|error| failed("--cgroup", &path.to_string_lossy(), error));
    }
    let container = args
        .container
        .as_deref()
        .map(|name| cgroup::container(name).map_err(|error| failed("--container", name, error)));
    container.transpose()
}

/// Takes hold of every `-p`.
pub(super) fn open(args: &TargetArgs) -> Result<Vec<Target>, Failure> {
    args.pid.iter().map(|pid| open_one(*pid)).collect()
}

fn open_one(pid: u32) -> Result<Target, Failure> {
    Target::open(pid)
        .with_context(|| format!("cannot watch process {pid} given by -p"))
        .map_err(|error| Failure::usage(format!("{error:#}")))
}

/// Processes that something else has started, with those below them.
#[derive(Debug)]
pub(super) struct Selection {
    /// The cgroup, if one was asked for.
    pub(super) cgroup: Option<Cgroup>,
    comm: Option<GlobMatcher>,
    uid: Option<u32>,
    /// Those that must end for the run to end.
    pub(super) roots: Vec<Target>,
}

impl Selection {
    /// Finds them.
    pub(super) fn new(args: &TargetArgs) -> Result<Selection, Failure> {
        let mut selection = Selection {
            cgroup: group(args)?,
            comm: args.comm.as_ref().map(|text| glob(text)).transpose()?,
            uid: args.uid,
            roots: open(args)?,
        };
        let members = selection.cgroup.as_ref().map(Cgroup::members);
        if selection.roots.is_empty() {
            let fits = |listed: &Listed| {
                let inside = members.as_ref();
                inside.is_none_or(|members| members.contains(&listed.pid)) && selection.fits(listed)
            };
            let chosen: Vec<u32> = process::list()
                .iter()
                .filter(|listed| fits(listed))
                .map(|listed| listed.pid)
                .collect();
            // One that has ended since is none any more.
            selection.roots = chosen
                .into_iter()
                .filter_map(|pid| Target::open(pid).ok())
                .collect();
        }
        match selection.roots.is_empty() {
            true => Err(Failure::usage(
                "no running process is what the options ask for",
            )),
            false => Ok(selection),
        }
    }

    fn fits(&self, listed: &Listed) -> bool {
        let comm = String::from_utf8_lossy(&listed.comm);
        // leaktrace and a shell's loop around it are not what was meant.
        listed.pid != std::process::id()
            && self.comm.as_ref().is_none_or(|glob| glob.is_match(&*comm))
            && self.uid.is_none_or(|uid| uid == listed.uid)
    }

    /// The roots, who is in the cgroup now, and everybody below them.
    pub(super) fn members(&self) -> BTreeSet<u32> {
        let mut chosen: BTreeSet<u32> = self.roots.iter().map(|root| root.pid).collect();
        if self.comm.is_none() && self.uid.is_none() {
            chosen.extend(self.cgroup.iter().flat_map(Cgroup::members));
        }
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for listed in process::list() {
            children.entry(listed.parent).or_default().push(listed.pid);
        }
        let mut waiting: Vec<u32> = chosen.iter().copied().collect();
        while let Some(pid) = waiting.pop() {
            for child in children.get(&pid).into_iter().flatten() {
                if chosen.insert(*child) {
                    waiting.push(*child);
                }
            }
        }
        chosen.remove(&std::process::id());
        chosen
    }

    /// Whether what was asked for has ended.
    pub(super) fn has_ended(&self) -> bool {
        let whole_group = self.comm.is_none() && self.uid.is_none();
        let group = self.cgroup.as_ref().filter(|_| whole_group);
        self.roots.iter().all(Target::has_ended)
            && group.is_none_or(|group| group.members().is_empty())
    }

    /// $TMPDIR and the working directory of the first of them.
    pub(super) fn place(
        &self,
        kernel: &mut Programs,
    ) -> (Option<Vec<u8>>, Option<std::path::PathBuf>) {
        let Some(first) = self.roots.first() else {
            return (None, None);
        };
        let (tmpdir, directory) = kernel.place(first.pid);
        // The root directory would make every file an output.
        let directory = directory.filter(|directory| directory != Path::new("/"));
        (tmpdir, directory)
    }
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

    #[test]
    fn a_cgroup_chooses_by_its_id_and_by_who_was_in_it() {
        let mut choice = Choice {
            pids_are_global: true,
            group: Some(Group {
                cgroup: Cgroup {
                    directory: "/nowhere/at/all".into(),
                    unified: Some((77, 1)),
                },
                ids: BTreeSet::from([77]),
                seen: BTreeSet::from([8]),
            }),
            ..Choice::default()
        };
        choice.refresh();
        let mut one = process(7, "make", 0);
        assert!(!choice.has(&one));
        one.cgroup = 77;
        assert!(choice.has(&one));
        assert!(choice.has(&process(8, "make", 0)));
        assert!(choice.has_row(Pid(8), b"make", None));
        assert!(!choice.has_row(Pid(7), b"make", None));
    }
}
