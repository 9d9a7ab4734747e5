//! Does one arm fail more often than is tolerated? For counts whose final number is not known beforehand.

use crate::mixture::Mixture;

/// Rates that are looked for, as multiples of the tolerated one, with their weights.
const EFFECTS: [(f64, f64); 6] =
    [(2.0, 0.25), (4.0, 0.25), (10.0, 0.2), (20.0, 0.12), (60.0, 0.1), (180.0, 0.08)];
/// No alternative is certain to fail: one success would refute it.
const HIGHEST: f64 = 0.99;

/// An e-process against "the rate of failure is at most `tolerated`".
///
/// For each rate `q > p0` the ratio `(q/p0)^x ((1-q)/(1-p0))^(n-x)` has expectation at most 1 under every
/// rate up to `p0` (A. Wald, *Sequential tests of statistical hypotheses*, 1945); [`Mixture`] averages.
/// Beside no living baseline there is nothing that could cancel a common cause: use it only then.
#[derive(Clone, Debug)]
pub struct OneArmTest {
    mixture: Mixture,
    ln_failure: Vec<f64>,
    ln_success: Vec<f64>,
}

impl OneArmTest {
    /// `tolerated` is cut to 0.0001 % … 90 %.
    pub fn new(tolerated: f64) -> Self {
        let p0 = tolerated.clamp(1e-6, 0.9);
        let rates = EFFECTS.map(|(factor, _)| (factor * p0).min(HIGHEST.max(f64::midpoint(p0, 1.0))));
        Self {
            mixture: Mixture::new(&EFFECTS.map(|(_, weight)| weight)),
            ln_failure: rates.iter().map(|q| (q / p0).ln()).collect(),
            ln_success: rates.iter().map(|q| (-q).ln_1p() - (-p0).ln_1p()).collect(),
        }
    }

    /// Places prior mass on an effect that begins now; see [`Mixture::start`].
    pub fn start(&mut self, mass: f64) {
        self.mixture.start(mass);
    }

    /// Takes `errors` of `n`. More errors than `n` count as `n`.
    pub fn update(&mut self, errors: u64, n: u64) {
        let errors = errors.min(n);
        let good = (n - errors) as f64;
        let (failure, success) = (&self.ln_failure, &self.ln_success);
        let ln = |of: &[f64], at: usize| of.get(at).copied().unwrap_or_default();
        self.mixture.update(|at| errors as f64 * ln(failure, at) + good * ln(success, at));
    }

    /// The evidence; 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.mixture.evidence()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// E[evidence] after `n` samples of rate `p`, over all sequences.
    fn expectation(p0: f64, p: f64, n: u32) -> f64 {
        (0_u32..1 << n)
            .map(|sequence| {
                let mut test = OneArmTest::new(p0);
                let mut probability = 1.0;
                for at in 0..n {
                    let failed = sequence >> at & 1 == 1;
                    test.start(0.3);
                    test.update(u64::from(failed), 1);
                    probability *= if failed { p } else { 1.0 - p };
                }
                probability * test.evidence()
            })
            .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn under_every_tolerated_rate_it_is_no_evidence(p0 in 0.001_f64..0.6, share in 0.0_f64..=1.0) {
            prop_assert!(expectation(p0, p0 * share, 8) <= 1.0 + 1e-9);
        }

        #[test]
        fn counts_may_come_in_bundles(p0 in 0.001_f64..0.2, counts in proptest::collection::vec((0_u64..4, 0_u64..4), 1..8)) {
            let (mut bundled, mut single) = (OneArmTest::new(p0), OneArmTest::new(p0));
            bundled.start(1.0);
            single.start(1.0);
            for (errors, good) in counts {
                bundled.update(errors, errors + good);
                (0..errors).for_each(|_| single.update(1, 1));
                (0..good).for_each(|_| single.update(0, 1));
            }
            prop_assert!((bundled.evidence() / single.evidence() - 1.0).abs() < 1e-9);
        }
    }
}
