//! Tests that may be looked at all the time.

use super::Second;

/// GrowthBook's safe rollouts use this level and this tuning unless told otherwise.
const ALPHA: f64 = 0.05;
const TUNING: f64 = 5000.0;

/// The one-sided asymptotic confidence sequence of I. Waudby-Smith et al. (arXiv 2103.06476, equations 134
/// and 161) for the difference of two error rates, looked at every second. Where a variance is 0 there is no
/// answer, as in `gbstats`.
pub(super) fn growthbook(seconds: &[Second]) -> Option<usize> {
    let ln = -2.0 * (2.0 * ALPHA).ln();
    let rho2 = (ln + (ln + 1.0).ln()) / TUNING;
    let (mut x, mut n, mut y, mut m) = (0, 0, 0, 0);
    for (at, second) in seconds.iter().enumerate() {
        x += second.errors;
        n += second.requests;
        y += second.baseline_errors;
        m += second.baseline_requests;
        if n == 0 || m == 0 {
            continue;
        }
        let (p, q) = (x as f64 / n as f64, y as f64 / m as f64);
        let variance = p * (1.0 - p) / n as f64 + q * (1.0 - q) / m as f64;
        let all = (n + m) as f64;
        let spread = all * rho2 + 1.0;
        let width = (variance * all * 2.0 * spread / (all * all * rho2)
            * (1.0 + spread.sqrt() / (2.0 * ALPHA)).ln())
        .sqrt();
        if variance > 0.0 && p - q > width {
            return Some(at + 1);
        }
    }
    None
}

/// The test that knows both rates and the moment of the onset: no other with its alpha is quicker.
pub(crate) fn oracle(seconds: &[Second], from_s: usize, noise: f64, rate: f64, alpha: f64) -> Option<usize> {
    let (bad, good) =
        ((rate / noise).ln(), if rate < 1.0 { ((1.0 - rate) / (1.0 - noise)).ln() } else { -1e9 });
    let mut sum = 0.0;
    for (at, second) in seconds.iter().enumerate().skip(from_s) {
        let successes = (second.requests - second.errors) as f64;
        sum += second.errors as f64 * bad + if successes > 0.0 { successes * good } else { 0.0 };
        if sum >= (1.0 / alpha).ln() {
            return Some(at + 1);
        }
    }
    None
}
