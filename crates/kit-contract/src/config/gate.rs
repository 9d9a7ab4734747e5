use super::{ConfigError, Headers, Span};
use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One stage of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name.
    pub name: Name,
    /// Share of traffic for the canary, in percent: above 0, at most 100, rising from stage to stage.
    pub percent: f64,
    /// How long the gate watches.
    pub duration: Span,
    /// What becomes of the canary while canary and baseline fail together. Absent: what `gate.on_hold` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_hold: Option<HoldAction>,
    /// What becomes of a canary that nobody can judge. Absent: what `gate.on_inconclusive` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<InconclusiveAction>,
}

/// Azora's stages: 5 % for 5 minutes, 50 % for 10, 100 % for 15.
pub(super) fn default_stages() -> Vec<Stage> {
    [("canary", 5.0, 5), ("progressive", 50.0, 10), ("full", 100.0, 15)]
        .into_iter()
        .filter_map(|(name, percent, minutes)| {
            let name = Name::try_from(name.to_owned()).ok()?;
            let duration = Span::from_secs(minutes * 60);
            Some(Stage { name, percent, duration, on_hold: None, on_inconclusive: None })
        })
        .collect()
}

/// At most six: the reusable workflow has that many slots.
const MOST_STAGES: usize = 6;

pub(super) fn check_stages(stages: &[Stage]) -> Result<(), ConfigError> {
    let rule = |message: String| Err(ConfigError::rule("stages", message));
    let Some(last) = stages.last() else {
        return rule("there must be at least one stage; the last is 100 %".to_owned());
    };
    if stages.len() > MOST_STAGES {
        return rule(format!("{} stages are too many: at most {MOST_STAGES}", stages.len()));
    }
    let mut before = 0.0;
    for stage in stages {
        if crate::pipeline::is_taken(stage.name.as_str()) {
            return rule(format!(
                "the name {:?} is taken: artifacts of other steps have it",
                stage.name.as_str()
            ));
        }
        if !(stage.percent > before && stage.percent <= 100.0) {
            return rule(format!(
                "stage {:?} has percent = {}: it must be above {before} and at most 100",
                stage.name.as_str(),
                stage.percent
            ));
        }
        before = stage.percent;
    }
    if last.percent < 100.0 {
        return rule(format!("the last stage, {:?}, must have percent = 100", last.name.as_str()));
    }
    Ok(())
}

/// What the gate asks of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceProbe {
    /// Address of the new version, whatever share of traffic it has.
    pub canary: ProbeTarget,
    /// Address of the version that serves now. Absent: there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ProbeTarget>,
}

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeTarget {
    /// Absolute address.
    pub url: String,
    /// Headers to send, for example the one that makes the router choose an arm. One that carries a
    /// secret names where it is found: `{ env = "NAME" }`.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

/// What becomes of a canary that nobody can judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InconclusiveAction {
    /// Take it to zero. The version is not marked bad.
    #[default]
    Withdraw,
    /// Watch on, for `hold_max` at most, and end the stage as soon as it can be judged; then take it to zero.
    Extend,
}

/// What becomes of the canary while canary and baseline fail together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldAction {
    /// Wait for `hold_max`, then take it to zero. The version is not marked bad.
    #[default]
    Withdraw,
    /// Leave it where it is and watch on, until both recover or the deadline of the step is over.
    Keep,
    /// The same, and call for a human, who may stop the deploy.
    Ask,
}

/// How a stage is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Time between two probes of one arm of one service.
    pub interval: Span,
    /// How long a probe may take; slower is an error.
    pub timeout: Span,
    /// Roll back after so many failed probes in a row. 0: never for this reason.
    pub consecutive_failures: u32,
    /// Probability that a healthy release is rolled back by statistics, over the whole rollout, in percent:
    /// split over stages and services. 0: no statistics, only the limits below.
    pub max_false_rollback_percent: f64,
    /// How many times the baseline's odds of failure are no fault of the canary: at least 1.
    pub tolerated_odds: f64,
    /// Error rate that is tolerated where there is no living baseline to compare with, in percent.
    pub tolerated_error_percent: f64,
    /// Promote only if so many errors, in percent, would have been seen with 90 % probability. Absent:
    /// what would have been seen is only said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_error_percent: Option<f64>,
    /// Promote before the end of the stage once fewer errors than this, in percent, are certain (95 %).
    /// Absent: every stage is watched to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_pass_error_percent: Option<f64>,
    /// How much slower than the baseline the canary may be, in percent, before statistics count it.
    pub latency_margin_percent: f64,
    /// Roll back if more than this share of probes failed, in percent, once `min_samples` are there.
    /// Absent: no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_percent: Option<f64>,
    /// Roll back if the 95th percentile of the canary is above this. Absent: no absolute limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p95: Option<Span>,
    /// Roll back if the 95th percentile is more than this above the baseline's. Absent: not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p95_above_baseline: Option<Span>,
    /// Fewer samples of the canary than this decide nothing.
    pub min_samples: u64,
    /// Latencies of the first moments after a shift are not judged. Errors always are. Absent: a tenth of
    /// the stage, at most 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Span>,
    /// How long after its end a stage may stay in `hold`, or wait for what it lacks (`extend`).
    pub hold_max: Span,
    /// What becomes of the canary while canary and baseline fail together.
    pub on_hold: HoldAction,
    /// What becomes of a canary that nobody can judge.
    pub on_inconclusive: InconclusiveAction,
    /// How long the version that serves now is measured before a migration, and again after it, before any
    /// traffic is shifted. 0s: it is not.
    pub measure_baseline: Span,
    /// Rules of your own. `canary-gate plan` says what they cost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<super::rule::Rule>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            interval: Span::from_secs(1),
            timeout: Span::from_secs(5),
            consecutive_failures: 5,
            max_false_rollback_percent: 0.9,
            tolerated_odds: 1.2,
            tolerated_error_percent: 1.0,
            detect_error_percent: None,
            early_pass_error_percent: None,
            latency_margin_percent: 15.0,
            max_error_percent: None,
            max_p95: None,
            max_p95_above_baseline: None,
            min_samples: 20,
            warm_up: None,
            hold_max: Span::from_secs(10 * 60),
            on_hold: HoldAction::Withdraw,
            on_inconclusive: InconclusiveAction::Withdraw,
            measure_baseline: Span::from_secs(30),
            rules: Vec::new(),
        }
    }
}
