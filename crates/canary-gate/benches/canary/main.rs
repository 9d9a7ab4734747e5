//! `cargo xtask bench canary`: how often the real judge blames healthy canaries, and how soon it finds bad
//! ones, beside what others do with the same requests. Seeds are fixed: the table is the same every time,
//! but for the line with the pace. Prints Markdown.
#![allow(clippy::print_stdout, reason = "the table is the output")]
#![allow(clippy::disallowed_methods, reason = "the pace of the judge is measured on the real clock")]

mod peers;
mod stream;

use canary_gate::judge::{Decision, Judge, Settings, Statistics, Watched};
use canary_gate::tick::{Arm, ArmTick, Tick};
use kit_contract::body::GateVerdict;
use kit_contract::config::{Gate, Span};
use kit_sequential::{lower_bound, upper_bound};
use peers::Second;
use std::collections::VecDeque;
use stream::{Class, NOISE, Part, Stream, Traffic};

/// What the first of three stages may spend.
const ALPHA: f64 = 0.0045;
const STAGE_MS: u64 = 300_000;

fn traffic(per_second: f64, ratio: f64, latencies: bool) -> Traffic {
    // One block has about five requests of the canary; ticks are as short as that at 50 req/s.
    let tick_ms = if per_second > 10.0 { 100 } else { 1000 };
    Traffic { per_second, ratio, tick_ms, stage_ms: STAGE_MS, latencies }
}

fn settings(traffic: Traffic, change: impl FnOnce(&mut Gate)) -> Settings {
    let mut gate =
        Gate { interval: Span::from_ms(traffic.tick_ms), hold_max: Span::from_secs(60), ..Gate::default() };
    change(&mut gate);
    let share = Some(1.0 / (1.0 + traffic.ratio));
    let rules = Statistics::new(&gate, ALPHA).map(|rules| Statistics { counted: true, share, ..rules });
    Settings::new(&gate, Span::from_ms(STAGE_MS)).with(rules)
}

/// One stage: what the judge said, and what others would have seen.
struct Run {
    decision: Decision,
    seconds: Vec<Second>,
}

fn run(class: Class, traffic: Traffic, settings: &Settings, seed: u64, whole: bool) -> Run {
    let service: kit_contract::Name = "app".parse().unwrap_or_else(|_| unreachable!());
    let watched = [Watched { service: service.clone(), baseline: true }];
    let mut judge = Judge::new(settings.clone(), &watched).without_certificate();
    let mut stream = Stream::new(class, traffic, seed);
    let mut seconds = vec![Second::default(); (STAGE_MS / 1000) as usize];
    let mut waiting: [VecDeque<Part>; 2] = Default::default();
    let mut decided = None;
    loop {
        let (t_ms, parts) = stream.next();
        for (arm, part) in parts.into_iter().enumerate() {
            let Some(part) = part else { continue };
            if let Some(second) = seconds.get_mut(((t_ms - 1) / 1000) as usize) {
                tally(second, arm, &part, traffic.ratio);
            }
            waiting[arm].push_back(part);
        }
        if decided.is_none() {
            let mut of = |arm: Arm, queue: usize| {
                let due = waiting[queue].iter().take_while(|part| part.arrives_ms <= t_ms).count();
                let counts = waiting[queue].drain(..due).map(|part| part.counts).collect();
                ArmTick { service: service.clone(), arm, samples: Vec::new(), pending: 0, counts }
            };
            let arms = vec![of(Arm::Canary, 0), of(Arm::Baseline, 1)];
            decided = judge.feed(&Tick { t_ms, arms });
        }
        match decided.take() {
            Some(decision) if !whole || t_ms >= STAGE_MS => return Run { decision, seconds },
            other => decided = other,
        }
    }
}

/// What one sees per second; of the baseline as much as the canary has, as Kayenta asks for.
fn tally(second: &mut Second, arm: usize, part: &Part, ratio: f64) {
    if arm == 0 {
        second.errors += part.counts.errors;
        second.requests += part.counts.requests;
    } else {
        // A fixed fraction of it, with the rest carried by rounding against the request count.
        let requests = (part.counts.requests as f64 / ratio).round() as u64;
        second.baseline_requests += requests;
        second.baseline_errors += (part.counts.errors as f64 / ratio).round() as u64;
    }
}

/// A share of runs with its bounds.
struct Share {
    hits: u64,
    runs: u64,
}

impl Share {
    fn upper(&self) -> String {
        percent(upper_bound(self.hits, self.runs, 0.99).unwrap_or(1.0))
    }

    fn lower(&self) -> String {
        percent(lower_bound(self.hits, self.runs, 0.99).unwrap_or(0.0))
    }
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

fn seed(suite: u64, at: u64) -> u64 {
    (suite << 40) ^ (at << 8) ^ 0xCA7A
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Healthy classes, with the number of the seed's suite; those of the second list were never tuned on.
const HEALTHY: [(&str, Class); 8] = [
    ("H1 healthy", Class::Healthy),
    ("H2 both arms ill for 30 s", Class::CommonMode),
    ("H3 cold canary", Class::ColdCanary),
    ("H4 clumps of 4", Class::Clumps(4)),
    ("H5 load with a memory", Class::Load),
    ("H6 ramp", Class::Ramp),
    ("H7 missing and late ticks", Class::Late),
    ("H8 no traffic", Class::Silent),
];
const UNTUNED: [(&str, Class); 4] = [
    ("clumps of random size", Class::MixedClumps),
    ("clumps of 8, beyond what is tolerated", Class::Clumps(8)),
    ("both arms switch between 0.1 % and 3 %", Class::Switching),
    ("single instances pause for 1 s", Class::Pauses),
];

fn healthy(scale: u64) {
    println!(
        "| healthy stream | traffic | runs | rolled back | 99 % bound | inconclusive or hold | Argo 1 m / 10 s | Flagger 10 s / 1 m | Kayenta |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let kinds = [
        (traffic(5.0, 19.0, true), 10_000),
        (traffic(50.0, 19.0, true), 2000),
        (traffic(5.0, 1.0, true), 5000),
    ];
    for (suite, (name, class)) in HEALTHY.iter().chain(&UNTUNED).enumerate() {
        for (kind, (traffic, runs)) in kinds.iter().enumerate() {
            healthy_row(name, *class, *traffic, (runs / scale).max(20), (suite * 8 + kind) as u64);
        }
    }
}

fn healthy_row(name: &str, class: Class, traffic: Traffic, runs: u64, suite: u64) {
    let settings = settings(traffic, |_| {});
    let (mut blamed, mut unsure, mut others, mut kayenta) = (0, 0, [0_u64; 4], 0_u64);
    let peers_runs = runs.min(1000);
    for at in 0..runs {
        let peers = at < peers_runs;
        let run = run(class, traffic, &settings, seed(suite, at), peers);
        match run.decision.verdict {
            GateVerdict::Rollback => blamed += 1,
            GateVerdict::Promote => {}
            _ => unsure += 1,
        }
        if peers {
            for (other, rule) in others.iter_mut().zip(peers::RULES) {
                *other += u64::from(rule.rolls_back(&run.seconds).is_some());
            }
            kayenta += u64::from(peers::kayenta(&run.seconds));
        }
    }
    let share = Share { hits: blamed, runs };
    let other = |hits: u64| format!("{:.1} %", hits as f64 * 100.0 / peers_runs as f64);
    println!(
        "| {name} | {}/s, 1 : {} | {runs} | {} | {} | {:.2} % | {} / {} | {} / {} | {} |",
        traffic.per_second,
        traffic.ratio,
        percent(blamed as f64 / runs as f64),
        share.upper(),
        unsure as f64 * 100.0 / runs as f64,
        other(others[0]),
        other(others[1]),
        other(others[2]),
        other(others[3]),
        other(kayenta)
    );
}

fn bad(scale: u64) {
    println!(
        "| bad stream | traffic | runs | found | 99 % bound | median delay | oracle | failed requests served | Argo 10 s: found, delay, failed | Flagger 10 s | Kayenta found |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let five = traffic(5.0, 19.0, false);
    let rows = [
        (0.01, 0.0, five, 10_000),
        (0.02, 0.0, five, 20_000),
        (0.05, 0.0, five, 46_100),
        (0.2, 0.0, five, 46_100),
        (1.0, 0.0, five, 2000),
        (0.02, 0.6, five, 2000),
        (0.05, 0.6, five, 2000),
        (0.2, 0.6, five, 2000),
        (0.01, 0.0, traffic(50.0, 19.0, false), 1000),
        (0.2, 0.0, traffic(50.0, 19.0, false), 2000),
        (0.02, 0.0, traffic(5.0, 1.0, false), 2000),
        (0.05, 0.0, traffic(5.0, 1.0, false), 2000),
        (0.2, 0.0, traffic(5.0, 1.0, false), 2000),
    ];
    for (suite, (rate, from, traffic, runs)) in rows.into_iter().enumerate() {
        let name = if from > 0.0 { "from 60 % on" } else { "from the start" };
        let name = format!("{} % errors {name}", rate * 100.0);
        bad_row(
            &name,
            Class::Errors { rate, from },
            rate,
            from,
            traffic,
            (runs / scale).max(20),
            100 + suite as u64,
        );
    }
    bad_row(
        "20 % in bursts of 10 s",
        Class::Bursts { rate: 0.2 },
        0.2,
        0.0,
        five,
        (2000 / scale).max(20),
        130,
    );
    bad_row(
        "5 % in bursts of 10 s",
        Class::Bursts { rate: 0.05 },
        0.05,
        0.0,
        five,
        (2000 / scale).max(20),
        131,
    );
    for (suite, (factor, tail_only)) in [(1.25, false), (2.0, false), (2.0, true)].into_iter().enumerate() {
        let what = if tail_only { "the slowest tenth" } else { "everything" };
        let class = Class::Slow { factor, tail_only };
        let slow = traffic(5.0, 19.0, true);
        bad_row(
            &format!("{what} × {factor}"),
            class,
            f64::NAN,
            0.0,
            slow,
            (1000 / scale).max(20),
            140 + suite as u64,
        );
    }
}

#[allow(clippy::too_many_arguments, reason = "one row of the table")]
fn bad_row(name: &str, class: Class, rate: f64, from: f64, traffic: Traffic, runs: u64, suite: u64) {
    let settings = settings(traffic, |_| {});
    let from_s = (from * STAGE_MS as f64 / 1000.0) as usize;
    let (mut delays, mut failed, mut oracle) = (Vec::new(), 0, Vec::new());
    let (mut argo, mut argo_failed, mut flagger, mut kayenta) = (Vec::new(), 0, Vec::new(), 0_u64);
    let peers_runs = runs.min(500);
    let mut found = 0;
    for at in 0..runs {
        let run = run(class, traffic, &settings, seed(suite, at), at < peers_runs);
        let errors = |until_s: usize| -> u64 {
            run.seconds[from_s.min(until_s)..until_s].iter().map(|second| second.errors).sum()
        };
        let end_s = (run.decision.watched_ms.div_ceil(1000) as usize).min(run.seconds.len());
        let hit = run.decision.verdict == GateVerdict::Rollback && end_s > from_s;
        found += u64::from(hit);
        delays.push(if hit {
            run.decision.watched_ms as f64 / 1000.0 - from_s as f64
        } else {
            f64::INFINITY
        });
        failed += if hit { errors(end_s) } else { 0 };
        if at < peers_runs {
            let after =
                |found: Option<usize>| found.map_or(f64::INFINITY, |second| second as f64 - from_s as f64);
            oracle.push(after(peers::oracle(&run.seconds, from_s, NOISE, rate, ALPHA)));
            let argo_at = peers::RULES[1].rolls_back(&run.seconds);
            argo.push(after(argo_at));
            argo_failed += argo_at.map_or(0, errors);
            flagger.push(after(peers::RULES[2].rolls_back(&run.seconds)));
            kayenta += u64::from(peers::kayenta(&run.seconds));
        }
    }
    let share = Share { hits: found, runs };
    let part = |values: &[f64]| values.iter().filter(|value| value.is_finite()).count();
    let seconds = |value: f64| if value.is_finite() { format!("{value:.1} s") } else { "none".to_owned() };
    println!(
        "| {name} | {}/s, 1 : {} | {runs} | {} | at least {} | {} | {} | {:.1} | {:.1} %, {}, {:.1} | {:.1} %, {} | {:.1} % |",
        traffic.per_second,
        traffic.ratio,
        percent(found as f64 / runs as f64),
        share.lower(),
        seconds(median(delays)),
        seconds(median(oracle)),
        failed as f64 / found.max(1) as f64,
        part(&argo) as f64 * 100.0 / peers_runs as f64,
        seconds(median(argo.clone())),
        argo_failed as f64 / part(&argo).max(1) as f64,
        part(&flagger) as f64 * 100.0 / peers_runs as f64,
        seconds(median(flagger.clone())),
        kayenta as f64 * 100.0 / peers_runs as f64
    );
}

/// The seed's rule, on a probe every 10 s: three in a row.
fn probes(scale: u64) {
    let traffic = traffic(5.0, 19.0, false);
    let runs = (2000 / scale).max(20);
    let settings = settings(traffic, |_| {});
    println!("| rule of the seeds, a probe every 10 s | healthy rolled back | 20 % errors found |");
    println!("|---|---|---|");
    for k in [1, 3, 5] {
        let count = |class: Class| {
            let of = |at: &u64| {
                peers::probes_in_a_row(&run(class, traffic, &settings, seed(150, *at), true).seconds, k)
                    .is_some()
            };
            (0..runs).filter(of).count() as f64 * 100.0 / runs as f64
        };
        println!(
            "| {k} in a row | {:.1} % | {:.1} % |",
            count(Class::Healthy),
            count(Class::Errors { rate: 0.2, from: 0.0 })
        );
    }
}

fn early_pass(scale: u64) {
    println!("| early pass at \"below 1 %\" | runs | passed | median |");
    println!("|---|---|---|---|");
    for (suite, (per_second, rate, runs)) in
        [(5.0, NOISE, 1000), (50.0, NOISE, 300), (5.0, 0.01, 4000), (50.0, 0.01, 500)].into_iter().enumerate()
    {
        let traffic = traffic(per_second, 19.0, false);
        let settings = settings(traffic, |gate| gate.early_pass_error_percent = Some(1.0));
        let runs = (runs / scale).max(20);
        let mut times = Vec::new();
        let mut passed = 0;
        for at in 0..runs {
            let run = run(
                Class::Errors { rate, from: 0.0 },
                traffic,
                &settings,
                seed(160 + suite as u64, at),
                false,
            );
            let early = run.decision.verdict == GateVerdict::Promote && run.decision.watched_ms < STAGE_MS;
            passed += u64::from(early);
            times.push(if early { run.decision.watched_ms as f64 / 1000.0 } else { f64::INFINITY });
        }
        let share = Share { hits: passed, runs };
        println!(
            "| {per_second}/s, {} % errors | {runs} | {} (99 % bounds {} to {}) | {:.1} s |",
            rate * 100.0,
            percent(passed as f64 / runs as f64),
            share.lower(),
            share.upper(),
            median(times)
        );
    }
}

/// What the certificate of a healthy stage says would have been found: is it found?
fn certificate(scale: u64) {
    println!("| certificate | says: 90 % of runs find | found | 99 % bounds |");
    println!("|---|---|---|---|");
    for (suite, (per_second, ratio)) in [(5.0, 19.0), (5.0, 1.0), (1.0, 19.0)].into_iter().enumerate() {
        let traffic = traffic(per_second, ratio, false);
        let settings = settings(traffic, |_| {});
        let scene = kit_sequential::Scene {
            settings: kit_sequential::RateSettings {
                alpha: ALPHA * 0.9 * 0.85,
                tolerated_odds: 1.2,
                clump: 5,
            },
            blocks: STAGE_MS / 1000,
            requests: per_second,
            baseline_requests: per_second * ratio,
            baseline_rate: NOISE,
            first: 0.6,
        };
        let Some(rate) = kit_sequential::detectable(&scene, 0.9) else { continue };
        let runs = (4000 / scale).max(20);
        let found = |at: &u64| {
            run(Class::Errors { rate, from: 0.0 }, traffic, &settings, seed(170 + suite as u64, *at), false)
                .decision
                .verdict
                == GateVerdict::Rollback
        };
        let hits = (0..runs).filter(found).count() as u64;
        let share = Share { hits, runs };
        println!(
            "| {per_second}/s, 1 : {ratio} | {} errors | {} | {} to {} |",
            percent(rate),
            percent(hits as f64 / runs as f64),
            share.lower(),
            share.upper()
        );
    }
}

fn silence(scale: u64) {
    println!("| silence | runs | promoted | inconclusive |");
    println!("|---|---|---|---|");
    for (suite, (name, class)) in
        [("no traffic at all", Class::Silent), ("the canary gets none", Class::Starved)]
            .into_iter()
            .enumerate()
    {
        let traffic = traffic(5.0, 19.0, false);
        let settings = settings(traffic, |_| {});
        let runs = (1000 / scale).max(20);
        let mut counts = [0; 2];
        for at in 0..runs {
            match run(class, traffic, &settings, seed(180 + suite as u64, at), false).decision.verdict {
                GateVerdict::Promote => counts[0] += 1,
                GateVerdict::Inconclusive => counts[1] += 1,
                _ => {}
            }
        }
        println!("| {name} | {runs} | {} | {} |", counts[0], counts[1]);
    }
}

/// Ticks per second of one core, the drawing of the ticks not counted.
fn pace(scale: u64) {
    for (name, latencies) in [("errors", false), ("errors and latencies", true)] {
        let traffic = traffic(5.0, 19.0, latencies);
        let settings = settings(traffic, |_| {});
        let service: kit_contract::Name = "app".parse().unwrap_or_else(|_| unreachable!());
        let watched = [Watched { service: service.clone(), baseline: true }];
        let mut stream = Stream::new(Class::Healthy, traffic, 1);
        let arm = |arm, part: Option<Part>| {
            let counts = part.into_iter().map(|part| part.counts).collect();
            ArmTick { service: service.clone(), arm, samples: Vec::new(), pending: 0, counts }
        };
        let ticks: Vec<Tick> = (0..299)
            .map(|_| {
                let (t_ms, [canary, baseline]) = stream.next();
                Tick { t_ms, arms: vec![arm(Arm::Canary, canary), arm(Arm::Baseline, baseline)] }
            })
            .collect();
        let rounds = 2000 / scale;
        let begun = std::time::Instant::now();
        let mut decided = 0;
        for _ in 0..rounds {
            let mut judge = Judge::new(settings.clone(), &watched).without_certificate();
            decided += ticks.iter().filter(|tick| judge.feed(tick).is_some()).count();
        }
        let pace = (rounds * ticks.len() as u64) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "Pace ({name}): {:.2} million ticks of both arms per second and core ({decided} decided early).\n",
            pace / 1e6
        );
    }
}

fn main() {
    peers::check_kayenta();
    // A divisor of all numbers of runs, for those who only want to see that it works.
    let scale =
        std::env::args().find_map(|arg| arg.strip_prefix("--scale=")?.parse().ok()).unwrap_or(1_u64).max(1);
    healthy(scale);
    println!();
    bad(scale);
    println!();
    probes(scale);
    println!();
    early_pass(scale);
    println!();
    certificate(scale);
    println!();
    silence(scale);
    println!();
    pace(scale);
}
