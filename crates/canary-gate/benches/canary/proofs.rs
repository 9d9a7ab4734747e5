//! What the gate says of itself: is it so?

use crate::report::{Report, Share, coarse, percent, quantile, seconds};
use crate::stage::{ALPHA, STAGE_MS, Stage, counted, probed};
use crate::stream::{Class, NOISE, Traffic};
use kit_contract::body::GateVerdict;

/// Stages whose certificate is tried out, and runs for each.
const CERTIFICATES: u64 = 20;
const RUNS_PER_CERTIFICATE: u64 = 250;
/// What a certificate says is found so often.
const POWER: f64 = 0.9;

pub(crate) fn run(report: &mut Report) {
    early_pass(report);
    certificates(report);
    silence(report);
}

fn early_pass(report: &mut Report) {
    report.table(
        "Early pass at \"below 1 %\"",
        &["canary", "traffic", "runs", "passed early", "99 % bounds", "median"],
    );
    for (per_second, rate, runs, most_s) in [
        (5.0, NOISE, 4000, 75.0),
        (50.0, NOISE, 2000, 10.0),
        (5.0, 0.01, 10_000, f64::NAN),
        (50.0, 0.01, 2000, f64::NAN),
    ] {
        let traffic = counted(per_second, 19.0, false);
        let settings = traffic.settings(ALPHA, |gate| gate.early_pass_error_percent = Some(1.0));
        let stage = Stage::new(Class::Errors { rate, from: 0.0 }, traffic, &settings);
        let seeds = report.seeds();
        let (mut passed, mut times) = (Share::default(), Vec::new());
        for run in 0..report.runs(runs) {
            let decision = stage.decide(seeds(run));
            let early = decision.verdict == GateVerdict::Promote && decision.watched_ms < STAGE_MS;
            passed.add(early);
            times.push(if early { decision.watched_ms as f64 / 1000.0 } else { f64::INFINITY });
        }
        let median_s = quantile(&times, 0.5);
        report.row(&[
            format!("{} % errors", rate * 100.0),
            traffic.name(),
            passed.runs.to_string(),
            coarse(passed.rate()),
            format!("{} to {}", coarse(passed.lower()), coarse(passed.upper())),
            seconds(median_s),
        ]);
        if most_s.is_finite() {
            report.target(
                format!("certified early pass in ≤ {most_s} s at {per_second}/s"),
                seconds(median_s),
                median_s <= most_s,
            );
        } else {
            report.target(
                format!("false pass at {per_second}/s ≤ 5 %"),
                format!("{}, at most {}", coarse(passed.rate()), coarse(passed.upper())),
                passed.rate() <= 0.05,
            );
        }
    }
}

/// A healthy stage says which rate it would have found with 90 % probability. Is that so, in other stages?
fn certificates(report: &mut Report) {
    report.table(
        "Certificates",
        &[
            "traffic",
            "stages that certify",
            "say that 90 % are found of",
            "runs at that rate",
            "found",
            "99 % bounds",
        ],
    );
    let mut worst = 0.0_f64;
    let alone = |traffic: Traffic| Traffic { ratio: 0.0, ..traffic };
    for traffic in [
        counted(5.0, 19.0, false),
        counted(5.0, 1.0, false),
        counted(1.0, 19.0, false),
        probed(1.0),
        alone(probed(1.0)),
        alone(counted(5.0, 19.0, false)),
    ] {
        let settings = traffic.settings(ALPHA, |_| {});
        let healthy = Stage { certifies: true, ..Stage::new(Class::Healthy, traffic, &settings) };
        let (seeds, bad_seeds) = (report.seeds(), report.seeds());
        let (mut rates, mut found) = (Vec::new(), Share::default());
        for at in 0..report.runs(CERTIFICATES).min(CERTIFICATES) {
            let decision = healthy.decide(seeds(at));
            let certificate = decision.services.first().map(|service| &service.certificate);
            let Some(rate) = certificate.and_then(|certificate| certificate.detectable_error_rate) else {
                continue;
            };
            rates.push(rate);
            let bad = Stage::new(Class::Errors { rate, from: 0.0 }, traffic, &settings);
            for run in 0..report.runs(RUNS_PER_CERTIFICATE) {
                let decision = bad.decide(bad_seeds(at * RUNS_PER_CERTIFICATE + run));
                found.add(decision.verdict == GateVerdict::Rollback);
            }
        }
        worst = worst.max((found.rate() - POWER).abs());
        report.row(&[
            traffic.name(),
            rates.len().to_string(),
            format!("{} to {} errors", percent(quantile(&rates, 0.0)), percent(quantile(&rates, 1.0))),
            found.runs.to_string(),
            coarse(found.rate()),
            format!("{} to {}", coarse(found.lower()), coarse(found.upper())),
        ]);
    }
    report.target(
        "certificate honest within ± 2 points",
        format!("off by {:.1} points at most", worst * 100.0),
        worst <= 0.02,
    );
}

/// What must never be promoted.
fn silence(report: &mut Report) {
    report.table("Silence", &["stream", "traffic", "runs", "promoted", "inconclusive", "rolled back"]);
    let mut promoted = 0;
    for (name, class) in [
        ("no traffic at all", Class::Silent { from: 0.0 }),
        ("no traffic in the second half", Class::Silent { from: 0.5 }),
        ("the canary gets none of its traffic", Class::Starved { part: 0.0 }),
        ("the canary gets a tenth of its traffic", Class::Starved { part: 0.1 }),
    ] {
        let starved = matches!(class, Class::Starved { .. });
        let kinds = [counted(5.0, 19.0, false), counted(50.0, 19.0, false), probed(1.0)];
        for traffic in kinds.into_iter().filter(|traffic| !(starved && traffic.probes)) {
            let settings = traffic.settings(ALPHA, |_| {});
            let stage = Stage::new(class, traffic, &settings);
            let seeds = report.seeds();
            let runs = report.runs(1000);
            let mut counts = [0_u64; 3];
            for run in 0..runs {
                match stage.decide(seeds(run)).verdict {
                    GateVerdict::Promote => counts[0] += 1,
                    GateVerdict::Inconclusive => counts[1] += 1,
                    GateVerdict::Rollback => counts[2] += 1,
                    _ => {}
                }
            }
            promoted += counts[0];
            let mut cells = vec![name.to_owned(), traffic.name(), runs.to_string()];
            cells.extend(counts.map(|count| count.to_string()));
            report.row(&cells);
        }
    }
    report.target("no silent pass", format!("{promoted} promoted"), promoted == 0);
}
