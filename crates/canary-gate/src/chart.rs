//! The evidence over time, as a chart that GitHub draws in a job summary. Pure.

use kit_contract::body::ServiceVerdict;
use std::fmt::Write as _;

/// Evidence below this is as good as none.
const LEAST_LOG10: f64 = -3.0;

/// The chart of one service; empty if there is nothing to draw.
pub(crate) fn evidence(service: &ServiceVerdict) -> String {
    let path = &service.evidence_path;
    let (Some(alpha), [first, .., last]) = (service.certificate.alpha, path.as_slice()) else {
        return String::new();
    };
    let proof = (1.0 / alpha).log10();
    let logs: Vec<f64> = path.iter().map(|point| point.evidence.log10().max(LEAST_LOG10)).collect();
    let (low, high) = logs.iter().fold((0.0_f64, proof), |(low, high), log| (low.min(*log), high.max(*log)));
    let list = |logs: &mut dyn Iterator<Item = f64>| {
        logs.map(|log| format!("{log:.2}")).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "\nEvidence against the canary of {}: the lower line; it is proof once it reaches the upper one, {:.0}.\n\n",
        service.service,
        1.0 / alpha
    );
    let _ = write!(
        text,
        "```mermaid\nxychart-beta\n    x-axis \"seconds\" {:.0} --> {:.0}\n    y-axis \"evidence, power of ten\" {:.1} --> {:.1}\n    \
         line [{}]\n    line [{}]\n```\n",
        first.t_ms as f64 / 1000.0,
        last.t_ms as f64 / 1000.0,
        (low * 10.0).floor() / 10.0,
        (high * 10.0).ceil() / 10.0,
        list(&mut logs.iter().copied()),
        list(&mut logs.iter().map(|_| proof)),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Reason;
    use kit_contract::body::{ArmCounts, Certificate, EvidencePoint, GateVerdict};

    fn service(evidence: &[f64], alpha: Option<f64>) -> ServiceVerdict {
        let point =
            |(at, evidence): (usize, &f64)| EvidencePoint { t_ms: at as u64 * 10_000, evidence: *evidence };
        ServiceVerdict {
            service: "api".parse().unwrap(),
            verdict: GateVerdict::Rollback,
            reason: Reason::ErrorRateExceeded,
            message: String::new(),
            canary: ArmCounts::default(),
            baseline: None,
            certificate: Certificate {
                samples: 0,
                error_rate_upper_bound: None,
                method: String::new(),
                absolute_only: false,
                alpha,
                detectable_error_rate: None,
                asked_error_rate: None,
                evidence: None,
            },
            evidence_path: evidence.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn the_line_and_its_limit_are_drawn() {
        let chart = evidence(&service(&[1.0, 0.0, 50.0, 1e4], Some(0.005)));
        for part in [
            "once it reaches the upper one, 200.",
            "x-axis \"seconds\" 0 --> 30",
            "y-axis \"evidence, power of ten\" -3.0 --> 4.0",
            "line [0.00, -3.00, 1.70, 4.00]",
            "line [2.30, 2.30, 2.30, 2.30]",
        ] {
            assert!(chart.contains(part), "{part}: {chart}");
        }
        assert_eq!(evidence(&service(&[1.0], Some(0.005))), "", "a point is no line");
        assert_eq!(evidence(&service(&[1.0, 2.0], None)), "", "there were no statistics");
    }
}
