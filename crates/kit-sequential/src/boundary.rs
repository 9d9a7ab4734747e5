//! Roll back at the b-th failure: exact limits for a stage whose number of samples is known.

/// Up to so many samples the limits are refined step by step.
const REFINED_UP_TO: u32 = 400;
/// Early samples may spend more than their share: an error that is there from the start is the usual one.
const SPENDING: f64 = 1.0 / 3.0;
/// Halvings when a rate is looked for.
const HALVINGS: u32 = 40;

/// For each sample the number of failures at which to stop, such that an arm of the tolerated rate is
/// stopped with probability at most `alpha` over the whole stage.
///
/// The probability is not bounded but computed: with `f_n(s)` the probability of `s` failures after `n`
/// samples and no stop so far,
///
/// ```text
/// f_{n+1}(s) = f_n(s) (1-p) + f_n(s-1) p        what reaches s ≥ b_{n+1} stops
/// ```
///
/// The limits start from the spending function `α (n/N)^{1/3}` (K. K. G. Lan, D. L. DeMets, *Discrete
/// sequential boundaries for clinical trials*, Biometrika 70 (1983)) and are then lowered, latest first,
/// as far as `alpha` allows. Independent samples are assumed; see [`Boundary::for_blocks`] where not.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary {
    tolerated: f64,
    samples: u32,
    /// `until[k]`: up to this sample, `k + 1` failures suffice. Non-decreasing.
    until: Vec<u32>,
    attained: f64,
}

impl Boundary {
    /// Limits for `samples` samples.
    pub fn exact(samples: u32, tolerated: f64, alpha: f64) -> Self {
        let tolerated = tolerated.clamp(0.0, 1.0);
        let mut boundary =
            Self { tolerated, samples, until: spend(samples, tolerated, alpha), attained: 0.0 };
        if samples <= REFINED_UP_TO {
            boundary.refine(alpha);
        }
        boundary.attained = boundary.crossing(tolerated);
        boundary
    }

    /// Limits for blocks of `size` samples each, of which a block fails if any sample in it does. A block
    /// fails with probability at most `size · tolerated`, whatever its samples have to do with each other.
    pub fn for_blocks(blocks: u32, size: u32, tolerated: f64, alpha: f64) -> Self {
        Self::exact(blocks, (tolerated * f64::from(size)).min(1.0), alpha)
    }

    /// The number of failures at which to stop if it comes by sample `n` (from 1). `None`: at none.
    pub fn limit(&self, n: u32) -> Option<u32> {
        let at = self.until.partition_point(|until| *until < n);
        (at < self.until.len()).then(|| u32::try_from(at + 1).unwrap_or(u32::MAX))
    }

    /// The limits as a table for people: so many failures, if they come by this sample.
    pub fn steps(&self) -> Vec<(u32, u32)> {
        let mut steps: Vec<(u32, u32)> = Vec::new();
        for (failures, until) in (1..).zip(&self.until) {
            if *until > steps.last().map_or(0, |(_, last)| *last) {
                steps.push((failures, *until));
            }
        }
        steps
    }

    /// The exact probability with which an arm of the tolerated rate is stopped. At most `alpha`.
    pub fn attained(&self) -> f64 {
        self.attained
    }

    /// The exact probability with which an arm that fails at this rate is stopped.
    pub fn crossing(&self, rate: f64) -> f64 {
        crossing(&self.until, self.samples, rate)
    }

    /// The lowest rate of failure that is stopped with probability `power`. `None` if even 1 is not.
    pub fn detectable(&self, power: f64) -> Option<f64> {
        if self.crossing(1.0) < power {
            return None;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if self.crossing(middle) < power {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(high)
    }

    /// Lowers limits one after the other, the latest first, as far as `alpha` allows.
    fn refine(&mut self, alpha: f64) {
        for at in (0..self.until.len()).rev() {
            let most = self.until.get(at + 1).copied().unwrap_or(self.samples);
            let least = self.until[at];
            let (mut good, mut bad) = (least, most + 1);
            while good + 1 < bad {
                let middle = good.midpoint(bad);
                self.until[at] = middle;
                if crossing(&self.until, self.samples, self.tolerated) <= alpha {
                    good = middle;
                } else {
                    bad = middle;
                }
            }
            self.until[at] = good;
        }
    }
}

/// The limits that the spending function allows.
fn spend(samples: u32, rate: f64, alpha: f64) -> Vec<u32> {
    let mut until = Vec::new();
    let mut running = vec![1.0_f64];
    let mut stopped = 0.0;
    for n in 1..=samples {
        step(&mut running, rate);
        let allowed = alpha * (f64::from(n) / f64::from(samples)).powf(SPENDING);
        // What has until.len() failures or fewer goes on; more of them stop.
        while running.len() > until.len() + 1 {
            let over: f64 = running.iter().skip(until.len() + 1).sum();
            if stopped + over <= allowed {
                stopped += over;
                running.truncate(until.len() + 1);
            } else {
                until.push(n - 1);
            }
        }
    }
    until.push(samples);
    until
}

fn crossing(until: &[u32], samples: u32, rate: f64) -> f64 {
    let mut running = vec![1.0_f64];
    let mut stopped = 0.0;
    let mut limit = 0;
    for n in 1..=samples {
        while limit < until.len() && until[limit] < n {
            limit += 1;
        }
        if limit == until.len() {
            break;
        }
        step(&mut running, rate);
        if running.len() > limit + 1 {
            stopped += running.drain(limit + 1..).sum::<f64>();
        }
    }
    stopped
}

/// One sample more.
fn step(running: &mut Vec<f64>, rate: f64) {
    running.push(0.0);
    for s in (1..running.len()).rev() {
        running[s] = running[s] * (1.0 - rate) + running[s - 1] * rate;
    }
    running[0] *= 1.0 - rate;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_that_were_computed_by_other_means() {
        for (samples, least_failures, attained) in [(30, 2, 0.0099), (60, 2, 0.0085), (90, 2, 0.0085)] {
            let boundary = Boundary::exact(samples, 0.005, 0.01);
            assert_eq!(boundary.limit(1), Some(least_failures), "{boundary:?}");
            assert!(boundary.attained() <= 0.01 && boundary.attained() >= attained, "{boundary:?}");
        }
        // 2 failures of 30: 1 - 0.995^30 - 30 · 0.005 · 0.995^29.
        assert_eq!(Boundary::exact(30, 0.005, 0.01).steps(), [(2, 30)]);
    }

    /// The probability of a stop, over all sequences of failures.
    fn enumerated(boundary: &Boundary, samples: u32, rate: f64) -> f64 {
        (0_u32..1 << samples)
            .map(|sequence| {
                let mut failures = 0;
                let mut probability = 1.0;
                let mut stopped = false;
                for n in 1..=samples {
                    let failed = sequence >> (n - 1) & 1 == 1;
                    failures += u32::from(failed);
                    probability *= if failed { rate } else { 1.0 - rate };
                    stopped |= failed && boundary.limit(n).is_some_and(|limit| failures >= limit);
                }
                if stopped { probability } else { 0.0 }
            })
            .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_probability_is_that_of_enumeration(samples in 1_u32..13, tolerated in 0.001_f64..0.5, rate in 0.0_f64..=1.0) {
            let boundary = Boundary::exact(samples, tolerated, 0.05);
            prop_assert!((boundary.crossing(rate) - enumerated(&boundary, samples, rate)).abs() < 1e-12);
            prop_assert!(boundary.attained() <= 0.05);
        }

        #[test]
        fn steps_and_limits_agree(samples in 1_u32..200, tolerated in 0.001_f64..0.2) {
            let boundary = Boundary::exact(samples, tolerated, 0.01);
            for (failures, until) in boundary.steps() {
                prop_assert_eq!(boundary.limit(until), Some(failures));
            }
        }
    }

    /// Every stage of up to 360 samples: never above nominal, and no single step could be lowered further.
    #[test]
    fn alpha_is_never_exceeded_and_nothing_is_left_that_one_step_could_use() {
        for samples in 1..=360 {
            for tolerated in [0.001, 0.005, 0.01, 0.05] {
                let boundary = Boundary::exact(samples, tolerated, 0.01);
                assert!(boundary.attained() <= 0.01 + 1e-15, "{samples} {tolerated}");
                if boundary.attained() >= 0.008 {
                    continue;
                }
                for at in 0..boundary.until.len() {
                    let next = boundary.until.get(at + 1).copied().unwrap_or(samples);
                    if boundary.until[at] < next {
                        let mut lower = boundary.until.clone();
                        lower[at] += 1;
                        assert!(
                            crossing(&lower, samples, tolerated) > 0.01,
                            "{samples} {tolerated} {boundary:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_detectable_is_detected_with_that_power() {
        let boundary = Boundary::exact(300, 0.01, 0.003);
        let rate = boundary.detectable(0.9).unwrap();
        assert!((boundary.crossing(rate) - 0.9).abs() < 1e-9, "{rate}");
        assert_eq!(Boundary::exact(1, 0.5, 0.01).detectable(0.9), None);
        let blocks = Boundary::for_blocks(60, 5, 0.01, 0.003);
        assert!((blocks.tolerated - 0.05).abs() < 1e-15);
    }
}
