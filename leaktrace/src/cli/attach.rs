//! Watching what leaktrace did not start.

use std::{collections::BTreeSet, os::unix::ffi::OsStringExt, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{
    Failure,
    args::{SETTLE, TargetArgs},
    command::{self, failed},
    exit,
    output::{self, Content},
    target::{self, Selection},
};
use crate::{
    bpf::{self, ExitTimes, LoadOptions, Programs, Stacks, Targets, Unavailable},
    census::{
        LiveCensus, host,
        process::{self, Identity},
    },
    id::KtimeNs,
    launch::{Signals, Target},
    policy::Policy,
    report::Because,
    session::{Live, Over, Pipeline, Purpose, Until},
    sink::human::counted,
    source::{End, Item, Kernel, Start},
};

/// A system that is being watched.
pub(super) struct Attached {
    pub(super) kernel: Programs,
    pub(super) census: LiveCensus,
    pub(super) start: Start,
    /// Records of what was there before.
    pub(super) there: Bytes,
}

/// Loads for the whole system. Inside a runtime.
pub(super) fn load(exit_times: ExitTimes, verbose: u8) -> Result<Attached, Failure> {
    let options = LoadOptions {
        exit_times,
        ..LoadOptions::system()
    };
    let options = command::load_options(options, verbose);
    let mut kernel = bpf::load(&options).map_err(|why| Failure {
        code: exit::UNAVAILABLE,
        because: Because::Unavailable,
        text: format!("cannot trace here: {why}"),
    })?;
    let census = kernel.census()?;
    let cwd = std::env::current_dir().unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let start = Start {
        repository: host::repository(&cwd),
        temp_roots: host::temp_roots(None, &cwd, uid),
        cwd: cwd.into_os_string().into_vec(),
        ..kernel.start()
    };
    // Without the iterators new processes are seen all the same, and older ones once they act.
    let there = kernel.seed().unwrap_or_else(|why| {
        let why = format!("{why:#}");
        let why = why.lines().next().unwrap_or_default();
        super::complain(&format!(
            "leaktrace: what was there before is not known: {why}; run `leaktrace doctor`\n"
        ));
        Bytes::new()
    });
    Ok(Attached {
        there,
        kernel,
        census,
        start,
    })
}

/// Loads for the processes that the options name, and for those below them.
pub(super) fn load_targets(
    targets: &TargetArgs,
    exit_times: ExitTimes,
) -> Result<Attached, Failure> {
    let selection = Selection::new(targets)?;
    let cgroup = selection.cgroup.as_ref().and_then(|cgroup| cgroup.unified);
    let options = LoadOptions {
        exit_times,
        ..LoadOptions::targets(Targets { cgroup })
    };
    let mut kernel = bpf::load(&options).map_err(|why| unavailable(&why, exit::UNAVAILABLE))?;
    let census = kernel.census()?;
    let start = start_of(&selection, None, &mut kernel);
    let (there, _) = take_hold(&mut kernel, &selection)?;
    Ok(Attached {
        kernel,
        census,
        start,
        there,
    })
}

/// Watches the whole system until the targets have ended, the time is over, or a signal comes.
pub(super) fn run(
    targets: &TargetArgs,
    capture: Option<&Path>,
    verbose: u8,
) -> Result<Pipeline, Failure> {
    let capture = capture
        .map(|path| output::open(path, Content::Replaced))
        .transpose()?;
    let pids = target::open(targets)?;
    let group = target::group(targets)?;
    let ended = || {
        let some = !pids.is_empty() || group.is_some();
        let over = pids.iter().all(Target::has_ended);
        some && over
            && group
                .as_ref()
                .is_none_or(|group| group.members().is_empty())
    };
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    command::runtime()?.block_on(async {
        let Attached {
            kernel,
            census,
            start,
            there,
        } = load(ExitTimes::Told, verbose)?;
        let capture = capture.as_ref().map(command::begin_capture).transpose()?;
        let purpose = Purpose::SystemDurations;
        let mut live = Live::begin(kernel, census, start, Policy::default(), purpose, capture)?;
        live.take(Item::Records(there));
        live.take_mappings();
        let signals = signals
            .register()
            .map_err(|error| failed("watch signals", &error))?;
        let until = Until {
            deadline: targets.duration.map(|time| Instant::now() + time),
            ended: &ended,
        };
        live.attend(&signals, &until).await?;
        live.take_names();
        Ok(live.finish(End::default())?)
    })
}

/// A run to judge of what something else has started.
pub(super) struct Judged<'a> {
    pub(super) targets: &'a TargetArgs,
    pub(super) settle: Option<Duration>,
    pub(super) capture: Option<&'a Path>,
    pub(super) policy: &'a Policy,
    pub(super) stacks: Stacks,
    pub(super) exit_times: ExitTimes,
    pub(super) verbose: u8,
    pub(super) quiet: bool,
}

/// Watches the targets until they have ended, the time is over, or a signal comes; settles.
pub(super) fn judged(run: &Judged<'_>, on_unavailable: i32) -> Result<Pipeline, Failure> {
    let capture = run
        .capture
        .map(|path| output::open(path, Content::Replaced))
        .transpose()?;
    let selection = Selection::new(run.targets)?;
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    command::runtime()?.block_on(async {
        let cgroup = selection.cgroup.as_ref().and_then(|cgroup| cgroup.unified);
        let options = LoadOptions {
            stacks: run.stacks,
            exit_times: run.exit_times,
            ..LoadOptions::targets(Targets { cgroup })
        };
        let mut kernel = bpf::load(&command::load_options(options, run.verbose))
            .map_err(|why| unavailable(&why, on_unavailable))?;
        command::say_untimed(&kernel.start());
        let census = kernel.census()?;
        let mut start = start_of(&selection, run.settle, &mut kernel);
        host::add_temp_roots(&mut start.temp_roots, run.policy.temp_roots.iter().cloned());
        let (there, count) = take_hold(&mut kernel, &selection)?;
        let capture = capture.as_ref().map(command::begin_capture).transpose()?;
        let policy = run.policy.clone();
        let mut live = Live::begin(kernel, census, start, policy, Purpose::Verdict, capture)?;
        live.take(Item::Records(there));
        if run.stacks == Stacks::Told {
            live.take_images();
        }
        let signals = signals
            .register()
            .map_err(|error| failed("watch signals", &error))?;
        if !run.quiet {
            // What starts the load on a service can wait for this line.
            super::complain(&format!(
                "leaktrace: watching {}\n",
                counted(count, "process", "processes")
            ));
        }
        let until = Until {
            deadline: run.targets.duration.map(|time| Instant::now() + time),
            ended: &|| selection.has_ended(),
        };
        let over = live.attend(&signals, &until).await?;
        let ended = host::boottime_ns();
        let end = match over {
            Over::Stopped => {
                live.ask_all().await?;
                End {
                    stopped: true,
                    ..End::default()
                }
            }
            Over::Ended => {
                let settled = live.settle(&signals, KtimeNs(ended)).await?;
                End {
                    child_reaped_ns: ended,
                    settle: settled.settle,
                    cut_short: settled.cut_short,
                    ..End::default()
                }
            }
        };
        Ok(live.finish(end)?)
    })
}

fn unavailable(why: &Unavailable, code: i32) -> Failure {
    Failure {
        code,
        because: match code {
            exit::UNAVAILABLE => Because::Unavailable,
            _ => Because::Internal,
        },
        text: format!("cannot trace here: {why}"),
    }
}

/// Where the first target works stands for all of them.
fn start_of(selection: &Selection, settle: Option<Duration>, kernel: &mut Programs) -> Start {
    let (tmpdir, directory) = selection.place(kernel);
    let cwd = directory.unwrap_or_default();
    let uid = rustix::process::getuid().as_raw();
    let settle = settle.unwrap_or(SETTLE).as_nanos();
    // The service's sources are where its report is asked for, not where it works.
    let here = std::env::current_dir().unwrap_or_default();
    Start {
        repository: host::repository(&here),
        temp_roots: host::temp_roots(tmpdir.as_deref(), &cwd, uid),
        cwd: cwd.into_os_string().into_vec(),
        settle_ns: u64::try_from(settle).unwrap_or(u64::MAX),
        ..kernel.start()
    }
}

/// Rounds in which processes that were made meanwhile are taken in too; those made after one
/// was taken in join by themselves.
const ROUNDS: usize = 8;

/// Lets the programs watch the targets, and gives what they had before and how many they are.
fn take_hold(kernel: &mut Programs, selection: &Selection) -> Result<(Bytes, u64), Failure> {
    let mut known = BTreeSet::new();
    let mut there = BytesMut::new();
    for _ in 0..ROUNDS {
        let found: BTreeSet<Identity> = selection
            .members()
            .into_iter()
            .filter_map(process::identity)
            .collect();
        let new: Vec<_> = found.difference(&known).copied().collect();
        if new.is_empty() {
            break;
        }
        kernel.target(&new)?;
        there.extend_from_slice(&kernel.seed()?);
        known.extend(new);
    }
    Ok((there.freeze(), known.len() as u64))
}
