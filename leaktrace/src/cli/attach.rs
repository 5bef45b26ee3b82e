//! Watching what leaktrace did not start.

use std::{os::unix::ffi::OsStringExt, path::Path};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Failure,
    args::TargetArgs,
    command::{self, failed},
    exit,
    output::{self, Content},
    target,
};
use crate::{
    bpf::{self, LoadOptions, Programs},
    census::{LiveCensus, host},
    launch::Signals,
    policy::Policy,
    report::Because,
    session::{Live, Pipeline, Purpose, Until},
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
pub(super) fn load(verbose: u8) -> Result<Attached, Failure> {
    let options = command::load_options(LoadOptions::system(), verbose);
    let mut kernel = bpf::load(&options).map_err(|why| Failure {
        code: exit::UNAVAILABLE,
        because: Because::Unavailable,
        text: format!("cannot trace here: {why}"),
    })?;
    let census = LiveCensus::start(Box::new(kernel.identities()?))
        .map_err(|error| failed("start the census", &error))?;
    let cwd = std::env::current_dir().unwrap_or_default();
    // SAFETY: getuid cannot fail and has no preconditions.
    let uid = unsafe { libc::getuid() };
    let start = Start {
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

/// Watches the whole system until the targets have ended, the time is over, or a signal comes.
pub(super) fn run(
    targets: &TargetArgs,
    capture: Option<&Path>,
    verbose: u8,
) -> Result<Pipeline, Failure> {
    let capture = capture
        .map(|path| output::open(path, Content::Replaced))
        .transpose()?;
    let mut until = Until {
        deadline: None,
        targets: target::open(targets)?,
    };
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    command::runtime()?.block_on(async {
        let Attached {
            kernel,
            census,
            start,
            there,
        } = load(verbose)?;
        let capture = capture.as_ref().map(command::begin_capture).transpose()?;
        let purpose = Purpose::SystemDurations;
        let mut live = Live::begin(kernel, census, start, Policy::default(), purpose, capture)?;
        live.take(Item::Records(there));
        let signals = signals
            .register()
            .map_err(|error| failed("watch signals", &error))?;
        until.deadline = targets.duration.map(|time| Instant::now() + time);
        live.attend(&signals, &until).await?;
        Ok(live.finish(End::default())?)
    })
}
