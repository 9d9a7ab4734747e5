//! May the canary pass before its time is up?

/// Failure rates that a good canary may have, as shares of the one that is just not acceptable.
const GOOD: [f64; 4] = [0.02, 0.1, 0.25, 0.5];

/// An e-process against "the rate of failure is at least `limit`": the mirror image of
/// [`OneArmTest`](crate::OneArmTest).
///
/// For `q < limit` the ratio `(q/limit)^x ((1-q)/(1-limit))^(n-x)` has expectation at most 1 under every rate
/// of `limit` and above, so a canary that is not acceptable passes with probability at most `beta` over
/// all looks. It says nothing about errors that begin later: go on watching.
#[derive(Clone, Debug)]
pub struct NonInferiority {
    ln_failure: [f64; GOOD.len()],
    ln_success: [f64; GOOD.len()],
    ln_evidence: [f64; GOOD.len()],
}

impl NonInferiority {
    /// `limit` is cut to 0.0001 % … 99 %.
    pub fn new(limit: f64) -> Self {
        let limit = limit.clamp(1e-6, 0.99);
        Self {
            ln_failure: GOOD.map(f64::ln),
            ln_success: GOOD.map(|share| (-share * limit).ln_1p() - (-limit).ln_1p()),
            ln_evidence: [0.0; GOOD.len()],
        }
    }

    /// Takes `errors` of `n`.
    pub fn update(&mut self, errors: u64, n: u64) {
        let errors = errors.min(n);
        for (at, ln) in self.ln_evidence.iter_mut().enumerate() {
            *ln += errors as f64 * self.ln_failure[at] + (n - errors) as f64 * self.ln_success[at];
        }
    }

    /// The evidence that the rate is below the limit; 1 at the start. Pass at `1 / beta`.
    pub fn evidence(&self) -> f64 {
        self.ln_evidence.iter().map(|ln| ln.min(600.0).exp()).sum::<f64>() / GOOD.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::binomial::upper_tail;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn at_the_limit_and_above_it_is_no_evidence(limit in 0.001_f64..0.5, above in 0.0_f64..=1.0, n in 1_u64..60) {
            let p = limit + (1.0 - limit) * above;
            let expectation: f64 = (0..=n)
                .map(|errors| {
                    let mut test = NonInferiority::new(limit);
                    test.update(errors, n);
                    (upper_tail(errors, n, p) - upper_tail(errors + 1, n, p)) * test.evidence()
                })
                .sum();
            prop_assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }
    }

    #[test]
    fn a_canary_just_at_the_limit_seldom_passes() {
        let mut random = Random::new(1);
        let mut passed = 0;
        for _ in 0..2000 {
            let mut test = NonInferiority::new(0.01);
            let one = |random: &mut Random| u64::from(random.chance(0.01));
            passed += u32::from((0..3000).any(|_| {
                test.update(one(&mut random), 1);
                test.evidence() >= 20.0
            }));
        }
        assert!(upper_tail(u64::from(passed), 2000, 0.05) > 1e-4, "{passed} of 2000 at beta = 5 %");
    }
}
