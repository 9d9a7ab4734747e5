//! How a stage stands, redrawn in place on a terminal. Pure: the lines, not the drawing.

use crate::journal::Header;
use crate::judge::{Decision, percent, upper_bound};
use crate::report::stands;
use kit_contract::body::{ArmCounts, RuleState, ServiceVerdict};
use kit_contract::config::Span;

/// Cells of the bar of evidence.
const CELLS: usize = 30;

/// The view at a moment.
pub(crate) fn view(header: &Header, standing: &Decision, now_ms: u64) -> Vec<String> {
    let share =
        header.share_percent.map(|percent| format!(", {percent} % of the traffic")).unwrap_or_default();
    let left = match header.settings.planned_ms.saturating_sub(now_ms) {
        0 => "beyond the end of the stage".to_owned(),
        left_ms => format!("{} left", Span::from_ms(left_ms.div_ceil(1000) * 1000)),
    };
    let mut lines = vec![format!("stage {}{share}, {left}", header.stage)];
    for service in &standing.services {
        lines.push(format!("  {}", service.service));
        lines.push(format!("    canary    {}", arm(&service.canary)));
        lines.extend(service.baseline.as_ref().map(|counts| format!("    baseline  {}", arm(counts))));
        lines.extend(evidence(service).map(|bar| format!("    evidence  {bar}")));
    }
    let rules = standing.rules.iter().filter(|rule| rule.state != RuleState::Quiet);
    lines.extend(
        rules.map(|rule| {
            format!("  rule {}: {}: {}", rule.rule, stands(rule).trim_matches('*'), rule.message)
        }),
    );
    lines
}

fn arm(counts: &ArmCounts) -> String {
    let rate = match upper_bound(counts.errors, counts.requests) {
        Some(bound) => {
            let rate = counts.errors as f64 / counts.requests as f64;
            format!("{} %, below {} %", percent(rate), percent(bound))
        }
        None => "nothing seen yet".to_owned(),
    };
    let ms = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0}"));
    format!(
        "{:>7} of {:<8} {rate:<28} p50 {} p95 {} p99 {} ms",
        counts.errors,
        counts.requests,
        ms(counts.p50_ms),
        ms(counts.p95_ms),
        ms(counts.p99_ms)
    )
}

/// From 1, where it starts, to what is proof; each cell is the same factor.
fn evidence(service: &ServiceVerdict) -> Option<String> {
    let certificate = &service.certificate;
    let (evidence, proof) = (certificate.evidence?, 1.0 / certificate.alpha?);
    let part = (evidence.max(1.0).ln() / proof.ln()).clamp(0.0, 1.0);
    let full = (part * CELLS as f64).round() as usize;
    Some(format!("[{}{}] {evidence:.3} of {proof:.0}", "#".repeat(full), ".".repeat(CELLS - full)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Judge, Settings, Statistics, Watched};
    use crate::tick::{Arm, ArmTick, Kind, Sample, Tick};
    use kit_contract::config::Gate;

    #[test]
    fn everything_is_in_view() {
        let settings = Settings::new(&Gate::default(), Span::from_secs(300));
        let settings = settings.with(Statistics::new(&Gate::default(), 0.0045));
        let services = [Watched { service: "api".parse().unwrap(), baseline: true }];
        let header = Header::new("canary".parse().unwrap(), Some(5.0), settings.clone(), services.to_vec());
        let mut judge = Judge::new(settings, &services);
        for second in 1..=20_u64 {
            let arm = |arm, kind| ArmTick {
                service: "api".parse().unwrap(),
                arm,
                samples: vec![Sample { kind, sent_ms: second * 1000 - 1000, latency_ms: 12.4 }],
                pending: 0,
                counts: Vec::new(),
            };
            let kind = if second % 3 == 0 { Kind::ServerError } else { Kind::Ok };
            judge.feed(&Tick {
                t_ms: second * 1000,
                arms: vec![arm(Arm::Canary, kind), arm(Arm::Baseline, Kind::Ok)],
            });
        }
        let standing = judge.standing();
        let lines = view(&header, &standing, 20_000);
        assert_eq!(lines[0], "stage canary, 5 % of the traffic, 4m 40s left");
        assert_eq!(lines[1], "  api");
        assert_eq!(
            lines[2],
            "    canary          6 of 20       30 %, below 50.8 %           p50 12 p95 12 p99 12 ms"
        );
        assert_eq!(
            lines[3],
            "    baseline        0 of 20       0 %, below 13.9 %            p50 12 p95 12 p99 12 ms"
        );
        assert!(lines[4].starts_with("    evidence  [#") && lines[4].ends_with(" of 222"), "{}", lines[4]);
        assert_eq!(lines.len(), 5);
        let before = view(&header, &Judge::new(header.settings.clone(), &services).standing(), 0);
        assert!(before[2].contains("nothing seen yet") && before[2].contains("p95 ? "), "{}", before[2]);
    }
}
