//! From what is known of a service to its verdict, in words and numbers.

use super::arm::{ArmLog, Share};
use super::bound::upper_bound;
use super::evidence::{Evidence, Proof};
use super::service::{Breach, Service};
use super::settings::Settings;
use kit_contract::Reason;
use kit_contract::body::{Certificate, EvidencePoint, GateVerdict, ServiceVerdict};
use kit_contract::config::Span;

/// A canary that was last heard of so many intervals before the end is not known to be healthy.
const SILENCE_INTERVALS: u64 = 10;

const METHOD: &str = "exact one-sided 95 % bound (Clopper-Pearson) for the probes that count, taken as \
                      independent; not corrected for looking at every tick; says nothing about requests that \
                      are unlike the probe";
const METHOD_COUNTED: &str = "exact one-sided 95 % bound (Clopper-Pearson) for the requests that count, taken as \
                              independent; not corrected for looking at every tick";

/// When a verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before everything planned was seen: a service that is not guilty is not known to be healthy.
    Early,
    /// Before the end, but the canary is certain enough to be good.
    EarlyPass,
    /// When all was seen.
    End,
}

/// What a verdict is read from.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) now_ms: u64,
    pub(crate) path_open: bool,
    pub(crate) moment: Moment,
    /// Whether it is worked out what would have been seen.
    pub(crate) certifies: bool,
}

impl View<'_> {
    /// The verdict on one service.
    pub(crate) fn of(&self, service: &Service) -> ServiceVerdict {
        let live = service.live_baseline().is_some();
        let detectable =
            service.evidence.as_ref().filter(|_| self.certifies).map(|tests| tests.detectable(live));
        let (verdict, reason, message) = self.judge(service, detectable);
        let judged = service.canary.judged();
        let rules = service.evidence.as_ref().map(Evidence::rules);
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
                method: (if self.settings.counted().is_some() { METHOD_COUNTED } else { METHOD }).to_owned(),
                absolute_only: !live,
                alpha: rules.map(|rules| to_six_digits(rules.alpha)),
                detectable_error_rate: detectable.flatten().map(to_six_digits),
                asked_error_rate: rules.and_then(|rules| rules.detect_rate),
                evidence: service
                    .evidence
                    .as_ref()
                    .map(|tests| to_six_digits(tests.value(live).min(MOST_EVIDENCE))),
            },
            evidence_path: service.path.iter().map(point).collect(),
        }
    }

    fn judge(&self, service: &Service, detectable: Option<Option<f64>>) -> (GateVerdict, Reason, String) {
        use GateVerdict::{Hold, Inconclusive, Promote, Rollback};
        if let Some(breach) = service.breach {
            return (Rollback, breach.reason(), self.accuse(service, breach));
        }
        let total = service.canary.total();
        if total.n == 0 {
            if let Some(trouble) = troubles(service) {
                return (Inconclusive, Reason::SourceFailed, trouble);
            }
            let text = match self.settings.counted() {
                Some(_) => "no request of the canary was counted".to_owned(),
                None => "no probe of the canary came to an end".to_owned(),
            };
            return (Inconclusive, Reason::NoData, text);
        }
        if !service.can_be_judged(self.path_open) {
            let text = format!("nothing could be reached from here: {}", self.arms(service, Share::total));
            return (Inconclusive, Reason::NoData, text);
        }
        if service.holding {
            let text = format!("canary and baseline fail together: {}", self.arms(service, Share::total));
            return (Hold, Reason::CommonMode, text);
        }
        if service.evidence.as_ref().is_some_and(Evidence::is_starved) && self.moment != Moment::Early {
            return (Inconclusive, Reason::ShareMismatch, self.starved(service));
        }
        if let Some(trouble) = troubles(service).filter(|_| self.moment != Moment::Early) {
            let text = format!("{trouble}: {}", self.arms(service, Share::judged));
            return (Inconclusive, Reason::SourceFailed, text);
        }
        if let Some(lack) = self.lack(service) {
            return (Inconclusive, Reason::TooFewSamples, lack);
        }
        if total.errors == total.n {
            // Only where every criterion was switched off.
            let text =
                format!("no {} of the canary succeeded: {}", self.one(), self.arms(service, Share::judged));
            return (Rollback, Reason::TotalOutage, text);
        }
        let text = self.arms(service, Share::judged);
        let Some(detectable) = detectable else { return (Promote, Reason::Promoted, text) };
        let seen = match detectable {
            Some(rate) => format!("{} % errors would have been seen (90 %)", percent(rate)),
            None => "no error rate would have been seen for certain (90 %)".to_owned(),
        };
        let asked = service.evidence.as_ref().and_then(|tests| tests.rules().detect_rate);
        match asked {
            Some(asked) if detectable.is_none_or(|rate| rate > asked) => {
                let text = format!("{seen}, {} % are asked for: {text}", percent(asked));
                (Inconclusive, Reason::TooFewSamples, text)
            }
            _ => (Promote, Reason::Promoted, format!("{text}; {seen}")),
        }
    }

    /// What is judged, one of them.
    fn one(&self) -> &'static str {
        if self.settings.counted().is_some() { "request" } else { "probe" }
    }

    /// Several of them.
    fn many(&self) -> &'static str {
        if self.settings.counted().is_some() { "requests" } else { "probes" }
    }

    /// `1 of 300 canary probes failed (5 × timeout), baseline 0 of 300`.
    fn arms(&self, service: &Service, share: fn(&ArmLog) -> Share) -> String {
        let canary = share(&service.canary);
        let mut text = format!("{} of {} canary {} failed", canary.errors, canary.n, self.many());
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

    fn starved(&self, service: &Service) -> String {
        let totals = service.evidence.as_ref().map(Evidence::totals).unwrap_or_default();
        let share = self.settings.statistics.as_ref().and_then(|rules| rules.share).unwrap_or_default();
        format!(
            "the canary got {} of {} requests, where {} % were configured",
            totals.requests,
            totals.requests + totals.baseline_requests,
            percent(share)
        )
    }

    /// What is missing for a promotion.
    fn lack(&self, service: &Service) -> Option<String> {
        let settings = self.settings;
        let judged = service.canary.judged();
        let span = |ms: u64| Span::from_ms(ms).to_string();
        if self.moment == Moment::Early {
            let watched = format!("watched {} of {}", span(self.now_ms), span(settings.planned_ms));
            return Some(format!("{watched}: {}", self.arms(service, Share::judged)));
        }
        if service.is_suspicious() {
            return Some(format!(
                "the baseline's answers are missing: {}",
                self.arms(service, Share::judged)
            ));
        }
        if judged.n < settings.least() {
            let excused = service.canary.total().n - judged.n;
            let note = match excused {
                0 => String::new(),
                _ => format!("; {excused} more do not count, since the baseline failed as well"),
            };
            return Some(format!(
                "{} canary {}, at least {} are needed{note}",
                judged.n,
                self.many(),
                settings.least()
            ));
        }
        let allowed_ms = settings.patience_ms().saturating_add(settings.interval_ms * SILENCE_INTERVALS);
        let silence_ms = |log: &ArmLog| {
            let silence_ms = self.now_ms.saturating_sub(log.newest_sent_ms().unwrap_or_default());
            Some(silence_ms).filter(|silence_ms| *silence_ms > allowed_ms)
        };
        if let Some(silence_ms) = silence_ms(&service.canary) {
            return Some(match settings.counted() {
                Some(_) => format!("nothing was counted of the canary for the last {}", span(silence_ms)),
                None => format!("no probe of the canary came to an end for the last {}", span(silence_ms)),
            });
        }
        if settings.is_counted() {
            let until_ms = self.now_ms.saturating_sub(settings.patience_ms());
            for (arm, log) in [("canary", Some(&service.canary)), ("baseline", service.baseline.as_ref())] {
                if let Some(silent_ms) = log.and_then(|log| log.silent_ms(until_ms)) {
                    let silent = span(silent_ms);
                    return Some(format!(
                        "the {arm} got no request for {silent}: {}",
                        self.arms(service, Share::judged)
                    ));
                }
            }
        }
        // A baseline that does not answer a probe is down; one that is not counted is unknown.
        let baseline = service.baseline.as_ref().filter(|_| settings.counted().is_some());
        if let Some(silence_ms) = baseline.and_then(silence_ms) {
            return Some(format!("nothing was counted of the baseline for the last {}", span(silence_ms)));
        }
        let warm = service.canary.warm_count();
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
                    Breach::Outage(_) => match self.settings.counted() {
                        Some(_) => format!("not one of the last {length} canary requests succeeded"),
                        None => format!("the last {length} canary probes gave no answer or a server error"),
                    },
                    _ => format!("the last {length} canary {} failed", self.many()),
                };
                let baseline = match service.live_baseline() {
                    Some(baseline) => {
                        let share = baseline.since(service.canary.streak().since_ms);
                        format!("baseline {} of {} since then", share.errors, share.n)
                    }
                    None => "no baseline to compare with".to_owned(),
                };
                format!("{streak}{}, {baseline}", kinds(service))
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
                    "{} of {} canary {} failed ({:.1} %, allowed {} %), {baseline}{}",
                    judged.errors,
                    judged.n,
                    self.many(),
                    judged.percent(),
                    self.settings.max_error_percent.unwrap_or_default(),
                    kinds(service)
                )
            }
            Breach::P95 { canary_ms, limit_ms } => {
                let baseline = match service.live_baseline().and_then(ArmLog::warm_p95_ms) {
                    Some(p95_ms) => format!(", baseline {p95_ms:.0} ms"),
                    None => String::new(),
                };
                format!("canary p95 is {canary_ms:.0} ms, allowed {limit_ms} ms{baseline}")
            }
            Breach::Proved(proof) => proved(service, proof),
            Breach::P95AboveBaseline { canary_ms, baseline_ms, limit_ms } => format!(
                "canary p95 is {canary_ms:.0} ms, baseline {baseline_ms:.0} ms: {:.0} ms more, allowed {limit_ms} ms",
                canary_ms - baseline_ms
            ),
        }
    }
}

/// What statistics have proved, with the numbers it rests on.
fn proved(service: &Service, proof: Proof) -> String {
    let Some(tests) = &service.evidence else { return String::new() };
    let totals = tests.totals();
    let certain =
        format!("a healthy canary is blamed with {} % probability at most", percent(tests.rules().alpha));
    match proof {
        Proof::Errors => format!(
            "fails more often than the baseline: {} of {} against {} of {}{}; {certain}",
            totals.errors,
            totals.requests,
            totals.baseline_errors,
            totals.baseline_requests,
            kinds(service)
        ),
        Proof::Alone => format!(
            "fails more often than the tolerated {} %: {} of {}{}, and there is no baseline to compare with; \
             {certain}",
            percent(tests.rules().tolerated_rate),
            totals.errors,
            totals.requests,
            kinds(service)
        ),
        Proof::Slow => {
            let p95 = |log: Option<&ArmLog>| match log.and_then(|log| log.counts().p95_ms) {
                Some(p95_ms) => format!("{p95_ms:.0} ms"),
                None => "unknown".to_owned(),
            };
            format!(
                "is slower than the baseline by more than {} %: p95 {} against {}; {certain}",
                percent(tests.rules().latency_margin),
                p95(Some(&service.canary)),
                p95(service.live_baseline())
            )
        }
    }
}

/// ` (5 × server_error)`, if it is known.
fn kinds(service: &Service) -> String {
    let failures = service.canary.failures();
    if failures.is_empty() { failures } else { format!(" ({failures})") }
}

/// A rate in percent, to three digits that matter.
pub(crate) fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent <= 0.0 {
        return "0".to_owned();
    }
    let digits = (2.0 - percent.log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{percent:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// More is as good as infinite, and JSON has no infinity.
const MOST_EVIDENCE: f64 = 1e30;

fn point((t_ms, evidence): &(u64, f64)) -> EvidencePoint {
    EvidencePoint { t_ms: *t_ms, evidence: to_six_digits(evidence.min(MOST_EVIDENCE)) }
}

fn to_six_digits(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

impl Share {
    fn total(log: &ArmLog) -> Self {
        log.total()
    }

    fn judged(log: &ArmLog) -> Self {
        log.judged()
    }
}

/// What the source of a service cannot say at the moment.
fn troubles(service: &Service) -> Option<String> {
    let troubles: Vec<String> = service
        .trouble
        .iter()
        .map(|(arm, what)| format!("{} is not counted: {what}", arm.as_str()))
        .collect();
    (!troubles.is_empty()).then(|| troubles.join("; "))
}

/// The worst verdict over services and rules, and what is said of the whole.
pub(crate) fn combine(
    services: &[ServiceVerdict],
    rules: &[(GateVerdict, Reason, String)],
) -> (GateVerdict, Reason, String) {
    let of_services = services.iter().map(|one| (one.verdict, one.reason, one.message.as_str()));
    let of_rules = rules.iter().map(|(verdict, reason, message)| (*verdict, *reason, message.as_str()));
    let all: Vec<(GateVerdict, Reason, &str)> = of_services.chain(of_rules).collect();
    let nobody = (GateVerdict::Inconclusive, Reason::NoData, "there is no service to watch");
    let (verdict, reason, _) = all.iter().min_by_key(|(verdict, ..)| rank(*verdict)).unwrap_or(&nobody);
    if services.is_empty() {
        return (nobody.0, nobody.1, nobody.2.to_owned());
    }
    let same = all.iter().filter(|(other, ..)| other == verdict);
    let messages: Vec<&str> = same.map(|(.., message)| *message).collect();
    (*verdict, *reason, messages.join("; "))
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
