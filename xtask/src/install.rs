//! What the tasks need beside stable Rust, and how to get it.
//!
//! Only what is missing is installed, and only by root or through sudo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, on_path, output, run};

/// The linker of eBPF objects; the version is part of what makes a build reproducible.
pub const BPF_LINKER: &str = "0.13.0";
const LLVM: &str = "/usr/lib/llvm-22";
const LLVM_PACKAGES: [&str; 4] = [
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
];

/// Programs that scenarios run, by name or by path, and the Debian packages they are in.
const SCENARIO_PROGRAMS: [(&str, &str); 25] = [
    ("python3", "python3"),
    // Debian's, for Debian's python3.
    ("pytest-3", "python3-pytest"),
    ("node", "nodejs"),
    ("make", "make"),
    ("gcc", "gcc"),
    ("git", "git"),
    ("ps", "procps"),
    ("ipcmk", "util-linux"),
    ("setpriv", "util-linux"),
    ("setcap", "libcap2-bin"),
    ("sudo", "sudo"),
    ("systemd-analyze", "systemd"),
    ("tmux", "tmux"),
    ("strace", "strace"),
    ("gdb", "gdb"),
    ("bpftool", "bpftool"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("flock", "util-linux"),
    ("mount", "mount"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("bwrap", "bubblewrap"),
    ("xmllint", "libxml2-utils"),
    ("stress-ng", "stress-ng"),
    ("/usr/lib/postgresql/15/bin/initdb", "postgresql-15"),
];

/// Sees to it that the kernel object can be built here.
///
/// # Errors
/// If something is missing and cannot be installed.
pub fn ebpf_toolchain() -> Result<()> {
    if !rust_src()?.exists() {
        run(Command::new("rustup").args(["component", "add", "rust-src"]))
            .context("the sources of `core` are needed: rustup component add rust-src")?;
    }
    if !llvm_strip().exists() {
        packages(&["llvm-22"])?;
    }
    if bpf_linker_version().as_deref() == Some(BPF_LINKER) {
        return Ok(());
    }
    let missing: Vec<&str> = LLVM_PACKAGES
        .into_iter()
        .filter(|package| !package_installed(package))
        .collect();
    packages(&missing)?;
    run(cargo()
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"])
        .args(["--no-default-features", "--features", "llvm-22", "--force"])
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", format!("-L {LLVM}/lib"))
        .env("LLVM_PREFIX", LLVM)
        .env("LLVM_SYS_221_PREFIX", LLVM))
}

/// LLVM's strip; binutils' knows nothing of BPF.
pub fn llvm_strip() -> PathBuf {
    Path::new(LLVM).join("bin/llvm-strip")
}

/// The version of the bpf-linker on PATH, if there is one.
pub fn bpf_linker_version() -> Option<String> {
    let text = output(Command::new("bpf-linker").arg("--version")).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// The sources of the standard library of the rustc in use.
fn rust_src() -> Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs"))
}

fn package_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]))
        .is_ok_and(|status| status.ends_with(" installed"))
}

/// Sees to it that the scenarios' programs are there.
///
/// # Errors
/// If one is missing and cannot be installed.
pub fn scenario_programs() -> Result<()> {
    programs(&SCENARIO_PROGRAMS)
}

/// Sees to it that programs, or files given by their whole paths, are there.
///
/// # Errors
/// If one is missing and cannot be installed.
pub fn programs(wanted: &[(&str, &'static str)]) -> Result<()> {
    let mut missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    packages(&missing)
}

/// Sees to it that stress-ng is there.
///
/// # Errors
/// If it is missing and cannot be installed.
pub fn parity_programs() -> Result<()> {
    match on_path("stress-ng") {
        true => Ok(()),
        false => packages(&["stress-ng"]),
    }
}

fn packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("apt-get") {
        bail!("missing: {}; install them by hand", missing.join(", "));
    }
    let mut update = as_root("apt-get")?;
    run(update.args(["-qq", "update"]))?;
    let mut install = as_root("apt-get")?;
    install.args(["-qq", "-y", "--no-install-recommends", "install"]);
    run(install.args(missing))
}

/// `program` as root: directly, or through sudo.
///
/// # Errors
/// If this is not root and there is no sudo.
pub fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let program = program.as_ref();
    if is_root()? {
        let mut command = Command::new(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    if !on_path("sudo") {
        bail!("`{}` needs root, and there is no sudo", program.display());
    }
    let mut command = Command::new("sudo");
    command.arg("-E").arg(program);
    Ok(command)
}

/// Whether this process is root.
///
/// # Errors
/// If `id` cannot be run.
pub fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))? == "0")
}
