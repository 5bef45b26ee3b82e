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

/// One build of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// What is loaded wherever it can be.
    Full,
    /// What kernels load that lack bpf_loop, atomic additions with a result, or functions that take
    /// pointers: Linux 5.10.
    Reduced,
}

impl Object {
    const ALL: [Object; 2] = [Object::Full, Object::Reduced];

    fn name(self) -> &'static str {
        match self {
            Object::Full => "leaktrace",
            Object::Reduced => "reduced",
        }
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Object::Full => &[],
            Object::Reduced => &["--features", "reduced"],
        }
    }

    /// Where it is committed, or what is written beside it.
    pub fn committed(self, extension: &str) -> PathBuf {
        root()
            .join("leaktrace/src/bpf")
            .join(format!("{}.bpf.{extension}", self.name()))
    }
}

/// Rebuilds the committed objects and their records.
///
/// # Errors
/// If the toolchain is incomplete, the build fails or its result is unfit.
pub fn build() -> Result<()> {
    install::ebpf_toolchain()?;
    std::fs::create_dir_all(root().join("leaktrace/src/bpf"))?;
    for which in Object::ALL {
        let object = compile(which, Warnings::Shown)?;
        std::fs::write(which.committed("o"), &object)?;
        let record = Record::of(&object)?;
        record.write(&which.committed("toml"))?;
        println!(
            "{}.bpf.o: {} bytes, sources {}",
            which.name(),
            object.len(),
            &record.sources_sha256[..16]
        );
        fit(which, &object)?;
    }
    Ok(())
}

/// Proves that the committed objects are those of the committed sources.
///
/// # Errors
/// If sources, objects and records do not belong together, or the sources do not build.
pub fn check() -> Result<()> {
    // First: what is at hand is compared with what the committed objects were built with.
    install::ebpf_toolchain()?;
    Object::ALL.into_iter().try_for_each(check_one)
}

fn check_one(which: Object) -> Result<()> {
    let name = which.name();
    let recorded = Record::read(&which.committed("toml"))?;
    let object = std::fs::read(which.committed("o")).context("read the committed object")?;
    fit(which, &object).context("committed object")?;
    let present = Record::of(&object)?;
    if recorded.object_sha256 != present.object_sha256 {
        bail!("{name}.bpf.o is not the object of its record: run `cargo xtask ebpf`");
    }
    if recorded.sources_sha256 != present.sources_sha256 {
        bail!("sources changed and the object did not: run `cargo xtask ebpf` and commit");
    }
    let rebuilt = compile(which, Warnings::Denied)?;
    fit(which, &rebuilt).context("rebuilt object")?;
    if (&recorded.rustc, &recorded.bpf_linker) != (&present.rustc, &present.bpf_linker) {
        println!(
            "ebpf: {name} ok; built with another toolchain ({}), so bytes were not compared",
            recorded.rustc
        );
        return Ok(());
    }
    if rebuilt != object {
        bail!(
            "the sources of {name} build, but not to the committed bytes: run `cargo xtask ebpf`"
        );
    }
    println!(
        "ebpf: {name} ok; {} bytes, rebuilt to the same bytes",
        object.len()
    );
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Warnings {
    Shown,
    Denied,
}

/// Builds the object in a target directory of its own and returns its bytes.
fn compile(which: Object, warnings: Warnings) -> Result<Vec<u8>> {
    let target = target_dir().join("ebpf");
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--target", TARGET, "-Z", "build-std=core"])
        .args(which.features())
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
    let stripped = target.join(format!("{}.bpf.o", which.name()));
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
fn fit(which: Object, object: &[u8]) -> Result<()> {
    if object.len() >= LIMIT {
        bail!("object has {} bytes, the limit is {LIMIT}", object.len());
    }
    limits::check(which, object)?;
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
