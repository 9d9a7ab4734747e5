//! Does the canary get the traffic that it should?

/// More evidence than this is as good as infinite.
const LN_MOST: f64 = 600.0;
/// Parts of the tolerated share that are looked for; the last is close to nothing.
const PARTS: [f64; 3] = [0.5, 0.1, 0.001];

/// An e-process against "the canary gets at least `least` of the requests".
///
/// Requests of both arms are counted, not asked for: a canary that is healthy because nobody reaches it
/// must not pass. The ratio is that of a binomial with a part of the share against the share itself.
/// Requests of one user come together, so `clump` of them count as one.
#[derive(Clone, Debug)]
pub struct ShareTest {
    ln_evidence: [f64; PARTS.len()],
    ln_canary: [f64; PARTS.len()],
    ln_baseline: [f64; PARTS.len()],
}

impl ShareTest {
    /// `least` is the share that is still tolerated, 0 to 1; `clump` at least 1.
    pub fn new(least: f64, clump: u32) -> Self {
        let least = least.clamp(1e-6, 1.0 - 1e-6);
        let clump = f64::from(clump.max(1));
        Self {
            ln_evidence: [0.0; PARTS.len()],
            ln_canary: PARTS.map(|part| part.ln() / clump),
            ln_baseline: PARTS.map(|part| ((-part * least).ln_1p() - (-least).ln_1p()) / clump),
        }
    }

    /// Takes the requests of one block.
    pub fn update(&mut self, canary: u64, baseline: u64) {
        for (at, ln) in self.ln_evidence.iter_mut().enumerate() {
            *ln += canary as f64 * self.ln_canary[at] + baseline as f64 * self.ln_baseline[at];
        }
    }

    /// The evidence that the share is smaller; 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.ln_evidence.iter().map(|ln| ln.min(LN_MOST).exp()).sum::<f64>() / PARTS.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binomial::upper_tail;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_share_that_is_reached_is_no_evidence(
            least in 0.001_f64..0.9, above in 0.0_f64..=1.0, n in 1_u64..80, clump in 1_u32..6,
        ) {
            let p = least + (1.0 - least) * above;
            let expectation: f64 = (0..=n)
                .map(|canary| {
                    let mut test = ShareTest::new(least, clump);
                    test.update(canary, n - canary);
                    (upper_tail(canary, n, p) - upper_tail(canary + 1, n, p)) * test.evidence()
                })
                .sum();
            prop_assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }
    }

    #[test]
    fn no_traffic_is_found() {
        let mut test = ShareTest::new(0.025, 5);
        for _ in 0..60 {
            test.update(0, 95);
        }
        assert!(test.evidence() > 1e6, "{}", test.evidence());
    }
}
