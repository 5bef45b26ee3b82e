//! The root file system that every kernel boots: Debian's programs, once, and before each run
//! leaktrace, the fixtures and the scenarios on top.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Arch;
use super::apt::{Apt, Suite};
use super::cpio::Archive;
use crate::run::{cargo, root, run, target_dir};
use crate::test::{self, Profile};

/// What the scenarios run. The shell and the rest of a small system come along.
const PACKAGES: [&str; 37] = [
    "base-files",
    "bash",
    "bpftool",
    "bsdutils",
    "btrfs-progs",
    "bubblewrap",
    "busybox-static",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gcc",
    "gdb",
    "git",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "libc-bin",
    "libc6-dev",
    "libcap2-bin",
    "libxml2-utils",
    "make",
    "mount",
    "ncurses-base",
    "ncurses-bin",
    "nodejs",
    "procps",
    "python3",
    "python3-pytest",
    "sed",
    "strace",
    "stress-ng",
    "sudo",
    "systemd",
    "tmux",
    "util-linux",
];
/// Changed whenever the base is made in another way.
const LAYOUT: &str = "3";

const INIT: &str = include_str!("init.sh");

/// Where the base is; made if it is not there.
///
/// # Errors
/// If a package cannot be had.
pub fn base(cache: &Path, arch: Arch) -> Result<PathBuf> {
    let dir = cache.join(format!("root-{}", arch.debian()));
    let image = dir.join("base.cpio");
    let stamp = dir.join("made-of");
    let wanted = format!("{LAYOUT} {}", PACKAGES.join(" "));
    if image.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(image);
    }
    let empty = dir.join("empty");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(&empty, "")?;
    let suites = [Suite::Main("bookworm")];
    let apt = Apt::new(&dir.join("apt"), arch.debian(), &suites, &empty)?;
    let tree = dir.join("tree");
    let _ = std::fs::remove_dir_all(&tree);
    apt.unpack_all(&PACKAGES, &tree)?;
    let part = dir.join("base.part");
    let mut archive = Archive::new(BufWriter::new(File::create(&part)?));
    archive.tree(&tree, needed)?;
    settings(&mut archive)?;
    archive.end()?;
    std::fs::rename(&part, &image)?;
    std::fs::remove_dir_all(&tree)?;
    std::fs::write(&stamp, wanted)?;
    Ok(image)
}

/// No scenario reads documentation, or needs another compiler than C's.
fn needed(name: &str) -> bool {
    ![
        "usr/share/doc",
        "usr/share/man",
        "usr/share/info",
        "usr/share/locale",
        "usr/share/i18n",
        "usr/share/zoneinfo",
        "usr/share/perl",
        "usr/share/gcc",
        "usr/share/lintian",
        "usr/share/bash-completion",
        "var/cache",
        "usr/lib/git-core/mergetools",
    ]
    .contains(&name)
        && !name.contains("/lto1")
        && !name.contains("/lto-wrapper")
        && !name.contains("san.so.")
        && !name.ends_with("/libc.a")
        && !name.ends_with("san.a")
}

/// What package scripts would have made.
fn settings<W: std::io::Write>(archive: &mut Archive<W>) -> Result<()> {
    for dir in [
        "dev",
        "proc",
        "sys",
        "tmp",
        "run",
        "root",
        "etc",
        "fallback",
        "usr/local/bin",
    ] {
        archive.directory(dir)?;
    }
    let users = b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    archive.file("etc/passwd", 0o644, users)?;
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    // What sudo asks PAM for; who may do what is in sudoers(5) alone.
    archive.directory("etc/pam.d")?;
    for (service, kind) in [
        ("common-auth", "auth"),
        ("common-account", "account"),
        ("common-session", "session"),
        ("common-session-noninteractive", "session"),
    ] {
        let rule = format!("{kind} required pam_permit.so\n");
        archive.file(&format!("etc/pam.d/{service}"), 0o644, rule.as_bytes())?;
    }
    archive.file("etc/shells", 0o644, b"/bin/sh\n/bin/bash\n")
}

/// The programs that were built last.
///
/// # Errors
/// If none were.
pub fn last_programs(arch: Arch) -> Result<Programs> {
    let dir = target_dir().join(arch.target()).join("debug");
    let scenario = std::fs::read_to_string(dir.join(SCENARIO))
        .context("nothing was built before: leave out --last")?;
    Ok(Programs {
        dir,
        scenario: scenario.into(),
    })
}

/// Where the name of the scenarios that were built last is kept.
const SCENARIO: &str = "leaktrace-scenario";

/// The programs under test, static, so that they run on any system of that architecture.
///
/// # Errors
/// If they do not build.
pub fn programs(arch: Arch) -> Result<Programs> {
    let dir = binaries(arch)?;
    // The same packages as before: else what they depend on is built again, with other features.
    let scenario = [
        "-p",
        "leaktrace",
        "-p",
        "leaktrace-tests",
        "--test",
        "scenario",
        "--no-run",
    ];
    let mut tests = build(arch, "test", &scenario);
    tests.arg("--message-format=json");
    let messages = crate::run::output(&mut tests)?;
    let scenario = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "scenario")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo names the scenarios that it built")?;
    std::fs::write(dir.join(SCENARIO), scenario.display().to_string())?;
    Ok(Programs { dir, scenario })
}

/// Builds leaktrace and the fixtures, static, and says in which directory they are.
fn binaries(arch: Arch) -> Result<PathBuf> {
    let target = arch.target();
    let installed =
        crate::run::output(Command::new("rustup").args(["target", "list", "--installed"]))?;
    if !installed.lines().any(|line| line == target) {
        run(Command::new("rustup").args(["target", "add", target]))?;
    }
    run(&mut build(
        arch,
        "build",
        &["-p", "leaktrace", "-p", "leaktrace-tests", "--bins"],
    ))?;
    Ok(target_dir().join(target).join("debug"))
}

/// Cargo, for static programs of an architecture.
fn build(arch: Arch, verb: &str, args: &[&str]) -> Command {
    let target = arch.target();
    let mut build = cargo();
    // Emulated, a build without optimization takes half a minute to read the kernel's types.
    build.args([verb, "--quiet", "--target", target]).args([
        "--config",
        "profile.dev.debug=false",
        "--config",
        "profile.dev.opt-level=1",
        "--config",
        "profile.dev.package.\"*\".opt-level=2",
    ]);
    if arch != Arch::host() {
        // The system's linker knows its own architecture only; Rust's own knows all, and musl
        // brings everything else.
        let linker = format!(
            "CARGO_TARGET_{}_LINKER",
            target.to_uppercase().replace('-', "_")
        );
        build.env(linker, "rust-lld");
    }
    build.args(args);
    build
}

/// Where the programs under test are.
pub struct Programs {
    dir: PathBuf,
    scenario: PathBuf,
}

/// Fixtures, which the scenarios know by where cargo built them.
const FIXTURES: [&str; 8] = [
    "fd-fork",
    "fd-race",
    "guards",
    "orchestrator",
    "spin",
    "steps",
    "stream",
    "turmoil",
];

/// What scenarios read of the sources, by where it was when they were built.
const SOURCES: [&str; 5] = [
    "tests/program",
    "tests/schema",
    "leaktrace/dist",
    "leaktrace/integrations",
    "leaktrace/src/policy",
];

/// Writes the image of one run: the base and the programs behind it.
///
/// # Errors
/// If something cannot be read or written.
pub fn write(base: &Path, programs: &Programs, command: &str, out: &Path) -> Result<()> {
    std::fs::copy(base, out).context("copy the base image")?;
    let file = File::options().append(true).open(out)?;
    let mut archive = Archive::new(BufWriter::new(file));
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("command", 0o755, command.as_bytes())?;
    archive.directory("usr/local/bin")?;
    program(
        &mut archive,
        "usr/local/bin",
        &programs.dir.join("leaktrace"),
    )?;
    archive.file(
        "usr/local/bin/scenario",
        0o755,
        &std::fs::read(&programs.scenario)?,
    )?;
    let place = below_root(&programs.dir);
    archive.directory(&place)?;
    for fixture in FIXTURES {
        program(&mut archive, &place, &programs.dir.join(fixture))?;
    }
    // Where scenarios put what they compile: cargo's directory of temporary files.
    for dir in [programs.dir.parent(), Some(&target_dir())] {
        archive.directory(&below_root(&dir.unwrap_or(&programs.dir).join("tmp")))?;
    }
    for part in SOURCES {
        let dir = root().join(part);
        archive.directory(&below_root(&dir))?;
        archive.tree_as(&dir, &below_root(&dir))?;
    }
    archive.end()
}

/// Puts a kernel's modules behind the first `length` bytes of an image.
///
/// # Errors
/// If something cannot be read or written.
pub fn add_modules(image: &Path, length: u64, modules: &Path) -> Result<()> {
    let file = File::options().append(true).open(image)?;
    // What was there for another kernel.
    file.set_len(length)?;
    let mut archive = Archive::new(BufWriter::new(file));
    archive.directory("modules")?;
    archive.tree_as(modules, "modules")?;
    archive.end()
}

/// Writes an image of busybox, make and leaktrace: `binary`, or for this machine's architecture
/// the release build, for another one a static build.
///
/// # Errors
/// If something cannot be had, read or written.
pub fn write_small(
    arch: Arch,
    binary: Option<&Path>,
    cache: &Path,
    command: &str,
    out: &Path,
) -> Result<()> {
    let leaktrace = match binary {
        Some(binary) => binary.to_path_buf(),
        None if arch == Arch::host() => test::binary(Profile::Release)?,
        None => binaries(arch)?.join("leaktrace"),
    };
    let mut archive = Archive::new(BufWriter::new(File::create(out)?));
    settings(&mut archive)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    archive.file("command", 0o755, command.as_bytes())?;
    small(&mut archive, arch, cache, &leaktrace)?;
    archive.link("bin/sh", "busybox")?;
    archive.file(
        "usr/local/bin/leaktrace",
        0o755,
        &std::fs::read(&leaktrace)?,
    )?;
    archive.end()
}

/// Busybox and make with the libraries that it and leaktrace name: Debian's for another
/// architecture, whose leaktrace is static, else this machine's own.
fn small<W: std::io::Write>(
    archive: &mut Archive<W>,
    arch: Arch,
    cache: &Path,
    leaktrace: &Path,
) -> Result<()> {
    let dir = cache.join(format!("small-{}", arch.debian()));
    let tree = dir.join("tree");
    let is_foreign = arch != Arch::host();
    let wanted: &[&str] = match is_foreign {
        true => &["busybox-static", "make"],
        false => &["busybox-static"],
    };
    if !tree.exists() {
        let part = dir.join("tree.part");
        std::fs::create_dir_all(&part)?;
        let empty = dir.join("empty");
        std::fs::write(&empty, "")?;
        let suites = [Suite::Main("bookworm")];
        let apt = Apt::new(&dir.join("apt"), arch.debian(), &suites, &empty)?;
        match wanted {
            [one] => apt.unpack(one, &part)?,
            all => apt.unpack_all(all, &part)?,
        }
        std::fs::rename(&part, &tree)?;
    }
    if is_foreign {
        return archive.tree(&tree, needed);
    }
    archive.directory("bin")?;
    program(archive, "bin", &tree.join("bin/busybox"))?;
    let make = which("make")?;
    program(archive, "usr/local/bin", &make)?;
    let mut needed = libraries(leaktrace)?;
    needed.extend(libraries(&make)?);
    needed.sort();
    needed.dedup();
    for library in needed {
        let dir = library.parent().map(below_root).unwrap_or_default();
        archive.directory(&dir)?;
        program(archive, &dir, &library)?;
    }
    Ok(())
}

/// A program of this machine.
fn which(program: &str) -> Result<PathBuf> {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("`{program}` is needed"))
}

/// The shared libraries that a program is started with, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let text = crate::run::output(Command::new("ldd").arg(program))?;
    Ok(text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

fn program<W: std::io::Write>(archive: &mut Archive<W>, dir: &str, path: &Path) -> Result<()> {
    let content = std::fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
    let name = path.file_name().context("a program has a name")?;
    archive.file(
        &format!("{dir}/{}", name.to_string_lossy()),
        0o755,
        &content,
    )
}

/// A path as archives have it.
fn below_root(path: &Path) -> String {
    let path = path.display().to_string();
    path.trim_start_matches('/').to_owned()
}

/// Removes a run's image.
pub fn remove(image: &Path) {
    // What cannot be removed is in the target directory, which is scratch.
    let _ = std::fs::remove_file(image);
    let _ = std::io::stdout().flush();
}
