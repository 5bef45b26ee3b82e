//! Short processes without end: under the live screen, which watches the whole system, and under
//! one check after the other.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Tools;
use crate::run::{on_path, output, run};

/// Resident and kernel memory may grow by so much from the end of the first check on: by then all that runs
/// has run once, and what is loaded when it is first wanted is loaded.
const GROWTH_KIB: i64 = 1024;

/// What is seen of who watches, at one moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    rss_kib: i64,
    /// Of that what is neither file nor ring.
    anonymous_kib: i64,
    fds: usize,
    /// Kernel memory of BPF maps and programs.
    locked_kib: i64,
    processes: u64,
}

/// Churns, samples and prints what came of it.
///
/// # Errors
/// If something cannot be run, or memory grows.
pub fn churn(tools: &Tools, minutes: u64, every: u64, out: Option<&Path>) -> Result<()> {
    ensure!(
        on_path("tmux"),
        "`tmux` gives the live screen a terminal, and is not there"
    );
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut out = match out {
        Some(path) => Some(fs::File::create(path).context("make the file of samples")?),
        None => None,
    };
    let mut watching = Watching::begin(tools)?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut peaks: Vec<i64> = Vec::new();
    let mut settled = 0;
    line(
        &mut out,
        "seconds\trss_kib\tanonymous_kib\tfds\tbpf_kib\tforks\tcheck_peak_kib\tcheck",
    )?;
    let start = Instant::now();
    let mut checks = Checks::new(tools);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(every));
        let sample = watching.sample()?;
        samples.push(sample);
        let ended = checks.turn()?;
        let mut words = format!(
            "{}\t{}\t{}\t{}\t{}\t{}",
            start.elapsed().as_secs(),
            sample.rss_kib,
            sample.anonymous_kib,
            sample.fds,
            sample.locked_kib,
            sample.processes
        );
        if let Some((peak, said)) = ended {
            if peaks.is_empty() {
                settled = samples.len() - 1;
            }
            peaks.push(peak);
            let _ = write!(words, "\t{peak}\t{said}");
        }
        line(&mut out, &words)?;
    }
    checks.finish()?;
    let made = watching.finish()? - samples.first().map_or(0, |first| first.processes);
    ensure!(!peaks.is_empty(), "no check has ended: give more --minutes");
    judge(samples[0], &samples[settled..], &peaks, made)
}

/// `samples`: from when all had run once.
fn judge(first: Sample, samples: &[Sample], peaks: &[i64], made: u64) -> Result<()> {
    let (Some(settled), Some(last)) = (samples.first(), samples.last()) else {
        bail!("no sample was taken");
    };
    let most = |of: fn(&Sample) -> i64| samples.iter().map(of).max().unwrap_or(0);
    let (resident, locked) = (most(|one| one.rss_kib), most(|one| one.locked_kib));
    println!(
        "live screen: {made} processes; resident {} KiB at first, {} when a check had ended, {} at the \
         end, {resident} at most; BPF {}, {}, {} and {locked} KiB; fds {}, {} and {}",
        first.rss_kib,
        settled.rss_kib,
        last.rss_kib,
        first.locked_kib,
        settled.locked_kib,
        last.locked_kib,
        first.fds,
        settled.fds,
        last.fds
    );
    println!(
        "checks: {}, peaks {} to {} KiB",
        peaks.len(),
        peaks.iter().min().unwrap_or(&0),
        peaks.iter().max().unwrap_or(&0)
    );
    if last.rss_kib - settled.rss_kib > GROWTH_KIB {
        bail!("resident memory grew");
    }
    if locked - settled.locked_kib > GROWTH_KIB {
        bail!("kernel memory grew");
    }
    if samples.iter().any(|one| one.fds != settled.fds) {
        bail!("fds are not what they were");
    }
    Ok(())
}

fn line(out: &mut Option<fs::File>, words: &str) -> Result<()> {
    match out {
        Some(file) => writeln!(file, "{words}").context("write a sample"),
        None => {
            println!("{words}");
            Ok(())
        }
    }
}

/// The live screen and what it looks at.
struct Watching {
    tmux: String,
    leaktrace: u32,
    churn: Child,
}

impl Watching {
    fn begin(tools: &Tools) -> Result<Self> {
        let name = format!("leaktrace-soak-{}", std::process::id());
        let mut session = tmux(&name);
        session.args([
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "40",
        ]);
        run(session.arg(format!("{} top", tools.leaktrace.display())))?;
        let pane = output(tmux(&name).args(["display", "-p", "#{pane_pid}"]))?;
        let pane = pane
            .parse()
            .context("read the number of the pane's process")?;
        let leaktrace = descendant(pane, &tools.leaktrace)?;
        let churn = Command::new("nice")
            .args(["-n", "19"])
            .arg(&tools.spin)
            .args(["churn", "1000000"])
            .stdout(Stdio::null())
            .spawn()
            .context("start the churn")?;
        // Its first looks at /proc and the first screens are not what is measured.
        std::thread::sleep(Duration::from_secs(10));
        Ok(Watching {
            tmux: name,
            leaktrace,
            churn,
        })
    }

    fn sample(&mut self) -> Result<Sample> {
        let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", self.leaktrace));
        let status = fs::read_to_string(of("status")).context("the live screen has ended")?;
        let of_status = |name: &str| -> i64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            kib.unwrap_or(0)
        };
        let fds: Vec<_> = fs::read_dir(of("fdinfo"))?.flatten().collect();
        let locked: i64 = fds
            .iter()
            .filter_map(|fd| fs::read_to_string(fd.path()).ok())
            .filter_map(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
                line.and_then(|line| line.trim().parse::<i64>().ok())
            })
            .sum();
        Ok(Sample {
            rss_kib: of_status("VmRSS:"),
            anonymous_kib: of_status("RssAnon:"),
            fds: fds.len(),
            locked_kib: locked / 1024,
            processes: forks()?,
        })
    }

    /// Ends both; how many processes had been made on the machine by then.
    fn finish(mut self) -> Result<u64> {
        let forks = forks()?;
        self.churn.kill().context("end the churn")?;
        self.churn.wait()?;
        run(tmux(&self.tmux).args(["send-keys", "q"]))?;
        let end = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{}", self.leaktrace)).exists() {
            if Instant::now() > end {
                run(tmux(&self.tmux).arg("kill-server"))?;
                bail!("the live screen does not end");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(forks)
    }
}

impl Drop for Watching {
    /// Whatever went wrong, nothing churns on.
    fn drop(&mut self) {
        let _ = self.churn.kill();
        let _ = self.churn.wait();
        let _ = tmux(&self.tmux)
            .arg("kill-server")
            .stderr(Stdio::null())
            .status();
    }
}

/// A server of its own.
fn tmux(name: &str) -> Command {
    let mut tmux = Command::new("tmux");
    tmux.args(["-L", name]);
    tmux
}

/// Tasks made since boot (proc_stat(5)).
fn forks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    line.and_then(|number| number.parse().ok())
        .context("read /proc/stat")
}

/// The process at or below this one that runs this binary, once it does.
fn descendant(of: u32, binary: &Path) -> Result<u32> {
    let end = Instant::now() + Duration::from_secs(20);
    let binary = binary.canonicalize().context("find leaktrace")?;
    while Instant::now() < end {
        let mut next = vec![of];
        while let Some(pid) = next.pop() {
            if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary) {
                return Ok(pid);
            }
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            next.extend(
                children
                    .split(' ')
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the live screen does not start")
}

/// Checks of a churn of 20 s each, one after the other.
struct Checks<'a> {
    tools: &'a Tools,
    running: Option<Child>,
    peak: i64,
}

impl<'a> Checks<'a> {
    fn new(tools: &'a Tools) -> Self {
        Checks {
            tools,
            running: None,
            peak: 0,
        }
    }

    /// Looks after the check that runs, or starts the next one. What one came to that has ended:
    /// the most memory that it was seen to take, and its last words.
    fn turn(&mut self) -> Result<Option<(i64, String)>> {
        let mut ended = None;
        if let Some(check) = &mut self.running {
            let status = fs::read_to_string(format!("/proc/{}/status", check.id()));
            let status = status.unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            self.peak = self.peak.max(peak.unwrap_or(0));
            if check.try_wait()?.is_none() {
                return Ok(None);
            }
            let mut said = String::new();
            if let Some(mut stderr) = check.stderr.take() {
                std::io::Read::read_to_string(&mut stderr, &mut said)?;
            }
            let said = said.lines().last().unwrap_or_default().to_owned();
            ended = Some((std::mem::take(&mut self.peak), said));
        }
        let check = Command::new("nice")
            .args(["-n", "19"])
            .arg(&self.tools.leaktrace)
            .args(["check", "--"])
            .arg(&self.tools.spin)
            .args(["churn", "20"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a check")?;
        self.running = Some(check);
        Ok(ended)
    }

    fn finish(self) -> Result<()> {
        if let Some(mut check) = self.running {
            check.wait()?;
        }
        Ok(())
    }
}
