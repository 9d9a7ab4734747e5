//! What people read: the lines of a run, and the job summary.

use crate::chart;
use crate::journal::Header;
use crate::judge::{Decision, Judge, Settings, percent};
use kit_contract::Name;
use kit_contract::body::{ArmCounts, Gate, GateVerdict, RuleState, RuleVerdict, ServiceVerdict};
use kit_contract::config::{RuleAction, Span};

/// Lines come no more often than this.
const LEAST_MS: u64 = 10_000;
/// A stage has about so many reports, however long it is.
const REPORTS: u64 = 10;

/// The word for a verdict, as the output and the artifact have it.
pub(crate) const fn word(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Promote => "promote",
        GateVerdict::Rollback => "rollback",
        GateVerdict::Hold => "hold",
        GateVerdict::Inconclusive => "inconclusive",
        GateVerdict::Unknown => "unknown",
    }
}

/// What is going to be watched.
pub(crate) fn start(header: &Header) -> Vec<String> {
    let settings = &header.settings;
    let names: Vec<String> = header
        .services
        .iter()
        .map(|watched| {
            let arms = match watched.baseline {
                true => "canary and baseline",
                false if header.is_baseline() => "the version that serves now",
                false => "canary alone, no baseline",
            };
            format!("{} ({arms})", watched.service)
        })
        .collect();
    let mut lines = vec![format!("watching {} for {}", names.join(", "), span(settings.planned_ms))];
    let counted: Vec<&str> = settings.sources.keys().map(Name::as_str).collect();
    let probes = counted.len() < header.services.len();
    if probes {
        lines.push(format!(
            "one probe every {} per arm, {} in all; each may take {}",
            span(settings.interval_ms),
            settings.planned_probes(),
            span(settings.timeout_ms)
        ));
    }
    if !counted.is_empty() {
        lines.push(format!("counted by others: the requests of {}", counted.join(", ")));
    }
    lines.push(format!("rolled back on {}", criteria(settings).join(", ")));
    if let Some(rules) = &settings.statistics {
        lines.push(format!(
            "and on proof of more errors or latency than the baseline; a healthy canary is blamed with {} % \
             probability at most",
            percent(rules.alpha)
        ));
    }
    if !settings.rules.is_empty() {
        let names: Vec<&str> = settings.rules.iter().map(|rule| rule.name.as_str()).collect();
        lines.push(format!("and by your rules: {}", names.join(", ")));
    }
    if probes && settings.planned_probes() < settings.min_samples {
        lines.push(format!(
            "warning: {} probes are fewer than the {} samples that a promotion needs: this stage cannot be \
             promoted; probe faster, or make it longer",
            settings.planned_probes(),
            settings.min_samples
        ));
    }
    lines
}

fn criteria(settings: &Settings) -> Vec<String> {
    let mut parts = vec![format!("no answer to {} in a row", settings.outage())];
    if settings.consecutive_failures > 0 {
        parts.push(format!("{} failures in a row", settings.consecutive_failures));
    }
    if let Some(percent) = settings.max_error_percent {
        parts.push(format!("more than {percent} % failed of at least {}", settings.least()));
    }
    parts.extend(settings.max_p95_ms.map(|limit_ms| format!("a p95 above {limit_ms} ms")));
    parts.extend(
        settings
            .max_p95_above_baseline_ms
            .map(|limit_ms| format!("a p95 more than {limit_ms} ms above the baseline's")),
    );
    parts
}

/// Says how things stand from time to time.
pub(crate) struct Progress {
    every_ms: u64,
    next_ms: u64,
}

impl Progress {
    pub(crate) fn new(settings: &Settings) -> Self {
        let every_ms = (settings.planned_ms / REPORTS).max(LEAST_MS);
        Self { every_ms, next_ms: every_ms }
    }

    /// One line per service, if it is time for them.
    pub(crate) fn lines(&mut self, judge: &Judge, settings: &Settings) -> Vec<String> {
        let now_ms = judge.watched_ms();
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = (now_ms / self.every_ms + 1) * self.every_ms;
        let left = match settings.planned_ms.saturating_sub(now_ms) {
            0 => "beyond the end of the stage".to_owned(),
            // Whole seconds: nobody reads more.
            left_ms => format!("{} left", span(left_ms.div_ceil(1000) * 1000)),
        };
        judge.standing().services.iter().map(|service| format!("{}; {left}", standing(service))).collect()
    }
}

fn standing(service: &ServiceVerdict) -> String {
    let hold = if service.verdict == GateVerdict::Hold { "; both fail together: on hold" } else { "" };
    let baseline = match &service.baseline {
        Some(counts) => format!("; baseline {}", arm(counts)),
        None => String::new(),
    };
    format!("{}: canary {}{baseline}{hold}", service.service, arm(&service.canary))
}

fn arm(counts: &ArmCounts) -> String {
    let latency = match (counts.p50_ms, counts.p95_ms) {
        (Some(p50_ms), Some(p95_ms)) => format!(", p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms"),
        _ => String::new(),
    };
    format!("{} of {} failed{latency}", counts.errors, counts.requests)
}

/// The job summary.
pub(crate) fn summary(body: &Gate) -> String {
    let shadow = if body.shadow { " (only looked on: decided nothing)" } else { "" };
    let mut text = format!(
        "\nStage `{}`: **{}**{shadow} after {} of {}, {} ticks\n\n| service | verdict | reason | canary failed | p50 / \
         p95 | baseline failed | p50 / p95 | error rate below (95 %) | would have seen (90 %) | false rollback |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        body.stage,
        word(body.verdict),
        span(body.watched_ms),
        span(body.planned_ms),
        body.ticks
    );
    for service in &body.services {
        let (failed, latency) = cells(Some(&service.canary));
        let (baseline_failed, baseline_latency) = cells(service.baseline.as_ref());
        let certificate = &service.certificate;
        let seen = certificate
            .detectable_error_rate
            .map_or("unknown".to_owned(), |rate| format!("{} %", percent(rate)));
        let alpha =
            certificate.alpha.map_or("unknown".to_owned(), |alpha| format!("at most {} %", percent(alpha)));
        let bound = match certificate.error_rate_upper_bound {
            Some(bound) => format!("{:.2} %", bound * 100.0),
            None => "unknown".to_owned(),
        };
        text.push_str(&format!(
            "| {} | {} | `{}` | {failed} | {latency} | {baseline_failed} | {baseline_latency} | {bound} | {seen} | {alpha} |\n",
            service.service,
            word(service.verdict),
            service.reason
        ));
    }
    text.push_str(&rules(&body.rules));
    text.extend(body.services.iter().map(chart::evidence));
    if let Some(file) = &body.ticks_file {
        text.push_str(&format!("\nEvery tick is in `{file}`; `canary-gate replay` judges it again.\n"));
    }
    text
}

/// The table of the user's own rules.
fn rules(rules: &[RuleVerdict]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let mut text = "\n| rule | service | action | stands | |\n|---|---|---|---|---|\n".to_owned();
    for rule in rules {
        let service = rule.service.as_ref().map_or("", Name::as_str);
        let action = match rule.action {
            RuleAction::Rollback => "rollback",
            RuleAction::Hold => "hold",
            RuleAction::Warn => "warn",
        };
        let message = kit_step::markdown_escape(&rule.message);
        text.push_str(&format!("| {} | {service} | {action} | {} | {message} |\n", rule.rule, stands(rule)));
    }
    text
}

/// How a rule stands, in words.
pub(crate) const fn stands(rule: &RuleVerdict) -> &'static str {
    match rule.state {
        RuleState::Quiet => "quiet",
        RuleState::Pending => "not for long enough yet",
        RuleState::Holds => "**holds**",
        RuleState::Common => "holds for both versions",
        RuleState::Unknown | RuleState::Other => "unknown",
    }
}

fn cells(counts: Option<&ArmCounts>) -> (String, String) {
    let Some(counts) = counts else { return ("none".to_owned(), "none".to_owned()) };
    let ms = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |ms| format!("{ms:.0} ms"));
    (
        format!("{} of {}", counts.errors, counts.requests),
        format!("{} / {}", ms(counts.p50_ms), ms(counts.p95_ms)),
    )
}

/// What `replay` prints.
pub(crate) fn replayed(header: &Header, decision: &Decision) -> String {
    let mut lines = vec![format!(
        "{} ({}) for stage {} after {} of {}, {} ticks",
        word(decision.verdict),
        decision.reason,
        header.stage,
        span(decision.watched_ms),
        span(header.settings.planned_ms),
        decision.ticks
    )];
    lines.push(header.told(decision).1);
    lines.extend(decision.services.iter().map(|service| format!("  {}", standing(service))));
    lines.extend(
        decision.rules.iter().map(|rule| {
            format!("  rule {}: {}: {}", rule.rule, stands(rule).trim_matches('*'), rule.message)
        }),
    );
    lines.join("\n")
}

fn span(ms: u64) -> Span {
    Span::from_ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Watched;
    use crate::tick::{Arm, ArmTick, Kind, Sample, Tick};
    use kit_contract::config::Gate as Criteria;

    #[test]
    fn a_line_per_service_comes_ten_times_per_stage() {
        let settings = Settings::new(&Criteria::default(), Span::from_secs(300));
        let services =
            ["api", "web"].map(|name| Watched { service: name.parse().unwrap(), baseline: name == "api" });
        let mut judge = Judge::new(settings.clone(), &services);
        let mut progress = Progress::new(&settings);
        let mut said = Vec::new();
        for second in 1..300_u64 {
            let sample = Sample { kind: Kind::Ok, sent_ms: second * 1000 - 1000, latency_ms: 12.4 };
            let arm = |service: &str, arm| ArmTick {
                service: service.parse().unwrap(),
                arm,
                samples: vec![sample],
                pending: 0,
                counts: Vec::new(),
            };
            let arms = vec![arm("api", Arm::Canary), arm("api", Arm::Baseline), arm("web", Arm::Canary)];
            assert_eq!(judge.feed(&Tick { t_ms: second * 1000 + 3, arms }), None);
            said.extend(progress.lines(&judge, &settings));
        }
        assert_eq!(said.len(), 2 * 9);
        assert_eq!(
            said[0],
            "api: canary 0 of 30 failed, p50 12 ms, p95 12 ms; baseline 0 of 30 failed, p50 12 ms, p95 12 ms; \
             4m 30s left"
        );
        assert_eq!(said[1], "web: canary 0 of 30 failed, p50 12 ms, p95 12 ms; 4m 30s left");
    }
}
