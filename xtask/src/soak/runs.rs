//! Many checks at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

use super::{Outcome, Tools, verdict};
use crate::run::on_path;

/// Programs that leave nothing, as far as they are there.
const CLEAN: &[&[&str]] = &[
    &["true"],
    &["sh", "-c", "echo hello | cat | wc -c"],
    &["sh", "-c", "f=$(mktemp) && echo x > $f && rm $f"],
    &["sh", "-c", "d=$(mktemp -d) && touch $d/a $d/b && rm -r $d"],
    &["sh", "-c", "sleep 0.05 & wait"],
    &["ls", "-lR", "/etc"],
    &["find", "/usr/include", "-name", "s*.h"],
    &["sort", "-u", "/etc/services"],
    &["grep", "-r", "PATH", "/etc/profile.d", "/etc/profile"],
    &[
        "sh",
        "-c",
        "tar -cf - /etc/apt 2>/dev/null | gzip | gzip -d | tar -tf - | sort | uniq -c",
    ],
    &[
        "awk",
        "BEGIN { for (i = 0; i < 1000; i++) s += i; print s }",
    ],
    &["sed", "-n", "1,5p", "/etc/passwd"],
    &[
        "python3",
        "-c",
        "import tempfile, os; f = tempfile.NamedTemporaryFile(); os.stat(f.name)",
    ],
    &[
        "python3",
        "-c",
        "import subprocess as s; [s.run(['true']) for _ in range(5)]",
    ],
    &[
        "perl",
        "-e",
        "pipe(R, W); if (!fork) { print W 'x'; exit } wait; close W; <R>",
    ],
    &["git", "--version"],
    &["bash", "-c", "cat <(echo a) <(echo b)"],
    &["xargs", "-a", "/etc/shells", "-n1", "-P4", "echo"],
];

/// A temporary file that nobody removes.
const LEAKING: &[&str] = &["sh", "-c", "mktemp > /dev/null"];
const LEAK: &str = "LT109";

/// Runs both sorts and prints what came of them.
///
/// # Errors
/// If leaktrace cannot be run, or a verdict is wrong.
pub fn runs(tools: &Tools, clean: u64, leaking: u64, jobs: u64) -> Result<()> {
    let programs: Vec<_> = CLEAN.iter().filter(|words| on_path(words[0])).collect();
    ensure!(!programs.is_empty(), "no program is there");
    let wrong_clean = at_once(clean, jobs, |number| {
        let program = programs[number as usize % programs.len()];
        let outcome = tools.check(program, |_| ())?;
        let right = outcome.code == 0 && outcome.report["verdict"] == "clean";
        Ok((!right).then(|| complaint(program, &outcome)))
    })?;
    println!(
        "clean programs ({}): {clean} runs, {jobs} at a time, {wrong_clean} wrong",
        programs.len()
    );
    let wrong_leaking = at_once(leaking, jobs, |_| {
        let outcome = tools.check(LEAKING, |_| ())?;
        let right = outcome.code == 100 && outcome.rules() == [LEAK];
        Ok((!right).then(|| complaint(LEAKING, &outcome)))
    })?;
    println!("leaking program: {leaking} runs, {jobs} at a time, {wrong_leaking} wrong");
    verdict(wrong_clean + wrong_leaking)
}

fn complaint(program: &[&str], outcome: &Outcome) -> String {
    format!(
        "{}: code {}, verdict {}, {:?}, {} lost\n{}",
        program.join(" "),
        outcome.code,
        outcome.report["verdict"],
        outcome.rules(),
        outcome.count("/events/lost"),
        outcome.said
    )
}

/// Does something so often, so many at a time; complaints are printed as they come. How many
/// there were.
pub(super) fn at_once(
    count: u64,
    jobs: u64,
    once: impl Fn(u64) -> Result<Option<String>> + Sync,
) -> Result<u64> {
    let (next, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    match once(number) {
                        Ok(None) => {}
                        Ok(Some(complaint)) => {
                            wrong.fetch_add(1, Ordering::Relaxed);
                            println!("{complaint}");
                        }
                        Err(error) => {
                            next.store(count, Ordering::Relaxed);
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(error);
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner().ok().flatten() {
        Some(error) => Err(error).context("a run failed"),
        None => Ok(wrong.into_inner()),
    }
}
