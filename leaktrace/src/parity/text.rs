//! The outcome for people.

use std::fmt::Write;

use super::{Difference, Parity, What};
use crate::sink::escape_str;

/// Some lines, the last of which says whether ours is the kernel's.
pub fn render(parity: &Parity) -> String {
    let mut out = String::new();
    for difference in &parity.differences {
        let _ = writeln!(out, "{}", line("difference", difference));
    }
    let more = parity
        .differed
        .saturating_sub(parity.differences.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "and {more} more differences");
    }
    for difference in &parity.at_exit {
        let _ = writeln!(out, "{}", line("at exit", difference));
    }
    let (compared, differed) = parity.self_check;
    if compared > 0 {
        let _ = writeln!(
            out,
            "at exit      {compared} fd tables compared with the kernel's, {differed} differed"
        );
    }
    let (compared, differed) = parity.space_check;
    if compared > 0 {
        let _ = writeln!(
            out,
            "at exit      {compared} address spaces compared by their pages, {differed} differed"
        );
    }
    let events = &parity.events;
    let _ = writeln!(
        out,
        "records      {} received, {} lost; {} tables read again after a loss",
        events.received, events.lost, parity.reread
    );
    let _ = writeln!(
        out,
        "parity       {} differences in {} looks at {} processes, {} things compared",
        parity.differed, parity.looks, parity.processes, parity.compared
    );
    out
}

fn line(label: &str, difference: &Difference) -> String {
    let what = match &difference.what {
        What::Process => "process".to_owned(),
        What::Fd { fd } => format!("fd {fd}"),
        What::Mapping { start, end } => format!("mapping {start:x}-{end:x}"),
        What::Mapped => "mapped memory".to_owned(),
        What::Threads => "threads".to_owned(),
        What::Child { pid } => format!("child {pid}"),
        What::Ipc { kind, id } => format!("{kind} {id}"),
    };
    let side = |side: &Option<String>| match side {
        Some(text) => escape_str(text),
        None => "nothing".to_owned(),
    };
    format!(
        "{label:<12} {} ({}) {what}: the kernel has {}, leaktrace {}",
        difference.process.pid,
        escape_str(&difference.comm),
        side(&difference.kernel),
        side(&difference.ours)
    )
}
