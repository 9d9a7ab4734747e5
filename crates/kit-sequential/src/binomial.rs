//! The binomial distribution: tails and the exact bounds of Clopper and Pearson.

/// Halvings of [0, 1]: beyond the precision of an `f64`.
const HALVINGS: u32 = 60;
/// Terms below this share of the sum change nothing.
const NEGLIGIBLE: f64 = 1e-18;
/// From here on Stirling's series with four terms is exact to the last digits.
const STIRLING_FROM: u64 = 16;

/// ln n!
pub(crate) fn ln_factorial(n: u64) -> f64 {
    if n < STIRLING_FROM {
        return (2..=n).map(|i| i as f64).product::<f64>().ln();
    }
    let x = n as f64;
    let series = 1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * x * x)) / (x * x)) / (x * x);
    (x + 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series / x
}

/// ln P(X = k) for X ~ Binomial(n, p), 0 < p < 1.
fn ln_pmf(k: u64, n: u64, p: f64) -> f64 {
    let ln_choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    ln_choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()
}

/// Sum of the terms k, k+1, … up to n, in units of the term k; meant for k at or above the mode.
fn sum_upwards(k: u64, n: u64, p: f64) -> f64 {
    let odds = p / (1.0 - p);
    let (mut term, mut sum) = (1.0, 1.0);
    for i in k..n {
        term *= (n - i) as f64 / (i + 1) as f64 * odds;
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    sum
}

/// P(X ≥ k) for X ~ Binomial(n, p). `p` outside [0, 1] counts as the nearer end.
pub fn upper_tail(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    // From the term at the border, the sum runs away from the mode, where terms only fall.
    if k as f64 >= n as f64 * p {
        (ln_pmf(k, n, p) + sum_upwards(k, n, p).ln()).exp().min(1.0)
    } else {
        let below = ln_pmf(k - 1, n, p) + sum_upwards(n - (k - 1), n, 1.0 - p).ln();
        (1.0 - below.exp()).max(0.0)
    }
}

/// P(X ≤ k) for X ~ Binomial(n, p).
pub fn lower_tail(k: u64, n: u64, p: f64) -> f64 {
    if k >= n { 1.0 } else { upper_tail(n - k, n, 1.0 - p) }
}

/// The exact one-sided upper bound on a rate, after `errors` of `n` independent samples: the rate at
/// which so few errors are seen only with probability `1 - confidence`. `None` without samples.
///
/// C. J. Clopper, E. S. Pearson, *The use of confidence or fiducial limits illustrated in the case of
/// the binomial*, Biometrika 26 (1934).
pub fn upper_bound(errors: u64, n: u64, confidence: f64) -> Option<f64> {
    if n == 0 || errors > n {
        return None;
    }
    if errors == n {
        return Some(1.0);
    }
    let miss = 1.0 - confidence;
    let (mut low, mut high) = (errors as f64 / n as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if lower_tail(errors, n, middle) > miss {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// The exact one-sided lower bound on a rate: the mirror image of [`upper_bound`].
pub fn lower_bound(errors: u64, n: u64, confidence: f64) -> Option<f64> {
    let good = n.checked_sub(errors)?;
    upper_bound(good, n, confidence).map(|bound| 1.0 - bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// P(X ≥ k), term by term from Pascal's recursion: another way round, for small n.
    fn oracle(k: u64, n: u64, p: f64) -> f64 {
        let mut row = vec![1.0];
        for _ in 0..n {
            let mut next = vec![0.0; row.len() + 1];
            for (i, mass) in row.iter().enumerate() {
                next[i] += mass * (1.0 - p);
                next[i + 1] += mass * p;
            }
            row = next;
        }
        row.iter().skip(usize::try_from(k).unwrap()).sum()
    }

    #[test]
    fn factorials() {
        let mut sum = 0.0;
        for n in 1..3000_u64 {
            sum += (n as f64).ln();
            assert!((ln_factorial(n) - sum).abs() <= 1e-11 * sum.max(1.0), "{n}");
        }
    }

    #[test]
    fn known_bounds() {
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
            let found = upper_bound(errors, n, 0.95).unwrap();
            assert!((found - bound).abs() < 2e-6, "{errors} of {n}: {found}, not {bound}");
        }
        assert_eq!(upper_bound(0, 0, 0.95), None);
        assert_eq!(upper_bound(2, 1, 0.95), None);
        assert_eq!(lower_bound(0, 10, 0.95), Some(0.0));
        assert_eq!(lower_bound(2, 1, 0.95), None);
    }

    proptest! {
        #[test]
        fn tails_equal_the_oracle(n in 0_u64..120, share in 0.0_f64..1.2, p in 0.0_f64..=1.0) {
            let k = ((n as f64) * share) as u64;
            prop_assert!((upper_tail(k, n, p) - oracle(k, n, p)).abs() < 1e-12);
            let below = 1.0 - oracle(k + 1, n, p);
            prop_assert!((lower_tail(k, n, p) - below).abs() < 1e-12);
        }

        #[test]
        fn small_tails_keep_their_digits(n in 1_u64..100, p in 1e-6_f64..0.01) {
            let (k, exact) = (n.div_ceil(2) + 1, oracle(n.div_ceil(2) + 1, n, p));
            prop_assert!(exact == 0.0 || (upper_tail(k, n, p) / exact - 1.0).abs() < 1e-9);
        }

        #[test]
        fn bounds_are_where_so_little_is_seen_seldom(n in 1_u64..400, share in 0.0_f64..1.0, miss in 0.001_f64..0.2) {
            let errors = ((n as f64) * share * 0.99) as u64;
            let bound = upper_bound(errors, n, 1.0 - miss).unwrap();
            prop_assert!(bound >= errors as f64 / n as f64);
            prop_assert!((oracle(errors + 1, n, bound) - (1.0 - miss)).abs() < 1e-9);
        }

        #[test]
        fn large_counts_neither_overflow_nor_hang(n in 1_u64..20_000_000, share in 0.0_f64..1.0) {
            let errors = (n as f64 * share * share * share * share) as u64;
            let bound = upper_bound(errors, n, 0.95).unwrap();
            prop_assert!(bound.is_finite() && bound >= errors as f64 / n as f64);
        }
    }
}
