//! Healthy streams: every rollback is false.

use crate::peers;
use crate::report::{Report, Share, coarse, percent};
use crate::stage::{ALPHA, STAGE_MS, Stage, counted, probed};
use crate::stream::{Class, Traffic};
use canary_gate::judge::alpha;
use kit_contract::body::GateVerdict;

/// No class may have a larger bound.
const MOST: f64 = 0.005;
const MOST_PER_ROLLOUT: f64 = 0.01;
const PEERS_RUNS: u64 = 300;
const PEERS_RUNS_AT_FIFTY: u64 = 100;

/// Classes that the judge was built for. The last list is of those that nothing was tuned on, though those with
/// clumps were looked at, with other seeds, when clumps were first learned.
const TUNED: [(&str, Class); 8] = [
    ("H1 healthy", Class::Healthy),
    ("H2 both arms ill for 30 s", Class::Outage { rate: 0.05, from: 0.4, to: 0.5 }),
    ("H3 cold canary", Class::ColdCanary),
    ("H4 clumps of 4", Class::Clumps(4)),
    ("H5 load with a memory", Class::Load),
    ("H6 ramp", Class::Ramp),
    ("H7 missing and late ticks", Class::Late),
    ("H8 no traffic", Class::Silent { from: 0.0 }),
];
const HELD_OUT: [(&str, Class); 6] = [
    ("clumps of random size", Class::MixedClumps),
    ("clumps of 8", Class::Clumps(8)),
    ("both arms switch between 0.1 % and 3 %", Class::Switching),
    ("another rate every 10 s, heavy tail", Class::Restless),
    ("single instances pause for 1 s", Class::Pauses),
    ("single instances fail 30 % for 2 s", Class::Blips),
];

fn kinds() -> [(Traffic, u64); 6] {
    [
        (counted(5.0, 19.0, true), 8000),
        (counted(50.0, 19.0, true), 2500),
        (counted(5.0, 1.0, true), 2000),
        (counted(1.0, 19.0, true), 4000),
        (probed(1.0), 1500),
        (probed(0.1), 2000),
    ]
}

pub(crate) fn tuned(report: &mut Report) {
    table(report, "Healthy streams", &TUNED, "every healthy class");
}

pub(crate) fn held_out(report: &mut Report) {
    let title = "Healthy streams that nothing was tuned on";
    table(report, title, &HELD_OUT, "healthy classes that nothing was tuned on, too");
}

fn table(report: &mut Report, title: &str, classes: &[(&str, Class)], what: &str) {
    report.table(title, &["stream", "traffic", "runs", "rolled back", "99 % bound", "hold", "inconclusive"]);
    let mut worst = (0.0, String::new());
    for (name, class) in classes {
        for (traffic, runs) in kinds() {
            let upper = row(report, name, *class, traffic, runs);
            if upper > worst.0 {
                worst = (upper, format!("at most {} ({name}, {})", percent(upper), traffic.name()));
            }
        }
    }
    report.target(
        format!("false rollback ≤ 0.5 % per stage (99 % bound) on {what}"),
        worst.1,
        worst.0 <= MOST,
    );
}

/// Outages of both arms, and whole rollouts.
pub(crate) fn together(report: &mut Report) {
    outages(report);
    rollouts(report);
}

fn row(report: &mut Report, name: &str, class: Class, traffic: Traffic, runs: u64) -> f64 {
    let settings = traffic.settings(ALPHA, |_| {});
    let stage = Stage::new(class, traffic, &settings);
    let (mut blamed, mut hold, mut unsure) = (Share::default(), 0, 0);
    let seeds = report.seeds();
    for run in 0..report.runs(runs) {
        let verdict = stage.decide(seeds(run)).verdict;
        blamed.add(verdict == GateVerdict::Rollback);
        hold += u64::from(verdict == GateVerdict::Hold);
        unsure += u64::from(verdict == GateVerdict::Inconclusive);
    }
    let of = |count: u64| coarse(count as f64 / blamed.runs as f64);
    report.row(&[
        name.to_owned(),
        traffic.name(),
        blamed.runs.to_string(),
        percent(blamed.rate()),
        percent(blamed.upper()),
        of(hold),
        of(unsure),
    ]);
    blamed.upper()
}

/// Both arms fail together: nobody is to blame from then on, and if it lasts, the verdict is to hold.
fn outages(report: &mut Report) {
    let columns = [
        "both arms fail",
        "traffic",
        "runs",
        "rolled back before",
        "rolled back since then",
        "hold",
        "promoted",
    ];
    report.table("Outages of both arms", &columns);
    let (mut since, mut all, mut held) = (0, 0, Share::default());
    for (rate, to, name) in [
        (0.05, 0.5, "5 % for 30 s"),
        (0.3, 0.5, "30 % for 30 s"),
        (1.0, 0.5, "100 % for 30 s"),
        (0.3, f64::INFINITY, "30 % to the end"),
        (1.0, f64::INFINITY, "100 % to the end"),
    ] {
        for traffic in [counted(5.0, 19.0, false), counted(5.0, 1.0, false), probed(1.0)] {
            let settings = traffic.settings(ALPHA, |_| {});
            let stage = Stage::new(Class::Outage { rate, from: 0.4, to }, traffic, &settings);
            let seeds = report.seeds();
            let mut counts = [0_u64; 4];
            let runs = report.runs(1000);
            for run in 0..runs {
                let decision = stage.decide(seeds(run));
                let early = decision.watched_ms as f64 <= 0.4 * STAGE_MS as f64;
                match decision.verdict {
                    GateVerdict::Rollback if early => counts[0] += 1,
                    GateVerdict::Rollback => counts[1] += 1,
                    GateVerdict::Hold => counts[2] += 1,
                    GateVerdict::Promote => counts[3] += 1,
                    _ => {}
                }
            }
            since += counts[1];
            all += runs;
            if to.is_infinite() {
                held.hits += counts[2];
                held.runs += runs - counts[0];
            }
            let mut cells = vec![name.to_owned(), traffic.name(), runs.to_string()];
            cells.extend(counts.map(|count| count.to_string()));
            report.row(&cells);
        }
    }
    let measured = format!(
        "{since} of {all} rolled back since it began, {} of those that last are held",
        coarse(held.rate())
    );
    report.target(
        "an outage of both arms: hold, never rollback",
        measured,
        since == 0 && held.hits == held.runs,
    );
}

/// Three stages as `deploy.toml` has them by default, at 100 requests per second over all.
fn rollouts(report: &mut Report) {
    report.table(
        "Whole rollouts of three stages",
        &["stream", "runs", "rolled back", "99 % bound", "hold or inconclusive"],
    );
    let mut worst = 0.0_f64;
    for (name, class) in [TUNED[0], TUNED[2], TUNED[3], TUNED[4]] {
        let stages = [(5.0, 19.0, 300_000), (50.0, 1.0, 600_000), (100.0, 0.0, 900_000)];
        let stages = stages.map(|(per_second, ratio, stage_ms)| Traffic {
            per_second,
            ratio,
            tick_ms: 1000,
            stage_ms,
            latencies: true,
            probes: false,
        });
        let settings: Vec<_> = stages
            .iter()
            .enumerate()
            .map(|(at, traffic)| traffic.settings(alpha(0.9, at, 3, 1), |_| {}))
            .collect();
        let seeds = report.seeds();
        let (mut blamed, mut unsure) = (Share::default(), 0);
        for run in 0..report.runs(2000) {
            let mut verdicts = stages.iter().zip(&settings).enumerate().map(|(at, (traffic, settings))| {
                Stage::new(class, *traffic, settings).decide(seeds(run * 3 + at as u64)).verdict
            });
            let ended = verdicts.find(|verdict| *verdict != GateVerdict::Promote);
            blamed.add(ended == Some(GateVerdict::Rollback));
            unsure += u64::from(ended.is_some_and(|verdict| verdict != GateVerdict::Rollback));
        }
        worst = worst.max(blamed.upper());
        report.row(&[
            name.to_owned(),
            blamed.runs.to_string(),
            percent(blamed.rate()),
            percent(blamed.upper()),
            coarse(unsure as f64 / blamed.runs as f64),
        ]);
    }
    report.target(
        "false rollback ≤ 1 % per rollout of three stages (99 % bound)",
        format!("at most {}", percent(worst)),
        worst <= MOST_PER_ROLLOUT,
    );
}

/// The same streams, judged by the rules of others.
pub(crate) fn others(report: &mut Report) {
    let rules: Vec<peers::Peer> = peers::ERRORS.iter().chain(&peers::LATENCY).copied().collect();
    let mut latency_rows = Vec::new();
    let columns = |rules: &[peers::Peer]| {
        let names = rules.iter().map(|rule| rule.name);
        ["stream", "traffic", "the gate"].into_iter().chain(names).collect::<Vec<_>>()
    };
    report.table("Healthy streams, rolled back by rules about errors", &columns(&peers::ERRORS));
    for (name, class) in TUNED.iter().take(7).chain(&HELD_OUT) {
        for (traffic, runs) in
            [(counted(5.0, 19.0, true), PEERS_RUNS), (counted(50.0, 19.0, true), PEERS_RUNS_AT_FIFTY)]
        {
            let settings = traffic.settings(ALPHA, |_| {});
            let stage = Stage::new(*class, traffic, &settings);
            let seeds = report.seeds();
            let mut counts = vec![0_u64; rules.len() + 1];
            let runs = report.runs(runs);
            for run in 0..runs {
                let run = stage.whole(seeds(run));
                counts[0] += u64::from(run.decision.verdict == GateVerdict::Rollback);
                for (count, rule) in counts[1..].iter_mut().zip(&rules) {
                    *count += u64::from((rule.judge)(&run.seconds).is_some());
                }
            }
            let cells: Vec<String> = [(*name).to_owned(), traffic.name()]
                .into_iter()
                .chain(counts.iter().map(|count| coarse(*count as f64 / runs as f64)))
                .collect();
            let (of_errors, of_latency) = cells.split_at(3 + peers::ERRORS.len());
            report.row(of_errors);
            latency_rows.push([&cells[..3], of_latency].concat());
        }
    }
    report.table("The same, by rules about latency", &columns(&peers::LATENCY));
    latency_rows.iter().for_each(|cells| report.row(cells));
}
