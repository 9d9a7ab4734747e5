//! Percentiles: exact ones of values that come in one by one, and upper limits of those of counts.

use crate::tick::Latencies;

/// Values in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Percentiles(Vec<f64>);

impl Percentiles {
    /// Takes one more value. What is not a number is no latency and is left out.
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_finite() {
            let at = self.0.partition_point(|known| *known <= value);
            self.0.insert(at, value);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The smallest value that at least `percent` of all values do not exceed (nearest rank).
    pub(crate) fn at(&self, percent: u32) -> Option<f64> {
        let rank = (self.0.len() * percent as usize).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

/// The upper limit of the bucket that holds the percentile: it is at most this. `None` without counts, or
/// if it lies in the last bucket, which has no limit.
pub(crate) fn of_counts(latencies: &Latencies, percent: u32) -> Option<f64> {
    let total: u64 = latencies.counts.iter().sum();
    let rank = (total * u64::from(percent)).div_ceil(100);
    let mut below = 0;
    for (at, count) in latencies.counts.iter().enumerate() {
        below += count;
        if total > 0 && below >= rank {
            return latencies.upper_ms.get(at).copied();
        }
    }
    None
}

/// The percentile as Prometheus' `histogram_quantile` has it: evenly spread within its bucket; the limit of
/// the last bucket but one if it lies in the last, which has none. `None` without counts or limits.
pub(crate) fn estimate(latencies: &Latencies, percent: u32) -> Option<f64> {
    let total: u64 = latencies.counts.iter().sum();
    let rank = total as f64 * f64::from(percent) / 100.0;
    let mut below = 0.0;
    let mut lower_ms = 0.0;
    for (count, upper_ms) in latencies.counts.iter().zip(&latencies.upper_ms) {
        let count = *count as f64;
        if total > 0 && count > 0.0 && below + count >= rank {
            return Some(lower_ms + (upper_ms - lower_ms) * (rank - below) / count);
        }
        below += count;
        lower_ms = *upper_ms;
    }
    (total > 0 && !latencies.upper_ms.is_empty()).then_some(lower_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut percentiles = Percentiles::default();
        assert_eq!(percentiles.at(50), None);
        for value in (1..=20).rev() {
            percentiles.add(f64::from(value));
        }
        percentiles.add(f64::NAN);
        assert_eq!(percentiles.count(), 20);
        for (percent, value) in [(1, 1.0), (50, 10.0), (95, 19.0), (99, 20.0), (100, 20.0)] {
            assert_eq!(percentiles.at(percent), Some(value), "{percent}");
        }
    }

    #[test]
    fn of_counts_the_limit_of_the_bucket_is_known() {
        let latencies = Latencies { upper_ms: vec![10.0, 50.0], counts: vec![90, 8, 2] };
        for (percent, limit_ms) in [(50, Some(10.0)), (90, Some(10.0)), (95, Some(50.0)), (99, None)] {
            assert_eq!(of_counts(&latencies, percent), limit_ms, "{percent}");
        }
        assert_eq!(of_counts(&Latencies::default(), 50), None);
        for (percent, value_ms) in [(45, Some(5.0)), (90, Some(10.0)), (94, Some(30.0)), (99, Some(50.0))] {
            assert_eq!(estimate(&latencies, percent), value_ms, "{percent}");
        }
        assert_eq!(estimate(&Latencies::default(), 50), None);
    }
}
