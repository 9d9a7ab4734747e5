//! What is known of one arm of one service.

use super::pairing::merge;
use super::percentiles::{self, Percentiles};
use crate::tick::{Counts, Kind, Latencies, Sample};
use kit_contract::body::ArmCounts;
use kit_sequential::upper_tail;
use std::collections::BTreeMap;

const SURELY: f64 = 0.05;
/// Where so many requests were to be expected and none came, traffic has ended: even of requests that come
/// five at a time that is chance in one of 20 000 stages (e^-10).
const EXPECTED_OF_SILENCE: f64 = 50.0;

/// Failures of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) errors: u64,
    pub(crate) n: u64,
}

impl Share {
    /// In percent; 0 of nothing.
    pub(crate) fn percent(self) -> f64 {
        if self.n == 0 { 0.0 } else { self.errors as f64 * 100.0 / self.n as f64 }
    }

    pub(crate) fn is_above(self, limit_percent: f64) -> bool {
        self.n > 0 && self.percent() > limit_percent
    }

    /// True if this fails more than twice as often as `other`.
    pub(crate) fn is_clearly_worse_than(self, other: Self) -> bool {
        self.percent() > 2.0 * other.percent()
    }

    /// True if it is no chance that this fails more than twice as often as `other`: given the failures of
    /// both, so many are its own with at most 5 % probability otherwise.
    pub(crate) fn is_surely_worse_than(self, other: Self) -> bool {
        let twice = 2.0 * self.n as f64;
        let theta = twice / (twice + other.n as f64);
        self.is_clearly_worse_than(other)
            && upper_tail(self.errors, self.errors + other.errors, theta) <= SURELY
    }

    fn add(&mut self, other: Self) {
        self.n += other.n;
        self.errors += other.errors;
    }

    fn take(&mut self, other: Self) {
        self.n = self.n.saturating_sub(other.n);
        self.errors = self.errors.saturating_sub(other.errors);
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    arrived_ms: u64,
    sent_ms: u64,
    /// Of a probe; counts of others do not say why a request failed.
    kind: Option<Kind>,
    share: Share,
    excused: bool,
}

/// Failures in a row, up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streak {
    /// How many.
    pub(crate) length: u64,
    /// Those at its end that were no answer or a server error.
    pub(crate) dark: u64,
    /// When the first of it was sent.
    pub(crate) since_ms: u64,
}

/// Everything seen on one arm.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArmLog {
    seen: Vec<Seen>,
    /// Failures by kind, without what was excused.
    failures: BTreeMap<Kind, u64>,
    total: Share,
    judged: Share,
    streak: Streak,
    /// Of all good answers.
    latencies: Percentiles,
    /// Of those sent after the warm-up.
    warm: Percentiles,
    /// Of all requests that others counted.
    counted: Latencies,
    /// Of those after the warm-up.
    warm_counted: Latencies,
    reached: bool,
    newest_sent_ms: Option<u64>,
    /// End of the last span in which others counted any request.
    newest_counted_ms: u64,
    newest_failed_ms: u64,
    /// When the one before it was sent.
    second_failed_ms: u64,
}

impl ArmLog {
    pub(crate) fn add(&mut self, sample: Sample, arrived_ms: u64, warm_up_ms: u64) {
        let failed = sample.kind.is_failure();
        let share = Share { errors: u64::from(failed), n: 1 };
        let kind = Some(sample.kind);
        self.seen.push(Seen { arrived_ms, sent_ms: sample.sent_ms, kind, share, excused: false });
        self.total.add(share);
        self.judged.add(share);
        self.reached |= sample.kind.is_reached();
        self.newest_sent_ms = self.newest_sent_ms.max(Some(sample.sent_ms));
        if failed {
            *self.failures.entry(sample.kind).or_default() += 1;
            if self.streak.length == 0 {
                self.streak.since_ms = sample.sent_ms;
            }
            self.streak.length += 1;
            self.streak.dark = if sample.kind.is_dark() { self.streak.dark + 1 } else { 0 };
            self.streak.since_ms = self.streak.since_ms.min(sample.sent_ms);
            self.add_failed(sample.sent_ms, 1);
        } else {
            self.streak = Streak::default();
            // A failure that comes fast would make a slow arm look quick.
            self.latencies.add(sample.latency_ms);
            if sample.sent_ms >= warm_up_ms {
                self.warm.add(sample.latency_ms);
            }
        }
    }

    /// Takes what others counted. A span without any success is as dark as a row of probes.
    pub(crate) fn add_counts(&mut self, counts: &Counts, arrived_ms: u64, warm_up_ms: u64) {
        let share = Share { errors: counts.errors.min(counts.requests), n: counts.requests };
        let sent_ms = counts.until_ms;
        // No request is something that is known, too.
        self.newest_sent_ms = self.newest_sent_ms.max(Some(sent_ms));
        if share.n == 0 {
            return;
        }
        self.seen.push(Seen { arrived_ms, sent_ms, kind: None, share, excused: false });
        self.newest_counted_ms = self.newest_counted_ms.max(sent_ms);
        self.total.add(share);
        self.judged.add(share);
        self.reached = true;
        self.add_failed(sent_ms, share.errors);
        if share.errors == share.n {
            if self.streak.length == 0 {
                self.streak.since_ms = sent_ms;
            }
            self.streak.length += share.n;
            self.streak.dark += share.n;
        } else {
            self.streak = Streak::default();
        }
        if let Some(latencies) = &counts.latencies {
            merge(&mut self.counted, latencies);
            if sent_ms >= warm_up_ms {
                merge(&mut self.warm_counted, latencies);
            }
        }
    }

    fn add_failed(&mut self, sent_ms: u64, errors: u64) {
        for _ in 0..errors.min(2) {
            self.second_failed_ms = self.second_failed_ms.max(self.newest_failed_ms.min(sent_ms));
            self.newest_failed_ms = self.newest_failed_ms.max(sent_ms);
        }
    }

    /// False if fewer than two failures were sent from `since_ms` on, which is quick to say.
    pub(crate) fn may_have_failed_twice_since(&self, since_ms: u64) -> bool {
        self.second_failed_ms >= since_ms
    }

    /// All that was seen.
    pub(crate) fn total(&self) -> Share {
        self.total
    }

    /// All that counts: without what was excused.
    pub(crate) fn judged(&self) -> Share {
        self.judged
    }

    pub(crate) fn streak(&self) -> Streak {
        self.streak
    }

    /// True once something that answers for this arm was reached.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached
    }

    /// Latencies after the warm-up: how many there are.
    pub(crate) fn warm_count(&self) -> u64 {
        self.warm.count() + self.warm_counted.counts.iter().sum::<u64>()
    }

    /// Their 95th percentile. Of counts it is estimated, as Prometheus does.
    pub(crate) fn warm_p95_ms(&self) -> Option<f64> {
        self.warm.at(95).or_else(|| percentiles::estimate(&self.warm_counted, 95))
    }

    /// When the newest probe that is over was sent.
    pub(crate) fn newest_sent_ms(&self) -> Option<u64> {
        self.newest_sent_ms
    }

    /// How long others have counted no request by `until_ms`, if as many came before that this is no chance.
    pub(crate) fn silent_ms(&self, until_ms: u64) -> Option<u64> {
        let silent_ms = until_ms.saturating_sub(self.newest_counted_ms);
        let expected = self.total.n as f64 * silent_ms as f64 / self.newest_counted_ms.max(1) as f64;
        (expected >= EXPECTED_OF_SILENCE).then_some(silent_ms)
    }

    /// When the newest failed probe was sent.
    pub(crate) fn newest_failed_ms(&self) -> u64 {
        self.newest_failed_ms
    }

    /// Failures among the last `window` samples, and when the first of these failures was sent.
    pub(crate) fn recent(&self, window: u64) -> (Share, u64) {
        let mut share = Share::default();
        let mut since_ms = u64::MAX;
        for seen in self.seen.iter().rev() {
            if share.n >= window {
                break;
            }
            share.add(seen.share);
            if seen.share.errors > 0 {
                since_ms = since_ms.min(seen.sent_ms);
            }
        }
        (share, since_ms)
    }

    /// Failures among what was sent from `since_ms` on.
    pub(crate) fn since(&self, since_ms: u64) -> Share {
        let mut share = Share::default();
        // Nothing can have been sent after it arrived.
        for seen in self.seen.iter().rev().take_while(|seen| seen.arrived_ms >= since_ms) {
            if seen.sent_ms >= since_ms {
                share.add(seen.share);
            }
        }
        share
    }

    /// What was sent from `since_ms` on counts neither for nor against this arm. Its streak goes on.
    pub(crate) fn excuse_since(&mut self, since_ms: u64) {
        for seen in self.seen.iter_mut().rev().take_while(|seen| seen.arrived_ms >= since_ms) {
            if seen.sent_ms >= since_ms && !seen.excused {
                seen.excused = true;
                self.judged.take(seen.share);
                if let Some(count) = seen.kind.and_then(|kind| self.failures.get_mut(&kind)) {
                    *count = count.saturating_sub(1);
                }
            }
        }
    }

    /// The streak begins anew.
    pub(crate) fn forgive_streak(&mut self) {
        self.streak = Streak::default();
    }

    /// The failures that count by kind, most frequent first: `5 × server_error, 1 × timeout`.
    pub(crate) fn failures(&self) -> String {
        let counts = self.failures.iter().map(|(kind, count)| (*kind, *count));
        let mut failures: Vec<(Kind, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        failures.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let parts: Vec<String> =
            failures.iter().map(|(kind, count)| format!("{count} × {}", kind.as_str())).collect();
        parts.join(", ")
    }

    pub(crate) fn counts(&self) -> ArmCounts {
        let at =
            |percent| self.latencies.at(percent).or_else(|| percentiles::of_counts(&self.counted, percent));
        ArmCounts {
            requests: self.total.n,
            errors: self.total.errors,
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(kinds: &[Kind]) -> ArmLog {
        let mut log = ArmLog::default();
        for (at, kind) in kinds.iter().enumerate() {
            let sent_ms = at as u64 * 1000;
            log.add(Sample { kind: *kind, sent_ms, latency_ms: 10.0 }, sent_ms + 1000, 2000);
        }
        log
    }

    #[test]
    fn a_success_ends_a_streak_and_a_client_error_ends_the_dark() {
        use Kind::{ClientError, Ok, ServerError, Timeout};
        for (kinds, length, dark) in [
            (&[ServerError, Ok][..], 0, 0),
            (&[Ok, Timeout, ServerError], 2, 2),
            (&[Timeout, ClientError, Timeout], 3, 1),
        ] {
            let streak = log(kinds).streak();
            assert_eq!((streak.length, streak.dark), (length, dark), "{kinds:?}");
        }
    }

    #[test]
    fn what_is_excused_is_seen_but_not_judged() {
        use Kind::{Ok, Timeout};
        let mut log = log(&[Ok, Timeout, Timeout, Ok, Ok]);
        assert_eq!(log.recent(4), (Share { errors: 2, n: 4 }, 1000));
        assert_eq!(log.since(2000), Share { errors: 1, n: 3 });
        assert!(log.may_have_failed_twice_since(1000) && !log.may_have_failed_twice_since(1001));
        assert_eq!(log.warm_count(), 2, "sent after the warm-up, and good");
        log.excuse_since(1000);
        log.excuse_since(1000);
        assert_eq!(log.judged(), Share { errors: 0, n: 1 });
        assert_eq!(log.total(), Share { errors: 2, n: 5 });
        assert_eq!(log.since(2000), Share { errors: 1, n: 3 });
    }
}
