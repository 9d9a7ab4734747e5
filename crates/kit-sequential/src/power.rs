//! What a test could have seen: simulated, the same every time.

use crate::one_arm::OneArmTest;
use crate::random::Random;
use crate::rate::{RateSettings, RateTest, TwoArms};

/// Runs per rate. The standard error at 90 % is below one half of a point.
const RUNS: u64 = 4000;
/// Runs while the rate is only being narrowed down.
const COARSE_RUNS: u64 = 600;
/// A stage with more failures of the baseline than this is simulated less often.
const USUAL_FAILURES: f64 = 400.0;
const FEWEST_RUNS: u64 = 300;
/// If none of these is found, none is.
const HIGH: [f64; 4] = [1.0, 0.9, 0.7, 0.5];
const COARSE_HALVINGS: u32 = 7;
const FINE_HALVINGS: u32 = 6;
const ALONE_HALVINGS: u32 = 14;
/// A test of one arm is simulated in at most so many blocks.
const MOST_BLOCKS: u64 = 1000;
const ALONE_RUNS: u64 = 400;
/// Prior mass on late starts in it.
const SPREAD: f64 = 0.4;
/// From here on a normal distribution stands for the exact one.
const MANY_FAILURES: u64 = 60;
const MANY_ARRIVE: f64 = 12.0;
/// Any constant: it only has to stay the same.
const SEED: u64 = 0x5EED_0F00_D15C_0DE5;

/// The lowest rate of failure that a [`OneArmTest`] finds with probability `power`, in so many blocks of
/// `n` requests each, of which `clump` failures count as one. `None` if not even 1 is found.
pub fn detectable_alone(
    test: &OneArmTest,
    alpha: f64,
    blocks: u64,
    n: f64,
    clump: u32,
    power: f64,
) -> Option<f64> {
    // Coarser blocks in a long stage: what decides is the number of requests.
    let merged = blocks.clamp(1, MOST_BLOCKS);
    let n = (n * blocks as f64 / merged as f64) as u64;
    let found = |rate: f64| {
        let one = |run: &u64| {
            let mut random = Random::new(SEED ^ (run << 20));
            let mut test = test.clone();
            (0..merged).any(|_| {
                let errors = random.binomial(n, rate);
                test.start(SPREAD / merged as f64);
                test.update(errors.div_ceil(u64::from(clump.max(1))), n);
                test.evidence() * alpha >= 1.0
            })
        };
        (0..ALONE_RUNS).filter(one).count() as f64 / ALONE_RUNS as f64
    };
    if n == 0 || found(1.0) < power {
        return None;
    }
    let (mut low, mut high) = (1e-6_f64, 1.0_f64);
    for _ in 0..ALONE_HALVINGS {
        let middle = (low * high).sqrt();
        if found(middle) < power {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// How the requests of a block come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// The same number in every block: they are sent on purpose.
    Fixed,
    /// Their number is Poisson distributed: others send them.
    Random,
}

/// A stage as a test of rates meets it: blocks of equal size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scene {
    /// What the test goes by.
    pub settings: RateSettings,
    /// Blocks in the stage.
    pub blocks: u64,
    /// Requests of the canary per block, on average.
    pub requests: f64,
    /// Requests of the baseline per block, on average.
    pub baseline_requests: f64,
    /// Rate of failure of the baseline, 0 to 1.
    pub baseline_rate: f64,
    /// Of how many failures of the baseline the rate was worked out; `None`: it is known. The fewer there
    /// were, the more the rate of the next stage may differ.
    pub baseline_failures: Option<u64>,
    /// How the requests come.
    pub arrivals: Arrivals,
    /// Prior mass on an effect that is there from the start; the rest is spread evenly.
    pub first: f64,
}

/// The probability that a canary of this rate of failure, from start to end, is found.
pub fn detection(scene: &Scene, rate: f64) -> f64 {
    simulate(scene, rate, RUNS)
}

/// The lowest rate of failure that is found with probability `power`. `None` if none is.
pub fn detectable(scene: &Scene, power: f64) -> Option<f64> {
    // A canary that only fails is not the easiest to find: its failures are one long clump.
    let found = HIGH.into_iter().find(|rate| simulate(scene, *rate, COARSE_RUNS) >= power)?;
    let mut bounds = (scene.baseline_rate.min(found), found);
    let mut narrow = |halvings, runs| {
        for _ in 0..halvings {
            // Rates are compared by their ratio: the small ones matter.
            let middle = (bounds.0.max(1e-7) * bounds.1).sqrt();
            if simulate(scene, middle, runs) < power {
                bounds.0 = middle;
            } else {
                bounds.1 = middle;
            }
        }
        // The coarse runs may have been lucky.
        bounds = (bounds.0 / 1.1, (bounds.1 * 1.1).min(1.0));
    };
    narrow(COARSE_HALVINGS, COARSE_RUNS);
    narrow(FINE_HALVINGS, RUNS);
    Some((bounds.1 / 1.1).min(1.0))
}

fn simulate(scene: &Scene, rate: f64, runs: u64) -> f64 {
    // Where failures abound, a run takes long and is soon decided.
    let failures = scene.blocks as f64 * scene.baseline_requests * scene.baseline_rate;
    let runs = runs.min(((runs as f64 * USUAL_FAILURES / failures) as u64).max(FEWEST_RUNS));
    let found = (0..runs).filter(|run| found(scene, rate, &mut Random::new(SEED ^ (run << 20)))).count();
    found as f64 / runs as f64
}

/// One stage. Blocks without a failure say nothing to the test, so they are skipped all at once.
fn found(scene: &Scene, rate: f64, random: &mut Random) -> bool {
    let scene = &scene.with_a_rate(random);
    let mut test = RateTest::new(scene.settings);
    test.start(scene.first);
    let mass = (1.0 - scene.first) / scene.blocks as f64;
    let quiet = scene.quiet(scene.requests, rate);
    let baseline_quiet = scene.quiet(scene.baseline_requests, scene.baseline_rate);
    let mut at = random.geometric(1.0 - quiet * baseline_quiet);
    let (mut started, mut passed) = (0, 0);
    let mut looks = crate::rate::LOOKS_AT.iter().peekable();
    loop {
        while let Some((_, share)) = looks.next_if(|(when, _)| at as f64 >= when * scene.blocks as f64) {
            test.look(*share);
            if test.is_proof() {
                return true;
            }
        }
        if at >= scene.blocks {
            return false;
        }
        test.start(mass * (at - started) as f64);
        test.pass(at - passed);
        (started, passed) = (at, at + 1);
        test.update(draw(scene, rate, (quiet, baseline_quiet), random));
        if test.is_proof() {
            return true;
        }
        at = at.saturating_add(1).saturating_add(random.geometric(1.0 - quiet * baseline_quiet));
    }
}

impl Scene {
    /// With a rate of the baseline as likely as what was seen of it: a Gamma distribution of shape `failures +
    /// ½` (the posterior of a Poisson mean under Jeffreys' prior) whose mean is the rate.
    fn with_a_rate(self, random: &mut Random) -> Self {
        let Some(failures) = self.baseline_failures else { return self };
        let shape = failures as f64 + 0.5;
        let gamma = if failures > MANY_FAILURES {
            (shape + shape.sqrt() * random.normal()).max(0.0)
        } else {
            (0..failures).map(|_| -random.uniform().ln()).sum::<f64>() + random.normal().powi(2) / 2.0
        };
        Self { baseline_rate: (self.baseline_rate * gamma / shape).min(1.0), ..self }
    }

    /// The probability that of `n` requests, on average, none fails.
    fn quiet(&self, n: f64, p: f64) -> f64 {
        match self.arrivals {
            Arrivals::Random => (-n * p).exp(),
            Arrivals::Fixed if p >= 1.0 => 0.0,
            Arrivals::Fixed => (n * (-p).ln_1p()).exp(),
        }
    }

    /// Failures and requests of an arm in a block, given that one fails, or not.
    fn arm(&self, n: f64, p: f64, fails: bool, random: &mut Random) -> (u64, u64) {
        match self.arrivals {
            Arrivals::Fixed => {
                let n = (n as u64 + u64::from(random.chance(n.fract()))).max(1);
                (if fails { at_least_one(n, p, random) } else { random.binomial(n, p) }, n)
            }
            // Failures and successes are independent.
            Arrivals::Random => {
                let errors = if fails { at_least_one_arrives(n * p, random) } else { arrives(n * p, random) };
                (errors, errors + arrives(n * (1.0 - p), random))
            }
        }
    }
}

/// Poisson(mean), as the number of factors that a product of uniforms needs to fall below `e^-mean` (D. E.
/// Knuth, *The art of computer programming* 2, 3.4.1); from a dozen on by the normal approximation.
fn arrives(mean: f64, random: &mut Random) -> u64 {
    if mean >= MANY_ARRIVE {
        return (mean + mean.sqrt() * random.normal()).round() as u64;
    }
    let least = (-mean).exp();
    let (mut count, mut product) = (0, random.uniform());
    while product > least {
        count += 1;
        product *= random.uniform();
    }
    count
}

/// Poisson(mean), given that it is not 0: the time until the first, and those after it.
fn at_least_one_arrives(mean: f64, random: &mut Random) -> u64 {
    let any = -(-mean).exp_m1();
    let first = -(-random.uniform() * any).ln_1p();
    1 + arrives((mean - first).max(0.0), random)
}

/// The counts of a block in which at least one request fails.
fn draw(scene: &Scene, rate: f64, quiet: (f64, f64), random: &mut Random) -> TwoArms {
    let canary_fails = random.uniform() * (1.0 - quiet.0 * quiet.1) < 1.0 - quiet.0;
    let (errors, requests) = if canary_fails {
        scene.arm(scene.requests, rate, true, random)
    } else {
        let n = match scene.arrivals {
            Arrivals::Fixed => scene.requests,
            Arrivals::Random => scene.requests * (1.0 - rate),
        };
        (0, scene.arm(n, 0.0, false, random).1)
    };
    let (baseline_errors, baseline_requests) =
        scene.arm(scene.baseline_requests, scene.baseline_rate, !canary_fails, random);
    TwoArms { errors, requests, baseline_errors, baseline_requests }
}

/// Binomial(n, p), given that it is not 0: where the first failure is, and how many come after it.
fn at_least_one(n: u64, p: f64, random: &mut Random) -> u64 {
    if p >= 1.0 {
        return n;
    }
    let any = -(n as f64 * (-p).ln_1p()).exp_m1();
    let first = ((-random.uniform() * any).ln_1p() / (-p).ln_1p()) as u64;
    1 + random.binomial(n - 1 - first.min(n - 1), p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(requests: f64, baseline_requests: f64) -> Scene {
        let settings = RateSettings { alpha: 0.003, tolerated_odds: 1.2, clump: 5, share: None };
        Scene {
            settings,
            blocks: 300,
            requests,
            baseline_requests,
            baseline_rate: 0.001,
            baseline_failures: None,
            arrivals: Arrivals::Fixed,
            first: 0.5,
        }
    }

    /// Block after block, with other random numbers: what the short cut must equal.
    fn plainly(scene: &Scene, rate: f64, runs: u64) -> f64 {
        let mut random = Random::new(99);
        let mut count = 0;
        for _ in 0..runs {
            let mut test = RateTest::new(scene.settings);
            test.start(scene.first);
            let mut looks = crate::rate::LOOKS_AT.iter().peekable();
            for block in 0..=scene.blocks {
                while let Some((_, share)) =
                    looks.next_if(|(when, _)| block as f64 >= when * scene.blocks as f64)
                {
                    test.look(*share);
                }
                if block < scene.blocks {
                    let [n, baseline_n] = [scene.requests, scene.baseline_requests].map(|mean| {
                        if scene.arrivals == Arrivals::Random { random.poisson(mean) } else { mean as u64 }
                    });
                    test.update(TwoArms {
                        errors: random.binomial(n, rate),
                        requests: n,
                        baseline_errors: random.binomial(baseline_n, scene.baseline_rate),
                        baseline_requests: baseline_n,
                    });
                    test.start((1.0 - scene.first) / scene.blocks as f64);
                }
                if test.is_proof() {
                    count += 1;
                    break;
                }
            }
        }
        count as f64 / runs as f64
    }

    #[test]
    fn one_arm_is_found_above_what_is_tolerated() {
        let mut test = OneArmTest::new(0.01);
        test.start(0.6);
        let rate = detectable_alone(&test, 0.003, 300, 5.0, 5, 0.9).unwrap();
        assert!(rate > 0.015 && rate < 0.06, "{rate}");
        let long = detectable_alone(&test, 0.003, 3000, 5.0, 5, 0.9).unwrap();
        assert!(long < rate, "{long}");
        assert_eq!(detectable_alone(&test, 0.003, 1, 1.0, 5, 0.9), None);
    }

    #[test]
    fn skipping_quiet_blocks_changes_nothing() {
        let cases = [(5.0, 95.0, 0.008), (1.0, 1.0, 0.08), (5.0, 5.0, 0.05)].into_iter();
        let cases =
            cases.flat_map(|case| [Arrivals::Fixed, Arrivals::Random].map(|arrivals| (case, arrivals)));
        for ((n, baseline_n, rate), arrivals) in cases {
            let scene = Scene { arrivals, ..scene(n, baseline_n) };
            let (quick, plain) = (detection(&scene, rate), plainly(&scene, rate, 4000));
            assert!((quick - plain).abs() < 0.035, "{n} {baseline_n}: {quick} and {plain}");
        }
    }

    /// Few failures of the baseline leave its rate open, and so what can be detected.
    #[test]
    fn a_rate_that_is_known_badly_is_drawn_anew() {
        let known = scene(5.0, 5.0);
        let unsure = Scene { baseline_failures: Some(1), ..known };
        let mut random = Random::new(3);
        for failures in [0, 4, 500] {
            let scene = Scene { baseline_failures: Some(failures), ..known };
            let rates: Vec<f64> = (0..4000).map(|_| scene.with_a_rate(&mut random).baseline_rate).collect();
            let mean = rates.iter().sum::<f64>() / 4000.0;
            let spread = (0.001_f64.powi(2) / (failures as f64 + 0.5) / 4000.0).sqrt();
            assert!((mean - 0.001).abs() < 5.0 * spread, "{failures}: {mean}");
        }
        let rate = detectable(&known, 0.9).unwrap();
        assert!(detection(&unsure, rate) < 0.9);
        assert!(detectable(&unsure, 0.9).unwrap() > rate);
    }

    #[test]
    fn what_is_detectable_is_detected_with_that_power() {
        let scene = scene(5.0, 95.0);
        let rate = detectable(&scene, 0.9).unwrap();
        assert!(rate > 0.003 && rate < 0.012, "{rate}");
        let power = plainly(&scene, rate, 4000);
        assert!((power - 0.9).abs() < 0.02, "{rate}: {power}");
        assert_eq!(detectable(&scene, 0.9), Some(rate), "the same every time");
        assert_eq!(detectable(&Scene { blocks: 2, ..scene }, 0.9), None);
    }
}
