//! From readings of counters to what came between two moments. Pure.
//!
//! Counters only grow; one that falls was started anew, and what it shows then came since. Two versions are
//! seldom read at the same moment, but only what both did over the same span may be compared: so what a
//! counter gained between two readings is spread evenly over the time between them. Failures of the baseline
//! are placed as those of the canary lie: a short trouble of both must not look like the canary's, just
//! because the baseline was read before it.

use crate::tick::{Counts, Latencies};
use std::collections::{BTreeMap, VecDeque};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Requests that came to an end.
    Requests,
    /// Those that failed.
    Errors,
    /// Requests that took at most so many µs; `u64::MAX`: any.
    UpTo(u64),
}

impl Role {
    /// The bucket with this upper limit in seconds. `None` if it is no limit.
    pub(crate) fn up_to_s(seconds: f64) -> Option<Self> {
        if seconds == f64::INFINITY {
            return Some(Self::UpTo(u64::MAX));
        }
        // Limits of buckets lie far below 2^53 µs.
        (0.0..9e9).contains(&seconds).then(|| Self::UpTo((seconds * 1e6).round() as u64))
    }
}

/// One reading of one counter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) role: Role,
    /// Whose counter it is: what this one shows for the first time, after it was asked before, began at 0.
    pub(crate) whose: String,
    /// Which counter it is, among those that are added up.
    pub(crate) series: String,
    /// When it was read, in ms since the stage began. `None`: at the moment of the look.
    pub(crate) at_ms: Option<i64>,
    /// 0 or more.
    pub(crate) value: f64,
}

/// One counter, as a total that never falls.
#[derive(Clone, Debug)]
struct Series {
    points: VecDeque<(i64, f64)>,
    raw: f64,
}

impl Series {
    fn push(&mut self, at_ms: i64, value: f64) {
        let Some((last_ms, total)) = self.points.back().copied() else { return };
        if at_ms <= last_ms {
            return;
        }
        let gained = if value >= self.raw { value - self.raw } else { value };
        self.raw = value;
        self.points.push_back((at_ms, total + gained));
    }

    fn last_ms(&self) -> i64 {
        self.points.back().map_or(i64::MIN, |point| point.0)
    }

    /// The total at a moment. `weight` is a function that grows: between two readings the total follows it,
    /// unless it stands still there.
    fn at(&self, t_ms: i64, weight: &dyn Fn(i64) -> f64) -> f64 {
        let after = self.points.partition_point(|(at_ms, _)| *at_ms <= t_ms);
        let before = after.checked_sub(1).and_then(|at| self.points.get(at));
        match (before, self.points.get(after)) {
            (None, first) => first.map_or(0.0, |point| point.1),
            (Some(last), None) => last.1,
            (Some((a_ms, a)), Some((b_ms, b))) => {
                let whole = weight(*b_ms) - weight(*a_ms);
                let part = if whole > 0.0 {
                    (weight(t_ms) - weight(*a_ms)) / whole
                } else {
                    (t_ms - a_ms) as f64 / (b_ms - a_ms) as f64
                };
                a + (b - a) * part.clamp(0.0, 1.0)
            }
        }
    }

    /// Forgets what lies before the reading that `t_ms` comes after.
    fn prune(&mut self, t_ms: i64) {
        while self.points.get(1).is_some_and(|point| point.0 <= t_ms) {
            self.points.pop_front();
        }
    }
}

/// What was handed over so far.
#[derive(Clone, Debug, Default)]
struct Given {
    requests: f64,
    errors: f64,
    up_to: BTreeMap<u64, f64>,
}

/// The counters of one arm.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    series: BTreeMap<(Role, String), Series>,
    /// A counter that was not read for so long is gone, and nobody waits for it.
    stale_ms: i64,
    /// Moment of the newest reading, by whose it is.
    newest_ms: BTreeMap<String, i64>,
    given: Option<Given>,
}

impl Counters {
    pub(crate) fn new(stale_ms: i64) -> Self {
        Self { series: BTreeMap::new(), stale_ms, newest_ms: BTreeMap::new(), given: None }
    }

    /// Takes what one look gave. A counter that was not there at an earlier look began at 0.
    pub(crate) fn absorb(&mut self, look_ms: i64, readings: Vec<Reading>) {
        let before = self.newest_ms.clone();
        for reading in readings {
            let at_ms = reading.at_ms.unwrap_or(look_ms);
            let before_ms = before.get(&reading.whose).copied();
            let newest_ms = self.newest_ms.entry(reading.whose).or_insert(at_ms);
            *newest_ms = at_ms.max(*newest_ms);
            let series = self.series.entry((reading.role, reading.series)).or_insert_with(|| {
                let (from_ms, raw) = match before_ms.filter(|before_ms| *before_ms < at_ms) {
                    Some(before_ms) => (before_ms, 0.0),
                    None => (at_ms, reading.value),
                };
                Series { points: VecDeque::from([(from_ms, 0.0)]), raw }
            });
            series.push(at_ms, reading.value);
        }
    }

    /// The moment up to which everything is known.
    pub(crate) fn known_ms(&self) -> Option<i64> {
        let newest_ms = *self.newest_ms.values().max()?;
        let last = self.series.values().map(Series::last_ms);
        last.filter(|last_ms| *last_ms >= newest_ms.saturating_sub(self.stale_ms)).min()
    }

    fn errors_at(&self, t_ms: i64) -> f64 {
        let errors = self.series.iter().filter(|((role, _), _)| *role == Role::Errors);
        errors.map(|(_, series)| series.at(t_ms, &|_| 0.0)).sum()
    }

    fn at(&self, t_ms: i64, beside: Option<&Self>) -> Given {
        let mut sum = Given::default();
        for ((role, _), series) in &self.series {
            match role {
                Role::Requests => sum.requests += series.at(t_ms, &|_| 0.0),
                Role::Errors => {
                    sum.errors += match beside {
                        Some(beside) => series.at(t_ms, &|t_ms| beside.errors_at(t_ms)),
                        None => series.at(t_ms, &|_| 0.0),
                    };
                }
                Role::UpTo(limit_us) => {
                    *sum.up_to.entry(*limit_us).or_default() += series.at(t_ms, &|_| 0.0);
                }
            }
        }
        sum
    }

    /// What came up to this moment and was not handed over yet; from the start of the stage, or the first
    /// reading. `beside`: the canary, if this is the baseline.
    pub(crate) fn cut(&mut self, t_ms: u64, beside: Option<&Self>) -> Counts {
        let at_ms = i64::try_from(t_ms).unwrap_or(i64::MAX);
        let now = self.at(at_ms, beside);
        let mut given = self.given.take().unwrap_or_else(|| self.at(0, beside));
        let requests = whole(now.requests - given.requests);
        // A failure whose request is not counted yet waits for it.
        let errors = whole(now.errors - given.errors).min(requests);
        given.requests += requests as f64;
        given.errors += errors as f64;
        let latencies = latencies(&now.up_to, &mut given.up_to);
        self.given = Some(given);
        self.series.values_mut().for_each(|series| series.prune(at_ms));
        Counts { until_ms: t_ms, requests, errors, latencies }
    }
}

/// Whole ones; what is left comes with the next.
fn whole(value: f64) -> u64 {
    // Sums of fractions miss whole numbers by little.
    (value + 1e-6).max(0.0) as u64
}

/// Buckets hold all requests up to their limit; what lies between two limits is their difference.
fn latencies(now: &BTreeMap<u64, f64>, given: &mut BTreeMap<u64, f64>) -> Option<Latencies> {
    if now.is_empty() {
        return None;
    }
    let mut result = Latencies::default();
    let mut below = 0;
    for (limit_us, total) in now {
        let known = given.entry(*limit_us).or_default();
        let gained = whole(total - *known);
        *known += gained as f64;
        result.counts.push(gained.saturating_sub(below));
        below = gained.max(below);
        if *limit_us < u64::MAX {
            result.upper_ms.push(*limit_us as f64 / 1000.0);
        }
    }
    if result.counts.len() == result.upper_ms.len() {
        result.counts.push(0);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(role: Role, series: &str, at_ms: i64, value: f64) -> Reading {
        Reading { role, whose: String::new(), series: series.to_owned(), at_ms: Some(at_ms), value }
    }

    fn counters(points: &[(Role, &str, i64, f64)]) -> Counters {
        let mut counters = Counters::new(60_000);
        for (role, series, at_ms, value) in points {
            counters.absorb(*at_ms, vec![read(*role, series, *at_ms, *value)]);
        }
        counters
    }

    use Role::{Errors, Requests};

    #[test]
    fn what_was_there_before_does_not_count_and_a_fall_is_a_new_start() {
        let mut counters = counters(&[
            (Requests, "a", 0, 1_000_000.0),
            (Requests, "a", 1000, 1_000_010.0),
            // The process was started anew, and had 7 requests since.
            (Requests, "a", 2000, 7.0),
            (Requests, "a", 3000, 9.0),
        ]);
        assert_eq!(counters.known_ms(), Some(3000));
        assert_eq!(counters.cut(1000, None).requests, 10);
        assert_eq!(counters.cut(3000, None).requests, 9);
        assert_eq!(counters.cut(3000, None).requests, 0, "nothing counts twice");
    }

    #[test]
    fn a_counter_that_comes_later_began_at_nothing() {
        let mut counters = counters(&[(Requests, "a", 0, 500.0), (Requests, "a", 1000, 510.0)]);
        counters.absorb(
            2000,
            vec![
                read(Requests, "b", 2000, 4.0),
                read(Errors, "b", 2000, 3.0),
                read(Requests, "a", 2000, 510.0),
                // Nobody asked this one before: what it counted in its life is not of now.
                Reading { whose: "other".to_owned(), ..read(Requests, "c", 2000, 1_000_000.0) },
            ],
        );
        let counts = counters.cut(2000, None);
        assert_eq!((counts.requests, counts.errors), (14, 3));
    }

    #[test]
    fn nothing_is_known_beyond_the_slowest_counter_unless_it_is_gone() {
        let slow = [(Requests, "a", 0, 0.0), (Requests, "b", 0, 0.0), (Requests, "a", 30_000, 30.0)];
        assert_eq!(counters(&slow).known_ms(), Some(0));
        let gone = [&slow[..], &[(Requests, "a", 61_000, 60.0)]].concat();
        let mut gone = counters(&gone);
        assert_eq!(gone.known_ms(), Some(61_000));
        assert_eq!(gone.cut(61_000, None).requests, 60);
        // What it gained meanwhile is not lost once it is back.
        gone.absorb(70_000, vec![read(Requests, "b", 70_000, 35.0), read(Requests, "a", 70_000, 60.0)]);
        assert_eq!(gone.cut(70_000, None).requests, 35);
        assert_eq!(Counters::new(1000).known_ms(), None);
    }

    #[test]
    fn the_stage_begins_in_the_middle_of_two_readings() {
        let mut counters = counters(&[(Requests, "a", -10_000, 0.0), (Requests, "a", 10_000, 40.0)]);
        assert_eq!(counters.cut(10_000, None).requests, 20);
    }

    /// Both fail for four seconds; the baseline is read just after, the canary only later.
    #[test]
    fn a_short_trouble_of_both_lies_at_the_same_place_in_both() {
        let canary = counters(&[
            (Requests, "c", 3000, 0.0),
            (Errors, "c", 3000, 0.0),
            (Requests, "c", 18_000, 50.0),
            (Errors, "c", 18_000, 13.0),
        ]);
        let mut canary_cut = canary.clone();
        let mut baseline = counters(&[
            (Requests, "b", -11_000, 0.0),
            (Errors, "b", -11_000, 0.0),
            (Requests, "b", 9000, 1200.0),
            (Errors, "b", 9000, 247.0),
            (Requests, "b", 19_000, 1800.0),
            (Errors, "b", 19_000, 247.0),
        ]);
        let before = baseline.cut(3000, Some(&canary));
        assert_eq!((before.errors, canary_cut.cut(3000, None).errors), (0, 0));
        let during = baseline.cut(18_000, Some(&canary));
        assert_eq!((during.errors, canary_cut.cut(18_000, None).errors), (247, 13));
    }

    #[test]
    fn buckets_become_numbers_between_limits() {
        let limit = |seconds| Role::up_to_s(seconds).unwrap();
        let mut counters = Counters::new(1000);
        let readings = |at_ms, low, high, all| {
            vec![
                read(limit(0.1), "a", at_ms, low),
                read(limit(0.25), "a", at_ms, high),
                read(limit(f64::INFINITY), "a", at_ms, all),
            ]
        };
        counters.absorb(0, readings(0, 5.0, 6.0, 7.0));
        counters.absorb(1000, readings(1000, 15.0, 20.0, 22.0));
        let latencies = counters.cut(1000, None).latencies.unwrap();
        assert_eq!(latencies, Latencies { upper_ms: vec![100.0, 250.0], counts: vec![10, 4, 1] });
        assert_eq!(Role::up_to_s(f64::NAN), None);
        assert_eq!(Role::up_to_s(-1.0), None);
    }

    proptest! {
        /// However it is cut, everything is handed over once.
        #[test]
        fn nothing_is_lost_and_nothing_counted_twice(
            gains in proptest::collection::vec((1_i64..5000, 0_u32..200, 0_u32..100), 1..20),
            cuts in proptest::collection::vec(1_u64..60_000, 0..10),
        ) {
            let mut counters = Counters::new(i64::MAX);
            let (mut at_ms, mut requests, mut errors) = (0, 100.0, 50.0);
            let mut look = |at_ms, requests, errors| {
                counters.absorb(at_ms, vec![
                    read(Requests, "a", at_ms, requests), read(Errors, "a", at_ms, errors),
                ]);
            };
            look(0, requests, errors);
            for (step_ms, more, failed) in gains {
                at_ms += step_ms;
                requests += f64::from(more);
                errors += f64::from(failed.min(more));
                look(at_ms, requests, errors);
            }
            let mut cuts: Vec<u64> = cuts.into_iter().filter(|cut| *cut < at_ms as u64).collect();
            cuts.sort_unstable();
            cuts.push(at_ms as u64);
            let (mut seen, mut failed) = (0, 0);
            for cut in cuts {
                let counts = counters.cut(cut, None);
                prop_assert!(counts.errors <= counts.requests);
                seen += counts.requests;
                failed += counts.errors;
            }
            prop_assert_eq!(seen as f64, requests - 100.0);
            prop_assert_eq!(failed as f64, errors - 50.0);
        }
    }
}
