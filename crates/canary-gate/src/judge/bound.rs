//! How bad the canary could be all the same.

/// What was not ruled out is bounded with this probability.
const MISS: f64 = 0.05;
/// Halvings of [0, 1]: well below the six digits that are kept.
const HALVINGS: u32 = 60;
/// Terms below this share of the largest one change nothing.
const NEGLIGIBLE: f64 = 1e-18;

/// The exact (Clopper–Pearson) one-sided upper 95 % bound on an error rate, after `errors` of `n`
/// samples: the rate at which so few errors would be seen only once in twenty times. 0 to 1, rounded
/// up to six digits; `None` without samples.
pub fn upper_bound(errors: u64, n: u64) -> Option<f64> {
    if n == 0 || errors > n {
        return None;
    }
    if errors == n {
        return Some(1.0);
    }
    let log_choose = log_choose(n, errors);
    let (mut low, mut high) = (errors as f64 / n as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if log_cdf(errors, n, middle, log_choose) > MISS.ln() {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((high * 1e6).ceil() / 1e6)
}

/// ln C(n, k).
fn log_choose(n: u64, k: u64) -> f64 {
    (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum()
}

/// ln P(X ≤ k) for X ~ Binomial(n, p) and p ≥ k/n: there the terms only fall from k downwards.
fn log_cdf(k: u64, n: u64, p: f64, log_choose: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    let odds = (1.0 - p) / p;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=k).rev() {
        term *= i as f64 / (n - i + 1) as f64 * odds;
        sum += term;
        if term < NEGLIGIBLE {
            break;
        }
    }
    log_choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p() + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        // 1 - 0.05^(1/n) without errors; the others from the quantiles of the beta distribution.
        for (errors, n, bound) in [
            (0, 30, 0.095_034),
            (0, 300, 0.009_936),
            (0, 1500, 0.001_995),
            (0, 1, 0.95),
            (1, 10, 0.394_163),
            (5, 100, 0.102_253),
            (10, 10, 1.0),
        ] {
            let found = upper_bound(errors, n).unwrap();
            assert!((found - bound).abs() < 2e-6, "{errors} of {n}: {found}, not {bound}");
        }
        assert_eq!(upper_bound(0, 0), None);
        assert_eq!(upper_bound(2, 1), None);
    }

    /// P(X ≤ k) summed term by term, another way round; too small numbers vanish for large n.
    fn cdf(k: u64, n: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(i32::try_from(n).unwrap());
        let mut sum = term;
        for i in 0..k {
            term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
            sum += term;
        }
        sum
    }

    proptest! {
        #[test]
        fn the_bound_is_where_one_in_twenty_sees_so_little(n in 1_u64..80, share in 0.0_f64..1.0) {
            let errors = ((n as f64) * share * 0.9) as u64;
            let bound = upper_bound(errors, n).unwrap();
            prop_assert!(bound >= errors as f64 / n as f64 && bound <= 1.0);
            if bound < 1.0 {
                prop_assert!((cdf(errors, n, bound) - MISS).abs() < 1e-3, "{}", cdf(errors, n, bound));
            }
        }

        #[test]
        fn large_counts_neither_overflow_nor_hang(n in 1_u64..2_000_000, share in 0.0_f64..1.0) {
            let errors = (n as f64 * share * share * share * share) as u64;
            let bound = upper_bound(errors, n).unwrap();
            prop_assert!(bound.is_finite() && bound >= errors as f64 / n as f64);
        }
    }
}
