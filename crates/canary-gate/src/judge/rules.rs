//! Rules of the user's own. Pure: what came in, in; how each rule stands, out.
//!
//! A rule holds once its criterion was met at every tick for as long as it says. What is not known at a tick
//! is a break, so nothing is rolled back for want of data; nor is a stage promoted at whose end a rule that
//! could do more than warn cannot say whether it holds.

use super::arm::{ArmLog, Share};
use super::percentiles::{self, Percentiles};
use super::service::Service;
use super::settings::Settings;
use crate::judge::pairing::merge;
use crate::tick::{Arm, ArmTick, Counts, Latencies};
use kit_contract::body::{GateVerdict, RuleState, RuleVerdict};
use kit_contract::config::{RuleAction, Span};
use kit_contract::{Name, Reason};
use kit_sequential::FallTest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// One rule, as it is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Its name.
    pub name: Name,
    /// What it does once it holds.
    pub action: RuleAction,
    /// The services whose requests it is about; none for gauges and events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Name>,
    /// How long its criterion must be met.
    pub lasting_ms: u64,
    /// Its criterion.
    pub criterion: Criterion,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Criterion {
    /// So many failures in a row.
    Row {
        /// How many.
        failures: u64,
    },
    /// Too many failures within a window.
    Errors {
        /// Just allowed, in percent.
        percent: f64,
        /// Length of the window.
        window_ms: u64,
    },
    /// A 95th percentile that is too high.
    P95 {
        /// Just allowed: absolute, or above the baseline's.
        limit_ms: u64,
        /// True if `limit_ms` comes on top of the baseline's.
        above_baseline: bool,
        /// Length of the window.
        window_ms: u64,
    },
    /// A value that is too high or too low.
    Gauge {
        /// Just allowed.
        limit: f64,
        /// True if it must not be higher, false if it must not be lower.
        above: bool,
        /// Older values say nothing.
        stale_ms: u64,
    },
    /// Fewer events per request than the baseline has.
    Events {
        /// Tolerated fall, 0 to 1.
        fall: f64,
        /// Probability with which a healthy canary may be blamed.
        alpha: f64,
        /// Older counts say nothing.
        stale_ms: u64,
    },
}

/// What is so at a tick.
#[derive(Clone, Debug, PartialEq)]
enum Truth {
    Met,
    /// The baseline meets it as well, and the canary is not clearly worse.
    MetByBoth,
    NotMet,
    Unknown,
}

/// One rule under watch, for one service if it is about requests.
#[derive(Clone, Debug)]
struct Watch {
    rule: RuleSettings,
    service: Option<Name>,
    facts: Facts,
    state: RuleState,
    since_ms: Option<u64>,
    /// For people, as of the last tick.
    message: String,
    /// A rule that only warns says so for good.
    warned: Option<String>,
}

/// What a rule remembers by itself.
#[derive(Clone, Debug)]
enum Facts {
    /// The logs of the service are enough.
    OfService,
    /// Latencies of canary and baseline.
    Latencies(Recent, Recent),
    Gauge(Value),
    Events(Box<Events>),
}

#[derive(Clone, Debug, Default)]
struct Value {
    /// When it was read, and what it was.
    last: Option<(u64, f64)>,
    /// Why it cannot be read.
    trouble: Option<String>,
}

/// Latencies of the last moments, by when their requests were sent.
#[derive(Clone, Debug, Default)]
struct Recent {
    probes: VecDeque<(u64, f64)>,
    counts: VecDeque<(u64, Latencies)>,
}

#[derive(Clone, Debug)]
struct Events {
    test: FallTest,
    /// Blocks of either arm that wait for the other.
    canary: BTreeMap<u64, Counts>,
    baseline: BTreeMap<u64, Counts>,
    judged_ms: u64,
    /// Requests and events: of the canary, of the baseline.
    totals: [u64; 4],
    trouble: BTreeMap<Arm, String>,
}

/// All rules of a stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Watch>);

impl Rules {
    pub(crate) fn new(rules: &[RuleSettings]) -> Self {
        let watches = rules.iter().flat_map(|rule| {
            let services = rule.services.iter().cloned().map(Some);
            let none = rule.services.is_empty().then_some(None);
            services.chain(none).map(|service| Watch::new(rule, service))
        });
        Self(watches.collect())
    }

    pub(crate) fn absorb(&mut self, arm: &ArmTick) {
        self.0.iter_mut().for_each(|watch| watch.absorb(arm));
    }

    /// What a gauge shows, or why nobody knows.
    pub(crate) fn note_gauge(&mut self, t_ms: u64, rule: &Name, read: Result<f64, &str>) {
        let watches = self.0.iter_mut().filter(|watch| watch.rule.name == *rule);
        for watch in watches {
            if let Facts::Gauge(value) = &mut watch.facts {
                match read {
                    Ok(number) => *value = Value { last: Some((t_ms, number)), trouble: None },
                    Err(what) => value.trouble = Some(what.to_owned()),
                }
            }
        }
    }

    pub(crate) fn note_trouble(&mut self, rule: &Name, arm: Arm, what: Option<&str>) {
        for watch in self.0.iter_mut().filter(|watch| watch.rule.name == *rule) {
            if let Facts::Events(events) = &mut watch.facts {
                match what {
                    Some(what) => events.trouble.insert(arm, what.to_owned()),
                    None => events.trouble.remove(&arm),
                };
            }
        }
    }

    /// Looks at everything after a tick. True if a rule says rollback.
    pub(crate) fn evaluate(&mut self, now_ms: u64, services: &[Service], own: &[Settings]) -> bool {
        for watch in &mut self.0 {
            let of = watch
                .service
                .as_ref()
                .and_then(|name| services.iter().zip(own).find(|(service, _)| service.name == *name));
            watch.evaluate(now_ms, of);
        }
        self.0.iter().any(|watch| watch.verdict(true).is_some_and(|found| found.0 == GateVerdict::Rollback))
    }

    /// True while a rule says hold.
    pub(crate) fn is_holding(&self) -> bool {
        self.0.iter().any(|watch| watch.verdict(true).is_some_and(|found| found.0 == GateVerdict::Hold))
    }

    /// True if no rule that could do more than warn speaks against an early end.
    pub(crate) fn are_quiet(&self) -> bool {
        let mut grave = self.0.iter().filter(|watch| watch.rule.action != RuleAction::Warn);
        grave.all(|watch| watch.state == RuleState::Quiet)
    }

    /// What the rules make of the stage, worst first among equals of the order in which they are written;
    /// `early`: it is not over, so what is not known yet may still be.
    pub(crate) fn verdicts(&self, early: bool) -> Vec<(GateVerdict, Reason, String)> {
        self.0.iter().filter_map(|watch| watch.verdict(early)).collect()
    }

    /// How each stands.
    pub(crate) fn standing(&self) -> Vec<RuleVerdict> {
        self.0.iter().map(Watch::standing).collect()
    }
}

impl Watch {
    fn new(rule: &RuleSettings, service: Option<Name>) -> Self {
        let facts = match &rule.criterion {
            Criterion::Row { .. } | Criterion::Errors { .. } => Facts::OfService,
            Criterion::P95 { .. } => Facts::Latencies(Recent::default(), Recent::default()),
            Criterion::Gauge { .. } => Facts::Gauge(Value::default()),
            Criterion::Events { fall, .. } => Facts::Events(Box::new(Events::new(*fall))),
        };
        Self {
            rule: rule.clone(),
            service,
            facts,
            state: RuleState::Unknown,
            since_ms: None,
            message: "nothing was seen yet".to_owned(),
            warned: None,
        }
    }

    fn absorb(&mut self, arm: &ArmTick) {
        match &mut self.facts {
            Facts::OfService | Facts::Gauge(_) => {}
            Facts::Latencies(canary, baseline) => {
                if self.service.as_ref() == Some(&arm.service) {
                    let recent = if arm.arm == Arm::Canary { canary } else { baseline };
                    recent.absorb(arm);
                }
            }
            Facts::Events(events) => {
                if self.rule.name == arm.service {
                    events.absorb(arm);
                }
            }
        }
    }

    fn evaluate(&mut self, now_ms: u64, of: Option<(&Service, &Settings)>) {
        let (truth, message) = self.truth(now_ms, of);
        self.message = message;
        let met = matches!(truth, Truth::Met | Truth::MetByBoth);
        self.since_ms = if met { self.since_ms.or(Some(now_ms)) } else { None };
        let lasts = self.since_ms.is_some_and(|since_ms| now_ms - since_ms >= self.rule.lasting_ms);
        self.state = match truth {
            Truth::Unknown => RuleState::Unknown,
            Truth::NotMet => RuleState::Quiet,
            Truth::Met if lasts => RuleState::Holds,
            Truth::MetByBoth if lasts => RuleState::Common,
            Truth::Met | Truth::MetByBoth => RuleState::Pending,
        };
        if lasts && self.rule.action == RuleAction::Warn && self.warned.is_none() {
            self.warned = Some(self.message.clone());
        }
    }

    fn truth(&mut self, now_ms: u64, of: Option<(&Service, &Settings)>) -> (Truth, String) {
        match (&self.rule.criterion, &mut self.facts) {
            (Criterion::Row { failures }, _) => row(*failures, of),
            (Criterion::Errors { percent, window_ms }, _) => errors(*percent, *window_ms, now_ms, of),
            (Criterion::P95 { limit_ms, above_baseline, window_ms }, Facts::Latencies(canary, baseline)) => {
                let from_ms = now_ms.saturating_sub(*window_ms);
                canary.forget_before(from_ms);
                baseline.forget_before(from_ms);
                if now_ms < *window_ms {
                    return not_yet(*window_ms);
                }
                slow(*limit_ms, *above_baseline, *window_ms, canary.p95_ms(), baseline.p95_ms())
            }
            (Criterion::Gauge { limit, above, stale_ms }, Facts::Gauge(value)) => {
                gauge(*limit, *above, *stale_ms, now_ms, value)
            }
            (Criterion::Events { alpha, stale_ms, .. }, Facts::Events(events)) => {
                events.truth(*alpha, *stale_ms, now_ms)
            }
            _ => (Truth::Unknown, String::new()),
        }
    }

    /// What it makes of the stage; `None` if nothing speaks against going on.
    fn verdict(&self, early: bool) -> Option<(GateVerdict, Reason, String)> {
        let text = || format!("{}: {}", self.label(), self.told());
        match (self.rule.action, self.state) {
            (RuleAction::Warn, _) | (_, RuleState::Quiet | RuleState::Pending | RuleState::Other) => None,
            (_, RuleState::Unknown) if early => None,
            (_, RuleState::Unknown) => Some((GateVerdict::Inconclusive, Reason::RuleUnknown, text())),
            (RuleAction::Rollback, RuleState::Holds) => {
                Some((GateVerdict::Rollback, Reason::RuleBroken, text()))
            }
            (RuleAction::Rollback, RuleState::Common) => {
                Some((GateVerdict::Hold, Reason::CommonMode, text()))
            }
            (RuleAction::Hold, RuleState::Holds | RuleState::Common) => {
                Some((GateVerdict::Hold, Reason::RuleHolds, text()))
            }
        }
    }

    /// `rule logins`, or `api, rule error-rate`.
    fn label(&self) -> String {
        match &self.service {
            Some(service) => format!("{service}, rule {}", self.rule.name),
            None => format!("rule {}", self.rule.name),
        }
    }

    fn told(&self) -> String {
        match self.state {
            RuleState::Holds | RuleState::Common if self.rule.lasting_ms > 0 => {
                format!("{}, for {}", self.message, Span::from_ms(self.rule.lasting_ms))
            }
            _ => self.message.clone(),
        }
    }

    fn standing(&self) -> RuleVerdict {
        let (state, message) = match &self.warned {
            Some(message) => (RuleState::Holds, message.clone()),
            None => (self.state, self.told()),
        };
        RuleVerdict {
            rule: self.rule.name.clone(),
            action: self.rule.action,
            service: self.service.clone(),
            state,
            message,
            since_ms: self.since_ms,
        }
    }
}

fn not_yet(window_ms: u64) -> (Truth, String) {
    (Truth::NotMet, format!("the first {} are not over", Span::from_ms(window_ms)))
}

fn row(failures: u64, of: Option<(&Service, &Settings)>) -> (Truth, String) {
    let Some((service, own)) = of.filter(|(service, _)| service.canary.total().n > 0) else {
        return (Truth::Unknown, "nothing was seen of the canary".to_owned());
    };
    let streak = service.canary.streak();
    let text = format!("{} failures of the canary in a row, {failures} are too many", streak.length);
    let newest_ms = service.canary.newest_sent_ms().unwrap_or_default();
    // Counts of others have no order: a row of them is a span in which all failed.
    let lasts = newest_ms.saturating_sub(streak.since_ms) >= own.least_row_ms();
    if streak.length < failures || !lasts {
        return (Truth::NotMet, text);
    }
    let common = service.live_baseline().is_some_and(|baseline| {
        let share = baseline.since(streak.since_ms);
        share.n > 0 && !Share { errors: 1, n: 1 }.is_clearly_worse_than(share)
    });
    (if common { Truth::MetByBoth } else { Truth::Met }, text)
}

fn errors(percent: f64, window_ms: u64, now_ms: u64, of: Option<(&Service, &Settings)>) -> (Truth, String) {
    if now_ms < window_ms {
        return not_yet(window_ms);
    }
    let since_ms = now_ms - window_ms;
    let window = Span::from_ms(window_ms);
    let canary = of.map(|(service, _)| service.canary.since(since_ms)).unwrap_or_default();
    if canary.n == 0 {
        return (Truth::Unknown, format!("nothing was seen of the canary within {window}"));
    }
    let baseline =
        of.and_then(|(service, _)| service.live_baseline()).map(|log: &ArmLog| log.since(since_ms));
    let beside = match baseline {
        Some(share) => format!(", baseline {} of {}", share.errors, share.n),
        None => String::new(),
    };
    let text = format!(
        "{} of {} failed within {window} ({:.1} %, allowed {percent} %){beside}",
        canary.errors,
        canary.n,
        canary.percent()
    );
    let truth = match baseline {
        _ if !canary.is_above(percent) => Truth::NotMet,
        Some(share) if share.is_above(percent) && !canary.is_clearly_worse_than(share) => Truth::MetByBoth,
        _ => Truth::Met,
    };
    (truth, text)
}

fn slow(
    limit_ms: u64,
    above_baseline: bool,
    window_ms: u64,
    canary_ms: Option<f64>,
    baseline_ms: Option<f64>,
) -> (Truth, String) {
    let window = Span::from_ms(window_ms);
    let Some(canary_ms) = canary_ms else {
        return (Truth::Unknown, format!("no latency of the canary is known within {window}"));
    };
    let beside = baseline_ms.map(|ms| format!(", baseline {ms:.0} ms")).unwrap_or_default();
    let limit = limit_ms as f64;
    if !above_baseline {
        let text = format!("p95 within {window} is {canary_ms:.0} ms, allowed {limit_ms} ms{beside}");
        let common = baseline_ms.is_some_and(|ms| ms > limit && canary_ms <= 2.0 * ms);
        return match canary_ms > limit {
            false => (Truth::NotMet, text),
            true if common => (Truth::MetByBoth, text),
            true => (Truth::Met, text),
        };
    }
    let Some(baseline_ms) = baseline_ms else {
        return (Truth::Unknown, format!("no latency of the baseline is known within {window}"));
    };
    let text = format!(
        "p95 within {window} is {:.0} ms above the baseline's ({canary_ms:.0} and {baseline_ms:.0} ms), allowed \
         {limit_ms} ms",
        canary_ms - baseline_ms
    );
    (if canary_ms > baseline_ms + limit { Truth::Met } else { Truth::NotMet }, text)
}

fn gauge(limit: f64, above: bool, stale_ms: u64, now_ms: u64, value: &Value) -> (Truth, String) {
    if let Some(what) = &value.trouble {
        return (Truth::Unknown, format!("its value is not known: {what}"));
    }
    let Some((at_ms, number)) = value.last else {
        return (Truth::Unknown, "its value was not read yet".to_owned());
    };
    let age_ms = now_ms.saturating_sub(at_ms);
    if age_ms > stale_ms {
        return (Truth::Unknown, format!("its value was last read {} ago", Span::from_ms(age_ms)));
    }
    let (met, word) = if above { (number > limit, "at most") } else { (number < limit, "at least") };
    (if met { Truth::Met } else { Truth::NotMet }, format!("its value is {number}, allowed {word} {limit}"))
}

impl Recent {
    fn absorb(&mut self, arm: &ArmTick) {
        let good = arm.samples.iter().filter(|sample| !sample.kind.is_failure());
        self.probes.extend(good.map(|sample| (sample.sent_ms, sample.latency_ms)));
        let counted =
            arm.counts.iter().filter_map(|counts| Some((counts.until_ms, counts.latencies.clone()?)));
        self.counts.extend(counted);
    }

    fn forget_before(&mut self, from_ms: u64) {
        // Slow answers come after quick ones that were sent later: so all are looked at.
        self.probes.retain(|(sent_ms, _)| *sent_ms >= from_ms);
        self.counts.retain(|(until_ms, _)| *until_ms > from_ms);
    }

    fn p95_ms(&self) -> Option<f64> {
        let mut exact = Percentiles::default();
        self.probes.iter().for_each(|(_, latency_ms)| exact.add(*latency_ms));
        exact.at(95).or_else(|| {
            let mut sum = Latencies::default();
            self.counts.iter().for_each(|(_, latencies)| merge(&mut sum, latencies));
            percentiles::estimate(&sum, 95)
        })
    }
}

impl Events {
    fn new(fall: f64) -> Self {
        Self {
            test: FallTest::new(fall, 1),
            canary: BTreeMap::new(),
            baseline: BTreeMap::new(),
            judged_ms: 0,
            totals: [0; 4],
            trouble: BTreeMap::new(),
        }
    }

    /// A source counts both arms up to the same moments.
    fn absorb(&mut self, arm: &ArmTick) {
        let waiting = if arm.arm == Arm::Canary { &mut self.canary } else { &mut self.baseline };
        waiting.extend(arm.counts.iter().map(|counts| (counts.until_ms, counts.clone())));
        while let Some((until_ms, _)) = self.baseline.first_key_value() {
            let until_ms = *until_ms;
            let Some(canary) = self.canary.remove(&until_ms) else { break };
            let Some(baseline) = self.baseline.remove(&until_ms) else { break };
            self.test.update(canary.requests, canary.errors, baseline.requests, baseline.errors);
            let block = [canary.requests, canary.errors, baseline.requests, baseline.errors];
            self.totals.iter_mut().zip(block).for_each(|(sum, more)| *sum += more);
            self.judged_ms = self.judged_ms.max(until_ms);
        }
    }

    fn truth(&self, alpha: f64, stale_ms: u64, now_ms: u64) -> (Truth, String) {
        let [requests, events, baseline_requests, baseline_events] = self.totals;
        let text = format!(
            "{events} events of {requests} requests of the canary, {baseline_events} of {baseline_requests} of the \
             baseline"
        );
        if self.test.evidence() * alpha >= 1.0 {
            let certain = super::percent(alpha);
            return (
                Truth::Met,
                format!(
                    "{text}: the fall is proved; a healthy canary is blamed with {certain} % probability at most"
                ),
            );
        }
        if let Some((arm, what)) = self.trouble.first_key_value() {
            return (Truth::Unknown, format!("{} is not counted: {what}", arm.as_str()));
        }
        if requests == 0 || baseline_events == 0 {
            return (Truth::Unknown, format!("there is nothing to compare: {text}"));
        }
        let silent_ms = now_ms.saturating_sub(self.judged_ms);
        if silent_ms > stale_ms {
            return (
                Truth::Unknown,
                format!("nothing was counted for the last {}", Span::from_ms(silent_ms)),
            );
        }
        (Truth::NotMet, text)
    }
}
