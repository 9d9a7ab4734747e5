use crate::config::RuleAction;
use crate::{ArtifactKind, Body, Name, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the gate decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// Healthy as far as this stage can tell: go on.
    Promote,
    /// The canary is bad: withdraw it.
    Rollback,
    /// Canary and baseline fail together: wait.
    Hold,
    /// Not known: withdraw, but do not call the version bad.
    Inconclusive,
    /// Written by a newer version. Never healthy.
    #[serde(other)]
    Unknown,
}

/// What was counted on one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmCounts {
    /// Requests that gave an answer or failed; probes that could not be sent do not count.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Median latency, if there was any answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// What the verdict can and cannot claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Samples of the canary that the verdict rests on.
    pub samples: u64,
    /// Upper 95 % bound on the canary's error rate (0 to 1).
    pub error_rate_upper_bound: Option<f64>,
    /// How the bound was computed.
    pub method: String,
    /// True if there was no live baseline, so only absolute limits could decide.
    pub absolute_only: bool,
    /// Probability with which statistics may blame a healthy canary of this service in this stage (0 to 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Smallest error rate of the canary (0 to 1) that would have been seen with 90 % probability, given
    /// as many requests and errors of the baseline as there were. Absent: none would have been, or the
    /// stage did not reach its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable_error_rate: Option<f64>,
    /// What was asked for it (0 to 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_error_rate: Option<f64>,
    /// The evidence against the canary: 1 at the start, proof at `1 / alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<f64>,
}

/// The verdict on one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceVerdict {
    /// The service.
    pub service: Name,
    /// The verdict.
    pub verdict: GateVerdict,
    /// Why, as a stable code.
    pub reason: Reason,
    /// Why, for people, with numbers.
    pub message: String,
    /// The new version.
    pub canary: ArmCounts,
    /// The version that serves now; absent where there is none to compare with.
    pub baseline: Option<ArmCounts>,
    /// What the verdict can claim.
    pub certificate: Certificate,
    /// The evidence against the canary at moments that are evenly spread over the stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence_path: Vec<EvidencePoint>,
}

/// The evidence at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidencePoint {
    /// The moment, in ms since the stage began.
    pub t_ms: u64,
    /// 1 at the start, proof at `1 / alpha`.
    pub evidence: f64,
}

/// How a rule of the user's stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It does not hold.
    Quiet,
    /// Its criterion is met, but not for long enough yet.
    Pending,
    /// It holds; of a rule that only warns: it held at some time.
    Holds,
    /// Canary and baseline break it together, so nobody is blamed.
    Common,
    /// What it asks for is not known.
    Unknown,
    /// Written by a newer version. Never quiet.
    #[serde(other)]
    Other,
}

/// How one rule of the user's came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleVerdict {
    /// The rule.
    pub rule: Name,
    /// What it does once it holds.
    pub action: RuleAction,
    /// The service whose requests it is about; absent for gauges and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// How it stands.
    pub state: RuleState,
    /// For people, with numbers.
    pub message: String,
    /// Since when its criterion is met without a break, in ms since the stage began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

/// The verdict on one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// The stage.
    pub stage: Name,
    /// Share of traffic that the canary had, in percent, as `rollout` observed it; absent where nobody
    /// observed one.
    pub share_percent: Option<f64>,
    /// The combined verdict: the worst over all services and rules.
    pub verdict: GateVerdict,
    /// One per service.
    pub services: Vec<ServiceVerdict>,
    /// One per rule of the user's, and per service that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleVerdict>,
    /// How long the gate was to watch.
    pub planned_ms: u64,
    /// How long it watched.
    pub watched_ms: u64,
    /// How many ticks it judged.
    pub ticks: u64,
    /// File that holds every tick, one JSON object per line, beside this artifact.
    pub ticks_file: Option<String>,
    /// True if the gate only looked on: its verdict decided nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

impl Body for Gate {
    const KIND: ArtifactKind = ArtifactKind::Gate;
}
