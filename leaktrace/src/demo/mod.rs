//! The demonstration: a program that leaks on purpose, under `check`, and the real report.
//!
//! Both are this very binary, so no other program is needed: `demo` runs `check` on the hidden
//! subcommand [`LEAK_COMMAND`], which tells on stdout what it has made. When `check` has ended,
//! everything told is removed again.

use std::{
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
};

mod leak;
mod made;

pub use leak::leak;
use made::Made;

/// The hidden subcommand that leaks.
pub const LEAK_COMMAND: &str = "demo-leak";

/// What `check` exits with when it has found what there is to find.
const FINDINGS: i32 = 100;

const INTRODUCTION: &str = "\
leaktrace demo: a program opens three files and closes the first one first, leaves a shared
memory segment, a temporary directory and a running child behind, and exits with status 0:

    leaktrace check -v --settle 1s -- leaktrace demo-leak

";

/// Runs the demonstration with `exe`, leaktrace's own binary, and says on `out` what is done.
/// Returns the exit code: 0 if `check` found the leaks, else what `check` exited with.
///
/// # Errors
/// When `check` cannot be run, or something that was made cannot be removed.
pub fn run(exe: &Path, out: &mut dyn Write) -> io::Result<i32> {
    out.write_all(INTRODUCTION.as_bytes())?;
    out.flush()?;
    let check = Command::new(exe)
        .args(["check", "-v", "--settle", "1s", "--"])
        .arg(exe)
        .arg(LEAK_COMMAND)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    let made = Made::parse(&check.stdout);
    let removed = made.remove();
    writeln!(out, "\nleaktrace demo: removed {made}")?;
    removed?;
    match check.status.code() {
        Some(FINDINGS) => Ok(0),
        Some(0) => Err(io::Error::other("check found nothing")),
        Some(code) => Ok(code),
        None => Err(io::Error::other(format!("check ended by {}", check.status))),
    }
}
