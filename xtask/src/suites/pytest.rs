//! jinja2's own tests by pytest, from PyPI.

use anyhow::Result;

use super::{Call, Leak, Place, Suite};

pub const SUITE: Suite = Suite {
    name: "pytest",
    package: "jinja2 3.1.6",
    programs: &[("python3", "python3-venv")],
    prepare,
    call,
    tests,
    leak: "LT110",
};

const FETCH: &str = "
python3 -m venv venv
venv/bin/pip install -q pytest==8.3.5 trio==0.30.0 jinja2==3.1.6
venv/bin/pip download -q --no-deps --no-binary :all: jinja2==3.1.6
tar xzf jinja2-3.1.6.tar.gz";

const LEAK: &str = include_str!("leak/test_leak.py");

fn prepare(place: &Place) -> Result<()> {
    place.once("fetched", FETCH)?;
    place.write("test_leak.py", LEAK)
}

fn call(place: &Place, leak: Leak) -> Result<Call> {
    let python = place.path("venv/bin/python").display().to_string();
    let mut words = vec![
        python,
        "-m".into(),
        "pytest".into(),
        "-q".into(),
        "tests".into(),
    ];
    if leak == Leak::In {
        words.push(place.path("test_leak.py").display().to_string());
    }
    Ok(Call::new(place.path("jinja2-3.1.6"), words))
}

/// `1 failed, 908 passed in 21.64s`
fn tests(output: &str) -> Option<u64> {
    let line = output.lines().rev().find(|line| line.contains(" passed"))?;
    let before = line.split(" passed").next()?;
    before.split_whitespace().last()?.parse().ok()
}
