//! Numbers and names as the screen shows them. One character is one cell, always: names with
//! wide or combining characters are escaped, so that columns stay columns on every terminal.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use crate::{
    id::KtimeNs,
    report::Clock,
    sink::{escape, escape_str, human},
};

const SECOND: u64 = 1_000_000_000;

/// A name for the screen: what [`escape`] makes harmless, and nothing that is not one cell wide.
pub fn name(bytes: &[u8]) -> String {
    one_cell_each(escape(bytes))
}

/// As [`name`], for text.
pub fn text(text: &str) -> String {
    one_cell_each(escape_str(text))
}

fn one_cell_each(text: String) -> String {
    if text.chars().all(|c| c.width() == Some(1)) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.width() == Some(1) {
            out.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        }
    }
    out
}

/// Exactly `width` cells: cut with `…`, or filled up on the right.
pub fn left(text: &str, width: usize) -> String {
    let cut = clip(text, width);
    format!("{cut:<width$}")
}

/// Exactly `width` cells: cut with `…`, or filled up on the left.
pub fn right(text: &str, width: usize) -> String {
    let cut = clip(text, width);
    format!("{cut:>width$}")
}

/// At most `width` cells, cut with `…`.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        out.push('…');
    }
    out
}

/// A count in a column: as it is while it fits, else in thousands or millions.
pub fn column(n: u64, width: usize) -> String {
    let plain = n.to_string();
    if plain.len() <= width {
        return plain;
    }
    short(n)
}

/// A number in about four characters: `817`, `48.2k`, `3.1M`.
pub fn short(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..999_950 => format!("{:.1}k", n as f64 / 1e3),
        999_950..999_950_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.1}G", n as f64 / 1e9),
    }
}

/// A change per second: `+10.0`, `0.0`, `-4.0`, `+1.2k`.
pub fn rate(per_second: f64) -> String {
    if per_second.abs() >= 1_000.0 {
        let sign = if per_second < 0.0 { '-' } else { '+' };
        return format!("{sign}{}", short(per_second.abs() as u64));
    }
    let tenths = (per_second * 10.0).round() as i64;
    match tenths {
        0 => "0.0".to_owned(),
        _ => format!("{:+.1}", tenths as f64 / 10.0),
    }
}

/// Time since: `0.1s`, `41s`, `6m05s`, `2h14m`, `3d`.
pub fn age(now: KtimeNs, then: KtimeNs) -> String {
    let ns = now.since(then).unwrap_or(0);
    let seconds = ns / SECOND;
    match seconds {
        0 => format!("{:.1}s", (ns / 100_000_000) as f64 / 10.0),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Time until a table is full, with enough digits to be right within 5 %: `20.7 s`, `150 s`,
/// `36 min`, `3.2 h`, `3.0 d`; more than a week is `∞`.
pub fn until_full(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s if s < 604_800.0 => format!("{:.1} d", s / 86_400.0),
        _ => "∞".to_owned(),
    }
}

/// A duration that may be unknown.
pub fn maybe_nanos(ns: Option<u64>) -> String {
    ns.map_or_else(|| "—".to_owned(), human::nanos)
}

/// Time of day, `14:02:31`, of a moment of CLOCK_BOOTTIME; `—` while the clocks are not known.
pub fn time_of_day(clock: &Clock, utc_offset_s: i64, at: KtimeNs) -> String {
    if clock.realtime_ns == 0 {
        return "—".to_owned();
    }
    let since = at.0 as i128 - clock.boottime_ns as i128;
    let seconds = (clock.realtime_ns as i128 + since) / SECOND as i128 + utc_offset_s as i128;
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_one_cell_per_character() {
        assert_eq!(name("größe".as_bytes()), "größe");
        assert_eq!(name("中🙂".as_bytes()), "\\u{4e2d}\\u{1f642}");
        assert_eq!(name("e\u{301}".as_bytes()), "e\\u{301}");
        assert_eq!(name(b"a\x1b[2Jb\n"), "a\\x1b[2Jb\\n");
    }

    #[test]
    fn text_is_cut_to_its_column() {
        assert_eq!(left("abc", 5), "abc  ");
        assert_eq!(right("abc", 5), "  abc");
        assert_eq!(left("abcdef", 4), "abc…");
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn numbers_fit_their_columns() {
        assert_eq!(column(99_999, 5), "99999");
        assert_eq!(column(1_073_741_816, 7), "1.1G");
        assert_eq!(short(999_949), "999.9k");
        assert_eq!(short(999_950), "1.0M");
        assert_eq!(short(48_210), "48.2k");
    }

    #[test]
    fn a_rate_near_zero_has_no_sign() {
        assert_eq!(rate(-0.04), "0.0");
        assert_eq!(rate(10.0), "+10.0");
        assert_eq!(rate(-4.0), "-4.0");
        assert_eq!(rate(1_234.0), "+1.2k");
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        let at = |s: f64| age(KtimeNs((s * 1e9) as u64), KtimeNs(0));
        assert_eq!(
            [at(0.14), at(41.0), at(75.0), at(8_040.0), at(3e5)],
            ["0.1s", "41s", "1m15s", "2h14m", "3d"]
        );
        assert_eq!(age(KtimeNs(1), KtimeNs(5)), "0.0s");
        assert_eq!(until_full(20.7), "20.7 s");
        assert_eq!(until_full(2_160.0), "36 min");
        assert_eq!(until_full(1e9), "∞");
    }

    #[test]
    fn time_of_day_follows_the_clocks() {
        let clock = Clock {
            boottime_ns: 5 * SECOND,
            realtime_ns: (86_400 * 3 + 50_551) * SECOND,
            ..Clock::default()
        };
        assert_eq!(time_of_day(&clock, 0, KtimeNs(5 * SECOND)), "14:02:31");
        assert_eq!(time_of_day(&clock, 3_600, KtimeNs(0)), "15:02:26");
        assert_eq!(time_of_day(&Clock::default(), 0, KtimeNs(1)), "—");
    }
}
