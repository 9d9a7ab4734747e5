//! Does the canary fail more often than the baseline?

use crate::binomial::upper_tail;
use crate::causes::Causes;
use crate::mixture::Mixture;
use crate::opening::Opening;

/// Effect sizes that are looked for, as a factor on the tolerated odds, and how much weight each has. Small
/// effects need the weight; large ones bring evidence enough.
const EFFECTS: [(f64, f64); 4] = [(4.0, 0.06), (12.0, 0.58), (40.0, 0.14), (200.0, 0.22)];
/// Shares of the evidence: failures counted once per clump, failures scaled down, looks at set times, the
/// first few failures.
const HITS: f64 = 0.40;
const SCALED: f64 = 0.05;
const LOOKS: f64 = 0.315;
const OPENING: f64 = 0.235;
/// A share that is seen is larger than the one that was said if it is so by this many standard errors.
const SHARE_ERRORS: f64 = 3.0;

/// When the totals are looked at, as a part of the planned time, and how much each look may spend.
pub const LOOKS_AT: [(f64, f64); 2] = [(0.5, 0.1), (1.0, 0.9)];

/// What was counted on both arms over the same span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoArms {
    /// Failures of the canary.
    pub errors: u64,
    /// Requests of the canary.
    pub requests: u64,
    /// Failures of the baseline.
    pub baseline_errors: u64,
    /// Requests of the baseline.
    pub baseline_requests: u64,
}

/// What a [`RateTest`] goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSettings {
    /// Probability with which a canary no worse than tolerated may be blamed, 0 to 1.
    pub alpha: f64,
    /// How many times the baseline's odds of failure are no fault of the canary; at least 1.
    pub tolerated_odds: f64,
    /// So many failures in a row may have one cause; at least 1.
    pub clump: u32,
    /// The share of the requests that is dealt to the canary, whether they fail or not, 0 to 1. `None`: the
    /// counts of each block say it.
    pub share: Option<f64>,
}

/// The logarithm of `ψ^x / (1 - θ + θψ)^m`: how much likelier `x` of `m` failures are the canary's if its
/// odds are `ψ` times what is tolerated, than if they are what is tolerated.
///
/// Given that `m` requests of both arms fail in a span, the number that are the canary's is
/// hypergeometric whatever the common, changing rate of failure is, so what hits both arms cancels. With
/// odds up to `ρ` times the baseline's and `n_c`, `n_b` requests, `θ = ρ n_c / (ρ n_c + n_b)`, and the
/// binomial with that `θ` bounds the (Fisher) hypergeometric in convex order (W. Hoeffding, *Probability
/// inequalities for sums of bounded random variables*, 1963), so the expectation of the ratio is at most 1.
pub fn ln_likelihood_ratio(psi: f64, theta: f64, x: f64, m: f64) -> f64 {
    x * psi.ln() - m * (theta * (psi - 1.0)).ln_1p()
}

/// An e-process against "the canary's odds of failure are at most `tolerated_odds` times the baseline's".
///
/// Four views of the same counts, averaged with fixed weights:
///
/// - *Hits.* Failures come in clumps: one hiccup, several requests. Of `x` failures of the canary within
///   one block, `⌈x / clump⌉` count, which is no more than the number of causes; of the baseline all
///   count, which is no less. The ratio grows with the former and falls with the latter, so it stays an
///   e-process whatever the failures within a clump have to do with each other. If the baseline's failures
///   come in larger clumps, or in ones that the edge of a block cuts in two, so may the canary's: then fewer
///   of them count.
/// - *Scaled.* `x / clump` against `y / clump`, that is, the ratio to the power of `1 / clump`: an
///   e-process by Jensen's inequality, weaker for rare failures, but not blinded where both arms fail often.
/// - *Looks.* At times set beforehand the totals are compared by an exact binomial test. It gives
///   `1 / a` if its p-value is at most `a`, and nothing otherwise: an e-variable, since that has
///   probability at most `a`. A fixed look sees small effects that no mixture affords.
/// - *Opening.* The same for the first few failures of the stage: if `k` of the first `l` are the canary's,
///   that has at most the probability of a binomial tail. `k` and `l` are fixed at the first failure, such
///   that at least one failure of the baseline is forgiven. A mixture would have to gather for longer; where
///   it would not, since the canary has a large share, it gets the opening's part of the evidence. If
///   requests are dealt to the arms with a share that is known, each failure is the canary's with the
///   probability `θ` of that share, whatever the rate of failure is at the moment; a larger share that is
///   seen replaces the one that was said.
#[derive(Clone, Debug)]
pub struct RateTest {
    settings: RateSettings,
    causes: Causes,
    hits: Mixture,
    scaled: Mixture,
    ln_effects: [f64; EFFECTS.len()],
    won: f64,
    looked: f64,
    errors: u64,
    failures: u64,
    expected: f64,
    /// Nothing before the first failure, nor where the mixture is as quick.
    opening: Option<Opening>,
    is_settled: bool,
    requests: u64,
    all_requests: u64,
}

impl RateTest {
    /// A test that has seen nothing.
    pub fn new(settings: RateSettings) -> Self {
        let settings = RateSettings {
            tolerated_odds: settings.tolerated_odds.max(1.0),
            clump: settings.clump.max(1),
            ..settings
        };
        let weights = EFFECTS.map(|(_, weight)| weight);
        Self {
            settings,
            causes: Causes::new(settings.clump),
            hits: Mixture::new(&weights),
            scaled: Mixture::new(&weights),
            ln_effects: EFFECTS.map(|(psi, _)| psi.ln()),
            won: 0.0,
            looked: 0.0,
            errors: 0,
            failures: 0,
            expected: 0.0,
            opening: None,
            is_settled: false,
            requests: 0,
            all_requests: 0,
        }
    }

    /// Places prior mass on an effect that begins now; see [`Mixture::start`].
    pub fn start(&mut self, mass: f64) {
        self.hits.start(mass);
        self.scaled.start(mass);
    }

    /// Takes so many blocks in which nothing failed: the same as updates with them.
    pub fn pass(&mut self, blocks: u64) {
        self.causes.pass(blocks);
    }

    /// So many failures in a row may have one cause: `clump`, or more if the baseline's come like that.
    pub fn clump(&self) -> u64 {
        self.causes.size()
    }

    /// Takes the counts of one block: a span too short for two clumps of the same cause.
    pub fn update(&mut self, block: TwoArms) {
        let failed = block.errors + block.baseline_errors;
        let hits = self.causes.of(block);
        self.requests += block.requests;
        self.all_requests += block.requests + block.baseline_requests;
        if failed == 0 {
            return;
        }
        let odds = self.settings.tolerated_odds * block.requests as f64;
        let whole = odds + block.baseline_requests as f64;
        if odds <= 0.0 || block.baseline_requests == 0 {
            return;
        }
        let theta = odds / whole;
        // Which view gets the opening's share is settled before anything is held against the canary.
        let dealt = self.dealt().map_or(theta, |share| {
            let odds = self.settings.tolerated_odds * share;
            odds / (odds + 1.0 - share)
        });
        if !self.is_settled {
            self.is_settled = true;
            self.opening = Opening::new(dealt, self.settings.alpha * OPENING);
        }
        let clump = self.causes.size() as f64;
        let counted = hits + block.baseline_errors;
        self.errors += hits;
        self.failures += counted;
        self.expected += counted as f64 * theta;
        let ln_effects = &self.ln_effects;
        let ln_cost = EFFECTS.map(|(psi, _)| (theta * (psi - 1.0)).ln_1p());
        self.hits.update(|at| hits as f64 * ln_effects[at] - counted as f64 * ln_cost[at]);
        self.scaled.update(|at| (block.errors as f64 * ln_effects[at] - failed as f64 * ln_cost[at]) / clump);
        if let Some(opening) = &mut self.opening
            && opening.wins(self.errors, self.failures, dealt)
        {
            self.won += 1.0 / self.settings.alpha;
        }
    }

    /// The share that is dealt to the canary: the one that was said, unless a larger one is seen.
    fn dealt(&self) -> Option<f64> {
        let share = self.settings.share?.clamp(0.0, 1.0);
        let all = self.all_requests.max(1) as f64;
        let seen = self.requests as f64 / all;
        let chance = SHARE_ERRORS * (share * (1.0 - share) / all).sqrt();
        Some(if seen > share + chance { seen } else { share })
    }

    /// Looks at the totals, and spends `share` of what all looks may spend. Over all calls the shares sum
    /// to 1; what is beyond is not granted. When looks take place must not depend on what was seen.
    ///
    /// Given the failures of every block, the canary's number is a sum of independent binomials, whose
    /// upper tail is below that of one binomial with the mean probability (W. Hoeffding, *On the
    /// distribution of the number of successes in independent trials*, 1956).
    pub fn look(&mut self, share: f64) {
        let share = share.clamp(0.0, 1.0 - self.looked);
        self.looked += share;
        let spent = self.settings.alpha * LOOKS * share;
        if self.failures == 0 || spent <= 0.0 {
            return;
        }
        let theta = self.expected / self.failures as f64;
        // Hoeffding's inequality holds from one above the mean.
        if self.errors as f64 >= self.expected + 1.0 && upper_tail(self.errors, self.failures, theta) <= spent
        {
            self.won += 1.0 / self.settings.alpha;
        }
    }

    /// The evidence that the canary is worse than tolerated; 1 at the start. At `1 / alpha` it is proof.
    pub fn evidence(&self) -> f64 {
        let (gathered, opening) = match self.opening {
            Some(opening) => (HITS, if opening.is_open(self.failures) { OPENING } else { 0.0 }),
            None if self.is_settled => (HITS + OPENING, 0.0),
            None => (HITS, OPENING),
        };
        let ahead = LOOKS * (1.0 - self.looked) + opening;
        gathered * self.hits.evidence() + SCALED * self.scaled.evidence() + self.won + ahead
    }

    /// True if the evidence suffices.
    pub fn is_proof(&self) -> bool {
        self.evidence() * self.settings.alpha >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::binomial::ln_factorial;
    use proptest::prelude::*;

    const SETTINGS: RateSettings = RateSettings { alpha: 0.01, tolerated_odds: 1.2, clump: 5, share: None };

    /// P(x of m failures are the canary's), with odds `rho` times the baseline's: Fisher's hypergeometric.
    fn hypergeometric(n: u64, baseline_n: u64, m: u64, rho: f64) -> Vec<f64> {
        let ln_choose = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
        let weight = |x: u64| {
            let possible = x <= n && m - x <= baseline_n;
            if possible {
                (ln_choose(n, x) + ln_choose(baseline_n, m - x) + x as f64 * rho.ln()).exp()
            } else {
                0.0
            }
        };
        let weights: Vec<f64> = (0..=m).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// Every table of up to 12 + 40 requests, every number of failures, every effect: no evidence.
    #[test]
    fn the_ratio_is_at_most_one_on_average_for_every_table() {
        for (n, baseline_n) in [(1, 1), (1, 19), (3, 7), (5, 5), (5, 40), (12, 1), (12, 30)] {
            for rho in [1.0, 1.2, 1.5, 5.0] {
                let theta = rho * n as f64 / (rho * n as f64 + baseline_n as f64);
                for m in 0..=n + baseline_n {
                    for psi in [1.01, 2.0, 12.0, 300.0] {
                        let term = |(x, p): (usize, f64)| {
                            p * ln_likelihood_ratio(psi, theta, x as f64, m as f64).exp()
                        };
                        let expectation: f64 =
                            hypergeometric(n, baseline_n, m, rho).into_iter().enumerate().map(term).sum();
                        assert!(expectation <= 1.0 + 1e-9, "{n} {baseline_n} {rho} {m} {psi}: {expectation}");
                    }
                }
            }
        }
    }

    fn fed(blocks: &[(u64, u64)], n: u64, baseline_n: u64) -> RateTest {
        let mut test = RateTest::new(SETTINGS);
        test.start(0.6);
        for (errors, baseline_errors) in blocks {
            test.start(0.05);
            test.update(TwoArms {
                errors: *errors,
                requests: n,
                baseline_errors: *baseline_errors,
                baseline_requests: baseline_n,
            });
        }
        test
    }

    /// The whole test, looks included, over all outcomes of two blocks of equal arms.
    #[test]
    fn the_whole_is_no_evidence_over_all_outcomes() {
        for p in [0.001, 0.01, 0.1, 0.5, 0.9] {
            let (n, baseline_n) = (3_u64, 5_u64);
            let pmf = |k: u64, n: u64| upper_tail(k, n, p) - upper_tail(k + 1, n, p);
            let one = |x: u64, y: u64| pmf(x, n) * pmf(y, baseline_n);
            let mut expectation = 0.0;
            for (a, b) in (0..=n).flat_map(|a| (0..=baseline_n).map(move |b| (a, b))) {
                for (c, d) in (0..=n).flat_map(|c| (0..=baseline_n).map(move |d| (c, d))) {
                    let mut test = fed(&[(a, b), (c, d)], n, baseline_n);
                    LOOKS_AT.iter().for_each(|(_, share)| test.look(*share));
                    expectation += one(a, b) * one(c, d) * test.evidence();
                }
            }
            assert!(expectation <= 1.0 + 1e-9, "{p}: {expectation}");
        }
    }

    #[test]
    fn a_failure_of_the_canary_adds_evidence_and_one_of_the_baseline_takes_it() {
        let plain = fed(&[(1, 0)], 5, 95).evidence();
        assert!(plain > 1.0);
        assert!(fed(&[(1, 0), (1, 0)], 5, 95).evidence() > plain);
        assert!(fed(&[(1, 0), (0, 1)], 5, 95).evidence() < plain);
        assert!((fed(&[(0, 0); 9], 5, 95).evidence() - 1.0).abs() < 1e-12);
        let clumped = fed(&[(5, 0)], 5, 95).evidence();
        assert!(clumped < 1.5 * plain, "a clump is one cause: {clumped} and {plain}");
        let alone = fed(&[(3, 0)], 5, 0).evidence();
        assert!((alone - 1.0).abs() < 1e-12, "without a baseline it says nothing: {alone}");
        assert!(fed(&[(5, 5); 200], 5, 95).is_proof(), "often against seldom");
        assert!(fed(&[(4, 10); 200], 5, 95).is_proof(), "80 % against 10 %");
    }

    /// Three of the first four failures, in every order, whatever the sizes of the blocks.
    #[test]
    fn the_opening_forgives_one_failure_of_the_baseline() {
        let settings = RateSettings { alpha: 0.00344, share: Some(0.05), ..SETTINGS };
        for (blocks, proof) in [
            (&[(1, 0), (0, 1), (1, 0), (1, 0)][..], true),
            (&[(0, 1), (1, 0), (1, 0), (1, 0)], true),
            (&[(1, 0), (0, 1), (0, 1), (1, 0), (1, 0)], false),
            (&[(1, 0), (0, 3), (1, 0), (1, 0)], false),
        ] {
            for requests in [2, 9] {
                let mut test = RateTest::new(settings);
                test.start(0.6);
                for (errors, baseline_errors) in blocks {
                    let (errors, baseline_errors) = (*errors, *baseline_errors);
                    test.update(TwoArms {
                        errors,
                        requests,
                        baseline_errors,
                        baseline_requests: 19 * requests,
                    });
                }
                assert_eq!(test.is_proof(), proof, "{blocks:?} of {requests}: {}", test.evidence());
            }
        }
        let mut more = RateTest::new(settings);
        let block = TwoArms { errors: 1, requests: 30, baseline_errors: 0, baseline_requests: 70 };
        (0..3).for_each(|_| more.update(block));
        assert!(!more.is_proof(), "a canary that gets 30 % of the requests fails more often by chance");
    }

    /// What the looks alone would see: many blocks with too little in each for the mixture to gather.
    #[test]
    fn a_look_at_the_end_sees_what_came_slowly() {
        let mut blocks = vec![(0, 0); 250];
        (0..9).for_each(|at| blocks[at * 25] = (1, 0));
        (0..26).for_each(|at| blocks[at * 9 + 1] = (0, 1));
        let mut test = fed(&blocks, 5, 95);
        assert!(!test.is_proof(), "{}", test.evidence());
        LOOKS_AT.iter().for_each(|(_, share)| test.look(*share));
        assert!(test.is_proof());
        let mut twice = fed(&[(1, 0)], 5, 95);
        (0..100).for_each(|_| twice.look(0.5));
        assert!(twice.evidence() <= fed(&[(1, 0)], 5, 95).evidence(), "no more than all of it is spent");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        /// Healthy stages, whatever their rate, split and clumps: seldom blamed.
        #[test]
        fn alpha_holds_on_healthy_streams(
            seed in any::<u64>(), rate in 0.0005_f64..0.2, baseline_n in 5_u64..100, clump in 1_u64..=5,
        ) {
            let mut random = Random::new(seed);
            let stages = 400_u64;
            let mut blamed = 0;
            for _ in 0..stages {
                let mut test = RateTest::new(SETTINGS);
                test.start(0.6);
                let mut proof = false;
                for block in 1..=200 {
                    let causes = |random: &mut Random, n| clump * random.binomial(n, rate / clump as f64);
                    test.start(0.002);
                    test.update(TwoArms {
                        errors: causes(&mut random, 5).min(5),
                        requests: 5,
                        baseline_errors: causes(&mut random, baseline_n),
                        baseline_requests: baseline_n,
                    });
                    if block == 100 || block == 200 {
                        test.look(0.5);
                    }
                    proof |= test.is_proof();
                }
                blamed += u64::from(proof);
            }
            prop_assert!(upper_tail(blamed, stages, SETTINGS.alpha) > 1e-5, "{blamed} of {stages}");
        }
    }
}
