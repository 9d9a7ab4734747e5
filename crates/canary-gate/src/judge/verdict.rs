//! From what is known of a service to its verdict, in words and numbers.

use super::arm::{ArmLog, Share};
use super::bound::upper_bound;
use super::service::{Breach, Service};
use super::settings::Settings;
use kit_contract::Reason;
use kit_contract::body::{Certificate, GateVerdict, ServiceVerdict};
use kit_contract::config::Span;

/// A canary that was last heard of so many intervals before the end is not known to be healthy.
const SILENCE_INTERVALS: u64 = 10;

const METHOD: &str = "exact one-sided 95 % bound (Clopper-Pearson) for the probes that count, taken as \
                      independent; not corrected for looking at every tick; says nothing about requests that \
                      are unlike the probe";

/// When a verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before everything planned was seen: a service that is not guilty is not known to be healthy.
    Early,
    /// When all was seen.
    End,
}

/// What a verdict is read from.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now_ms: u64,
    pub(crate) path_open: bool,
    pub(crate) moment: Moment,
}

impl View<'_> {
    /// The verdict on one service.
    pub(crate) fn of(&self, service: &Service) -> ServiceVerdict {
        let (verdict, reason, message) = self.judge(service);
        let judged = service.canary.judged();
        ServiceVerdict {
            service: service.name.clone(),
            verdict,
            reason,
            message: format!("{}: {message}", service.name),
            canary: service.canary.counts(),
            baseline: service.baseline.as_ref().map(ArmLog::counts),
            certificate: Certificate {
                samples: judged.n,
                error_rate_upper_bound: upper_bound(judged.errors, judged.n),
                method: METHOD.to_owned(),
                absolute_only: service.live_baseline().is_none(),
            },
        }
    }

    fn judge(&self, service: &Service) -> (GateVerdict, Reason, String) {
        use GateVerdict::{Hold, Inconclusive, Promote, Rollback};
        if let Some(breach) = service.breach {
            return (Rollback, breach.reason(), self.accuse(service, breach));
        }
        let total = service.canary.total();
        if total.n == 0 {
            return (Inconclusive, Reason::NoData, "no probe of the canary came to an end".to_owned());
        }
        if !service.can_be_judged(self.path_open) {
            let text = format!("nothing could be reached from here: {}", arms(service, Share::total));
            return (Inconclusive, Reason::NoData, text);
        }
        if service.holding {
            let text = format!("canary and baseline fail together: {}", arms(service, Share::total));
            return (Hold, Reason::CommonMode, text);
        }
        if let Some(lack) = self.lack(service) {
            return (Inconclusive, Reason::TooFewSamples, lack);
        }
        if service.canary.counts().p50_ms.is_none() {
            // Only where every criterion was switched off.
            let text = format!("no probe of the canary succeeded: {}", arms(service, Share::judged));
            return (Rollback, Reason::TotalOutage, text);
        }
        (Promote, Reason::Promoted, arms(service, Share::judged))
    }

    /// What is missing for a promotion.
    fn lack(&self, service: &Service) -> Option<String> {
        let settings = self.settings;
        let judged = service.canary.judged();
        let span = |ms: u64| Span::from_ms(ms).to_string();
        if self.moment == Moment::Early {
            let watched = format!("watched {} of {}", span(self.now_ms), span(settings.planned_ms));
            return Some(format!("{watched}: {}", arms(service, Share::judged)));
        }
        if service.is_suspicious() {
            return Some(format!("the baseline's answers are missing: {}", arms(service, Share::judged)));
        }
        if judged.n < settings.least() {
            let excused = service.canary.total().n - judged.n;
            let note = match excused {
                0 => String::new(),
                _ => format!("; {excused} more do not count, since the baseline failed as well"),
            };
            return Some(format!(
                "{} canary probes, at least {} are needed{note}",
                judged.n,
                settings.least()
            ));
        }
        let newest_ms = service.canary.newest_sent_ms().unwrap_or_default();
        let silence_ms = self.now_ms.saturating_sub(newest_ms);
        let allowed_ms = settings.patience_ms().saturating_add(settings.interval_ms * SILENCE_INTERVALS);
        if silence_ms > allowed_ms {
            return Some(format!("no probe of the canary came to an end for the last {}", span(silence_ms)));
        }
        let warm = service.canary.warm().count();
        let judges_latency = settings.max_p95_ms.is_some() || settings.max_p95_above_baseline_ms.is_some();
        (judges_latency && warm < settings.least())
            .then(|| format!("{warm} latencies after the warm-up, at least {} are needed", settings.least()))
    }

    /// What the canary did, with the numbers.
    fn accuse(&self, service: &Service, breach: Breach) -> String {
        let judged = service.canary.judged();
        match breach {
            Breach::Outage(length) | Breach::Consecutive(length) => {
                let streak = match breach {
                    Breach::Outage(_) => {
                        format!("the last {length} canary probes gave no answer or a server error")
                    }
                    _ => format!("the last {length} canary probes failed"),
                };
                let baseline = match service.live_baseline() {
                    Some(baseline) => {
                        let share = baseline.since(service.canary.streak().since_ms);
                        format!("baseline {} of {} since then", share.errors, share.n)
                    }
                    None => "no baseline to compare with".to_owned(),
                };
                format!("{streak} ({}), {baseline}", service.canary.failures())
            }
            Breach::ErrorRate(_) => {
                let baseline = match service.live_baseline() {
                    Some(baseline) => {
                        let share = baseline.judged();
                        format!("baseline {} of {}", share.errors, share.n)
                    }
                    None => "no baseline to compare with".to_owned(),
                };
                format!(
                    "{} of {} canary probes failed ({:.1} %, allowed {} %), {baseline} ({})",
                    judged.errors,
                    judged.n,
                    judged.percent(),
                    self.settings.max_error_percent,
                    service.canary.failures()
                )
            }
            Breach::P95 { canary_ms, limit_ms } => {
                let baseline = match service.live_baseline().and_then(|baseline| baseline.warm().at(95)) {
                    Some(p95_ms) => format!(", baseline {p95_ms:.0} ms"),
                    None => String::new(),
                };
                format!("canary p95 is {canary_ms:.0} ms, allowed {limit_ms} ms{baseline}")
            }
            Breach::P95AboveBaseline { canary_ms, baseline_ms, limit_ms } => format!(
                "canary p95 is {canary_ms:.0} ms, baseline {baseline_ms:.0} ms: {:.0} ms more, allowed {limit_ms} ms",
                canary_ms - baseline_ms
            ),
        }
    }
}

impl Share {
    fn total(log: &ArmLog) -> Self {
        log.total()
    }

    fn judged(log: &ArmLog) -> Self {
        log.judged()
    }
}

/// `1 of 300 canary probes failed (5 × timeout), baseline 0 of 300`.
fn arms(service: &Service, share: fn(&ArmLog) -> Share) -> String {
    let canary = share(&service.canary);
    let mut text = format!("{} of {} canary probes failed", canary.errors, canary.n);
    // While both fail together nothing counts, so no kind is named.
    if canary.errors > 0 && !service.canary.failures().is_empty() {
        text.push_str(&format!(" ({})", service.canary.failures()));
    }
    if let Some(bound) = upper_bound(canary.errors, canary.n).filter(|_| canary.errors < canary.n) {
        text.push_str(&format!(", below {:.2} % with 95 % confidence", bound * 100.0));
    }
    match &service.baseline {
        Some(baseline) => {
            let baseline = share(baseline);
            text.push_str(&format!(", baseline {} of {}", baseline.errors, baseline.n));
        }
        None => text.push_str(", no baseline to compare with"),
    }
    text
}

/// The worst verdict, and what is said of the whole.
pub(crate) fn combine(services: &[ServiceVerdict]) -> (GateVerdict, Reason, String) {
    let worst = services.iter().min_by_key(|service| rank(service.verdict));
    let Some(worst) = worst else {
        return (GateVerdict::Inconclusive, Reason::NoData, "there is no service to watch".to_owned());
    };
    let same = services.iter().filter(|service| service.verdict == worst.verdict);
    let messages: Vec<&str> = same.map(|service| service.message.as_str()).collect();
    (worst.verdict, worst.reason, messages.join("; "))
}

/// Grave ones first.
const fn rank(verdict: GateVerdict) -> u8 {
    match verdict {
        GateVerdict::Rollback => 0,
        GateVerdict::Hold => 1,
        GateVerdict::Inconclusive | GateVerdict::Unknown => 2,
        GateVerdict::Promote => 3,
    }
}
