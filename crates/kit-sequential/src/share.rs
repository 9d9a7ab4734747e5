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
    least: f64,
    process: Process,
}

impl ShareTest {
    /// `least` is the share that is still tolerated, 0 to 1; `clump` at least 1.
    pub fn new(least: f64, clump: u32) -> Self {
        Self { least, process: Process::new(clump) }
    }

    /// Takes the requests of one block.
    pub fn update(&mut self, canary: u64, baseline: u64) {
        self.process.update(self.least, canary, baseline);
    }

    /// The evidence that the share is smaller; 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.process.evidence()
    }
}

/// An e-process against "the canary has at least `1 - fall` times as many events per request as the
/// baseline": for what should not fall silently, as logins or orders.
///
/// Given the requests of both arms in a block and the number of events in it, the events that are the
/// canary's are binomial with its share of the requests, where an event is as likely in either arm. So what
/// hits both arms cancels. `clump` events may have one cause.
#[derive(Clone, Debug)]
pub struct FallTest {
    kept: f64,
    process: Process,
}

impl FallTest {
    /// `fall` is tolerated: 0 to below 1; `clump` at least 1.
    pub fn new(fall: f64, clump: u32) -> Self {
        Self { kept: (1.0 - fall).clamp(1e-6, 1.0), process: Process::new(clump) }
    }

    /// Takes one block: requests and events of the canary, requests and events of the baseline. A block in
    /// which an arm had no request says nothing of it.
    pub fn update(&mut self, requests: u64, events: u64, baseline_requests: u64, baseline_events: u64) {
        if requests == 0 || baseline_requests == 0 {
            return;
        }
        let expected = requests as f64 * self.kept;
        self.process.update(expected / (expected + baseline_requests as f64), events, baseline_events);
    }

    /// The evidence that the canary has fewer; 1 at the start.
    pub fn evidence(&self) -> f64 {
        self.process.evidence()
    }

    /// About so many events must a canary that is no worse than tolerated be due, until one that has only
    /// `kept` (0 to below 1) of them is found: the evidence grows by its mean until it is `1 / alpha`. `share`
    /// is the canary's of the requests. `None` if the evidence does not grow.
    ///
    /// Source: A. Wald, *Sequential Analysis* (1947), for the ratio that fits best.
    pub fn events_until_found(&self, kept: f64, share: f64, alpha: f64) -> Option<f64> {
        let expected = share * self.kept;
        let least = expected / (expected + 1.0 - share);
        let actual = expected * kept / (expected * kept + 1.0 - share);
        // Per event of either arm.
        let growth = |part: f64| {
            let (canary, baseline) = factors(part, least, self.process.clump);
            actual * canary + (1.0 - actual) * baseline
        };
        let best = PARTS.iter().map(|part| growth(*part)).fold(0.0, f64::max);
        let events = (PARTS.len() as f64 / alpha).ln() / best;
        (best > 0.0).then_some(events * expected / (expected * kept + 1.0 - share))
    }
}

/// Events of two arms against the share that the first should have.
#[derive(Clone, Debug)]
struct Process {
    clump: f64,
    ln_evidence: [f64; PARTS.len()],
}

impl Process {
    fn new(clump: u32) -> Self {
        Self { clump: f64::from(clump.max(1)), ln_evidence: [0.0; PARTS.len()] }
    }

    fn update(&mut self, least: f64, canary: u64, baseline: u64) {
        for (ln, part) in self.ln_evidence.iter_mut().zip(PARTS) {
            let (of_canary, of_baseline) = factors(part, least, self.clump);
            *ln += canary as f64 * of_canary + baseline as f64 * of_baseline;
        }
    }

    fn evidence(&self) -> f64 {
        self.ln_evidence.iter().map(|ln| ln.min(LN_MOST).exp()).sum::<f64>() / PARTS.len() as f64
    }
}

/// What one event of the canary, and one of the baseline, adds to the logarithm of the evidence.
fn factors(part: f64, least: f64, clump: f64) -> (f64, f64) {
    let least = least.clamp(1e-6, 1.0 - 1e-6);
    (part.ln() / clump, ((-part * least).ln_1p() - (-least).ln_1p()) / clump)
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

    proptest! {
        /// Whatever the canary's share of the requests: given the events, their expectation is at most 1.
        #[test]
        fn as_many_events_as_are_tolerated_are_no_evidence(
            requests in 1_u64..50, baseline in 1_u64..500, fall in 0.0_f64..0.9, above in 1.0_f64..5.0, n in 1_u64..60,
        ) {
            let due = requests as f64 * (1.0 - fall) * above;
            let p = due / (due + baseline as f64);
            let expectation: f64 = (0..=n)
                .map(|events| {
                    let mut test = FallTest::new(fall, 1);
                    test.update(requests, events, baseline, n - events);
                    (upper_tail(events, n, p) - upper_tail(events + 1, n, p)) * test.evidence()
                })
                .sum();
            prop_assert!(expectation <= 1.0 + 1e-9, "{expectation}");
        }
    }

    /// A canary that loses every event, or half of them, is found after about as many as were forecast.
    #[test]
    fn a_fall_is_found_after_about_as_many_events_as_forecast() {
        let (alpha, share) = (0.001, 0.05);
        for (kept, runs) in [(0.0, 400), (0.3, 400)] {
            let forecast = FallTest::new(0.2, 1).events_until_found(kept, share, alpha).unwrap();
            let mut sum = 0.0;
            for seed in 0..runs {
                let mut random = crate::Random::new(seed);
                let mut test = FallTest::new(0.2, 1);
                let mut due = 0.0;
                while test.evidence() * alpha < 1.0 {
                    // 5 requests of the canary and 95 of the baseline, of which every tenth is an event.
                    let events = random.binomial(5, 0.1 * 0.8 * kept);
                    test.update(5, events, 95, random.binomial(95, 0.1));
                    due += 5.0 * 0.1 * 0.8;
                }
                sum += due;
            }
            let mean = sum / runs as f64;
            assert!((mean / forecast - 1.0).abs() < 0.25, "{kept}: {mean}, forecast {forecast}");
        }
        assert_eq!(FallTest::new(0.2, 1).events_until_found(1.0, share, alpha), None);
    }

    #[test]
    fn a_block_without_requests_says_nothing() {
        let mut test = FallTest::new(0.2, 1);
        test.update(0, 0, 500, 50);
        test.update(5, 0, 0, 0);
        assert!((test.evidence() - 1.0).abs() < 1e-12, "{}", test.evidence());
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
