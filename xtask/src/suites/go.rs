//! The own tests of net/http in the installed Go.

use anyhow::{Context, Result};
use std::process::Command;

use super::{Call, Leak, Place, Suite};
use crate::run::output;

pub const SUITE: Suite = Suite {
    name: "go",
    package: "net/http of the installed Go",
    programs: &[("go", "golang-go")],
    prepare,
    call,
    tests,
    leak: "LT103",
};

/// All but TestCmdGoNoHTTPServer, which reads the symbols that Debian's Go does not have.
const TESTS: &str = "^(Test[^C]|TestC[^m]|Example)";

const LEAK: &str = include_str!("leak/leak_test.go");

/// So that its processes are not the compiler's. vet looks for files that only the overlay has.
const BUILD: &str = "
go test -count=1 -short -vet=off -run '^$' net/http
go test -count=1 -short -vet=off -run '^$' -overlay overlay.json net/http";

fn prepare(place: &Place) -> Result<()> {
    place.write("leak_test.go", LEAK)?;
    let root = output(Command::new("go").args(["env", "GOROOT"]))?;
    let overlay = serde_json::json!({
        "Replace": { format!("{root}/src/net/http/leak_test.go"): place.path("leak_test.go") }
    });
    let overlay = serde_json::to_string(&overlay).context("write the overlay")?;
    place.write("overlay.json", &overlay)?;
    place.once("built", BUILD)
}

fn call(place: &Place, leak: Leak) -> Result<Call> {
    let overlay = place.path("overlay.json").display().to_string();
    let mut words = vec![
        "go", "test", "-count=1", "-short", "-vet=off", "-v", "-run", TESTS,
    ];
    if leak == Leak::In {
        words.extend(["-overlay", &overlay]);
    }
    words.push("net/http");
    Ok(Call::new(place.path("."), words))
}

fn tests(output: &str) -> Option<u64> {
    let passed = output
        .lines()
        .filter(|line| line.trim_start().starts_with("--- PASS: "));
    Some(passed.count() as u64).filter(|count| *count > 0)
}
