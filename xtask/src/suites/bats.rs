//! rbenv's own tests by bats, from Debian's sources.

use anyhow::Result;

use super::{Call, Leak, Place, Suite, junit::SOURCE};

pub const SUITE: Suite = Suite {
    name: "bats",
    package: "rbenv 1.1.2 (Debian)",
    programs: &[("bats", "bats")],
    prepare,
    call,
    tests,
    leak: "LT112",
};

const FETCH: &str = "
apt source --download-only rbenv || test -e rbenv_1.1.2.orig.tar.gz
mkdir -p source
tar xf rbenv_1.1.2.orig.tar.* -C source --strip-components=1
";

const LEAK: &str = include_str!("leak/leak.bats");

fn prepare(place: &Place) -> Result<()> {
    place.once("fetched", &format!("{SOURCE}{FETCH}"))?;
    place.write("leak.bats", LEAK)
}

/// Without rehash.bats, which is not to be run by root.
fn call(place: &Place, leak: Leak) -> Result<Call> {
    let mut files: Vec<String> = std::fs::read_dir(place.path("source/test"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".bats") && name != "rehash.bats")
        .map(|name| format!("test/{name}"))
        .collect();
    files.sort();
    let mut words = vec!["bats".to_owned(), "--tap".to_owned()];
    words.append(&mut files);
    if leak == Leak::In {
        words.push(place.path("leak.bats").display().to_string());
    }
    Ok(Call::new(place.path("source"), words))
}

fn tests(output: &str) -> Option<u64> {
    let passed = output.lines().filter(|line| line.starts_with("ok "));
    Some(passed.count() as u64).filter(|count| *count > 0)
}
