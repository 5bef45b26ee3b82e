//! The kernel object: built from leaktrace-ebpf, committed, and checked against its sources.
//!
//! It is committed so that building leaktrace needs stable Rust only. Stable rustc builds it too:
//! RUSTC_BOOTSTRAP=1 opens `-Z build-std` (as the Linux kernel's own Rust build does), because no
//! toolchain ships a `core` for BPF.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::install;
use crate::limits;
use crate::record::Record;
use crate::run::{cargo, output, root, run, target_dir};

const TARGET: &str = "bpfel-unknown-none";
const LIMIT: usize = 448 * 1024;
/// Settings of the object's own; the workspace's release profile is for the host.
const PROFILE: [&str; 5] = [
    "profile.release.opt-level=3",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.debug=2",
    "profile.release.strip=false",
];

/// Rebuilds the committed object and its record.
///
/// # Errors
/// If the toolchain is incomplete, the build fails or its result is unfit.
pub fn build() -> Result<()> {
    let object = compile(Warnings::Shown)?;
    fit(&object)?;
    std::fs::create_dir_all(root().join("leaktrace/src/bpf"))?;
    std::fs::write(committed("o"), &object)?;
    let record = Record::of(&object)?;
    record.write(&committed("toml"))?;
    println!(
        "leaktrace.bpf.o: {} bytes, sources {}",
        object.len(),
        &record.sources_sha256[..16]
    );
    Ok(())
}

/// Proves that the committed object is the one of the committed sources.
///
/// # Errors
/// If sources, object and record do not belong together, or the sources do not build.
pub fn check() -> Result<()> {
    let recorded = Record::read(&committed("toml"))?;
    let object = std::fs::read(committed("o")).context("read the committed object")?;
    fit(&object).context("committed object")?;
    let present = Record::of(&object)?;
    if recorded.object_sha256 != present.object_sha256 {
        bail!("leaktrace.bpf.o is not the object of its record: run `cargo xtask ebpf`");
    }
    if recorded.sources_sha256 != present.sources_sha256 {
        bail!("sources changed and the object did not: run `cargo xtask ebpf` and commit");
    }
    let rebuilt = compile(Warnings::Denied)?;
    fit(&rebuilt).context("rebuilt object")?;
    if (&recorded.rustc, &recorded.bpf_linker) != (&present.rustc, &present.bpf_linker) {
        println!(
            "ebpf: ok; built with another toolchain ({}), so bytes were not compared",
            recorded.rustc
        );
        return Ok(());
    }
    if rebuilt != object {
        bail!("the sources build, but not to the committed bytes: run `cargo xtask ebpf`");
    }
    println!(
        "ebpf: ok; {} bytes, rebuilt to the same bytes",
        object.len()
    );
    Ok(())
}

fn committed(extension: &str) -> PathBuf {
    root()
        .join("leaktrace/src/bpf")
        .join(format!("leaktrace.bpf.{extension}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Warnings {
    Shown,
    Denied,
}

/// Builds the object in a target directory of its own and returns its bytes.
fn compile(warnings: Warnings) -> Result<Vec<u8>> {
    install::ebpf_toolchain()?;
    let target = target_dir().join("ebpf");
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--target", TARGET, "-Z", "build-std=core"])
        .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
        .current_dir(root().join("leaktrace-ebpf"))
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"));
    match warnings {
        Warnings::Shown => {}
        // By cargo, not by `-D warnings`: other flags would mean another build of everything.
        Warnings::Denied => {
            build.args(["-Z", "warnings", "--config", "build.warnings=\"deny\""]);
        }
    }
    run(&mut build)?;
    let built = target.join(TARGET).join("release/leaktrace-ebpf");
    let stripped = target.join("leaktrace.bpf.o");
    // BTF is made and stays; DWARF, three quarters of the object, has done its work.
    run(Command::new(install::llvm_strip())
        .arg("--strip-debug")
        // Loaders take .BTF.ext as it is and skip its relocations (libbpf does too).
        .args(["--remove-section=.rel.BTF", "--remove-section=.rel.BTF.ext"])
        .arg("-o")
        .args([&stripped, &built]))?;
    std::fs::read(&stripped).with_context(|| format!("read `{}`", stripped.display()))
}

/// The one place where the object's compiler flags are.
fn flags() -> Result<Vec<String>> {
    // bpf-linker makes BTF of the debug information; bpf_loop's callbacks need it to load.
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clinker=bpf-linker".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Atomic additions that return the old value, and 32-bit registers.
        "-Ctarget-cpu=v3".to_owned(),
    ];
    // The last match wins: the workspace may be inside one of the others.
    for (from, to) in [
        (cargo_home()?, "/cargo"),
        (sysroot()?, "/rust"),
        (target_dir(), "/target"),
        (root(), "/leaktrace"),
    ] {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    Ok(flags)
}

fn sysroot() -> Result<PathBuf> {
    output(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

fn cargo_home() -> Result<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("find cargo's home directory")
}

/// What must hold for any object that is committed.
fn fit(object: &[u8]) -> Result<()> {
    if object.len() >= LIMIT {
        bail!("object has {} bytes, the limit is {LIMIT}", object.len());
    }
    limits::check(object)?;
    for path in ["/root/", "/home/", "/work/", "/tmp/", "/usr/local/"] {
        if let Some(at) = object
            .windows(path.len())
            .position(|bytes| bytes == path.as_bytes())
        {
            let end = object.len().min(at + 80);
            let shown = String::from_utf8_lossy(&object[at..end]);
            bail!(
                "a path of this machine is in the object: `{}`",
                shown.escape_debug()
            );
        }
    }
    Ok(())
}
