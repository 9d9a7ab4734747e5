//! The judge with its statistics: requests that others counted, in a stage of five minutes at 5 %.

use super::*;
use crate::tick::{Arm, ArmTick, Counts, Kind, Latencies, Sample, Tick};
use kit_contract::config::{Gate, Span};
use kit_sequential::Random;

const STAGE_S: u64 = 300;

fn settings(change: impl FnOnce(&mut Gate), counted: bool) -> Settings {
    let mut gate = Gate { consecutive_failures: 0, hold_max: Span::from_secs(60), ..Gate::default() };
    change(&mut gate);
    let statistics = Statistics::new(&gate, 0.0045);
    let statistics = statistics.map(|rules| Statistics { counted, share: Some(0.05), ..rules });
    Settings::new(&gate, Span::from_secs(STAGE_S)).with(statistics)
}

fn watched(baseline: bool) -> Vec<Watched> {
    vec![Watched { service: "api".parse().unwrap(), baseline }]
}

const UPPER_MS: [f64; 12] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0];

/// One second of one arm: requests, errors, and latencies around so many ms.
#[derive(Clone, Copy)]
struct Second {
    requests: u64,
    rate: f64,
    median_ms: f64,
}

const CANARY: Second = Second { requests: 5, rate: 0.001, median_ms: 40.0 };
const BASELINE: Second = Second { requests: 95, ..CANARY };

fn counts(second: u64, arm: Second, random: &mut Random) -> Counts {
    let mut latencies = Latencies { upper_ms: UPPER_MS.to_vec(), counts: vec![0; UPPER_MS.len() + 1] };
    for _ in 0..arm.requests {
        let value_ms = arm.median_ms * (0.5 * random.normal()).exp();
        latencies.counts[UPPER_MS.partition_point(|upper_ms| *upper_ms < value_ms)] += 1;
    }
    let errors = random.binomial(arm.requests, arm.rate);
    Counts { until_ms: second * 1000, requests: arm.requests, errors, latencies: Some(latencies) }
}

fn arm_tick(arm: Arm, counts: Vec<Counts>) -> ArmTick {
    ArmTick { service: "api".parse().unwrap(), arm, samples: Vec::new(), pending: 0, counts }
}

/// Runs a stage; `of` gives canary and baseline of each second.
fn run(settings: &Settings, seed: u64, of: impl Fn(u64) -> (Option<Second>, Option<Second>)) -> Decision {
    judged(Judge::new(settings.clone(), &watched(true)).without_certificate(), seed, of)
}

/// The same, and a promotion says what would have been seen.
fn run_certified(
    settings: &Settings,
    seed: u64,
    of: impl Fn(u64) -> (Option<Second>, Option<Second>),
) -> Decision {
    judged(Judge::new(settings.clone(), &watched(true)), seed, of)
}

fn judged(mut judge: Judge, seed: u64, of: impl Fn(u64) -> (Option<Second>, Option<Second>)) -> Decision {
    let mut random = Random::new(seed);
    for second in 1.. {
        let (canary, baseline) = of(second);
        let arms = [(Arm::Canary, canary), (Arm::Baseline, baseline)].into_iter();
        let arms = arms.map(|(arm, part)| {
            arm_tick(arm, part.map(|part| counts(second, part, &mut random)).into_iter().collect())
        });
        if let Some(decision) = judge.feed(&Tick { t_ms: second * 1000, arms: arms.collect() }) {
            return decision;
        }
    }
    unreachable!()
}

#[test]
fn a_healthy_canary_is_promoted_with_a_certificate() {
    let decision = run_certified(&settings(|_| {}, true), 1, |_| (Some(CANARY), Some(BASELINE)));
    assert_eq!(decision.reason, Reason::Promoted, "{}", decision.message);
    let certificate = &decision.services[0].certificate;
    assert_eq!((certificate.samples, certificate.alpha), (1500, Some(0.0045)));
    let detectable = certificate.detectable_error_rate.unwrap();
    assert!(detectable > 0.004 && detectable < 0.012, "{detectable}");
    assert!(certificate.evidence.unwrap() < 20.0, "{certificate:?}");
    let p50_ms = decision.services[0].canary.p50_ms;
    assert!([Some(40.0), Some(50.0)].contains(&p50_ms), "the limit of a bucket around 40 ms: {p50_ms:?}");
}

/// Many sources count requests and errors only.
#[test]
fn without_latencies_a_healthy_canary_is_promoted_all_the_same() {
    let mut judge = Judge::new(settings(|_| {}, true), &watched(true)).without_certificate();
    let decision = (1..).find_map(|second| {
        let arm = |arm, requests| {
            arm_tick(arm, vec![Counts { until_ms: second * 1000, requests, errors: 0, latencies: None }])
        };
        judge.feed(&Tick { t_ms: second * 1000, arms: vec![arm(Arm::Canary, 5), arm(Arm::Baseline, 95)] })
    });
    assert_eq!(decision.unwrap().reason, Reason::Promoted);
}

/// What was good for half a stage and then gets no request is not known to be good.
#[test]
fn traffic_that_ends_is_not_health() {
    let none = Second { requests: 0, ..CANARY };
    let before = |second: u64, arm| Some(if second <= 150 { arm } else { none });
    let both = run(&settings(|_| {}, true), 9, |second| (before(second, CANARY), before(second, BASELINE)));
    assert_eq!(both.reason, Reason::TooFewSamples, "{}", both.message);
    assert!(both.message.contains("the canary got no request for 2m "), "{}", both.message);
    let baseline = run(&settings(|_| {}, true), 9, |second| (Some(CANARY), before(second, BASELINE)));
    assert!(baseline.message.contains("the baseline got no request for 2m "), "{}", baseline.message);
    // A pause that a service with few users may well have.
    let rare = |second: u64| {
        Some(Second { requests: u64::from(second.is_multiple_of(10) && second <= 150), ..CANARY })
    };
    let quiet = run(&settings(|_| {}, true), 9, |second| (rare(second), Some(BASELINE)));
    assert!(!quiet.message.contains("got no request"), "{}", quiet.message);
}

#[test]
fn what_is_worse_is_found_the_sooner_the_worse_it_is() {
    for (rate, most_s) in [(0.02, 200), (0.05, 80), (0.2, 25), (1.0, 10)] {
        let bad = Second { rate, ..CANARY };
        let decision = run(&settings(|_| {}, true), 2, |_| (Some(bad), Some(BASELINE)));
        assert_eq!(decision.reason, if rate < 1.0 { Reason::ErrorRateExceeded } else { Reason::TotalOutage });
        assert!(decision.watched_ms <= most_s * 1000, "{rate}: {}", decision.message);
        let late = run(&settings(|_| {}, true), 2, |second| {
            (Some(if second > 180 { bad } else { CANARY }), Some(BASELINE))
        });
        if rate > 0.02 {
            assert_eq!(late.verdict, GateVerdict::Rollback, "{rate}: {}", late.message);
            assert!(late.watched_ms > 180_000);
        }
    }
}

#[test]
fn slowness_is_found_and_a_cold_start_is_not() {
    let slow = Second { median_ms: 100.0, ..CANARY };
    let decision = run(&settings(|_| {}, true), 3, |_| (Some(slow), Some(BASELINE)));
    assert_eq!(decision.reason, Reason::LatencyExceeded, "{}", decision.message);
    assert!(
        decision.message.contains("is slower than the baseline by more than 15 %"),
        "{}",
        decision.message
    );
    let decision = run(&settings(|_| {}, true), 3, |second| {
        (Some(if second < 30 { slow } else { CANARY }), Some(BASELINE))
    });
    assert_eq!(decision.reason, Reason::Promoted, "{}", decision.message);
    let broad = settings(|gate| gate.latency_margin_percent = 300.0, true);
    let decision = run(&broad, 3, |_| (Some(slow), Some(BASELINE)));
    assert_eq!(decision.reason, Reason::Promoted, "{}", decision.message);
}

#[test]
fn what_hits_both_is_never_the_canarys_fault() {
    let ill = |part: Second, rate| Some(Second { rate, ..part });
    for rate in [0.05, 0.3, 1.0] {
        let decision = run(&settings(|_| {}, true), 4, |second| {
            let rate = if (100..130).contains(&second) { rate } else { 0.001 };
            (ill(CANARY, rate), ill(BASELINE, rate))
        });
        assert_eq!(decision.reason, Reason::Promoted, "{rate}: {}", decision.message);
        let decision = run(&settings(|_| {}, true), 4, |_| (ill(CANARY, rate), ill(BASELINE, rate)));
        if rate > 0.05 {
            assert_eq!(decision.reason, Reason::CommonMode, "{rate}: {}", decision.message);
        } else {
            assert!(decision.verdict != GateVerdict::Rollback, "{rate}: {}", decision.message);
        }
    }
}

/// An outage of both arms, in many stages: whatever the rate, no canary is blamed once it has begun.
#[test]
fn an_outage_of_both_blames_nobody() {
    let mut early = 0;
    for (seed, rate) in (0..100).flat_map(|seed| [0.05, 0.3, 1.0].map(|rate| (seed, rate))) {
        let mut random = Random::new(seed);
        let mut judge = Judge::new(settings(|_| {}, true), &watched(true)).without_certificate();
        let blamed_ms = (1..=STAGE_S).find_map(|second| {
            let rate = if (120..150).contains(&second) { rate } else { 0.001 };
            let parts = [(Arm::Canary, 5), (Arm::Baseline, 95)].into_iter();
            let arms = parts.map(|(arm, requests)| {
                let errors = random.binomial(requests, rate);
                arm_tick(arm, vec![Counts { until_ms: second * 1000, requests, errors, latencies: None }])
            });
            let decision = judge.feed(&Tick { t_ms: second * 1000, arms: arms.collect() })?;
            (decision.verdict == GateVerdict::Rollback).then_some(decision.watched_ms)
        });
        // Before it began, chance may strike as in any other stage.
        early += u32::from(blamed_ms.is_some_and(|at_ms| at_ms < 120_000));
        assert!(blamed_ms.is_none_or(|at_ms| at_ms < 120_000), "{seed} {rate}: {blamed_ms:?}");
    }
    assert!(early <= 4, "{early} of 300, where 0.45 % are allowed");
}

/// The same for probes, of which there are few: a row of failures may be one of many.
#[test]
fn an_outage_of_both_blames_nobody_that_is_probed() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let rules = settings(|gate| gate.consecutive_failures = 5, false);
        let mut judge = Judge::new(rules, &watched(true)).without_certificate();
        let decision = (1..).find_map(|second| {
            let rate = if second > 60 { 0.3 } else { 0.0 };
            let arms = [Arm::Canary, Arm::Baseline].map(|arm| {
                let kind = if random.chance(rate) { Kind::ServerError } else { Kind::Ok };
                let sample = Sample { kind, sent_ms: second * 1000 - 1000, latency_ms: 20.0 };
                ArmTick { samples: vec![sample], ..arm_tick(arm, Vec::new()) }
            });
            judge.feed(&Tick { t_ms: second * 1000, arms: arms.to_vec() })
        });
        let decision = decision.unwrap();
        assert!(decision.verdict != GateVerdict::Rollback, "{seed}: {}", decision.message);
    }
}

/// Counts of one second in which failures come in clumps of one cause, `1` in `seconds` of them begins one;
/// what does not fit goes on in the next second.
fn clumped(requests: u64, size: u64, seconds: f64, left: &mut u64, random: &mut Random) -> (u64, u64) {
    let mut errors = (*left).min(requests);
    *left -= errors;
    if random.chance(1.0 / seconds) {
        let here = size.min((random.uniform() * (requests + 1) as f64) as u64).min(requests - errors);
        errors += here;
        *left += size - here;
    }
    (requests, errors)
}

/// Both arms fail one request in a thousand, always eight of them together.
#[test]
fn clumps_that_the_baseline_shows_are_no_fault_of_the_canary() {
    let mut blamed = Vec::new();
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut judge = Judge::new(settings(|gate| gate.consecutive_failures = 5, true), &watched(true));
        judge = judge.without_certificate();
        let mut left = [0; 2];
        let decision = (1..).find_map(|second| {
            let parts = [(Arm::Canary, 5, 1600.0), (Arm::Baseline, 95, 84.0)].into_iter().zip(&mut left);
            let arms = parts.map(|((arm, requests, seconds), left)| {
                let (requests, errors) = clumped(requests, 8, seconds, left, &mut random);
                arm_tick(arm, vec![Counts { until_ms: second * 1000, requests, errors, latencies: None }])
            });
            judge.feed(&Tick { t_ms: second * 1000, arms: arms.collect() })
        });
        let decision = decision.unwrap();
        if decision.verdict == GateVerdict::Rollback {
            blamed.push(decision.message);
        }
    }
    assert!(blamed.len() <= 3, "{} of 200, where 0.45 % are allowed: {blamed:#?}", blamed.len());
}

/// One second without any success is a hiccup, two are an outage.
#[test]
fn a_row_of_counted_requests_lasts() {
    for (dark, reason) in [(1, Reason::Promoted), (3, Reason::TotalOutage)] {
        let decision = run(&settings(|gate| gate.consecutive_failures = 5, true), 9, |second| {
            let rate = if (100..100 + dark).contains(&second) { 1.0 } else { 0.0 };
            (Some(Second { rate, ..CANARY }), Some(BASELINE))
        });
        assert_eq!(decision.reason, reason, "{}", decision.message);
        assert!(dark == 1 || decision.watched_ms == 101_000, "{}", decision.watched_ms);
    }
}

/// The baseline's counts of the outage come half a minute after the canary's.
#[test]
fn late_counts_of_one_arm_do_not_make_the_other_guilty() {
    let mut random = Random::new(5);
    let mut judge = Judge::new(settings(|_| {}, true), &watched(true));
    let mut waiting = Vec::new();
    for second in 1..=250_u64 {
        let rate = if (100..130).contains(&second) { 0.4 } else { 0.001 };
        let canary = counts(second, Second { rate, ..CANARY }, &mut random);
        waiting.push(counts(second, Second { rate, ..BASELINE }, &mut random));
        let stalled = (90..150).contains(&second);
        let baseline = if stalled { Vec::new() } else { std::mem::take(&mut waiting) };
        let arms = vec![arm_tick(Arm::Canary, vec![canary]), arm_tick(Arm::Baseline, baseline)];
        let decision = judge.feed(&Tick { t_ms: second * 1000, arms });
        assert_eq!(decision.map(|decision| decision.message), None, "second {second}");
    }
}

#[test]
fn silence_is_not_health() {
    let half = |second: u64| (second <= 150).then_some(CANARY);
    let none = Second { requests: 0, ..CANARY };
    let few = Second { requests: 1, ..CANARY };
    type Stage<'a> = &'a dyn Fn(u64) -> (Option<Second>, Option<Second>);
    let stages: [(&str, Stage<'_>, Reason); 5] = [
        ("nothing at all", &|_| (None, None), Reason::NoData),
        ("zero requests of both", &|_| (Some(none), Some(none)), Reason::NoData),
        ("zero requests of the canary", &|_| (Some(none), Some(BASELINE)), Reason::NoData),
        (
            "a tenth of its share",
            &|second| (Some(if second % 3 == 0 { few } else { none }), Some(BASELINE)),
            Reason::ShareMismatch,
        ),
        ("silent in the second half", &|second| (half(second), Some(BASELINE)), Reason::TooFewSamples),
    ];
    for (what, of, reason) in stages {
        let decision = run(&settings(|_| {}, true), 6, of);
        assert_eq!(
            (decision.verdict, decision.reason),
            (GateVerdict::Inconclusive, reason),
            "{what}: {}",
            decision.message
        );
    }
}

#[test]
fn a_promotion_needs_the_power_that_was_asked_for() {
    for (percent, verdict) in [(0.3, GateVerdict::Inconclusive), (2.0, GateVerdict::Promote)] {
        let settings = settings(|gate| gate.detect_error_percent = Some(percent), true);
        let decision = run_certified(&settings, 7, |_| (Some(CANARY), Some(BASELINE)));
        assert_eq!(decision.verdict, verdict, "{}", decision.message);
        assert_eq!(decision.services[0].certificate.asked_error_rate, Some(percent / 100.0));
    }
}

#[test]
fn an_early_pass_comes_early_and_only_for_the_good() {
    let rules = settings(|gate| gate.early_pass_error_percent = Some(1.0), true);
    let good = run(&rules, 8, |_| (Some(Second { rate: 0.0, ..CANARY }), Some(BASELINE)));
    assert_eq!(good.reason, Reason::Promoted, "{}", good.message);
    assert!((50_000..120_000).contains(&good.watched_ms), "{}", good.watched_ms);
    let bad = run(&rules, 8, |_| (Some(Second { rate: 0.03, ..CANARY }), Some(BASELINE)));
    assert_eq!(bad.verdict, GateVerdict::Rollback, "{}", bad.message);
}

/// A canary that is judged alone, probed once a second: exact limits, and they are kept.
#[test]
fn alone_the_exact_limits_decide() {
    let mut blamed = 0;
    for seed in 0..200 {
        for (rate, bad) in [(0.01, false), (0.2, true)] {
            let mut random = Random::new(seed);
            let mut judge = Judge::new(settings(|_| {}, false), &watched(false)).without_certificate();
            let decision = (1..).find_map(|second| {
                let kind = if random.chance(rate) { Kind::ServerError } else { Kind::Ok };
                let sample = Sample { kind, sent_ms: second * 1000 - 1000, latency_ms: 20.0 };
                let arm = ArmTick { samples: vec![sample], ..arm_tick(Arm::Canary, Vec::new()) };
                judge.feed(&Tick { t_ms: second * 1000, arms: vec![arm] })
            });
            let decision = decision.unwrap();
            let rolled_back = decision.verdict == GateVerdict::Rollback;
            if bad {
                assert!(rolled_back && decision.watched_ms < 120_000, "{}", decision.message);
                assert!(decision.services[0].certificate.absolute_only);
            } else {
                blamed += u32::from(rolled_back);
            }
        }
    }
    assert!(blamed <= 6, "{blamed} of 200 at the tolerated rate, where 0.45 % are allowed");
}

/// Without statistics the judge is the one of before: files of ticks from then lead to the same verdict.
#[test]
fn settings_of_before_are_read_and_have_no_statistics() {
    let old = r#"{"planned_ms":60000,"interval_ms":1000,"timeout_ms":5000,"consecutive_failures":5,
        "max_error_percent":5.0,"max_p95_ms":null,"max_p95_above_baseline_ms":null,"min_samples":20,
        "warm_up_ms":0,"hold_max_ms":600000}"#;
    let old: Settings = serde_json::from_str(old).unwrap();
    assert_eq!((old.statistics.clone(), old.max_error_percent), (None, Some(5.0)));
    let new = serde_json::to_string(&settings(|_| {}, true)).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&new).unwrap(), settings(|_| {}, true));
}
