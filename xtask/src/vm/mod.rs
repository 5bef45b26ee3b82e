//! The scenarios on other kernels: Debian's and Ubuntu's, under QEMU.
//!
//! `leaktrace/docs/kernels.toml` says what must be seen on which kernel; what is found is
//! compared with it.

mod apt;
mod cpio;
mod found;
mod image;
mod kernel;
mod modules;
mod qemu;
mod support;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::run::target_dir;
use found::Found;
use kernel::Kernel;
use support::Support;

/// What to do.
pub struct Options {
    /// Series, or releases in full; empty: the oldest and the newest.
    pub kernels: Vec<String>,
    /// Every series of the support table.
    pub all: bool,
    /// Which machine.
    pub arch: Arch,
    /// How it runs.
    pub accelerator: Accelerator,
    /// The scenarios of the support table's `quick` only.
    pub quick: bool,
    /// With the programs of the last run.
    pub last: bool,
    /// No scenarios: a clean run, a leak and a parallel build.
    pub start: bool,
    /// How many parallel builds, one after the other.
    pub makes: u32,
    /// What is started then; else the release build.
    pub binary: Option<PathBuf>,
    /// Only scenarios whose name contains one of these.
    pub names: Vec<String>,
}

/// For every change: that leaktrace starts on the oldest kernel and on the newest.
pub const ENDS: Options = Options {
    kernels: Vec::new(),
    all: false,
    arch: Arch::X86,
    accelerator: Accelerator::Tcg,
    quick: false,
    last: false,
    start: true,
    makes: 1,
    binary: None,
    names: Vec::new(),
};

/// Machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// x86-64
    #[value(name = "x86_64")]
    X86,
    /// arm64
    #[value(name = "aarch64")]
    Arm,
}

/// What a guest is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To start leaktrace: on a clean run, a leak and a parallel build.
    Start,
    /// Also scenarios whose names have one of these in them; all if there
    /// is none.
    Scenarios(Vec<String>),
}

/// How a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Accelerator {
    /// Emulated: works everywhere
    Tcg,
    /// By the host's kernel: quick, where /dev/kvm can run a stock kernel
    Kvm,
}

impl Arch {
    fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Arch::Arm
        } else {
            Arch::X86
        }
    }

    fn debian(self) -> &'static str {
        match self {
            Arch::X86 => "amd64",
            Arch::Arm => "arm64",
        }
    }

    fn flavour(self) -> &'static str {
        match self {
            Arch::X86 => "-cloud-amd64",
            Arch::Arm => "-cloud-arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Arch::X86 => "x86_64-unknown-linux-musl",
            Arch::Arm => "aarch64-unknown-linux-musl",
        }
    }

    fn qemu(self) -> &'static str {
        match self {
            Arch::X86 => "qemu-system-x86_64",
            Arch::Arm => "qemu-system-aarch64",
        }
    }

    fn qemu_package(self) -> &'static str {
        match self {
            Arch::X86 => "qemu-system-x86",
            Arch::Arm => "qemu-system-arm",
        }
    }

    fn console(self) -> &'static str {
        match self {
            Arch::X86 => "ttyS0",
            Arch::Arm => "ttyAMA0",
        }
    }

    fn machine(self, accelerator: Accelerator) -> &'static [&'static str] {
        match (self, accelerator) {
            // A string instruction is emulated byte by byte, and a kernel that believes it to be
            // fast clears and copies all memory with it; five levels of tables are one more to walk.
            // A fifth of a run's time.
            (Arch::X86, Accelerator::Tcg) => &[
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max,erms=off,fsrm=off,la57=off",
            ],
            (Arch::X86, Accelerator::Kvm) => &["-accel", "kvm", "-cpu", "host"],
            // Where the processor has no PAN the kernel takes the user's tables away at every entry, and
            // the emulator forgets all translations each time; signatures of pointers are computed.
            // Two fifths of a run's time.
            (Arch::Arm, Accelerator::Tcg) => &[
                "-M",
                "virt",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max,pauth=off,sve=off,sme=off,lpa2=off",
            ],
            (Arch::Arm, Accelerator::Kvm) => &["-M", "virt", "-accel", "kvm", "-cpu", "host"],
        }
    }
}

const ASK: &str = include_str!("ask.sh");

/// A guest that takes longer has hung: one that runs scenarios, and one that only starts leaktrace.
/// All scenarios take a quarter of an hour to an hour by tracepoints, and half as long again by functions.
const PATIENCE: Duration = Duration::from_secs(10_800);
const PATIENCE_TO_START: Duration = Duration::from_secs(480);
const PATIENCE_FOR_A_MAKE: Duration = Duration::from_secs(120);

/// Boots the kernels one by one, prints the table and compares it with the recorded one.
///
/// # Errors
/// If something cannot be had, or a kernel shows other than what is recorded.
pub fn vm(options: &Options) -> Result<()> {
    let support = Support::read()?;
    let series = chosen(options, &support)?;
    let cache = cache()?;
    qemu::install(&cache, options.arch)?;
    let kernels = kernel::fetch(&cache, options.arch, &series)?;
    let asked = asked(options, &support);
    let dir = target_dir().join("vm-runs");
    std::fs::create_dir_all(&dir)?;
    let _alone = alone(&dir)?;
    let image = dir.join(format!("image-{}.cpio", options.arch.debian()));
    let command = command(options, &support, &asked);
    match &asked {
        Asked::Start => {
            let binary = options.binary.as_deref();
            image::write_small(options.arch, binary, &cache, &command, &image)?;
        }
        Asked::Scenarios(_) => {
            let base = image::base(&cache, options.arch)?;
            let programs = match options.last {
                true => image::last_programs(options.arch)?,
                false => image::programs(options.arch)?,
            };
            image::write(&base, &programs, &command, &image)?;
        }
    }
    let length = std::fs::metadata(&image)?.len();
    let mut found = Vec::new();
    for kernel in &kernels {
        if asked != Asked::Start {
            image::add_modules(&image, length, &kernel.modules)?;
        }
        found.push(one(kernel, options, &asked, &image, &dir)?);
    }
    image::remove(&image);
    let mut different = Vec::new();
    println!("{}", support.table(&found));
    for found in &found {
        different.extend(support.differences(found, options.arch));
    }
    if !different.is_empty() {
        bail!("{}\nconsoles: {}", different.join("\n"), dir.display());
    }
    Ok(())
}

/// Until what is returned is dropped no other vm runs here: they share the image and the consoles.
fn alone(dir: &Path) -> Result<File> {
    let lock = File::create(dir.join("lock"))?;
    if lock.try_lock().is_err() {
        eprintln!("xtask: wait for another vm in {}", dir.display());
        lock.lock()?;
    }
    Ok(lock)
}

fn chosen(options: &Options, support: &Support) -> Result<Vec<String>> {
    if options.all {
        return Ok(support.series(options.arch));
    }
    if options.kernels.is_empty() {
        return support.ends(options.arch);
    }
    options
        .kernels
        .iter()
        .map(|one| match one.contains('-') {
            // A release, in full.
            true => Ok(one.clone()),
            false => kernel::series_of(one),
        })
        .collect()
}

fn asked(options: &Options, support: &Support) -> Asked {
    if options.start {
        return Asked::Start;
    }
    let mut names = options.names.clone();
    if options.quick {
        names.extend(support.quick.iter().cloned());
    }
    Asked::Scenarios(names)
}

/// What the guest runs.
fn command(options: &Options, support: &Support, asked: &Asked) -> String {
    let (what, scenarios) = match asked {
        Asked::Start => ("start", String::new()),
        Asked::Scenarios(names) => {
            let left_out = support.not_here.keys().map(|name| format!("--skip {name}"));
            let words: Vec<String> = left_out.chain(names.iter().cloned()).collect();
            ("all", words.join(" "))
        }
    };
    let makes = options.makes;
    let machine = match options.accelerator {
        Accelerator::Tcg => "emulated",
        Accelerator::Kvm => "native",
    };
    format!(
        "export LEAKTRACE_VM={machine} LEAKTRACE_ASK={what} LEAKTRACE_MAKES={makes} \
         LEAKTRACE_SCENARIOS='{scenarios}'\n{ASK}"
    )
}

fn one(
    kernel: &Kernel,
    options: &Options,
    asked: &Asked,
    image: &Path,
    dir: &Path,
) -> Result<Found> {
    eprintln!("xtask: boot {}", kernel.release);
    let console = qemu::console(dir, kernel);
    let ended = qemu::boot(
        kernel,
        image,
        options.arch,
        options.accelerator,
        &console,
        match asked {
            Asked::Start => PATIENCE_TO_START + PATIENCE_FOR_A_MAKE * (options.makes - 1),
            Asked::Scenarios(_) => PATIENCE,
        },
    )?;
    Ok(Found::read(kernel, &ended, asked))
}

/// Kernels and packages are kept outside of the tree and of the target directory.
fn cache() -> Result<PathBuf> {
    let dir = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("find a cache directory: set XDG_CACHE_HOME")?
        .join("leaktrace-vm");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
