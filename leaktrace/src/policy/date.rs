//! Days, for suppressions that expire.

use std::fmt;

/// A day, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Year, from 1970.
    pub year: u16,
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

impl Date {
    /// A day that exists.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Date> {
        let exists = year >= 1970 && (1..=days_in(year, month)?).contains(&day);
        exists.then_some(Date { year, month, day })
    }

    /// Reads `2026-12-31`.
    pub fn parse(text: &str) -> Option<Date> {
        let mut parts = text.split('-');
        let mut digits = |count: usize| {
            let part = parts.next()?;
            let plain = part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<u16>().ok())?
        };
        let (year, month, day) = (digits(4)?, digits(2)?, digits(2)?);
        let date = Date::new(year, u8::try_from(month).ok()?, u8::try_from(day).ok()?);
        date.filter(|_| parts.next().is_none())
    }

    /// The day of a moment, ns since the epoch.
    pub fn of_realtime(ns: u64) -> Date {
        let mut days = ns / 86_400_000_000_000;
        let mut year = 1970;
        while days >= days_of(year) {
            days -= days_of(year);
            year += 1;
        }
        let mut month = 1;
        while let Some(length) = days_in(year, month).map(u64::from) {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        Date {
            year,
            month,
            // Below 31.
            day: days as u8 + 1,
        }
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: u16, month: u8) -> Option<u8> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if is_leap(year) => Some(29),
        2 => Some(28),
        _ => None,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    #[test]
    fn days_that_exist_are_read_and_written() {
        for text in ["1970-01-01", "2024-02-29", "2026-12-31"] {
            assert_eq!(Date::parse(text).map(|d| d.to_string()), Some(text.into()));
        }
        for wrong in [
            "",
            "2026-13-01",
            "2025-02-29",
            "26-1-1",
            "2026-01-01-",
            "2026/01/01",
            "2026-00-10",
            "1969-12-31",
        ] {
            assert_eq!(Date::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn moments_have_their_day() {
        let day = |ns| Date::of_realtime(ns).to_string();
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_700_000_000_000_000_000), "2023-11-14");
        assert_eq!(day(19_782 * DAY - 1), "2024-02-28");
        assert_eq!(day(19_782 * DAY), "2024-02-29");
        assert_eq!(day(19_783 * DAY), "2024-03-01");
        assert!(Date::of_realtime(u64::MAX).year > 2500);
    }
}
