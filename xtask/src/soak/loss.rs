//! Checks that lose records.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Outcome, Tools, verdict};

/// A ring of one page, and a reader that sleeps half of its time.
const LOSS: (&str, &str) = ("LEAKTRACE_TEST_LOSS", "ring=4096,sleep=50/100");

/// What a leaking run leaves: a SysV segment, a directory, a process.
const LEFT: [&str; 3] = ["LT101", "LT103", "LT110"];

/// Leaking runs of a hundred that may name less: their evidence was lost.
const MAY_MISS: u64 = 5;

/// Runs all of it and prints what came of it.
///
/// # Errors
/// If leaktrace cannot be run, or something is not as it must be.
pub fn loss(tools: &Tools, runs: u64, pairs: u64) -> Result<()> {
    let (leaking, wrong_leaking) = leaking(tools, runs)?;
    let wrong_clean = clean(tools, runs)?;
    let missed = u64::from((runs - leaking) * 100 > runs * MAY_MISS);
    let inexact = exact(tools, pairs)?;
    verdict(wrong_leaking + wrong_clean + missed + inexact)
}

/// How many named all three, and how many were wrong.
fn leaking(tools: &Tools, runs: u64) -> Result<(u64, u64)> {
    let spin = tools.spin.display();
    // Who has our end of the pipe for stderr would be waited for.
    let script = format!(
        "ipcmk -M 4096 > /dev/null; mktemp -d > /dev/null; setsid sleep 60 2> /dev/null & {spin} open 3000"
    );
    let (mut all, mut wrong) = (0, 0);
    for number in 0..runs {
        let outcome = lossy(tools, &["sh", "-c", &script])?;
        let rules = outcome.rules();
        let named = rules == LEFT;
        all += u64::from(named);
        // Less is right where it is said to be less: by 75, or by what is found anyway.
        let strange = rules.iter().any(|rule| !LEFT.contains(rule));
        let right = !strange && matches!(outcome.code, 75 | 100) && is_lossy(&outcome);
        if !right || !named {
            println!("leaking {number}: {}", told(&outcome));
        }
        wrong += u64::from(!right);
        clear(&outcome)?;
    }
    println!("leaking runs: {runs}, {all} name all of {LEFT:?}, {wrong} wrong");
    Ok((all, wrong))
}

/// How many were wrong.
fn clean(tools: &Tools, runs: u64) -> Result<u64> {
    let spin = tools.spin.display();
    let script = format!("f=$(mktemp); {spin} open 3000; {spin} socket 1000; rm $f; true");
    let (mut clean, mut inconclusive, mut wrong) = (0, 0, 0);
    let mut processes = (0, 0);
    for number in 0..runs {
        let outcome = lossy(tools, &["sh", "-c", &script])?;
        let right = outcome.rules().is_empty() && is_lossy(&outcome);
        match outcome.code {
            0 => clean += 1,
            75 => inconclusive += 1,
            _ => {}
        }
        if !right || outcome.code != 0 {
            println!("clean {number}: {}", told(&outcome));
        }
        wrong += u64::from(!right || !matches!(outcome.code, 0 | 75));
        let all = outcome.report["processes"].as_array();
        let all: Vec<_> = all.into_iter().flatten().collect();
        let doubtful = all.iter().filter(|it| it["verdict"] == "inconclusive");
        processes = (processes.0 + all.len(), processes.1 + doubtful.count());
    }
    println!(
        "clean runs: {runs}, {clean} clean, {inconclusive} inconclusive, {wrong} wrong; \
         {} of {} processes inconclusive",
        processes.1, processes.0
    );
    Ok(wrong)
}

/// Whether the count was wrong.
fn exact(tools: &Tools, pairs: u64) -> Result<u64> {
    let spin = tools.spin.display().to_string();
    let of = |pairs: u64| -> Result<(u64, u64)> {
        let outcome = lossy(tools, &[&spin, "open", &pairs.to_string()])?;
        let of = |what: &str| outcome.count(&format!("/events/by_family/file/{what}"));
        Ok((of("received"), of("lost")))
    };
    let (none, some) = (of(0)?, of(pairs)?);
    let counted = (some.0 + some.1).abs_diff(none.0 + none.1);
    println!(
        "{pairs} open+close pairs: {} received + {} lost, without them {} + {}: {counted} records",
        some.0, some.1, none.0, none.1
    );
    Ok(u64::from(counted != 2 * pairs))
}

fn lossy(tools: &Tools, command: &[&str]) -> Result<Outcome> {
    tools.check(command, |check| {
        check.env(LOSS.0, LOSS.1);
        check.args(["--settle", "500ms"]);
    })
}

/// Without a loss a run proves nothing.
fn is_lossy(outcome: &Outcome) -> bool {
    outcome.count("/events/lost") > 0
}

fn told(outcome: &Outcome) -> String {
    format!(
        "code {}, {:?}, {} lost, because {}",
        outcome.code,
        outcome.rules(),
        outcome.count("/events/lost"),
        outcome.report["inconclusive_because"]
    )
}

/// Takes away what a leaking run left; its directory has gone with the one around it.
fn clear(outcome: &Outcome) -> Result<()> {
    let findings = outcome.report["findings"].as_array();
    for finding in findings.into_iter().flatten() {
        let mut command = match finding["rule"].as_str() {
            Some("LT101") => {
                let mut kill = Command::new("kill");
                kill.arg(finding["pid"].to_string());
                kill
            }
            Some("LT103") => {
                let mut remove = Command::new("ipcrm");
                remove.arg("-m").arg(finding["resource"]["id"].to_string());
                remove
            }
            _ => continue,
        };
        let status = command.status().context("clear away")?;
        if !status.success() {
            println!("could not be cleared away: {finding}");
        }
    }
    Ok(())
}
