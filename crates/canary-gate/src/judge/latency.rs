//! Is the canary slower than the baseline by more than the margin?

use super::pairing::{Block, merge};
use crate::tick::Latencies;
use kit_sequential::{SignTest, TailTest, weighted};

/// Quantiles of the baseline's past above which a request counts as slow.
const QUANTILES: [f64; 3] = [0.9, 0.95, 0.99];
/// Requests of the baseline without which its past says nothing.
const LEAST_PAST: u64 = 100;
/// What happens within a span of this length may have one cause: a pause, a full queue, a busy machine. So
/// each span is one vote, however many requests it has.
const SPAN_MS: u64 = 1000;
/// Prior mass on a slowness that is there once warm; the rest is spread over the stage.
const FIRST: f64 = 0.6;

/// Pairs of probes for a shift of all latencies, tails for the slow ones.
#[derive(Clone, Debug)]
pub(crate) struct Slowness {
    margin: f64,
    /// From the end of the warm-up to that of the stage.
    judged_ms: u64,
    placed_ms: u64,
    signs: SignTest,
    tails: TailTest,
    canary: Latencies,
    baseline: Latencies,
    /// Of the baseline, before this span.
    past: Latencies,
    compared_ms: u64,
    pairs: u64,
    slower: u64,
    has_votes: bool,
}

impl Slowness {
    pub(crate) fn new(margin: f64, warm_up_ms: u64, planned_ms: u64) -> Self {
        let mut this = Self {
            margin,
            judged_ms: planned_ms.saturating_sub(warm_up_ms).max(1),
            placed_ms: warm_up_ms,
            signs: SignTest::new(),
            tails: TailTest::new(QUANTILES.len()),
            canary: Latencies::default(),
            baseline: Latencies::default(),
            past: Latencies::default(),
            compared_ms: warm_up_ms,
            pairs: 0,
            slower: 0,
            has_votes: false,
        };
        this.start(FIRST);
        this
    }

    fn start(&mut self, mass: f64) {
        self.signs.start(mass);
        self.tails.start(mass);
    }

    /// Takes a block.
    pub(crate) fn add(&mut self, block: &Block) {
        if block.until_ms <= self.placed_ms {
            return;
        }
        let passed_ms = block.until_ms - self.placed_ms;
        self.placed_ms = block.until_ms;
        self.start((1.0 - FIRST) * passed_ms as f64 / self.judged_ms as f64);
        self.pairs += block.pairs;
        self.slower += block.slower;
        merge(&mut self.canary, &block.canary);
        merge(&mut self.baseline, &block.baseline);
        if block.until_ms >= self.compared_ms + SPAN_MS {
            self.compared_ms = block.until_ms;
            self.vote();
            self.compare_tails();
        }
    }

    /// The majority of the pairs, or of the requests; a tie speaks for the canary. If no pair is slower with
    /// more than ½ probability, neither is the majority.
    fn vote(&mut self) {
        let slower = if self.pairs > 0 {
            Some(2 * self.slower > self.pairs)
        } else {
            majority_is_slower(&self.canary, &self.baseline, self.margin)
        };
        if let Some(slower) = slower {
            self.has_votes = true;
            self.signs.update(u64::from(slower), 1);
        }
        (self.pairs, self.slower) = (0, 0);
    }

    fn compare_tails(&mut self) {
        let total = |latencies: &Latencies| latencies.counts.iter().sum::<u64>();
        let past = total(&self.past);
        if past >= LEAST_PAST && self.past.upper_ms == self.canary.upper_ms {
            let slow = QUANTILES.map(|quantile| self.slow(past, quantile));
            self.tails.update(&slow, total(&self.canary), total(&self.baseline), 1.0);
        }
        merge(&mut self.past, &self.baseline);
        self.canary.counts.fill(0);
        self.baseline.counts.fill(0);
    }

    /// Slow requests of both arms: none where the quantile of the past is not known.
    fn slow(&self, past: u64, quantile: f64) -> (u64, u64) {
        let Some((at, limit_ms)) = limit(&self.past, past, quantile) else { return (0, 0) };
        let baseline_slow = self.baseline.counts.iter().skip(at + 1).sum();
        (above(&self.canary, limit_ms * (1.0 + self.margin)), baseline_slow)
    }

    /// The evidence; 1 at the start.
    pub(crate) fn evidence(&self) -> f64 {
        let tails = self.tails.evidence();
        // Fixed before anything is judged: a source has latencies of both arms from its first answer on, or never.
        if self.has_votes { weighted(&[(0.5, self.signs.evidence()), (0.5, tails)]) } else { tails }
    }
}

/// Whether more than half of the canary's requests certainly took longer than the baseline's median and the
/// margin. By symmetry an arm of the same distribution does so with at most ½ probability: its median is above
/// the other's as often as below. `None` if there is nothing to compare.
fn majority_is_slower(canary: &Latencies, baseline: &Latencies, margin: f64) -> Option<bool> {
    let total = |latencies: &Latencies| latencies.counts.iter().sum::<u64>();
    let (n, baseline_n) = (total(canary), total(baseline));
    if n == 0 || baseline_n == 0 || canary.upper_ms != baseline.upper_ms {
        return None;
    }
    // Of an even number the upper one of both in the middle.
    let middle = (baseline_n / 2 + 1) as f64 / baseline_n as f64;
    let slower = limit(baseline, baseline_n, middle)
        .map_or(0, |(_, limit_ms)| above(canary, limit_ms * (1.0 + margin)));
    Some(2 * slower > n)
}

/// The upper limit of the bucket in which the quantile lies, and its place. `None` in the open one.
fn limit(latencies: &Latencies, total: u64, quantile: f64) -> Option<(usize, f64)> {
    let mut below = 0;
    for (at, count) in latencies.counts.iter().enumerate() {
        below += count;
        if below as f64 >= quantile * total as f64 {
            return Some((at, *latencies.upper_ms.get(at)?));
        }
    }
    None
}

/// Requests that certainly took longer than this.
fn above(latencies: &Latencies, limit_ms: f64) -> u64 {
    let at = latencies.upper_ms.partition_point(|upper_ms| *upper_ms < limit_ms);
    latencies.counts.iter().skip(at + 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(counts: &[u64]) -> Latencies {
        Latencies { upper_ms: vec![10.0, 20.0, 40.0, 80.0], counts: counts.to_vec() }
    }

    #[test]
    fn limits_are_edges_of_buckets_and_slow_is_what_is_certainly_slow() {
        let past = latencies(&[50, 30, 15, 4, 1]);
        assert_eq!(limit(&past, 100, 0.9), Some((2, 40.0)));
        assert_eq!(limit(&past, 100, 0.99), Some((3, 80.0)));
        assert_eq!(limit(&past, 100, 0.999), None, "beyond the last edge nothing is known");
        assert_eq!(above(&past, 20.0), 20);
        assert_eq!(above(&past, 23.0), 5, "the bucket that holds 23 ms is not certainly slower");
        assert_eq!(above(&past, 100.0), 0);
    }

    #[test]
    fn a_majority_is_slower_only_if_it_certainly_is() {
        let baseline = latencies(&[2, 5, 3, 0, 0]);
        for (canary, slower) in [
            (&[0, 0, 0, 0, 0][..], None),
            (&[1, 1, 1, 0, 0], Some(false)),
            (&[0, 0, 5, 0, 0], Some(false)),
            (&[1, 0, 1, 1, 1], Some(false)),
            (&[1, 0, 0, 1, 1], Some(true)),
        ] {
            assert_eq!(majority_is_slower(&latencies(canary), &baseline, 0.15), slower, "{canary:?}");
        }
        assert_eq!(majority_is_slower(&baseline, &latencies(&[0; 5]), 0.15), None);
        let open = latencies(&[0, 0, 0, 0, 9]);
        assert_eq!(
            majority_is_slower(&open, &open, 0.15),
            Some(false),
            "beyond the last edge nothing is known"
        );
    }

    fn fed(canary: &[u64], baseline: &[u64]) -> f64 {
        let mut slowness = Slowness::new(0.15, 0, 300_000);
        for second in 1..=60 {
            let block = Block {
                until_ms: second * 1000,
                canary: latencies(canary),
                baseline: latencies(baseline),
                ..Block::default()
            };
            slowness.add(&block);
        }
        slowness.evidence()
    }

    #[test]
    fn a_heavier_tail_is_evidence_and_other_buckets_are_none() {
        let baseline = &[50, 30, 12, 3, 0];
        assert!(fed(&[1, 1, 1, 1, 1], baseline) > 1e3);
        assert!(fed(&[3, 1, 1, 0, 0], baseline) < 1.5);
        let mut slowness = Slowness::new(0.15, 0, 300_000);
        for second in 1..=60 {
            let canary = Latencies { upper_ms: vec![5.0], counts: vec![0, 5] };
            slowness.add(&Block {
                until_ms: second * 1000,
                canary,
                baseline: latencies(baseline),
                ..Block::default()
            });
        }
        assert!((slowness.evidence() - 1.0).abs() < 1e-9);
    }
}
