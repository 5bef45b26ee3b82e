//! What watching costs: the same loops untraced, under `leaktrace check`, with stacks (`-k`) and
//! under strace.
//!
//! The ways are interleaved round by round, so that a machine that slows down slows all of them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cpu;
use crate::install::as_root;
use crate::run::{on_path, run, target_dir};
use crate::test::{Profile, binary, build_spin};

/// How much is done.
pub struct Extent {
    rounds: usize,
    operations: u64,
    held: u64,
    minute: Minute,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Minute {
    Done,
    LeftOut,
}

/// One round, to see that it works.
pub const QUICK: Extent = Extent {
    rounds: 1,
    operations: 20_000,
    held: 1_000,
    minute: Minute::LeftOut,
};

/// Enough for figures to quote.
pub const FULL: Extent = Extent {
    rounds: 7,
    operations: 400_000,
    held: 19_000,
    minute: Minute::Done,
};

/// The loops of the fixture `spin`: (name, what is said of it).
const LOOPS: [(&str, &str); 4] = [
    ("open", "open+close"),
    ("socket", "socket+close"),
    ("mmap", "mmap+munmap"),
    ("getppid", "getppid (not traced)"),
];
/// strace costs about 20 us an operation; so many fewer are enough.
const STRACE_SHARE: u64 = 20;
/// Processes that hold files or mappings; 19,000 each stay below the usual hard limit of 20,000.
const HOLDERS: u64 = 26;

/// One loop's figures, one entry a round.
#[derive(Default)]
struct Figures {
    untraced: Vec<f64>,
    checked: Vec<f64>,
    stacked: Vec<f64>,
    left_out: u64,
    straced: Vec<f64>,
    per_record: Vec<f64>,
    records: u64,
    lost: u64,
}

struct Bench {
    spin: PathBuf,
    leaktrace: PathBuf,
    scratch: PathBuf,
}

/// Measures and prints a table.
///
/// # Errors
/// If something does not build or run.
pub fn bench(extent: &Extent) -> Result<()> {
    let bench = Bench::prepare()?;
    let idle = bench.check(&[], &["getppid", "1"])?;
    let mut table: Vec<Figures> = LOOPS.iter().map(|_| Figures::default()).collect();
    for _ in 0..extent.rounds {
        for ((name, _), figures) in LOOPS.iter().zip(&mut table) {
            bench.round(name, extent.operations, idle.cpu, figures)?;
        }
    }
    print_table(&table, extent);
    println!(
        "start and stop: {:.1} ms of CPU",
        idle.cpu.as_secs_f64() * 1e3
    );
    // The slope of the upper half: what loading has freed takes in the first ones.
    for (how, what) in [("hold", "open files"), ("hold-mappings", "mappings")] {
        let (count, half) = (HOLDERS * extent.held, HOLDERS * (extent.held / 2));
        let bytes = bench.held(how, extent.held)? - bench.held(how, extent.held / 2)?;
        match bytes > 0.0 {
            true => println!(
                "live resources: {:.0} bytes each, at {count} {what}",
                bytes / (count - half) as f64
            ),
            false => println!("live resources: {count} {what} are too few to measure"),
        }
    }
    if extent.minute == Minute::Done {
        let operations = 60e9 / best(&table[0].checked);
        let minute = bench.check(&[], &["open", &format!("{operations:.0}")])?;
        println!(
            "a minute of open+close: {} records, {} lost",
            minute.records, minute.lost
        );
    }
    std::fs::remove_dir_all(&bench.scratch).context("remove the scratch directory")
}

/// What one checked run gave.
struct Checked {
    ns: f64,
    cpu: Duration,
    records: u64,
    lost: u64,
    left_out: u64,
}

impl Bench {
    fn prepare() -> Result<Self> {
        let leaktrace = binary(Profile::Release)?;
        run(&mut build_spin())?;
        let scratch = target_dir().join("bench");
        std::fs::create_dir_all(&scratch).context("make a scratch directory")?;
        Ok(Self {
            spin: target_dir().join("release/spin"),
            leaktrace,
            scratch,
        })
    }

    fn round(&self, name: &str, operations: u64, idle: Duration, to: &mut Figures) -> Result<()> {
        let count = operations.to_string();
        to.untraced
            .push(self.run(Command::new(&self.spin).args([name, &count]))?.0);
        let stacked = self.check(&["-k"], &[name, &count])?;
        to.stacked.push(stacked.ns);
        to.left_out += stacked.left_out;
        to.lost += stacked.lost;
        let checked = self.check(&[], &[name, &count])?;
        to.checked.push(checked.ns);
        to.records += checked.records;
        to.lost += checked.lost;
        // A loop that makes no records has none to divide by.
        if checked.records > operations {
            let cpu = checked.cpu.saturating_sub(idle).as_nanos() as f64;
            to.per_record.push(cpu / checked.records as f64);
        }
        if on_path("strace") {
            let count = (operations / STRACE_SHARE).to_string();
            let log = self.scratch.join("strace.log");
            let mut strace = Command::new("strace");
            strace.args([
                "-f",
                "--seccomp-bpf",
                "-e",
                "trace=%desc,%network,%memory",
                "-o",
            ]);
            strace.arg(log).arg(&self.spin).args([name, &count]);
            to.straced.push(self.run(&mut strace)?.0);
        }
        Ok(())
    }

    /// Runs a `spin` below `command`: ns per operation, and its CPU time, both by its own word.
    fn run(&self, command: &mut Command) -> Result<(f64, Duration, Duration)> {
        let path = self.scratch.join("stdout");
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&path)?)
            .spawn()
            .context("start a loop")?;
        let whole = cpu::of(&child)?;
        let text = std::fs::read_to_string(path)?;
        let mut words = text.split_whitespace();
        let ns = words.next().context("no time")?.parse()?;
        let own = Duration::from_nanos(words.next().context("no CPU time")?.parse()?);
        Ok((ns, own, whole))
    }

    fn check(&self, options: &[&str], spin: &[&str]) -> Result<Checked> {
        let path = self.scratch.join("report.json");
        let mut command = as_root(&self.leaktrace)?;
        command.args(["check", "-q", "-f", &format!("json:{}", path.display())]);
        command.args(options).arg("--").arg(&self.spin).args(spin);
        let (ns, own, whole) = self.run(&mut command)?;
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let count = |name: &str| report["events"][name].as_u64().context("no count");
        Ok(Checked {
            ns,
            cpu: whole.saturating_sub(own),
            records: count("received")?,
            lost: count("lost")?,
            left_out: count("stacks_left_out").unwrap_or(0),
        })
    }

    /// Anonymous memory of leaktrace, in bytes, while processes below it hold `each` fds each.
    fn held(&self, how: &str, each: u64) -> Result<f64> {
        let mut command = as_root(&self.leaktrace)?;
        command.args(["check", "-q", "--"]).arg(&self.spin).arg(how);
        command.args([HOLDERS.to_string(), each.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the holders")?;
        let mut said = [0; 5];
        child
            .stdout
            .take()
            .context("no stdout")?
            .read_exact(&mut said)?;
        ensure!(&said == b"held\n", "the holders could not hold {each} each");
        // The reader wakes at least every tenth of a second.
        std::thread::sleep(Duration::from_millis(500));
        let bytes = anonymous(child.id());
        drop(child.stdin.take());
        cpu::of(&child)?;
        bytes
    }
}

fn anonymous(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no RssAnon")?
        .parse()?;
    Ok(kib * 1024.0)
}

fn print_table(table: &[Figures], extent: &Extent) {
    println!(
        "{} x {} operations; ns each, best (median); user space: CPU ns a record",
        extent.rounds, extent.operations
    );
    println!(
        "{:<21} {:>15} {:>15} {:>6} {:>15} {:>6} {:>8} {:>9} {:>5} {:>6} {:>17}",
        "",
        "untraced",
        "check",
        "ratio",
        "check -k",
        "ratio",
        "left out",
        "records",
        "lost",
        "user",
        "strace"
    );
    for ((_, what), figures) in LOOPS.iter().zip(table) {
        let ratio = best(&figures.checked) / best(&figures.untraced);
        let stacked = best(&figures.stacked) / best(&figures.untraced);
        println!(
            "{what:<21} {:>15} {:>15} {ratio:>6.2} {:>15} {stacked:>6.2} {:>8} {:>9} {:>5} {:>6} {:>17}",
            shown(&figures.untraced),
            shown(&figures.checked),
            shown(&figures.stacked),
            figures.left_out,
            figures.records,
            figures.lost,
            figures
                .per_record
                .iter()
                .copied()
                .reduce(f64::min)
                .map_or("-".into(), |ns| format!("{ns:.0}")),
            shown(&figures.straced),
        );
    }
}

fn best(rounds: &[f64]) -> f64 {
    rounds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn shown(rounds: &[f64]) -> String {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(f64::total_cmp);
    match rounds.first() {
        Some(best) => format!("{best:.0} ({:.0})", rounds[rounds.len() / 2]),
        None => "-".to_owned(),
    }
}
