//! The statistics of one service: what was seen so far, and what it proves.

use super::latency::Slowness;
use super::pairing::{Block, CLUMPS_PER_BLOCK, Pairing};
use super::settings::{Settings, Statistics};
use crate::tick::ArmTick;
use kit_sequential::{
    Arrivals, Boundary, LOOKS_AT, NonInferiority, OneArmTest, RateSettings, RateTest, Scene, ShareTest,
    TwoArms, detectable, detectable_alone,
};

/// Prior mass on an error that is there from the start; the rest is spread over the stage.
pub(crate) const FIRST: f64 = 0.6;
/// Shares of `alpha` where there is a baseline: compared with it, and alone should it never answer.
const COMPARED: f64 = 0.9;
/// Shares of the evidence of a comparison: errors, latencies.
const ERRORS: f64 = 0.85;
/// A share below this part of what was configured is a mismatch, unless it is chance with this probability.
const SHARE_PART: f64 = 0.5;
const SHARE_ALPHA: f64 = 1e-4;
/// A canary at the limit passes early with this probability.
const FALSE_PASS: f64 = 0.05;
/// What is certified as detectable is detected with this probability.
const POWER: f64 = 0.9;

/// Which test says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Proof {
    /// Fails more often than the baseline.
    Errors,
    /// Is slower than the baseline.
    Slow,
    /// Fails more often than is tolerated, and there is no baseline.
    Alone,
}

/// The canary on its own.
#[derive(Clone, Debug)]
enum Alone {
    /// Probes: their number is known, so the limits are exact.
    Limits { boundary: Boundary, size: u32, blocks: u32, failed: u32, crossed: bool },
    /// Requests of others: as many as come.
    Process(OneArmTest),
}

/// Everything that statistics know of one service.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    rules: Statistics,
    planned_ms: u64,
    has_baseline: bool,
    pairing: Pairing,
    tests: Tests,
    looks: usize,
}

#[derive(Clone, Debug)]
struct Tests {
    clump: u64,
    planned_ms: u64,
    rate: RateTest,
    slowness: Slowness,
    alone: Alone,
    share: Option<ShareTest>,
    pass: Option<NonInferiority>,
    placed_ms: u64,
    blocks: u64,
    totals: TwoArms,
}

impl Evidence {
    pub(crate) fn new(rules: &Statistics, settings: &Settings, has_baseline: bool) -> Self {
        let alpha = rules.alpha * if has_baseline { COMPARED } else { 1.0 };
        let share = rules.share.filter(|_| rules.counted && has_baseline);
        let mut rate = RateTest::new(RateSettings { alpha: alpha * ERRORS, ..rules.rate_settings() });
        rate.start(FIRST);
        Self {
            planned_ms: settings.planned_ms,
            has_baseline,
            pairing: Pairing::new(has_baseline, u64::from(rules.clump), rules.latency_margin, settings),
            looks: 0,
            tests: Tests {
                clump: u64::from(rules.clump.max(1)),
                planned_ms: settings.planned_ms.max(1),
                rate,
                slowness: Slowness::new(rules.latency_margin, settings.warm_up_ms, settings.planned_ms),
                alone: Alone::new(rules, settings, alpha_alone(rules, has_baseline)),
                share: share.map(|share| ShareTest::new(share * SHARE_PART, rules.clump)),
                pass: rules.early_pass_rate.map(NonInferiority::new),
                placed_ms: 0,
                blocks: 0,
                totals: TwoArms::default(),
            },
            rules: rules.clone(),
        }
    }

    pub(crate) fn absorb(&mut self, arm: &ArmTick) {
        self.pairing.absorb(arm);
    }

    /// Judges what is complete by now. `last`: nothing more will come.
    pub(crate) fn advance(&mut self, now_ms: u64, last: bool) {
        let tests = &mut self.tests;
        self.pairing.take(now_ms, last, |block| tests.add(block));
        while let Some((part, share)) = LOOKS_AT.get(self.looks) {
            let due = now_ms as f64 >= part * self.planned_ms as f64;
            if !(last || due && *part < 1.0) {
                break;
            }
            self.tests.rate.look(*share);
            self.looks += 1;
        }
    }

    /// The evidence against the canary, as a factor; proof at `1 / alpha`. `live`: there is a baseline.
    pub(crate) fn value(&self, live: bool) -> f64 {
        if live {
            self.compared() * COMPARED
        } else {
            self.alone() * alpha_alone(&self.rules, self.has_baseline) / self.rules.alpha
        }
    }

    /// What is proved.
    pub(crate) fn proof(&self, live: bool) -> Option<Proof> {
        // Rounding must not undo a look that won by exactly enough.
        if self.value(live) * self.rules.alpha < 1.0 - 1e-9 {
            return None;
        }
        let (errors, slow) =
            (self.tests.rate.evidence() * ERRORS, self.tests.slowness.evidence() * (1.0 - ERRORS));
        Some(match live {
            false => Proof::Alone,
            true if errors >= slow => Proof::Errors,
            true => Proof::Slow,
        })
    }

    fn compared(&self) -> f64 {
        ERRORS * self.tests.rate.evidence() + (1.0 - ERRORS) * self.tests.slowness.evidence()
    }

    fn alone(&self) -> f64 {
        match &self.tests.alone {
            Alone::Limits { crossed: true, .. } => 1.0 / alpha_alone(&self.rules, self.has_baseline),
            Alone::Limits { crossed: false, .. } => 0.0,
            Alone::Process(test) => test.evidence(),
        }
    }

    /// So many failures in a row may have one cause, as far as is known by now.
    pub(crate) fn clump(&self) -> u64 {
        self.tests.rate.clump()
    }

    /// True if the canary gets far less traffic than it should.
    pub(crate) fn is_starved(&self) -> bool {
        self.tests.share.as_ref().is_some_and(|test| test.evidence() * SHARE_ALPHA >= 1.0)
    }

    /// True if it is certain enough that the canary fails less often than the limit for an early end,
    /// and nothing speaks against it.
    pub(crate) fn may_pass_early(&self, live: bool) -> bool {
        let passed = self.tests.pass.as_ref().is_some_and(|test| test.evidence() * FALSE_PASS >= 1.0);
        passed && self.value(live) <= 1.0 && !self.is_starved()
    }

    /// What was compared: requests and errors of both arms.
    pub(crate) fn totals(&self) -> TwoArms {
        self.tests.totals
    }

    pub(crate) fn rules(&self) -> &Statistics {
        &self.rules
    }

    /// The smallest error rate that would have been found with 90 % probability.
    pub(crate) fn detectable(&self, live: bool) -> Option<f64> {
        let Tests { blocks, totals, .. } = self.tests;
        if blocks == 0 || totals.requests == 0 {
            return None;
        }
        if live {
            return detectable(&self.scene()?, POWER);
        }
        match &self.tests.alone {
            Alone::Limits { boundary, size, .. } => {
                // A block fails if any of its requests does.
                let rate = boundary.detectable(POWER)?;
                Some(1.0 - (1.0 - rate).powf(1.0 / f64::from(*size)))
            }
            Alone::Process(_) => {
                let mut fresh = OneArmTest::new(self.rules.tolerated_rate);
                fresh.start(FIRST);
                let n = totals.requests as f64 / blocks as f64;
                let alpha = alpha_alone(&self.rules, self.has_baseline);
                detectable_alone(&fresh, alpha, blocks, n, self.rules.clump, POWER)
            }
        }
    }

    /// The stage as it was, with a canary that fails more often.
    fn scene(&self) -> Option<Scene> {
        let Tests { blocks, totals, .. } = self.tests;
        let per_block = |n: u64| n as f64 / blocks as f64;
        (totals.baseline_requests > 0).then(|| Scene {
            settings: self.rules.rate_settings(),
            blocks,
            requests: per_block(totals.requests),
            baseline_requests: per_block(totals.baseline_requests),
            baseline_rate: (totals.baseline_errors as f64 + 0.5) / (totals.baseline_requests as f64 + 1.0),
            // Of none or one, half a failure more than was seen is caution enough.
            baseline_failures: Some(totals.baseline_errors).filter(|failures| *failures > 1),
            arrivals: self.rules.arrivals(),
            first: FIRST,
        })
    }
}

impl Tests {
    fn add(&mut self, block: &Block) {
        let passed_ms = block.until_ms.saturating_sub(self.placed_ms);
        self.placed_ms = self.placed_ms.max(block.until_ms);
        let mass = (1.0 - FIRST) * passed_ms as f64 / self.planned_ms as f64;
        let arms = block.arms;
        self.rate.start(mass);
        self.rate.update(arms);
        self.slowness.add(block);
        // Where a baseline lives, nothing is ever held against what is tolerated.
        if self.totals.baseline_requests == 0 && arms.baseline_requests == 0 {
            self.alone.add(arms, self.clump, mass);
        }
        if let Some(share) = &mut self.share {
            share.update(arms.requests, arms.baseline_requests);
        }
        if let Some(pass) = &mut self.pass {
            pass.update(arms.errors, arms.requests);
        }
        self.blocks += u64::from(arms.requests + arms.baseline_requests > 0);
        self.totals.requests += arms.requests;
        self.totals.errors += arms.errors;
        self.totals.baseline_requests += arms.baseline_requests;
        self.totals.baseline_errors += arms.baseline_errors;
    }
}

impl Alone {
    fn new(rules: &Statistics, settings: &Settings, alpha: f64) -> Self {
        if rules.counted {
            let mut test = OneArmTest::new(rules.tolerated_rate);
            test.start(FIRST);
            return Self::Process(test);
        }
        let (blocks, size) = probe_blocks(settings, rules.clump);
        let boundary = Boundary::for_blocks(blocks, size, rules.tolerated_rate, alpha);
        Self::Limits { boundary, size, blocks: 0, failed: 0, crossed: false }
    }

    fn add(&mut self, arms: TwoArms, clump: u64, mass: f64) {
        if arms.requests == 0 {
            return;
        }
        match self {
            Self::Process(test) => {
                test.start(mass);
                test.update(arms.errors.div_ceil(clump), arms.requests);
            }
            Self::Limits { boundary, blocks, failed, crossed, .. } => {
                // What was sent together is cut into clumps' worth; so many failures are in that many at least.
                *blocks =
                    blocks.saturating_add(u32::try_from(arms.requests.div_ceil(clump)).unwrap_or(u32::MAX));
                *failed =
                    failed.saturating_add(u32::try_from(arms.errors.div_ceil(clump)).unwrap_or(u32::MAX));
                *crossed |= arms.errors > 0 && boundary.limit(*blocks).is_some_and(|limit| *failed >= limit);
            }
        }
    }
}

impl Statistics {
    /// How errors are compared, where a baseline lives.
    pub(crate) fn rate_settings(&self) -> RateSettings {
        RateSettings {
            alpha: self.alpha * COMPARED * ERRORS,
            tolerated_odds: self.tolerated_odds,
            clump: self.clump,
            share: self.share.filter(|_| self.counted),
        }
    }

    /// How requests come: others send theirs whenever they like.
    pub(crate) fn arrivals(&self) -> Arrivals {
        if self.counted { Arrivals::Random } else { Arrivals::Fixed }
    }
}

fn alpha_alone(rules: &Statistics, has_baseline: bool) -> f64 {
    rules.alpha * if has_baseline { 1.0 - COMPARED } else { 1.0 }
}

/// Blocks of a stage of probes in which both arms are compared, and probes per block.
pub(crate) fn compared_blocks(settings: &Settings, clump: u32) -> (u32, u32) {
    probe_blocks(settings, clump.saturating_mul(CLUMPS_PER_BLOCK))
}

/// Blocks of a stage of probes, and probes per block: as many as fit into a second, at most a clump.
pub(crate) fn probe_blocks(settings: &Settings, clump: u32) -> (u32, u32) {
    let per_second = 1000 / settings.interval_ms.max(1);
    let size = u32::try_from(per_second).unwrap_or(u32::MAX).clamp(1, clump.max(1));
    let blocks = settings.planned_probes().div_ceil(u64::from(size));
    (u32::try_from(blocks).unwrap_or(u32::MAX), size)
}
