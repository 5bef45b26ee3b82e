//! Numbers as people read them.

use std::time::Duration;

use crate::report::Process;

/// A size: `0 B`, `512 B`, `4.0 KiB`, `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as "1024.0".
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in the unit that suits it: `850 ns`, `12 us`, `0.3 ms`, `8 ms`, `1.2 ms`,
/// `2.0 s`, `3 min`, `2 h`.
pub fn duration(time: Duration) -> String {
    let ns = time.as_nanos();
    let seconds = time.as_secs_f64();
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..100_000 => format!("{} us", ns / 1_000),
        100_000..10_000_000 => format!("{:.1} ms", seconds * 1e3),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..120_000_000_000 => format!("{seconds:.1} s"),
        120_000_000_000..7_200_000_000_000 => format!("{} min", ns / 60_000_000_000),
        _ => format!("{} h", ns / 3_600_000_000_000),
    }
}

/// [`duration`] of a number of ns.
pub fn nanos(ns: u64) -> String {
    duration(Duration::from_nanos(ns))
}

/// A count with separators: `4,310`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A count and its word: `1 error`, `2 errors`, `0 processes`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A moment of a run: `+0.031 s` after its start.
pub fn moment(at_ns: u64, start_ns: u64) -> String {
    let sign = if at_ns < start_ns { '-' } else { '+' };
    format!("{sign}{:.3} s", at_ns.abs_diff(start_ns) as f64 / 1e9)
}

/// A process by its number; of one in a pid namespace of its own also as it sees itself: `4127/2`.
pub fn pid(process: &Process) -> String {
    match process.ns_pid {
        0 => process.pid.to_string(),
        inner if inner == process.pid => process.pid.to_string(),
        inner => format!("{}/{inner}", process.pid),
    }
}

/// A ratio from 0 to 1: `98 %`. Only 1 is `100 %`, so that one breach in a thousand shows.
pub fn percent(ratio: f64) -> String {
    let whole = if ratio < 1.0 {
        (ratio * 100.0).round().min(99.0)
    } else {
        100.0
    };
    format!("{whole:.0} %")
}

/// Name of a signal: `SIGTERM`, `SIGRTMIN+3`, `signal 99` (numbers of x86, arm64 and most
/// others, signal(7)).
pub fn signal(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number)
        .ok()
        .and_then(|n| n.checked_sub(1))
        .and_then(|i| NAMES.get(i));
    match name {
        Some(name) => format!("SIG{name}"),
        None if (34..=64).contains(&number) => format!("SIGRTMIN+{}", number - 34),
        None => format!("signal {number}"),
    }
}

/// Name of an errno that a release or an acquisition can end with; the number for others (errno(3)).
pub fn errno(number: i32) -> String {
    match number {
        1 => "EPERM".into(),
        2 => "ENOENT".into(),
        4 => "EINTR".into(),
        5 => "EIO".into(),
        9 => "EBADF".into(),
        12 => "ENOMEM".into(),
        13 => "EACCES".into(),
        16 => "EBUSY".into(),
        22 => "EINVAL".into(),
        23 => "ENFILE".into(),
        24 => "EMFILE".into(),
        28 => "ENOSPC".into(),
        43 => "EIDRM".into(),
        122 => "EDQUOT".into(),
        other => format!("errno {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_both_its_numbers() {
        let process = |ns_pid| Process {
            pid: 4127,
            ns_pid,
            ..Process::default()
        };
        assert_eq!(pid(&process(4127)), "4127");
        assert_eq!(pid(&process(2)), "4127/2");
        assert_eq!(pid(&process(0)), "4127", "not known");
    }

    #[test]
    fn sizes_have_one_digit() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(4096), "4.0 KiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn durations_take_the_unit_that_suits() {
        let all: Vec<_> = [999, 1_200, 300_000, 1_200_000, 50_000_000, 2_000_000_000]
            .map(nanos)
            .into();
        assert_eq!(
            all,
            ["999 ns", "1 us", "0.3 ms", "1.2 ms", "50 ms", "2.0 s"]
        );
    }

    #[test]
    fn a_score_below_one_is_never_a_hundred_percent() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9999), "99 %");
        assert_eq!(percent(2.0 / 3.0), "67 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn names_of_signals() {
        assert_eq!(signal(15), "SIGTERM");
        assert_eq!(signal(11), "SIGSEGV");
        assert_eq!(signal(31), "SIGSYS");
        assert_eq!(signal(37), "SIGRTMIN+3");
        assert_eq!(signal(0), "signal 0");
    }

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(4_310), "4,310");
        assert_eq!(count(100), "100");
        assert_eq!(counted(1, "error", "errors"), "1 error");
        assert_eq!(moment(31_000_000, 0), "+0.031 s");
    }
}
