//! Watching what leaktrace did not start.

use std::path::Path;

use tokio::time::Instant;

use super::{
    Failure,
    args::TargetArgs,
    command::{self, failed},
    exit, output, target,
};
use crate::{
    bpf::{self, LoadOptions},
    census::{LiveCensus, host},
    launch::Signals,
    policy::Policy,
    report::Because,
    session::{Live, Pipeline, Purpose, Until},
    source::{End, Item, Kernel, Start},
};

/// Watches the whole system until the targets have ended, the time is over, or a signal comes.
pub(super) fn run(
    targets: &TargetArgs,
    capture: Option<&Path>,
    verbose: u8,
) -> Result<Pipeline, Failure> {
    let capture = capture.map(output::open).transpose()?;
    let mut until = Until {
        deadline: None,
        targets: target::open(targets)?,
    };
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    command::runtime()?.block_on(async {
        let options = command::load_options(LoadOptions::system(), verbose);
        let mut kernel = bpf::load(&options).map_err(|why| Failure {
            code: exit::UNAVAILABLE,
            because: Because::Unavailable,
            text: format!("cannot trace here: {why}"),
        })?;
        let census = LiveCensus::start(Box::new(kernel.identities()?))
            .map_err(|error| failed("start the census", &error))?;
        let cwd = std::env::current_dir().unwrap_or_default();
        let start = Start {
            temp_roots: host::temp_roots(None, &cwd, 0),
            ..kernel.start()
        };
        let there = kernel.seed()?;
        let capture = capture.as_ref().map(command::begin_capture).transpose()?;
        let purpose = Purpose::SystemDurations;
        let mut live = Live::begin(kernel, census, start, Policy::default(), purpose, capture)?;
        live.take(Item::Records(there))?;
        let signals = signals
            .register()
            .map_err(|error| failed("watch signals", &error))?;
        until.deadline = targets.duration.map(|time| Instant::now() + time);
        live.attend(&signals, &until).await?;
        Ok(live.finish(End::default())?)
    })
}
