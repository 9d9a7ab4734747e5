//! Rules about latency.

use super::Second;
use crate::shape::{self, BUCKETS};

/// Every `every_s` a quantile of the canary's latencies is held against a limit; rolled back when so many
/// looks have failed. Within a bucket the quantile is interpolated, as Prometheus does.
pub(super) fn quantile(
    seconds: &[Second],
    every_s: usize,
    quantile: f64,
    limit_ms: f64,
    failures: u32,
) -> Option<usize> {
    let mut failed = 0;
    for (at, window) in seconds.chunks_exact(every_s).enumerate() {
        let mut counts = [0_u32; BUCKETS];
        for second in window {
            counts.iter_mut().zip(&second.latencies[0]).for_each(|(sum, count)| *sum += count);
        }
        failed += u32::from(interpolated(&counts, quantile).is_some_and(|found_ms| found_ms > limit_ms));
        if failed >= failures {
            return Some((at + 1) * every_s);
        }
    }
    None
}

fn interpolated(counts: &[u32; BUCKETS], quantile: f64) -> Option<f64> {
    let total: u32 = counts.iter().sum();
    let wanted = quantile * f64::from(total);
    let (mut below, mut from_ms) = (0.0, 0.0);
    for (edge_ms, count) in shape::edges().iter().copied().zip(counts) {
        let count = f64::from(*count);
        if count > 0.0 && below + count >= wanted {
            return Some(from_ms + (edge_ms - from_ms) * (wanted - below) / count);
        }
        below += count;
        from_ms = edge_ms;
    }
    (total > 0).then_some(from_ms)
}

/// Bands around both distribution functions that hold at all times (S. R. Howard, A. Ramdas, *Sequential
/// estimation of quantiles*, Bernoulli 28 (2022)), each at 0.5 %: `0.85 √((ln(1 + ln t) + 9.783) / t)`.
pub(super) fn dkw(seconds: &[Second]) -> Option<usize> {
    let width = |t: f64| 0.85 * (((1.0 + t.ln()).ln() + 9.783) / t).sqrt();
    let mut sums = [[0_u32; BUCKETS]; 2];
    for (at, second) in seconds.iter().enumerate() {
        for (sum, more) in sums.iter_mut().zip(&second.latencies) {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        let [n, m] = sums.map(|counts| f64::from(counts.iter().sum::<u32>()));
        if n < 1.0 || m < 1.0 {
            continue;
        }
        let most = width(n) + width(m);
        let (mut below, mut baseline_below) = (0, 0);
        for (count, baseline_count) in sums[0].iter().zip(&sums[1]) {
            below += count;
            baseline_below += baseline_count;
            if f64::from(baseline_below) / m - f64::from(below) / n > most {
                return Some(at + 1);
            }
        }
    }
    None
}
