//! What the user's own limits and rules cost and miss. Pure.

use super::stage::Assumed;
use crate::judge::{Settings, percent};
use crate::rules::needed_ms;
use kit_contract::config::{self, Gate, RuleAction, Span, Stage};
use kit_sequential::{FallTest, WindowRule, consecutive, rate_above};
use serde::Serialize;

/// Error rates for which it is said how often a rule misses them.
const MISSED: [f64; 3] = [0.02, 0.05, 0.2];
/// The same for shares of requests that are slower than a limit; 5 % is what a 95th percentile allows.
const MISSED_SLOW: [f64; 3] = [0.06, 0.1, 0.2];
/// Simulated stages: a probability of 0.1 % is known to a quarter of itself.
const RUNS: u32 = 20_000;
/// The standard normal distribution's 95th percentile.
const Z95: f64 = 1.644_853_6;

/// A limit or a rule that the user wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) action: RuleAction,
    /// Probability that it holds for a healthy release in this stage; absent: nobody can say.
    pub(crate) false_alarm: Option<f64>,
    /// What the canary does, and the probability that the rule does not see it.
    pub(crate) missed: Vec<(String, f64)>,
    /// So many stages were simulated for these figures; absent: they are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) simulated: Option<u32>,
    /// What else must be known.
    pub(crate) note: Option<String>,
}

impl Rule {
    fn new(name: String, action: RuleAction) -> Self {
        Self { name, action, false_alarm: None, missed: Vec::new(), simulated: None, note: None }
    }

    fn noted(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// How much of the canary a rule gets to see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) samples: u64,
    pub(crate) per_second: f64,
    pub(crate) has_baseline: bool,
}

/// All of them, in the order in which they are written.
pub(crate) fn rules(
    gate: &Gate,
    settings: &Settings,
    stage: &Stage,
    assumed: &Assumed,
    seen: Seen,
) -> Vec<Rule> {
    let own = gate.rules.iter().map(|rule| one(rule, settings, stage, assumed, seen));
    limits(settings, assumed, seen).into_iter().chain(own).collect()
}

/// The limits of `[gate]`, if every sample is looked at on its own.
fn limits(settings: &Settings, assumed: &Assumed, seen: Seen) -> Vec<Rule> {
    let n = whole(seen.samples);
    let rule = |name: String, holds: &dyn Fn(f64) -> f64| Rule {
        false_alarm: Some(holds(assumed.baseline_error_rate)),
        missed: missed(holds),
        ..Rule::new(name, RuleAction::Rollback)
    };
    let mut rules = Vec::new();
    let clump = settings.statistics.as_ref().map_or(1, |rules| u64::from(rules.clump));
    if let Some(row) = settings.row_of(clump) {
        let in_a_row = u32::try_from(row).unwrap_or(u32::MAX);
        rules.push(rule(format!("{in_a_row} failures in a row"), &|rate| consecutive(in_a_row, n, rate)));
    }
    if let Some(percent) = settings.max_error_percent {
        let least = u32::try_from(settings.least()).unwrap_or(u32::MAX);
        let name = format!("more than {percent} % failed of at least {least}");
        rules.push(rule(name, &|rate| rate_above(percent / 100.0, least, n, rate)));
    }
    rules
}

/// Beyond this many samples the exact sum takes too long; more of them only make a rule worse.
fn whole(samples: u64) -> u32 {
    u32::try_from(samples).unwrap_or(u32::MAX).min(20_000)
}

fn missed(holds: &dyn Fn(f64) -> f64) -> Vec<(String, f64)> {
    MISSED.iter().map(|rate| (format!("{} % errors", percent(*rate)), 1.0 - holds(*rate))).collect()
}

fn one(rule: &config::Rule, settings: &Settings, stage: &Stage, assumed: &Assumed, seen: Seen) -> Rule {
    let blank = Rule::new(rule.name.to_string(), rule.action);
    let needed = Span::from_ms(needed_ms(rule));
    if needed.as_ms() > stage.duration.as_ms() {
        let note = format!("cannot hold in this stage: it takes {needed}, and the stage {}", stage.duration);
        return Rule { false_alarm: Some(0.0), ..blank.noted(note) };
    }
    let window = |limit: f64| {
        let seconds = |ms: u64| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let window = WindowRule {
            limit,
            window_s: seconds(rule.window.as_ms()),
            lasting_s: seconds(rule.lasting.as_ms()),
            stage_s: seconds(stage.duration.as_ms()),
        };
        move |rate: f64| window.holds(seen.per_second, rate, RUNS)
    };
    if let Some(failures) = rule.consecutive_failures {
        let holds = |rate| consecutive(failures, whole(seen.samples), rate);
        let note = (!rule.lasting.is_zero()).then(|| "as if it took no time".to_owned());
        return Rule {
            false_alarm: Some(holds(assumed.baseline_error_rate)),
            missed: missed(&holds),
            note,
            ..blank
        };
    }
    if let Some(percent) = rule.error_percent_above {
        let holds = window(percent / 100.0);
        return Rule {
            simulated: Some(RUNS),
            false_alarm: Some(holds(assumed.baseline_error_rate)),
            missed: missed(&holds),
            ..blank
        };
    }
    if let Some(limit) = rule.p95_above {
        return slow(blank, limit, assumed, &window(0.05));
    }
    if let Some(above) = rule.p95_above_baseline {
        if !seen.has_baseline {
            return blank.noted("not asked in this stage: there is no baseline");
        }
        let Some((_, p95)) = assumed.latency else { return blank.noted(ASK_FOR_LATENCY) };
        let limit = Span::from_ms(p95.as_ms().saturating_add(above.as_ms()));
        return slow(blank, limit, assumed, &window(0.05))
            .noted("as if the baseline's p95 were known exactly");
    }
    if rule.gauge.is_some() {
        return blank.noted("its cost is that of the gauge: look at how often it was so in the past");
    }
    events(blank, rule, settings, stage, seen)
}

const ASK_FOR_LATENCY: &str = "give --baseline-p50 and --baseline-p95 to know what it costs";

/// The 95th percentile is above a limit if more than 5 % of the requests are slower than it.
fn slow(rule: Rule, limit: Span, assumed: &Assumed, holds: &dyn Fn(f64) -> f64) -> Rule {
    let missed = MISSED_SLOW
        .iter()
        .map(|share| (format!("{} % slower than {limit}", percent(*share)), 1.0 - holds(*share)))
        .collect();
    let rule = Rule { missed, simulated: Some(RUNS), ..rule };
    match assumed.latency {
        Some((p50, p95)) => Rule { false_alarm: Some(holds(slower(p50, p95, limit))), ..rule },
        None => rule.noted(ASK_FOR_LATENCY),
    }
}

/// The share of a lognormal distribution with these percentiles that is above `limit`.
fn slower(p50: Span, p95: Span, limit: Span) -> f64 {
    let ln = |span: Span| (span.as_ms().max(1) as f64).ln();
    let sigma = ((ln(p95) - ln(p50)) / Z95).max(1e-6);
    let z = (ln(limit) - ln(p50)) / sigma;
    libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
}

fn events(rule: Rule, of: &config::Rule, settings: &Settings, stage: &Stage, seen: Seen) -> Rule {
    let share = stage.percent / 100.0;
    if share >= 1.0 || !seen.has_baseline {
        return rule.noted("not asked in this stage: there is no baseline");
    }
    let (Some(statistics), Some(falls)) = (&settings.statistics, of.falls_percent) else { return rule };
    let test = FallTest::new(falls / 100.0, 1);
    let until = |kept| test.events_until_found(kept, share, statistics.alpha);
    let text = |kept, what: &str| match until(kept) {
        Some(events) => format!("a fall {what} is found after about {events:.0} events that were due"),
        None => format!("a fall {what} is not found"),
    };
    let note = format!("{}; {}", text(0.0, "to nothing"), text(0.5, "to half of what is tolerated"));
    Rule { false_alarm: Some(statistics.alpha), ..rule.noted(note) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_above_a_limit() {
        let (p50, p95) = (Span::from_ms(80), Span::from_ms(200));
        assert!((slower(p50, p95, p95) - 0.05).abs() < 1e-6);
        assert!((slower(p50, p95, p50) - 0.5).abs() < 1e-6);
        assert!(slower(p50, p95, Span::from_secs(1)) < 1e-5);
    }
}
