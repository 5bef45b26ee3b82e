//! Fixtures in C: what they do is in their system calls alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

static BUILT: LazyLock<Mutex<HashMap<&'static str, PathBuf>>> = LazyLock::new(Mutex::default);

/// The program that `tests/program/NAME.c` is, compiled.
///
/// # Panics
/// If it does not compile.
pub fn program(name: &'static str) -> String {
    let mut built = BUILT.lock().expect("lock");
    let path = built.entry(name).or_insert_with(|| compile(name));
    path.display().to_string()
}

fn compile(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("program/{name}.c"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let output = Command::new("gcc")
        .args(["-O1", "-Wall", "-Werror", "-pthread", "-o"])
        .args([&program, &source])
        .output()
        .expect("run gcc");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    program
}
