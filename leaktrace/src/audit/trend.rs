//! Whether a number of open fds grows for good, and when it reaches its limit.
//!
//! By the median of the slopes between all pairs of points (Theil-Sen): a few bursts, or a
//! restart of a part of the program, do not move it. The points are the least of each interval,
//! which is what a leak raises.

use std::time::Duration;

use crate::{id::KtimeNs, model::conduct::Conduct, policy::settings::Thresholds};

/// A trend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    /// fds more per second.
    pub(crate) per_second: f64,
    /// Time over which that was seen.
    pub(crate) over: Duration,
    /// Open at its end.
    pub(crate) open: u32,
    /// Soft RLIMIT_NOFILE.
    pub(crate) limit: u64,
    /// Time until `limit` is reached, from the end on.
    pub(crate) left: Duration,
}

/// Fewest points that make a trend.
const POINTS: usize = 8;

/// Share of the steps between neighbours that may go down.
const DOWN: usize = 5;

/// The trend until teardown began, if it is growth that matters.
pub(crate) fn growth(
    conduct: &Conduct,
    trigger: Option<KtimeNs>,
    thresholds: &Thresholds,
) -> Option<Growth> {
    let before = |point: &&(KtimeNs, u32)| trigger.is_none_or(|trigger| point.0 <= trigger);
    let points: Vec<(KtimeNs, u32)> = conduct.growth.iter().filter(before).copied().collect();
    let (first, last) = (points.first()?, points.last()?);
    let over = Duration::from_nanos(last.0.since(first.0)?);
    let rise = u64::from(last.1.saturating_sub(first.1));
    let limit = conduct.nearest.limit;
    let enough = points.len() >= POINTS && over >= thresholds.growth_window;
    if !enough || rise < thresholds.growth_rise || limit == 0 {
        return None;
    }
    let down = points.windows(2).filter(|pair| pair[1].1 < pair[0].1);
    if down.count() * DOWN > points.len() {
        return None;
    }
    let per_second = median_slope(&points)?;
    if per_second <= 0.0 {
        return None;
    }
    let room = limit.saturating_sub(u64::from(last.1));
    let left = Duration::try_from_secs_f64(room as f64 / per_second).unwrap_or(Duration::MAX);
    (left <= thresholds.growth_within).then_some(Growth {
        per_second,
        over,
        open: last.1,
        limit,
        left,
    })
}

/// The median of the slopes, per second. At most 128 points: 8,128 slopes.
fn median_slope(points: &[(KtimeNs, u32)]) -> Option<f64> {
    let mut slopes = Vec::new();
    for (place, early) in points.iter().enumerate() {
        for late in &points[place + 1..] {
            let ns = late.0.since(early.0).filter(|ns| *ns > 0)?;
            let rise = f64::from(late.1) - f64::from(early.1);
            slopes.push(rise * 1e9 / ns as f64);
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conduct::Nearest;

    fn conduct(open: impl Fn(u64) -> u32) -> Conduct {
        let points = (0..60).map(|second| (KtimeNs((second + 1) * 1_000_000_000), open(second)));
        Conduct {
            growth: points.collect(),
            nearest: Nearest {
                open: 0,
                limit: 1024,
            },
            ..Conduct::default()
        }
    }

    fn found(conduct: &Conduct, trigger: Option<KtimeNs>) -> Option<Growth> {
        growth(conduct, trigger, &Thresholds::default())
    }

    #[test]
    fn a_leak_of_two_a_second_shows_with_the_time_left() {
        let leak = found(&conduct(|second| 10 + 2 * second as u32), None).map(|growth| {
            assert!((growth.per_second - 2.0).abs() < 0.01, "{growth:?}");
            assert!(
                (growth.left.as_secs_f64() - 448.0).abs() < 2.0,
                "{growth:?}"
            );
        });
        assert!(leak.is_some());
    }

    #[test]
    fn bursts_plateaus_and_teardown_are_no_growth() {
        assert_eq!(
            found(
                &conduct(|second| if second % 7 == 0 { 400 } else { 20 }),
                None
            ),
            None
        );
        assert_eq!(
            found(
                &conduct(|second| if second < 5 { second as u32 * 60 } else { 300 }),
                None
            ),
            None
        );
        assert_eq!(found(&conduct(|_| 500), None), None);
        let drops = conduct(|second| if second < 50 { 2 * second as u32 } else { 0 });
        assert!(found(&drops, Some(KtimeNs(50_000_000_000))).is_some());
        assert_eq!(found(&drops, None), None);
    }
}
