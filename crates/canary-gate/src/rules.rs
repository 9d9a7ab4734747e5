//! The rules of `deploy.toml`, as the judge and the readers need them for one stage. Pure.

use crate::judge::{Criterion, RuleSettings, Settings};
use crate::plan::Target;
use crate::source::{self, Asked};
use kit_contract::Name;
use kit_contract::config::{Gate, Rule, Source, Span};
use std::time::Duration;

/// A gauge that was not read for so many looks is not known.
const STALE_LOOKS: u64 = 4;
/// What two percentiles or events are measured against lies within the stage; a gauge needs time to be asked.
const LEAST_STALE_MS: u64 = 10_000;

/// The rules of a stage.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) settings: Vec<RuleSettings>,
    pub(crate) gauges: Vec<Asked>,
    pub(crate) events: Vec<(Name, Source)>,
    /// What a reader must know of them.
    pub(crate) remarks: Vec<String>,
}

/// Settles them. `compares`: there is a baseline with traffic in this stage.
pub(crate) fn resolve(gate: &Gate, settings: &Settings, targets: &[Target], compares: bool) -> Resolved {
    let mut resolved = Resolved::default();
    for rule in &gate.rules {
        if rule.events.is_some() && !compares {
            let remark = "events are held against the baseline's, and nobody is left there";
            resolved.remarks.push(format!("rule {} is not asked in this stage: {remark}", rule.name));
            continue;
        }
        let Some(criterion) = criterion(rule, gate, settings) else { continue };
        let needed_ms = needed_ms(rule);
        if needed_ms > settings.planned_ms {
            resolved.remarks.push(format!(
                "warning: rule {} can only hold after {}, and this stage lasts {}",
                rule.name,
                Span::from_ms(needed_ms),
                Span::from_ms(settings.planned_ms)
            ));
        }
        let about_requests = rule.gauge.is_none() && rule.events.is_none();
        let compared = |target: &&Target| rule.p95_above_baseline.is_none() || target.has_baseline();
        let asked = targets.iter().filter(compared).filter(|_| about_requests);
        let names = asked.map(|target| &target.service);
        let services: Vec<Name> = names
            .filter(|name| rule.service.as_ref().is_none_or(|wanted| wanted == *name))
            .cloned()
            .collect();
        if about_requests && services.is_empty() {
            let why = if rule.p95_above_baseline.is_some() {
                "there is no baseline to compare with"
            } else {
                // The addresses were given as inputs, so the services of deploy.toml are not watched.
                "its service is not watched"
            };
            resolved.remarks.push(format!("rule {} is not asked in this stage: {why}", rule.name));
            continue;
        }
        resolved.settings.push(RuleSettings {
            name: rule.name.clone(),
            action: rule.action,
            services,
            lasting_ms: rule.lasting.as_ms(),
            criterion,
        });
        if let Some(source) = &rule.gauge {
            let (source, above) = (source.clone(), rule.above.is_some());
            resolved.gauges.push(Asked { rule: rule.name.clone(), source, above });
        }
        resolved.events.extend(rule.events.clone().map(|source| (rule.name.clone(), source)));
    }
    resolved
}

/// How much of a stage must be over before a rule can hold.
pub(crate) fn needed_ms(rule: &Rule) -> u64 {
    let looks_back =
        rule.error_percent_above.is_some() || rule.p95_above.is_some() || rule.p95_above_baseline.is_some();
    let window_ms = if looks_back { rule.window.as_ms() } else { 0 };
    window_ms.saturating_add(rule.lasting.as_ms())
}

/// `None` never, for a rule that was checked.
fn criterion(rule: &Rule, gate: &Gate, settings: &Settings) -> Option<Criterion> {
    let window_ms = rule.window.as_ms();
    let p95 =
        |limit: Span, above_baseline| Criterion::P95 { limit_ms: limit.as_ms(), above_baseline, window_ms };
    if let Some(failures) = rule.consecutive_failures {
        return Some(Criterion::Row { failures: u64::from(failures) });
    }
    if let Some(percent) = rule.error_percent_above {
        return Some(Criterion::Errors { percent, window_ms });
    }
    if let Some(limit) = rule.p95_above {
        return Some(p95(limit, false));
    }
    if let Some(limit) = rule.p95_above_baseline {
        return Some(p95(limit, true));
    }
    if let Some(limit) = rule.above.or(rule.below) {
        let every = source::gauge_every(Duration::from_millis(settings.interval_ms));
        let looks_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).saturating_mul(STALE_LOOKS);
        let stale_ms = looks_ms.saturating_add(settings.timeout_ms).max(LEAST_STALE_MS);
        return Some(Criterion::Gauge { limit, above: rule.above.is_some(), stale_ms });
    }
    let (source, percent) = (rule.events.as_ref()?, rule.falls_percent?);
    let stale_ms = source::lag_ms(source, gate.interval.as_ms()).saturating_add(settings.timeout_ms);
    Some(Criterion::Events {
        fall: percent / 100.0,
        alpha: settings.statistics.as_ref().map_or(ALPHA_WITHOUT_STATISTICS, |rules| rules.alpha),
        stale_ms: stale_ms.max(LEAST_STALE_MS),
    })
}

/// Where statistics are switched off for errors, what a fall of events may spend.
const ALPHA_WITHOUT_STATISTICS: f64 = 0.001;
