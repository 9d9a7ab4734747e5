//! Is the canary slower than the baseline, by more than a margin?

use crate::mixture::Mixture;

/// Probabilities of "the canary is slower" that are looked for.
const SLOWER: [f64; 5] = [0.56, 0.62, 0.7, 0.8, 0.92];
/// Factors on the share of slow requests that are looked for.
const EXCESS: [f64; 4] = [1.5, 2.0, 3.0, 5.0];

/// An e-process on pairs of requests of the same moment, for a shift of all latencies.
///
/// With `D = 1` if the canary's latency exceeds the baseline's by more than the margin, the null
/// hypothesis "not slower by more than the margin" gives `P(D = 1) ≤ ½` whatever the distribution, and
/// `(2θ)^D (2(1-θ))^(1-D)` for `θ > ½` has expectation at most 1: the sign test, run sequentially.
#[derive(Clone, Debug)]
pub struct SignTest(Mixture);

impl SignTest {
    /// A test that has seen nothing.
    pub fn new() -> Self {
        Self(Mixture::new(&[1.0; SLOWER.len()]))
    }

    /// Places prior mass on an effect that begins now; see [`Mixture::start`].
    pub fn start(&mut self, mass: f64) {
        self.0.start(mass);
    }

    /// Takes pairs, `slower` of which have the canary above the baseline by more than the margin.
    pub fn update(&mut self, slower: u64, pairs: u64) {
        let slower = slower.min(pairs);
        let quicker = (pairs - slower) as f64;
        let term = |theta: f64| slower as f64 * (2.0 * theta).ln() + quicker * (2.0 * (1.0 - theta)).ln();
        let terms = SLOWER.map(term);
        self.0.update(|at| terms[at]);
    }

    /// The evidence; 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.0.evidence()
    }
}

impl Default for SignTest {
    fn default() -> Self {
        Self::new()
    }
}

/// An e-process on the numbers of requests above thresholds, for a heavier tail.
///
/// If a threshold was fixed before the block (for example as a quantile of the baseline's past), the
/// numbers of slow requests of both arms are counts like those of failures, and the same ratio applies;
/// see [`ln_likelihood_ratio`](crate::ln_likelihood_ratio). The canary's threshold is the baseline's times one
/// plus the margin. The evidence is the average over all thresholds.
#[derive(Clone, Debug)]
pub struct TailTest(Vec<Mixture>);

impl TailTest {
    /// A test with so many thresholds that has seen nothing.
    pub fn new(thresholds: usize) -> Self {
        Self(vec![Mixture::new(&[1.0; EXCESS.len()]); thresholds])
    }

    /// Places prior mass on an effect that begins now; see [`Mixture::start`].
    pub fn start(&mut self, mass: f64) {
        self.0.iter_mut().for_each(|mixture| mixture.start(mass));
    }

    /// Takes a block of `n` requests of the canary and `baseline_n` of the baseline: how many of each are
    /// slow, per threshold.
    ///
    /// Slow requests come together: one pause, and all requests of that moment wait. If the block is worth
    /// only `worth` independent requests of the canary, the ratio is taken to the power of `worth / n`,
    /// which leaves an e-process by Jensen's inequality.
    pub fn update(&mut self, slow: &[(u64, u64)], n: u64, baseline_n: u64, worth: f64) {
        if n == 0 || baseline_n == 0 {
            return;
        }
        let theta = n as f64 / (n + baseline_n) as f64;
        let power = (worth / n as f64).clamp(0.0, 1.0);
        // The logarithm of the ratio in `ln_likelihood_ratio`, the parts that are the same for all thresholds first.
        let ln_cost = EXCESS.map(|psi| power * (theta * (psi - 1.0)).ln_1p());
        let ln_effect = EXCESS.map(|psi| power * psi.ln());
        for (mixture, (slow, baseline_slow)) in self.0.iter_mut().zip(slow) {
            let both = slow + baseline_slow;
            if both > 0 {
                mixture.update(|at| *slow as f64 * ln_effect[at] - both as f64 * ln_cost[at]);
            }
        }
    }

    /// The evidence; 1 at the start.
    pub fn evidence(&self) -> f64 {
        let sum: f64 = self.0.iter().map(Mixture::evidence).sum();
        if self.0.is_empty() { 1.0 } else { sum / self.0.len() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binomial::upper_tail;
    use proptest::prelude::*;

    fn pmf(k: u64, n: u64, p: f64) -> f64 {
        upper_tail(k, n, p) - upper_tail(k + 1, n, p)
    }

    proptest! {
        #[test]
        fn pairs_that_are_no_slower_are_no_evidence(p in 0.0_f64..=0.5, pairs in 1_u64..12) {
            let expectation: f64 = (0..=pairs)
                .map(|slower| {
                    let mut test = SignTest::new();
                    test.start(1.0);
                    test.update(slower, pairs);
                    pmf(slower, pairs, p) * test.evidence()
                })
                .sum();
            prop_assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }

        /// Both arms with the same share of slow requests, over all outcomes of two binomials.
        #[test]
        fn equal_tails_are_no_evidence(
            p in 0.0_f64..=1.0, n in 1_u64..10, baseline_n in 1_u64..25, worth in 0.1_f64..12.0,
        ) {
            let mut expectation = 0.0;
            for slow in 0..=n {
                for baseline_slow in 0..=baseline_n {
                    let mut test = TailTest::new(1);
                    test.start(1.0);
                    test.update(&[(slow, baseline_slow)], n, baseline_n, worth);
                    expectation += pmf(slow, n, p) * pmf(baseline_slow, baseline_n, p) * test.evidence();
                }
            }
            prop_assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }
    }

    /// The parts that thresholds share are worked out once; the ratio is the same as that of failures.
    #[test]
    fn thresholds_are_averaged() {
        let mut test = TailTest::new(2);
        test.start(1.0);
        test.update(&[(2, 5), (0, 3)], 5, 95, 5.0);
        let one = |x: f64, m: f64| {
            let ratios = EXCESS.map(|psi| crate::ln_likelihood_ratio(psi, 0.05, x, m).exp());
            ratios.iter().sum::<f64>() / ratios.len() as f64
        };
        let expected = f64::midpoint(one(2.0, 7.0), one(0.0, 3.0));
        assert!((test.evidence() / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_slower_is_found() {
        let (mut signs, mut tail) = (SignTest::new(), TailTest::new(1));
        signs.start(1.0);
        tail.start(1.0);
        for _ in 0..20 {
            signs.update(4, 5);
            tail.update(&[(2, 9)], 5, 95, 5.0);
        }
        assert!(signs.evidence() > 1e4 && tail.evidence() > 1e4, "{} {}", signs.evidence(), tail.evidence());
    }
}
