//! Bad streams: how many are found, how soon, and what they cost until then.

use crate::peers;
use crate::report::{Report, Share, percent, quantile, seconds};
use crate::stage::{ALPHA, Run, STAGE_MS, Stage, counted, probed};
use crate::stream::{Class, NOISE, Traffic};
use kit_contract::body::GateVerdict;

/// Whole stages, for the oracle and the failed requests of others.
const WHOLE_RUNS: u64 = 500;
const PEERS_RUNS: u64 = 300;
/// The issue of the seeds: no miss in so many runs bounds the rate of misses below 0.01 %.
const MANY: u64 = 46_100;

/// One row: what fails how, and the rate that the oracle knows.
struct Row {
    name: &'static str,
    class: Class,
    rate: Option<f64>,
    traffic: Traffic,
    runs: u64,
}

/// What was measured.
struct Found {
    share: Share,
    median_s: f64,
    oracle_s: f64,
    failed: f64,
    best_tuned_failed: f64,
}

fn errors(name: &'static str, rate: f64, from: f64, traffic: Traffic, runs: u64) -> Row {
    Row { name, class: Class::Errors { rate, from }, rate: Some(rate), traffic, runs }
}

fn rows() -> Vec<Row> {
    let five = counted(5.0, 19.0, false);
    let of = |name, class, rate, traffic, runs| Row { name, class, rate, traffic, runs };
    let slow = |name, factor, tail_only, from| {
        of(name, Class::Slow { factor, tail_only, from }, None, counted(5.0, 19.0, true), 2000)
    };
    vec![
        errors("1 % errors", 0.01, 0.0, five, 10_000),
        errors("2 % errors", 0.02, 0.0, five, 20_000),
        errors("5 % errors", 0.05, 0.0, five, MANY),
        errors("20 % errors", 0.2, 0.0, five, MANY),
        errors("100 % errors", 1.0, 0.0, five, 2000),
        errors("5 % errors from 60 % on", 0.05, 0.6, five, 5000),
        errors("20 % errors from 60 % on", 0.2, 0.6, five, 5000),
        errors("100 % errors from 60 % on", 1.0, 0.6, five, 2000),
        of("20 % in bursts of 10 s", Class::Bursts { rate: 0.2 }, Some(0.2), five, 5000),
        of("5 % in bursts of 10 s", Class::Bursts { rate: 0.05 }, Some(0.05), five, 5000),
        of("held out: 5 % in clumps of 4", Class::ClumpedErrors { rate: 0.05 }, None, five, 2000),
        of("held out: 20 % in clumps of 4", Class::ClumpedErrors { rate: 0.2 }, None, five, 2000),
        slow("everything × 1.25", 1.25, false, 0.0),
        slow("everything × 2", 2.0, false, 0.0),
        slow("everything × 2 from 60 % on", 2.0, false, 0.6),
        slow("the slowest tenth × 1.25", 1.25, true, 0.0),
        slow("the slowest tenth × 2", 2.0, true, 0.0),
        errors("1 % errors", 0.01, 0.0, counted(50.0, 19.0, false), 1000),
        errors("5 % errors", 0.05, 0.0, counted(50.0, 19.0, false), 2000),
        errors("20 % errors", 0.2, 0.0, counted(50.0, 19.0, false), 2000),
        errors("2 % errors", 0.02, 0.0, counted(5.0, 1.0, false), 2000),
        errors("5 % errors", 0.05, 0.0, counted(5.0, 1.0, false), 2000),
        errors("20 % errors", 0.2, 0.0, counted(5.0, 1.0, false), 2000),
        errors("5 % errors", 0.05, 0.0, counted(1.0, 19.0, false), 2000),
        errors("20 % errors", 0.2, 0.0, counted(1.0, 19.0, false), 2000),
        errors("20 % errors", 0.2, 0.0, probed(1.0), 2000),
        errors("100 % errors", 1.0, 0.0, probed(1.0), 2000),
        errors("20 % errors", 0.2, 0.0, probed(0.1), 2000),
        errors("100 % errors", 1.0, 0.0, probed(0.1), 2000),
    ]
}

pub(crate) fn run(report: &mut Report) {
    report.table(
        "Bad streams",
        &[
            "stream",
            "traffic",
            "runs",
            "found",
            "99 % bound: at least",
            "median delay",
            "95 % within",
            "oracle",
            "failed requests served",
        ],
    );
    let found: Vec<(Row, Found)> = rows()
        .into_iter()
        .map(|row| {
            let found = row.measure(report);
            (row, found)
        })
        .collect();
    targets(report, &found);
    others(report);
}

impl Row {
    fn onset_s(&self) -> f64 {
        let from = match self.class {
            Class::Errors { from, .. } | Class::Slow { from, .. } => from,
            _ => 0.0,
        };
        from * STAGE_MS as f64 / 1000.0
    }

    fn measure(&self, report: &mut Report) -> Found {
        let settings = self.traffic.settings(ALPHA, |_| {});
        let stage = Stage::new(self.class, self.traffic, &settings);
        let seeds = report.seeds();
        let mut delays = Vec::new();
        let mut share = Share::default();
        let (mut oracle, mut failed, mut peer_failed) = (Vec::new(), Vec::new(), Vec::new());
        let runs = report.runs(self.runs);
        for at in 0..runs {
            // Others need the whole stage; where only the verdict counts, it ends with the verdict.
            if at < runs.min(WHOLE_RUNS) {
                let run = stage.whole(seeds(at));
                if let Some(rate) = self.rate {
                    let found = peers::oracle(&run.seconds, self.onset_s() as usize, NOISE, rate, ALPHA);
                    oracle.push(self.after(found));
                }
                failed.extend(self.failed(&run, run.decision.watched_ms as f64 / 1000.0));
                let best = peers::ERRORS[peers::BEST_TUNED].judge;
                peer_failed.extend(best(&run.seconds).and_then(|at| self.failed(&run, at as f64)));
                delays.push(self.delay(run.decision.verdict, run.decision.watched_ms));
            } else {
                let decision = stage.decide(seeds(at));
                delays.push(self.delay(decision.verdict, decision.watched_ms));
            }
            share.add(delays.last().is_some_and(|delay| delay.is_finite()));
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let found = Found {
            share,
            median_s: quantile(&delays, 0.5),
            oracle_s: quantile(&oracle, 0.5),
            failed: mean(&failed),
            best_tuned_failed: mean(&peer_failed),
        };
        report.row(&[
            self.name.to_owned(),
            self.traffic.name(),
            runs.to_string(),
            percent(share.rate()),
            percent(share.lower()),
            seconds(found.median_s),
            seconds(quantile(&delays, 0.95)),
            if oracle.is_empty() { "–".to_owned() } else { seconds(found.oracle_s) },
            format!("{:.1}", found.failed),
        ]);
        found
    }

    fn after(&self, found: Option<usize>) -> f64 {
        found.map_or(f64::INFINITY, |second| second as f64 - self.onset_s())
    }

    /// A rollback before the onset found nothing.
    fn delay(&self, verdict: GateVerdict, watched_ms: u64) -> f64 {
        let delay = watched_ms as f64 / 1000.0 - self.onset_s();
        if verdict == GateVerdict::Rollback && delay > 0.0 { delay } else { f64::INFINITY }
    }

    /// Failed requests of the canary from the onset to a rollback.
    fn failed(&self, run: &Run, at_s: f64) -> Option<f64> {
        let (from, to) = (self.onset_s() as usize, (at_s.ceil() as usize).min(run.seconds.len()));
        let errors = run.seconds.get(from..to)?.iter().map(|second| second.errors).sum::<u64>();
        (to > from).then_some(errors as f64)
    }
}

/// What was promised for 5 requests per second, 1 : 19.
fn targets(report: &mut Report, found: &[(Row, Found)]) {
    let five = |name: &str| found.iter().find(|(row, _)| row.name == name).map(|(_, found)| found);
    for (name, least) in [("1 % errors", 0.95), ("2 % errors", 0.999)] {
        let Some(found) = five(name) else { continue };
        let measured = format!("{}, at least {}", percent(found.share.rate()), percent(found.share.lower()));
        report.target(
            format!("{name} found in ≥ {} %", least * 100.0),
            measured,
            found.share.rate() >= least,
        );
    }
    for name in ["5 % errors", "20 % errors"] {
        let Some(Found { share, .. }) = five(name) else { continue };
        let measured = format!("{} of {} missed", share.runs - share.hits, share.runs);
        report.target(
            format!("no miss at {name} in 46 100 runs"),
            measured,
            share.hits == share.runs && share.runs >= MANY,
        );
    }
    for name in ["2 % errors", "5 % errors", "20 % errors"] {
        let Some(found) = five(name) else { continue };
        let measured = format!("{} against {}", seconds(found.median_s), seconds(found.oracle_s));
        let most = (2.0 * found.oracle_s).max(1.0);
        report.target(
            format!("median delay at {name} ≤ 2 × oracle, or one block"),
            measured,
            found.median_s <= most,
        );
    }
    for name in ["5 % errors", "20 % errors", "100 % errors"] {
        let (Some(early), Some(late)) = (five(name), five(&format!("{name} from 60 % on"))) else { continue };
        let measured = format!("{} against {}", seconds(late.median_s), seconds(early.median_s));
        report.target(
            format!("late onset of {name} ≤ 1.3 × the delay from the start"),
            measured,
            late.median_s <= 1.3 * early.median_s,
        );
    }
    if let Some(bursts) = five("20 % in bursts of 10 s") {
        let measured = percent(bursts.share.rate());
        report.target("bursts of 20 % found in ≥ 99.9 %", measured, bursts.share.rate() >= 0.999);
    }
    if let Some(found) = five("20 % errors") {
        let times = found.best_tuned_failed / found.failed;
        let measured =
            format!("{:.1} against {:.1}: {times:.1} times", found.failed, found.best_tuned_failed);
        report.target(
            "≥ 8 times fewer failed requests than the best tuned peer at 20 % errors",
            measured,
            times >= 8.0,
        );
    }
}

/// The same streams, judged by the rules of others: found, and median delay.
fn others(report: &mut Report) {
    for (title, rules, is_latency) in [
        ("Bad streams, found by rules about errors", &peers::ERRORS[..], false),
        ("Bad streams, found by rules about latency", &peers::LATENCY[..], true),
    ] {
        let mut columns = vec!["stream", "the gate"];
        columns.extend(rules.iter().map(|rule| rule.name));
        report.table(title, &columns);
        let at_five = |row: &Row| row.traffic.per_second == 5.0 && row.traffic.ratio > 1.0;
        for row in rows().into_iter().filter(at_five) {
            if matches!(row.class, Class::Slow { .. }) != is_latency {
                continue;
            }
            let settings = row.traffic.settings(ALPHA, |_| {});
            let stage = Stage::new(row.class, row.traffic, &settings);
            let seeds = report.seeds();
            let mut delays = vec![Vec::new(); rules.len() + 1];
            for at in 0..report.runs(PEERS_RUNS) {
                let run = stage.whole(seeds(at));
                delays[0].push(row.delay(run.decision.verdict, run.decision.watched_ms));
                for (delays, rule) in delays[1..].iter_mut().zip(rules) {
                    let found = (rule.judge)(&run.seconds).map(|at| at as u64 * 1000);
                    delays.push(found.map_or(f64::INFINITY, |at_ms| row.delay(GateVerdict::Rollback, at_ms)));
                }
            }
            let mut cells = vec![row.name.to_owned()];
            cells.extend(delays.iter().map(|delays| cell(delays)));
            report.row(&cells);
        }
    }
}

/// `88 %, 120 s`, the median of those that were found.
fn cell(delays: &[f64]) -> String {
    let found: Vec<f64> = delays.iter().copied().filter(|delay| delay.is_finite()).collect();
    let share = found.len() as f64 * 100.0 / delays.len() as f64;
    if found.is_empty() { "0 %".to_owned() } else { format!("{share:.0} %, {:.0} s", quantile(&found, 0.5)) }
}
