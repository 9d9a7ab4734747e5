//! Ticks per second of one core, the drawing of the ticks not counted.

use crate::stage::{ALPHA, counted};
use crate::stream::{Class, Part, Stream};
use canary_gate::judge::{Judge, Watched};
use canary_gate::tick::{Arm, ArmTick, Tick};
use kit_contract::Name;
use std::time::{Duration, Instant};

const TICKS: u64 = 299;
const STAGES: u64 = 1000;
/// The fastest of so many counts: whatever else the machine does only slows it down.
const ROUNDS: u64 = 7;

/// Time that this thread had a core, so that waiting for one does not count; without Linux, time that passed.
fn on_core(begun: Instant) -> Duration {
    let read = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = read.as_deref().and_then(|text| text.split_whitespace().next()?.parse().ok());
    ns.map_or_else(|| begun.elapsed(), Duration::from_nanos)
}

pub(crate) fn run() {
    let process = Instant::now();
    println!(
        "| ticks of both arms with | million per second, fastest of {ROUNDS} | slowest |\n|---|---:|---:|"
    );
    for (name, latencies) in [("errors", false), ("errors and 24 buckets of latencies", true)] {
        let traffic = counted(5.0, 19.0, latencies);
        let settings = traffic.settings(ALPHA, |_| {});
        let service: Name = "app".parse().unwrap_or_else(|_| unreachable!());
        let watched = [Watched { service: service.clone(), baseline: true }];
        let mut stream = Stream::new(Class::Healthy, traffic, 1);
        let arm = |arm, part: Option<Part>| {
            let counts = part.into_iter().map(|part| part.counts).collect();
            ArmTick { service: service.clone(), arm, samples: Vec::new(), pending: 0, counts }
        };
        let ticks: Vec<Tick> = (0..TICKS)
            .map(|_| {
                let (t_ms, [canary, baseline]) = stream.next();
                Tick { t_ms, arms: vec![arm(Arm::Canary, canary), arm(Arm::Baseline, baseline)] }
            })
            .collect();
        let round = |_| {
            let begun = on_core(process);
            let mut decided = 0;
            for _ in 0..STAGES {
                let mut judge = Judge::new(settings.clone(), &watched).without_certificate();
                decided += ticks.iter().filter(|tick| judge.feed(tick).is_some()).count();
            }
            assert!(decided == 0, "a healthy stage that is not over is not decided");
            (STAGES * TICKS) as f64 / (on_core(process) - begun).as_secs_f64() / 1e6
        };
        let paces: Vec<f64> = (0..ROUNDS).map(round).collect();
        let fastest = paces.iter().copied().fold(0.0, f64::max);
        let slowest = paces.iter().copied().fold(f64::INFINITY, f64::min);
        println!("| {name} | {fastest:.2} | {slowest:.2} |");
    }
}
