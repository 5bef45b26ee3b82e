//! Checks that are no tests: what the dependencies are, and what Miri says of the pure code.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, on_path, output, run};

/// The version that is installed where there is none.
const CARGO_DENY: &str = "0.19.0";

/// Tests that Miri runs, by the beginnings of their names: pure code, whose tests are small. It takes
/// more than ten minutes for one that reads a whole run.
const MIRI: &[&str] = &[
    "decode::tests::a_",
    "decode::tests::arbitrary",
    "decode::text::",
    "model::alike::",
    "model::heap::",
    "model::index::",
    "model::open_ranks::",
    "model::path::",
    "model::rate::",
    "policy::date::",
    "policy::duration::",
    "sink::escape::",
    "sink::human::",
];

/// Licences, sources, bans and advisories of all dependencies; installs cargo-deny if it is not
/// there. Where the network does not give the list of advisories, the rest is checked.
///
/// # Errors
/// If something is against `.cargo/deny.toml`, or cargo-deny cannot be had.
pub fn deny() -> Result<()> {
    if !on_path("cargo-deny") {
        run(cargo()
            .args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY])
            .env_remove("CARGO_TARGET_DIR"))?;
    }
    let config = ["--config", ".cargo/deny.toml"];
    let check = |what: &[&str]| {
        let mut deny = cargo();
        deny.args(["deny", "check"]).args(config).args(what);
        run(&mut deny)
    };
    check(&["bans", "licenses", "sources"])?;
    check(&["advisories"])
        .context("advisories need https://github.com/rustsec/advisory-db, or a copy of it")
}

/// Runs the tests of the pure code under Miri, as far as it runs them within minutes.
///
/// # Errors
/// If Miri finds undefined behaviour, or is not there: `rustup toolchain install nightly
/// --component miri rust-src`.
pub fn miri(names: &[String]) -> Result<()> {
    let has = output(Command::new("rustup").args(["run", "nightly", "cargo", "miri", "--version"]));
    has.context("Miri is missing: rustup toolchain install nightly --component miri rust-src")?;
    let listed = output(cargo().args([
        "test",
        "--quiet",
        "-p",
        "leaktrace",
        "--lib",
        "--",
        "--list",
    ]))?;
    for name in MIRI {
        if !listed.lines().any(|line| line.starts_with(name)) {
            bail!("no test begins with `{name}`: correct the list in xtask/src/audit.rs");
        }
    }
    let mut miri = Command::new("rustup");
    miri.args([
        "run",
        "nightly",
        "cargo",
        "miri",
        "test",
        "--package",
        "leaktrace",
        "--lib",
        "--",
    ]);
    match names.is_empty() {
        true => miri.args(MIRI),
        false => miri.args(names),
    };
    // proptest would make a file of failures in the source tree, which the isolation forbids.
    miri.env("PROPTEST_FAILURE_PERSISTENCE", "none")
        .env("PROPTEST_CASES", "4")
        .env("MIRIFLAGS", "-Zmiri-disable-isolation");
    run(&mut miri)
}
