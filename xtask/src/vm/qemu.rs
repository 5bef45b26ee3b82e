//! One boot under QEMU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Suite, codename};
use super::kernel::Kernel;
use super::{Accelerator, Arch};
use crate::run::{on_path, run};

/// What a guest said and how it ended.
pub struct Ended {
    /// Its console from `VM-BEGIN` to `VM-END`, without carriage returns.
    pub text: String,
    /// The status of the command; `None`: the guest crashed or hung.
    pub status: Option<i32>,
    /// From start to end.
    pub elapsed: Duration,
}

/// Sees to it that QEMU is there.
///
/// # Errors
/// If it is not and cannot be installed.
pub fn install(cache: &Path, arch: Arch) -> Result<()> {
    if on_path(arch.qemu()) {
        return Ok(());
    }
    let release = codename()?;
    // Backports: the QEMU of a release conflicts with tools of a newer one that is installed.
    let (suites, from) = match release {
        "bookworm" => (
            vec![Suite::Main("bookworm"), Suite::Main("bookworm-backports")],
            "bookworm-backports",
        ),
        other => (vec![Suite::Main(other)], other),
    };
    let apt = Apt::new(
        &cache.join("apt-host"),
        std::str::from_utf8(
            &Command::new("dpkg")
                .arg("--print-architecture")
                .output()?
                .stdout,
        )?
        .trim(),
        &suites,
        Path::new("/var/lib/dpkg/status"),
    )?;
    let mut install = apt.command("apt-get");
    install.args(["-qq", "-y", "--no-install-recommends", "-t", from]);
    run(install.arg("install").arg(arch.qemu_package()))
}

/// Boots `kernel` on `image` and waits until the guest powers off.
///
/// # Errors
/// If QEMU cannot be run.
pub fn boot(
    kernel: &Kernel,
    image: &Path,
    arch: Arch,
    accelerator: Accelerator,
    console: &Path,
    patience: Duration,
) -> Result<Ended> {
    let mut qemu = Command::new("nice");
    qemu.arg(arch.qemu()).args(arch.machine(accelerator));
    // Emulated with 3 GiB 5.10 stands still before its first message.
    let memory = if kernel.series == "5.10" { "2G" } else { "3G" };
    qemu.args(["-smp", "2", "-m", memory, "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .arg("-append")
        .arg(format!(
            // What the mitigations guard against is not emulated, and their indirect calls take
            // long there; a machine that is busy fails the checks of the timer and of the counter
            // that tells the time, and another clock is a device that two processors wait for.
            "console={} loglevel=2 panic=-1 oops=panic rdinit=/init mitigations=off \
             init_on_alloc=0 no_timer_check tsc=reliable",
            arch.console()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    File::create(console).with_context(|| format!("make `{}`", console.display()))?;
    let started = Instant::now();
    let mut child = qemu.spawn().context("start QEMU")?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let elapsed = started.elapsed();
    let bytes = std::fs::read(console).context("read the console")?;
    let whole = String::from_utf8_lossy(&bytes).replace('\r', "");
    if let Some(status) = status
        && !status.success()
    {
        bail!("QEMU: {status}\n{whole}");
    }
    let (text, status) = between(&whole);
    Ok(Ended {
        text,
        status,
        elapsed,
    })
}

fn between(console: &str) -> (String, Option<i32>) {
    let begun = console
        .split_once("VM-BEGIN\n")
        .map_or(console, |(_, rest)| rest);
    match begun.rsplit_once("VM-END ") {
        None => (begun.to_owned(), None),
        Some((text, rest)) => (
            text.to_owned(),
            rest.split_whitespace()
                .next()
                .and_then(|word| word.parse().ok()),
        ),
    }
}

/// Where a kernel's console is kept.
pub fn console(dir: &Path, kernel: &Kernel) -> PathBuf {
    dir.join(format!("{}.log", kernel.release))
}
