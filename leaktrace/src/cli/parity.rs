//! `leaktrace doctor --parity`: our tables against what the kernel lists.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::{
    Ending, Failure, Outcome,
    args::LaunchArgs,
    attach::{self, Attached},
    command::{self, Prepared, failed},
    doctor::DoctorArgs,
    exit,
};
use crate::{
    bpf::{self, ExitTimes, LoadOptions},
    census::{LiveCensus, host},
    id::ProcessKey,
    launch::{Found, Freezer, Signals},
    parity::{self, Parity},
    policy::Policy,
    report::Because,
    session::{Live, Purpose, Watched, When},
    source::{End, Item, Kernel, Start},
};

/// Exit code where the tables differ; as that of findings.
const DIFFERS: i32 = 100;
/// Time between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// How long to wait for what CMD's root process leaves running.
const OUTLAST: Duration = Duration::from_secs(2);

pub(super) fn run(args: DoctorArgs, found: Found) -> Outcome {
    if !host::in_initial_pid_namespace() {
        return Err(Failure {
            code: exit::UNAVAILABLE,
            because: Because::Unavailable,
            text: "cannot compare here: leaktrace is not in the initial pid namespace, so /proc \
                   has other numbers than the kernel's records"
                .to_owned(),
        });
    }
    let json = args.json;
    let parity = match args.command.is_empty() {
        true => attached(&args),
        false => of_command(args, found),
    }?;
    let text = match json {
        true => serde_json::to_string_pretty(&parity).map_err(anyhow::Error::new)? + "\n",
        false => parity::render(&parity),
    };
    super::say(&text)?;
    Ok(Ending::Code(match parity.is_equal() {
        true => 0,
        false => DIFFERS,
    }))
}

/// Processes that are there already.
fn attached(args: &DoctorArgs) -> Result<Parity, Failure> {
    command::runtime()?.block_on(async {
        let Attached {
            kernel,
            census,
            start,
            there,
        } = attach::load(ExitTimes::Off, 0)?;
        let purpose = Purpose::Pictures;
        let mut live = Live::begin(kernel, census, start, Policy::default(), purpose, None)?;
        live.take(Item::Records(there));
        live.take_mappings();
        let chosen = |key: ProcessKey| args.pid.is_empty() || args.pid.contains(&key.pid.0);
        let mut parity = Parity::new();
        let until = args.duration.map(|time| Instant::now() + time);
        let mut time = interval(args.every.unwrap_or(EVERY));
        loop {
            tokio::select! {
                biased;
                _ = time.tick() => {
                    parity.add(live.look(chosen).await?);
                    if until.is_none_or(|until| Instant::now() >= until) {
                        break;
                    }
                }
                batch = live.next_batch() => live.take(Item::Records(batch?)),
            }
        }
        if parity.processes == 0 {
            let pids: Vec<String> = args.pid.iter().map(u32::to_string).collect();
            let text = format!("there is no process {} to look at", pids.join(", "));
            return Err(Failure::usage(text));
        }
        Ok(end(live, End::default(), parity)?)
    })
}

/// CMD's tree, from its beginning.
fn of_command(args: DoctorArgs, found: Found) -> Result<Parity, Failure> {
    let launch = LaunchArgs {
        command: args.command,
        ..LaunchArgs::default()
    };
    let Prepared {
        mut held,
        start,
        command,
        origin,
    } = command::prepare(&launch, found)?;
    let freezer = match args.freeze {
        true => Some(Freezer::around(held.pid()).map_err(|error| Failure {
            code: exit::UNAVAILABLE,
            because: Because::Unavailable,
            text: format!("cannot freeze here: {error}; {command} was not run"),
        })?),
        false => None,
    };
    let every = args.every.unwrap_or(EVERY);
    let when = match (&freezer, args.stops) {
        (Some(freezer), _) => When::Frozen(every, freezer),
        (None, true) => When::Stopped,
        (None, false) => When::Every(every),
    };
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    command::runtime()?.block_on(async {
        let mut kernel = bpf::load(&LoadOptions::tree()).map_err(|why| Failure {
            code: exit::UNAVAILABLE,
            because: Because::Unavailable,
            text: format!("cannot trace here: {why}; {command} was not run"),
        })?;
        let census = kernel.census()?;
        command::announce(&mut held, &kernel)?;
        let start = Start {
            command: start.command,
            cwd: start.cwd,
            repository: start.repository,
            temp_roots: start.temp_roots,
            settle_ns: start.settle_ns,
            ..kernel.start()
        };
        let purpose = Purpose::Verdict;
        let mut live = Live::begin(kernel, census, start, Policy::default(), purpose, None)?;
        let child = held
            .go()
            .map_err(|error| command::start_failure(&command, origin, &error))?;
        let watched = Watched::new(child, signals).map_err(|error| failed("watch CMD", &error))?;
        let mut parity = Parity::new();
        let status = live.watch_and_look(&watched, when, &mut parity).await?;
        live.outlast(OUTLAST).await?;
        let told = End {
            child: status.into(),
            child_reaped_ns: host::boottime_ns(),
            ..End::default()
        };
        Ok(end(live, told, parity)?)
    })
}

fn end<K: Kernel>(
    live: Live<K, LiveCensus>,
    told: End,
    mut parity: Parity,
) -> anyhow::Result<Parity> {
    let pipeline = live.finish(told)?;
    parity.self_check = pipeline.model().self_check();
    parity.space_check = pipeline.model().space_check();
    parity.at_exit = pipeline.model().differed().to_vec();
    parity.reread = pipeline.model().rereads();
    let read = pipeline.model().read();
    parity.not_understood = (read.unknown, read.malformed);
    parity.faults.clone_from(&pipeline.end().faults);
    parity.events = pipeline.end().events.clone();
    Ok(parity)
}
