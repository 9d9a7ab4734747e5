//! The lines of a program of the user's. Pure.

use super::counters::{Reading, Role};
use crate::tick::Arm;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One line: totals that only grow, of one arm or one instance of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    arm: Arm,
    requests: f64,
    errors: f64,
    /// Which instance it is about, if there are several.
    #[serde(default)]
    series: String,
    /// Numbers of requests that took at most so many seconds, by that number, as Prometheus has them.
    #[serde(default)]
    latency: BTreeMap<String, f64>,
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn parse(text: &str) -> Result<(Arm, Vec<Reading>), String> {
    let line: Line =
        serde_json::from_str(text).map_err(|error| format!("a line that is not as it must be: {error}"))?;
    let reading = |role, value| Reading {
        role,
        whose: line.series.clone(),
        series: line.series.clone(),
        at_ms: None,
        value,
    };
    let mut readings = vec![reading(Role::Requests, line.requests), reading(Role::Errors, line.errors)];
    for (limit, count) in &line.latency {
        let role = limit_of(limit).ok_or_else(|| format!("latency {limit:?} is no limit in seconds"))?;
        readings.push(reading(role, *count));
    }
    checked(readings).map(|readings| (line.arm, readings))
}

/// The limit of a bucket, as Prometheus writes it.
pub(crate) fn limit_of(text: &str) -> Option<Role> {
    let seconds = if text == "+Inf" { f64::INFINITY } else { text.parse().ok()? };
    Role::up_to_s(seconds)
}

/// Counters are 0 or more. What is not must not pass for one.
pub(crate) fn checked(readings: Vec<Reading>) -> Result<Vec<Reading>, String> {
    match readings.iter().find(|reading| !(reading.value >= 0.0 && reading.value.is_finite())) {
        Some(reading) => Err(format!("a counter is {}, which is no count", reading.value)),
        None => Ok(readings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_totals_of_one_arm() {
        let text = r#"{"arm": "baseline", "requests": 12, "errors": 1, "series": "pod-1", "latency": {"0.1": 9, "+Inf": 12}}"#;
        let (arm, readings) = parse(text).unwrap();
        assert_eq!((arm, readings.len()), (Arm::Baseline, 4));
        assert!(readings.iter().all(|reading| reading.series == "pod-1" && reading.at_ms.is_none()));
    }

    #[test]
    fn what_is_no_count_is_no_zero() {
        for (text, what) in [
            ("", "EOF"),
            (r#"{"arm": "canary", "requests": 3}"#, "missing field `errors`"),
            (r#"{"arm": "canary", "requests": 3, "errors": 0, "error": 2}"#, "unknown field `error`"),
            (r#"{"arm": "canray", "requests": 3, "errors": 0}"#, "unknown variant `canray`"),
            (r#"{"arm": "canary", "requests": null, "errors": 0}"#, "invalid type: null"),
            (r#"{"arm": "canary", "requests": -3, "errors": 0}"#, "a counter is -3"),
            (
                r#"{"arm": "canary", "requests": 3, "errors": 0, "latency": {"fast": 3}}"#,
                "\"fast\" is no limit",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
