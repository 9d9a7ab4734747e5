//! What the judge goes by.

use kit_contract::Name;
use kit_contract::config::{Gate, Span};
use serde::{Deserialize, Serialize};

/// Even with `consecutive_failures = 0` or less than this, it takes so many to call it an outage.
const LEAST_OUTAGE: u64 = 3;

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
    /// Share of failures that is just allowed, in percent.
    pub max_error_percent: f64,
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
}

impl Settings {
    /// From `deploy.toml`'s terms.
    pub fn new(gate: &Gate, duration: Span) -> Self {
        Self {
            planned_ms: duration.as_ms(),
            interval_ms: gate.interval.as_ms(),
            timeout_ms: gate.timeout.as_ms(),
            consecutive_failures: u64::from(gate.consecutive_failures),
            max_error_percent: gate.max_error_percent,
            max_p95_ms: gate.max_p95.map(Span::as_ms),
            max_p95_above_baseline_ms: gate.max_p95_above_baseline.map(Span::as_ms),
            min_samples: gate.min_samples,
            warm_up_ms: gate.warm_up.as_ms(),
            hold_max_ms: gate.hold_max.as_ms(),
        }
    }

    /// Dark probes in a row that make a total outage.
    pub(crate) fn outage(&self) -> u64 {
        self.consecutive_failures.max(LEAST_OUTAGE)
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
        self.timeout_ms.saturating_add(self.interval_ms.saturating_mul(2))
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
