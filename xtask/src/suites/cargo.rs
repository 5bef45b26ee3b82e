//! The own tests of the crate `bytes`, from crates.io.

use std::process::Command;

use anyhow::Result;

use super::{Call, Leak, Place, Suite};
use crate::run;

pub const SUITE: Suite = Suite {
    name: "cargo",
    package: "bytes 1.10.1",
    programs: &[],
    prepare,
    call,
    tests,
    leak: "LT101",
};

const STUB: &str = "[package]
name = \"stub\"
version = \"0.0.0\"
edition = \"2021\"

[dependencies]
bytes = \"=1.10.1\"

[workspace]
";

const FETCH: &str = "
mkdir -p stub/src
: > stub/src/lib.rs
cp Cargo.toml.stub stub/Cargo.toml
cd stub
cargo vendor --quiet ../vendor > /dev/null
cd ..
rm -rf bytes
cp -r vendor/bytes bytes
printf '\\n[workspace]\\n' >> bytes/Cargo.toml";

/// Of what `cargo test` runs, doc tests are left out: each is a program that is compiled first.
const TEST: [&str; 5] = ["test", "--tests", "--offline", "--target-dir", "target"];

/// What is published names its tests one by one.
const COPY: &str = "
rm -rf leaking
cp -r bytes leaking
printf '\\n[[test]]\\nname = \"leak\"\\npath = \"tests/leak.rs\"\\n' >> leaking/Cargo.toml";

const LEAK: &str = include_str!("leak/leak.rs");

fn prepare(place: &Place) -> Result<()> {
    place.write("Cargo.toml.stub", STUB)?;
    place.once("fetched", FETCH)?;
    place.once("resolved", "cd bytes && cargo fetch --quiet")?;
    std::fs::create_dir_all(place.path("leaking"))?;
    place.once("copied", COPY)?;
    place.write("leaking/tests/leak.rs", LEAK)?;
    for dir in ["bytes", "leaking"] {
        let mut build = Command::new("cargo");
        build.args(TEST).args(["--quiet", "--no-run"]);
        run::run(
            build
                .current_dir(place.path(dir))
                .env_remove("CARGO_TARGET_DIR"),
        )?;
    }
    Ok(())
}

fn call(place: &Place, leak: Leak) -> Result<Call> {
    let dir = match leak {
        Leak::In => "leaking",
        Leak::Out => "bytes",
    };
    let words = [&["cargo"], &TEST[..]].concat();
    Ok(Call::new(place.path(dir), words))
}

/// `test result: ok. 100 passed; 0 failed; …`, of each program.
fn tests(output: &str) -> Option<u64> {
    let results = output
        .lines()
        .filter(|line| line.starts_with("test result:"));
    let passed = results.filter_map(|line| {
        let before = line.split(" passed").next()?;
        before.split_whitespace().last()?.parse::<u64>().ok()
    });
    Some(passed.sum()).filter(|count| *count > 0)
}
