//! The table of rules: which scenario made a rule fire, and which one stayed clean beside it.
//!
//! A scenario that has proved one of the two adds a line to the file that
//! `LEAKTRACE_RULE_RUNS` names; `cargo xtask test` makes the table of it and compares that with
//! `leaktrace/docs/rule-table.md`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::Location;
use std::path::Path;

/// What a scenario has proved of a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proof {
    /// The rule was reported for a program that breaks it.
    Fired,
    /// The program that does the same and cleans up was judged by the rule, and is clean.
    Twin,
}

/// Adds a line, if anybody collects them.
pub(crate) fn proved(rule: &str, proof: Proof, asked: bool, caller: &Location<'_>) {
    let Some(path) = std::env::var_os("LEAKTRACE_RULE_RUNS") else {
        return;
    };
    let what = match proof {
        Proof::Fired => "fired",
        Proof::Twin => "twin",
    };
    let level = if asked { "asked" } else { "default" };
    let scenario = Path::new(caller.file()).file_stem().unwrap_or_default();
    let line = format!("{rule}\t{what}\t{}\t{level}\n", scenario.display());
    // One write of a whole line: scenarios run side by side.
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("note in {}: {error}", path.display()));
}
