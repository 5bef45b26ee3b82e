//! Durations as people write them.

use std::time::Duration;

/// Parses `2s`, `500ms`, `1.5s`, `3m`, `1h`; a bare number is seconds.
///
/// # Errors
/// A sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let wrong = || format!("`{text}` is not a duration, write it as 2s or 500ms");
    if digits.is_empty() {
        return Err(wrong());
    }
    let unit = match &text[digits.len()..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit `{unit}`, use ms, s, m or h")),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit() {
        let ok = |text| parse(text).ok();
        assert_eq!(ok("2s"), Some(Duration::from_secs(2)));
        assert_eq!(ok("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(ok("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(ok("2m"), Some(Duration::from_secs(120)));
        assert_eq!(ok("0"), Some(Duration::ZERO));
        for wrong in [
            "",
            "s",
            "-1s",
            "1d",
            "inf",
            "nan",
            "1e3s",
            "1..2",
            "99999999999999999999h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
