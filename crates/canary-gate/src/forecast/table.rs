//! A forecast in words.

use super::rules::Rule;
use super::stage::{Assumed, Forecast};
use crate::judge::percent;
use kit_contract::config::{RuleAction, Span};

/// One paragraph per stage.
pub(crate) fn text(forecasts: &[Forecast], assumed: &Assumed) -> String {
    let source = match assumed.requests_per_second {
        Some(rate) => format!("{rate} requests per second over both versions, counted by others"),
        None => "probes of the gate".to_owned(),
    };
    let noise = percent(assumed.baseline_error_rate);
    let mut lines =
        vec![format!("assuming {noise} % errors of a healthy version, and {source}; per service:")];
    lines.extend(forecasts.iter().map(paragraph));
    let weak: Vec<&str> =
        forecasts.iter().filter(|one| one.is_too_weak()).map(|one| one.stage.as_str()).collect();
    if !weak.is_empty() {
        lines.push(format!("\nrefused: {} cannot see what detect_error_percent asks for", weak.join(", ")));
    }
    lines.join("\n")
}

fn paragraph(forecast: &Forecast) -> String {
    let mut lines = vec![format!(
        "\n{} ({}): {} samples of the canary, {} of the baseline",
        forecast.stage,
        Span::from_ms(forecast.duration_ms),
        forecast.samples,
        forecast.baseline_samples
    )];
    let mut add = |what: &str, value: String| lines.push(format!("  {what:<26}{value}"));
    if let Some(bound) = forecast.clean_bound {
        add("if not one fails", format!("the error rate is below {} % (95 %)", percent(bound)));
    }
    match forecast.alpha {
        Some(alpha) => {
            add("false rollback", format!("at most {} % of healthy releases", percent(alpha)));
            add("sees (90 %)", seen(forecast));
        }
        None => add("statistics", "off".to_owned()),
    }
    for (failures, until) in &forecast.limits {
        let block = match forecast.probes_per_block {
            1 => "probe".to_owned(),
            size => format!("block of {size} probes"),
        };
        add("without a baseline", format!("rolls back at failure {failures}, up to {block} {until}"));
    }
    for rule in &forecast.rules {
        add("your rule", rule_text(rule));
    }
    lines.join("\n")
}

fn seen(forecast: &Forecast) -> String {
    let seen = match forecast.detectable_error_rate {
        Some(rate) => format!("{} % errors and more", percent(rate)),
        None => "not even 100 % errors for certain".to_owned(),
    };
    match (forecast.asked_error_rate, forecast.is_too_weak()) {
        (None, _) => seen,
        (Some(asked), false) => format!("{seen}; {} % are asked for", percent(asked)),
        (Some(asked), true) => {
            let needed = match forecast.needed_per_second {
                Some(rate) => format!("needs {} requests per second of the canary", percent(rate / 100.0)),
                None => "no request rate would do".to_owned(),
            };
            format!("{seen}; {} % are asked for: {needed}", percent(asked))
        }
    }
}

fn rule_text(rule: &Rule) -> String {
    let mut parts = Vec::new();
    let does = match rule.action {
        RuleAction::Rollback => "rolls back",
        RuleAction::Hold => "holds",
        RuleAction::Warn => "warns of",
    };
    parts.extend(
        rule.false_alarm
            .filter(|_| rule.note.is_none() || rule.false_alarm > Some(0.0))
            .map(|share| format!("{does} {} of healthy releases", part(rule, share))),
    );
    let missed: Vec<String> =
        rule.missed.iter().map(|(what, missed)| format!("{what} in {}", part(rule, *missed))).collect();
    if !missed.is_empty() {
        parts.push(format!("misses {}", missed.join(", ")));
    }
    parts.extend(rule.note.clone());
    format!("{}: {}", rule.name, parts.join("; "))
}

/// Of three in so many simulated stages, none shows with 5 % probability.
fn part(rule: &Rule, share: f64) -> String {
    match rule.simulated {
        Some(runs) if share * f64::from(runs) < 1.0 => {
            format!("less than {} %", percent(3.0 / f64::from(runs)))
        }
        _ => format!("{} %", percent(share)),
    }
}
