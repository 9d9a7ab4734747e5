//! Rules of the user's own: criteria as people write them, beside the gate's statistics.

use super::address::{check_address, check_headers};
use super::{ConfigError, Headers, SecretRef, Source, Span, address};
use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the canary once a rule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// It is rolled back, unless the baseline breaks the same rule.
    #[default]
    Rollback,
    /// It is held where it is for as long as the rule holds, as `on_hold` says.
    Hold,
    /// People are told, and nothing else.
    Warn,
}

/// One rule. It has exactly one criterion: `consecutive_failures`, `error_percent_above`, `p95_above`,
/// `p95_above_baseline`, `gauge` or `events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, by which it is told.
    pub name: Name,
    /// What becomes of the canary once it holds.
    #[serde(default)]
    pub action: RuleAction,
    /// The service whose requests it is about. Absent: each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// How long the criterion must be met without a break. What is not known for a moment is a break.
    #[serde(rename = "for", default = "at_once", skip_serializing_if = "Span::is_zero")]
    pub lasting: Span,
    /// The time back to which `error_percent_above` and the two about latency look, at every tick.
    #[serde(default = "default_window")]
    pub window: Span,
    /// So many failed probes of the canary in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u32>,
    /// More than this share of the canary's requests within `window` failed, in percent: 0 to below 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_percent_above: Option<f64>,
    /// The canary's 95th percentile within `window` is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_above: Option<Span>,
    /// It is more than this above the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_above_baseline: Option<Span>,
    /// A value that goes up and down: memory, connections, the length of a queue. With `above` or `below`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gauge: Option<Gauge>,
    /// The gauge is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The gauge is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// Who counts what should not fall silently: logins, orders. A source as that of a service, whose `errors`
    /// (or `events`) count the events. With `falls_percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Source>,
    /// The canary has fewer events per request than the baseline, by more than this: above 0, below 100. It
    /// takes proof, not a glance: a healthy canary's share of the gate's `max_false_rollback_percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falls_percent: Option<f64>,
}

/// Where a gauge is read. What cannot be read is unknown, not 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gauge {
    /// A query to a Prometheus server.
    Prometheus(PrometheusGauge),
    /// A number in any JSON over HTTP.
    Json(JsonGauge),
    /// A program of yours that prints one number.
    Command(CommandGauge),
}

/// A query to a Prometheus server. Of several values the worst counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusGauge {
    /// Address of the server, without `/api/v1`.
    pub url: String,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// Any expression that gives numbers. `{version}` stands for the version that is deployed.
    pub query: String,
}

/// A number in JSON. Of several the worst counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonGauge {
    /// Address. `{version}` stands for the version that is deployed.
    pub url: String,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// JSON path (RFC 9535) of the number.
    pub path: String,
}

/// A program that prints one number and ends with 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandGauge {
    /// Program and arguments. No shell is involved.
    pub command: Vec<String>,
}

fn at_once() -> Span {
    Span::from_ms(0)
}

fn default_window() -> Span {
    Span::from_secs(60)
}

impl Rule {
    /// The headers that it sends.
    pub(super) fn secrets(&self) -> Vec<&SecretRef> {
        let gauge = self.gauge.iter().filter_map(|gauge| match gauge {
            Gauge::Prometheus(gauge) => Some(&gauge.headers),
            Gauge::Json(gauge) => Some(&gauge.headers),
            Gauge::Command(_) => None,
        });
        let events = self.events.iter().flat_map(Source::secrets);
        gauge.flat_map(address::secrets_of).chain(events).collect()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let path = format!("gate.rules.{}", self.name);
        let fail = |message: String| Err(ConfigError::rule(path.clone(), message));
        let criteria = [
            ("consecutive_failures", self.consecutive_failures.is_some()),
            ("error_percent_above", self.error_percent_above.is_some()),
            ("p95_above", self.p95_above.is_some()),
            ("p95_above_baseline", self.p95_above_baseline.is_some()),
            ("gauge", self.gauge.is_some()),
            ("events", self.events.is_some()),
        ];
        let given: Vec<&str> = criteria.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let [criterion] = given.as_slice() else {
            let all: Vec<&str> = criteria.iter().map(|(name, _)| *name).collect();
            let has = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
            return fail(format!("it has {has}: give exactly one of {}", all.join(", ")));
        };
        let about_requests = !matches!(*criterion, "gauge" | "events");
        if self.service.is_some() && !about_requests {
            return fail(format!("service belongs to rules about requests, not to {criterion}"));
        }
        let limits = usize::from(self.above.is_some()) + usize::from(self.below.is_some());
        match (self.gauge.is_some(), limits) {
            (true, 1) | (false, 0) => {}
            (true, _) => return fail("a gauge needs either above or below".to_owned()),
            (false, _) => return fail(format!("above and below belong to a gauge, not to {criterion}")),
        }
        for (name, limit) in [("above", self.above), ("below", self.below)] {
            if limit.is_some_and(|limit| !limit.is_finite()) {
                return fail(format!("{name} is no number"));
            }
        }
        if self.consecutive_failures == Some(0) {
            return fail("consecutive_failures is 0: at least 1".to_owned());
        }
        if let Some(percent) = self.error_percent_above.filter(|percent| !(0.0..100.0).contains(percent)) {
            return fail(format!("error_percent_above is {percent}: use 0 to below 100"));
        }
        if about_requests && self.window.is_zero() {
            return fail("window is 0s: nothing happens within that".to_owned());
        }
        match (&self.events, self.falls_percent) {
            (None, None) => {}
            (None, Some(_)) => {
                return fail(format!("falls_percent belongs to events, not to {criterion}"));
            }
            (Some(_), None) => return fail("events need falls_percent".to_owned()),
            (Some(_), Some(percent)) if !(percent > 0.0 && percent < 100.0) => {
                return fail(format!("falls_percent is {percent}: use above 0 and below 100"));
            }
            (Some(source), Some(_)) if !source.has_baseline() => {
                return fail("events are held against the baseline's, and the source has none".to_owned());
            }
            (Some(source), Some(_)) => source.check(&format!("{path}.events"))?,
        }
        match &self.gauge {
            Some(Gauge::Prometheus(gauge)) => {
                check_address(&format!("{path}.gauge.prometheus.url"), &gauge.url)?;
                check_headers(&format!("{path}.gauge.prometheus"), &gauge.headers)
            }
            Some(Gauge::Json(gauge)) => {
                check_address(&format!("{path}.gauge.json.url"), &gauge.url)?;
                check_headers(&format!("{path}.gauge.json"), &gauge.headers)
            }
            Some(Gauge::Command(gauge)) if gauge.command.is_empty() => {
                fail("gauge.command.command is empty: give program and arguments".to_owned())
            }
            Some(Gauge::Command(_)) | None => Ok(()),
        }
    }
}
