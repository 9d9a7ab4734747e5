//! The user's rules. A second is a tick; nothing but the rules is judged.

use super::*;
use crate::tick::{Arm, ArmTick, Counts, Kind, Sample};
use kit_contract::body::RuleState;
use kit_contract::config::{Gate, RuleAction, Span};

const SECOND: u64 = 1000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn settings(planned_s: u64, action: RuleAction, lasting_s: u64, criterion: Criterion) -> Settings {
    let gate = Gate {
        consecutive_failures: 0,
        min_samples: 1,
        hold_max: Span::from_secs(20),
        max_false_rollback_percent: 0.0,
        ..Gate::default()
    };
    let about_requests = !matches!(criterion, Criterion::Gauge { .. } | Criterion::Events { .. });
    let services = about_requests.then(|| name("api")).into_iter().collect();
    let rule =
        RuleSettings { name: name("mine"), action, services, lasting_ms: lasting_s * SECOND, criterion };
    Settings { rules: vec![rule], ..Settings::new(&gate, Span::from_secs(planned_s)) }
}

/// What an arm does in a second: failures of so many, and how long each takes.
type Second = (u64, u64, f64);

fn samples(at_ms: u64, (failures, n, latency_ms): Second) -> Vec<Sample> {
    let kind = |at| if at < failures { Kind::ClientError } else { Kind::Ok };
    (0..n).map(|at| Sample { kind: kind(at), sent_ms: at_ms, latency_ms }).collect()
}

fn arm(service: &str, arm: Arm, samples: Vec<Sample>, counts: Vec<Counts>) -> ArmTick {
    ArmTick { service: name(service), arm, samples, pending: 0, counts }
}

/// Runs a service until there is a decision. `more` says what else is told in a second.
fn run(
    settings: &Settings,
    canary: impl Fn(u64) -> Second,
    baseline: impl Fn(u64) -> Second,
    more: impl Fn(u64, &mut Judge) -> Vec<ArmTick>,
) -> Decision {
    let mut judge = Judge::new(settings.clone(), &[Watched { service: name("api"), baseline: true }]);
    for second in 0..400 {
        let at_ms = second * SECOND;
        let mut arms = vec![
            arm("api", Arm::Canary, samples(at_ms, canary(second)), Vec::new()),
            arm("api", Arm::Baseline, samples(at_ms, baseline(second)), Vec::new()),
        ];
        arms.extend(more(second, &mut judge));
        if let Some(decision) = judge.feed(&Tick { t_ms: at_ms + SECOND, arms }) {
            return decision;
        }
    }
    panic!("it must come to an end")
}

fn nothing(_: u64, _: &mut Judge) -> Vec<ArmTick> {
    Vec::new()
}

const GOOD: Second = (0, 10, 20.0);

/// `(verdict, reason, seconds watched)`
fn found(decision: &Decision) -> (GateVerdict, Reason, u64) {
    (decision.verdict, decision.reason, decision.watched_ms / SECOND)
}

#[test]
fn more_errors_than_allowed_within_a_window_for_a_time() {
    let errors = |percent| Criterion::Errors { percent, window_ms: 10 * SECOND };
    let rule = |lasting_s| settings(60, RuleAction::Rollback, lasting_s, errors(5.0));
    // One of ten fails from second 20 on. The window of ten seconds is above 5 % once six of them are bad.
    let bad = |second| if second >= 20 { (1, 10, 20.0) } else { GOOD };
    let ended = |lasting_s| found(&run(&rule(lasting_s), bad, |_| GOOD, nothing));
    assert_eq!(ended(0), (GateVerdict::Rollback, Reason::RuleBroken, 26));
    assert_eq!(ended(10), (GateVerdict::Rollback, Reason::RuleBroken, 36));
    assert_eq!(ended(40), (GateVerdict::Promote, Reason::Promoted, 60), "it never lasts that long");
    // A window that is not full says nothing yet.
    let at_first = |second| if second < 3 { (10, 10, 20.0) } else { GOOD };
    let early =
        settings(60, RuleAction::Rollback, 0, Criterion::Errors { percent: 30.0, window_ms: 10 * SECOND });
    assert_eq!(found(&run(&early, at_first, |_| GOOD, nothing)).0, GateVerdict::Promote);
    // A break starts the time anew.
    let broken =
        |second| if (20..36).contains(&second) || (46..60).contains(&second) { (1, 10, 20.0) } else { GOOD };
    assert_eq!(found(&run(&rule(19), broken, |_| GOOD, nothing)).0, GateVerdict::Promote);
    let decision = run(&rule(0), bad, |_| GOOD, nothing);
    assert_eq!(decision.rules[0].state, RuleState::Holds);
    assert_eq!(
        decision.message,
        "api, rule mine: 6 of 100 failed within 10s (6.0 %, allowed 5 %), baseline 0 of 100"
    );
}

#[test]
fn what_both_do_is_held_and_what_nobody_saw_is_unknown() {
    let criterion = Criterion::Errors { percent: 5.0, window_ms: 10 * SECOND };
    let rule = settings(60, RuleAction::Rollback, 0, criterion);
    let bad = |second| if (20..40).contains(&second) { (3, 10, 20.0) } else { GOOD };
    assert_eq!(found(&run(&rule, bad, bad, nothing)), (GateVerdict::Promote, Reason::Promoted, 60));
    let bad = |second| if second >= 20 { (3, 10, 20.0) } else { GOOD };
    let decision = run(&rule, bad, bad, nothing);
    assert_eq!((decision.verdict, decision.reason), (GateVerdict::Hold, Reason::CommonMode));
    let silent = |second| if second >= 45 { (0, 0, 0.0) } else { GOOD };
    let decision = run(&rule, silent, |_| GOOD, nothing);
    assert_eq!(decision.verdict, GateVerdict::Inconclusive);
    assert_eq!(decision.rules[0].state, RuleState::Unknown);
}

#[test]
fn failures_in_a_row() {
    let rule = settings(60, RuleAction::Rollback, 0, Criterion::Row { failures: 3 });
    let one = |script: &'static str| {
        move |second: u64| {
            let bad = script.as_bytes()[usize::try_from(second).unwrap().min(script.len() - 1)] == b'5';
            (u64::from(bad), 1, 20.0)
        }
    };
    assert_eq!(
        found(&run(&rule, one("....555."), one("."), nothing)),
        (GateVerdict::Rollback, Reason::RuleBroken, 7)
    );
    assert_eq!(found(&run(&rule, one("..55.55."), one("."), nothing)).0, GateVerdict::Promote);
    let both = run(&rule, one("....555."), one("....555."), nothing);
    assert_eq!(both.verdict, GateVerdict::Promote, "{}", both.message);
}

#[test]
fn slowness_within_a_window() {
    let rule = |limit_ms, above_baseline| {
        let criterion = Criterion::P95 { limit_ms, above_baseline, window_ms: 10 * SECOND };
        settings(60, RuleAction::Rollback, 5, criterion)
    };
    let slow = |second| (0, 10, if second >= 20 { 300.0 } else { 20.0 });
    assert_eq!(
        found(&run(&rule(200, false), slow, |_| GOOD, nothing)),
        (GateVerdict::Rollback, Reason::RuleBroken, 26)
    );
    assert_eq!(found(&run(&rule(300, false), slow, |_| GOOD, nothing)).0, GateVerdict::Promote);
    assert_eq!(found(&run(&rule(200, true), slow, |_| GOOD, nothing)).2, 26);
    assert_eq!(found(&run(&rule(300, true), slow, |_| GOOD, nothing)).0, GateVerdict::Promote);
    assert_eq!(run(&rule(200, false), slow, slow, nothing).reason, Reason::CommonMode);
    // Nobody can compare with a baseline that gives no good answer.
    let failing = |_| (10, 10, 20.0);
    assert_eq!(run(&rule(200, true), |_| GOOD, failing, nothing).rules[0].state, RuleState::Unknown);
}

#[test]
fn a_gauge_above_or_below() {
    let rule = |action, above| {
        settings(60, action, 5, Criterion::Gauge { limit: 80.0, above, stale_ms: 10 * SECOND })
    };
    let reads = |second: u64, judge: &mut Judge, value: Result<f64, &str>| {
        judge.note_gauge(second * SECOND, &name("mine"), value);
        Vec::new()
    };
    let rising =
        |second: u64, judge: &mut Judge| reads(second, judge, Ok(if second >= 30 { 91.0 } else { 80.0 }));
    let ended = |action, above| run(&rule(action, above), |_| GOOD, |_| GOOD, rising);
    let decision = ended(RuleAction::Rollback, true);
    assert_eq!(found(&decision), (GateVerdict::Rollback, Reason::RuleBroken, 36));
    assert_eq!(decision.message, "rule mine: its value is 91, allowed at most 80, for 5s");
    assert_eq!(found(&ended(RuleAction::Rollback, false)).0, GateVerdict::Promote);
    assert_eq!(found(&ended(RuleAction::Hold, true)), (GateVerdict::Hold, Reason::RuleHolds, 80));
    let warned = ended(RuleAction::Warn, true);
    assert_eq!((warned.verdict, warned.rules[0].state), (GateVerdict::Promote, RuleState::Holds));
    // A hold that is over is over.
    let passing = |second: u64, judge: &mut Judge| {
        reads(second, judge, Ok(if (30..65).contains(&second) { 91.0 } else { 8.0 }))
    };
    assert_eq!(
        found(&run(&rule(RuleAction::Hold, true), |_| GOOD, |_| GOOD, passing)),
        (GateVerdict::Promote, Reason::Promoted, 66)
    );
    // What is read no more is unknown: not healthy, and no reason to roll back. A warning decides nothing.
    let lost = |second: u64, judge: &mut Judge| {
        reads(second, judge, if second < 30 { Ok(5.0) } else { Err("refused") })
    };
    let silent = |second: u64, judge: &mut Judge| {
        if second < 30 { reads(second, judge, Ok(95.0)) } else { Vec::new() }
    };
    for (action, verdict) in [
        (RuleAction::Rollback, GateVerdict::Inconclusive),
        (RuleAction::Hold, GateVerdict::Inconclusive),
        (RuleAction::Warn, GateVerdict::Promote),
    ] {
        let decision = run(&rule(action, true), |_| GOOD, |_| GOOD, lost);
        assert_eq!((decision.verdict, decision.rules[0].state), (verdict, RuleState::Unknown));
        assert!(decision.rules[0].message.contains("refused"), "{}", decision.rules[0].message);
        let never = |_: u64, _: &mut Judge| Vec::new();
        assert_eq!(run(&rule(action, true), |_| GOOD, |_| GOOD, never).verdict, verdict);
        let decision = run(&rule(action, false), |_| GOOD, |_| GOOD, silent);
        assert_eq!(decision.verdict, verdict, "{}", decision.message);
    }
}

#[test]
fn events_that_fall_silently() {
    let criterion = Criterion::Events { fall: 0.2, alpha: 0.001, stale_ms: 10 * SECOND };
    let rule = settings(300, RuleAction::Rollback, 0, criterion);
    // 20 requests per second of the canary, 380 of the baseline; every tenth signs in.
    let counts = |canary: u64, baseline: u64| {
        move |second: u64, _: &mut Judge| {
            let count = |requests, errors| {
                vec![Counts { until_ms: (second + 1) * SECOND, requests, errors, latencies: None }]
            };
            vec![
                arm("mine", Arm::Canary, Vec::new(), count(20, canary)),
                arm("mine", Arm::Baseline, Vec::new(), count(380, baseline)),
            ]
        }
    };
    let ended = |canary, baseline| run(&rule, |_| GOOD, |_| GOOD, counts(canary, baseline));
    assert_eq!(found(&ended(2, 38)), (GateVerdict::Promote, Reason::Promoted, 300));
    let none = ended(0, 38);
    assert_eq!((none.verdict, none.reason), (GateVerdict::Rollback, Reason::RuleBroken));
    assert!(none.watched_ms < 20 * SECOND, "{}", none.watched_ms);
    let half = ended(1, 38);
    assert_eq!(half.verdict, GateVerdict::Rollback);
    assert!(half.watched_ms < 120 * SECOND, "{}", half.watched_ms);
    // Nobody signs in at all: not the canary's fault, and nothing is known.
    assert_eq!(found(&ended(0, 0)), (GateVerdict::Inconclusive, Reason::RuleUnknown, 300));
    assert_eq!(found(&run(&rule, |_| GOOD, |_| GOOD, nothing)).1, Reason::RuleUnknown);
}

#[test]
fn a_stage_does_not_end_early_against_a_rule() {
    let criterion = Criterion::Gauge { limit: 80.0, above: true, stale_ms: 10 * SECOND };
    let mut rule = settings(300, RuleAction::Rollback, 200, criterion);
    let gate = Gate { early_pass_error_percent: Some(5.0), ..Gate::default() };
    rule.statistics = Statistics::new(&gate, 0.001);
    let value = |value: f64| {
        move |second: u64, judge: &mut Judge| {
            judge.note_gauge(second * SECOND, &name("mine"), Ok(value));
            Vec::new()
        }
    };
    let early = run(&rule, |_| GOOD, |_| GOOD, value(10.0));
    assert!(early.verdict == GateVerdict::Promote && early.watched_ms < 200 * SECOND, "{}", early.watched_ms);
    let decision = run(&rule, |_| GOOD, |_| GOOD, value(90.0));
    assert_eq!((decision.verdict, decision.reason), (GateVerdict::Rollback, Reason::RuleBroken));
}
