//! What the judge goes by.

use super::rules::RuleSettings;
use kit_contract::Name;
use kit_contract::config::{Gate, Span};
use kit_sequential::Budget;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Even with `consecutive_failures = 0` or less than this, it takes so many to call it an outage.
const LEAST_OUTAGE: u64 = 3;
/// Requests of others come in bundles, so it takes more of them: two clumps, and for so long.
const OUTAGE_CLUMPS: u64 = 2;
const LEAST_OUTAGE_COUNTED_MS: u64 = 1000;
/// Where no limit is given, an arm that fails more often than this, in percent, is in trouble.
const TROUBLE_PERCENT: f64 = 5.0;
/// Without `warm_up`: this part of the stage, and at most so long.
const WARM_UP_PART: u64 = 10;
const WARM_UP_MOST_MS: u64 = 30_000;
/// What counts as "at the moment": this part of the stage, and at most so long.
const MOMENT_PART: u64 = 10;
const MOMENT_MOST_MS: u64 = 30_000;

/// What the judge goes by. It stands at the head of every file of ticks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long the stage is to be watched.
    pub planned_ms: u64,
    /// Time between two probes of one arm.
    pub interval_ms: u64,
    /// How long a probe may take.
    pub timeout_ms: u64,
    /// Failures in a row that are too many; 0: no such limit.
    pub consecutive_failures: u64,
    /// Share of failures that is just allowed, in percent; `None`: no such limit.
    pub max_error_percent: Option<f64>,
    /// Highest 95th percentile of the canary; `None`: no such limit.
    pub max_p95_ms: Option<u64>,
    /// How far the canary's 95th percentile may be above the baseline's; `None`: not compared.
    pub max_p95_above_baseline_ms: Option<u64>,
    /// Fewer samples of the canary decide nothing.
    pub min_samples: u64,
    /// Latencies of what was sent before this are not judged.
    pub warm_up_ms: u64,
    /// How long after the planned end the judge may wait for canary and baseline to recover.
    pub hold_max_ms: u64,
    /// The statistics; `None`: only the limits above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
    /// The services whose requests others count; those that are not named here are probed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<Name, Counted>,
    /// True if a hold lasts until both versions recover, whatever `hold_max_ms` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_on: bool,
    /// True if a stage that cannot be judged at its end is watched on, for `hold_max_ms` at most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extends: bool,
    /// Error rates (0 to 1) that are tolerated without a living baseline, of services that have their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tolerated: BTreeMap<Name, f64>,
    /// Rules of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSettings>,
}

/// How the requests of a service are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Share of the requests that the canary should get (0 to 1), where there is a baseline.
    pub share: Option<f64>,
    /// How long its counts may be behind without being late.
    pub lag_ms: u64,
}

/// What the statistics go by. Rates and probabilities are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Probability with which a healthy canary of one service may be blamed in this stage.
    pub alpha: f64,
    /// How many times the baseline's odds of failure are no fault of the canary.
    pub tolerated_odds: f64,
    /// Error rate that is tolerated without a living baseline.
    pub tolerated_rate: f64,
    /// Error rate that must have been detectable for a promotion.
    pub detect_rate: Option<f64>,
    /// Error rate below which the stage may end early.
    pub early_pass_rate: Option<f64>,
    /// How much slower than the baseline is tolerated: 0.15 for 15 %.
    pub latency_margin: f64,
    /// So many failures in a row may have one cause.
    pub clump: u32,
    /// Share of the requests that the canary should get, if others count them.
    pub share: Option<f64>,
    /// True if others count the requests; false if the gate sends them itself.
    pub counted: bool,
}

/// Failures of one cause that come together: measured streams have clumps of a few.
const CLUMP: u32 = 5;

impl Statistics {
    /// From `deploy.toml`'s terms; `None` if they are switched off. `alpha` is this stage's and service's.
    pub fn new(gate: &Gate, alpha: f64) -> Option<Self> {
        (alpha > 0.0).then(|| Self {
            alpha,
            tolerated_odds: gate.tolerated_odds,
            tolerated_rate: gate.tolerated_error_percent / 100.0,
            detect_rate: gate.detect_error_percent.map(|percent| percent / 100.0),
            early_pass_rate: gate.early_pass_error_percent.map(|percent| percent / 100.0),
            latency_margin: gate.latency_margin_percent / 100.0,
            clump: CLUMP,
            share: None,
            counted: false,
        })
    }
}

/// What one service may spend in stage number `at` (from 0) of `stages`, 0 to 1.
///
/// Earlier stages get more: a bad release is to be found while few users see it. Of three stages they
/// get 3, 2 and 1 sixths.
pub fn alpha(max_false_rollback_percent: f64, at: usize, stages: usize, services: usize) -> f64 {
    let stages = stages.max(1);
    let weight = stages.saturating_sub(at).max(1) as f64;
    let sum = (stages * (stages + 1)) as f64 / 2.0;
    let whole = max_false_rollback_percent / 100.0 * weight / sum;
    Budget { whole, stages: 1, services: u32::try_from(services).unwrap_or(u32::MAX) }.service()
}

impl Settings {
    /// From `deploy.toml`'s terms: the limits, without statistics.
    pub fn new(gate: &Gate, duration: Span) -> Self {
        let planned_ms = duration.as_ms();
        let warm_up_ms = (planned_ms / WARM_UP_PART).min(WARM_UP_MOST_MS);
        Self {
            planned_ms,
            interval_ms: gate.interval.as_ms(),
            timeout_ms: gate.timeout.as_ms(),
            consecutive_failures: u64::from(gate.consecutive_failures),
            max_error_percent: gate.max_error_percent,
            max_p95_ms: gate.max_p95.map(Span::as_ms),
            max_p95_above_baseline_ms: gate.max_p95_above_baseline.map(Span::as_ms),
            min_samples: gate.min_samples,
            warm_up_ms: gate.warm_up.map_or(warm_up_ms, Span::as_ms),
            hold_max_ms: gate.hold_max.as_ms(),
            statistics: None,
            sources: BTreeMap::new(),
            holds_on: false,
            extends: false,
            tolerated: BTreeMap::new(),
            rules: Vec::new(),
        }
    }

    /// The same, with statistics.
    #[must_use]
    pub fn with(self, statistics: Option<Statistics>) -> Self {
        Self { statistics, ..self }
    }

    /// The same, as one service is judged.
    pub(crate) fn of(&self, service: &Name) -> Self {
        let mut own = Self { sources: BTreeMap::new(), rules: Vec::new(), ..self.clone() };
        if let (Some(rules), Some(rate)) = (&mut own.statistics, self.tolerated.get(service)) {
            rules.tolerated_rate = *rate;
        }
        if let Some(counted) = self.sources.get(service) {
            own.sources.insert(service.clone(), counted.clone());
            if let Some(rules) = &mut own.statistics {
                rules.counted = true;
                rules.share = counted.share;
            }
        }
        own
    }

    /// How the requests are counted, in the settings of one service.
    pub(crate) fn counted(&self) -> Option<&Counted> {
        self.sources.values().next()
    }

    /// True if others count the requests, and so do not say in which order they failed.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted().is_some() || self.statistics.as_ref().is_some_and(|rules| rules.counted)
    }

    /// Dark requests in a row that make a total outage, where `clump` of them may have one cause.
    pub(crate) fn outage_of(&self, clump: u64) -> u64 {
        let least = if self.is_counted() { OUTAGE_CLUMPS * clump } else { LEAST_OUTAGE };
        self.consecutive_failures.max(least)
    }

    /// The same, for clumps of the usual size.
    pub(crate) fn outage(&self) -> u64 {
        self.outage_of(self.statistics.as_ref().map_or(1, |rules| u64::from(rules.clump)))
    }

    /// Failures in a row that are too many, where `clump` of them may have one cause; `None`: no such limit.
    /// Counted requests have no order: a row of them is a span in which all failed.
    pub(crate) fn row_of(&self, clump: u64) -> Option<u64> {
        let row = if self.is_counted() { self.outage_of(clump) } else { self.consecutive_failures };
        (self.consecutive_failures > 0).then_some(row)
    }

    /// How long a row must last: what is counted over a shorter time may be one hiccup.
    pub(crate) fn least_row_ms(&self) -> u64 {
        if self.is_counted() { LEAST_OUTAGE_COUNTED_MS } else { 0 }
    }

    /// An arm that fails more often than this, in percent, is in trouble.
    pub(crate) fn trouble_percent(&self) -> f64 {
        self.max_error_percent.unwrap_or(TROUBLE_PERCENT)
    }

    /// How far back "at the moment" reaches.
    pub(crate) fn moment_ms(&self) -> u64 {
        (self.planned_ms / MOMENT_PART).min(MOMENT_MOST_MS)
    }

    /// Samples without which nothing is promoted. Nothing at all is never enough.
    pub(crate) fn least(&self) -> u64 {
        self.min_samples.max(1)
    }

    /// The recent samples in which an arm in trouble is looked for.
    pub(crate) fn window(&self) -> u64 {
        self.least().max(self.outage())
    }

    /// Longest time for which the verdict waits for an answer that is under way.
    pub(crate) fn patience_ms(&self) -> u64 {
        let lag_ms = self.counted().map(|counted| counted.lag_ms).unwrap_or_default();
        self.timeout_ms.saturating_add(self.interval_ms.saturating_mul(2)).saturating_add(lag_ms)
    }

    /// Whole probes that the stage has room for, per arm.
    pub(crate) fn planned_probes(&self) -> u64 {
        self.planned_ms.div_ceil(self.interval_ms.max(1))
    }
}

/// One service that is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// Its name.
    pub service: Name,
    /// True if there is an address of the version that serves now.
    pub baseline: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_split_over_stages_and_services_and_spent_once() {
        for (stages, services) in [(1, 1), (3, 1), (3, 4), (6, 2)] {
            let sum: f64 = (0..stages).map(|at| alpha(0.9, at, stages, services) * services as f64).sum();
            assert!((sum - 0.009).abs() < 1e-15, "{stages} {services}: {sum}");
            assert!(alpha(0.9, 0, stages, services) >= alpha(0.9, stages - 1, stages, services));
        }
        assert!((alpha(0.9, 0, 3, 1) - 0.0045).abs() < 1e-15);
    }

    #[test]
    fn without_a_warm_up_it_is_a_tenth_and_at_most_half_a_minute() {
        for (seconds, warm_up_ms) in [(5, 500), (300, 30_000), (900, 30_000)] {
            assert_eq!(Settings::new(&Gate::default(), Span::from_secs(seconds)).warm_up_ms, warm_up_ms);
        }
        let given = Gate { warm_up: Some(Span::from_ms(0)), ..Gate::default() };
        assert_eq!(Settings::new(&given, Span::from_secs(5)).warm_up_ms, 0);
    }
}
