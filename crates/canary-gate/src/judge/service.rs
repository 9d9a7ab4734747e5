//! The criteria, for one service.

use super::arm::{ArmLog, Share, Streak};
use super::evidence::{Evidence, Proof};
use super::settings::{Settings, Watched};
use crate::tick::{Arm, ArmTick};
use kit_contract::{Name, Reason};
use kit_sequential::upper_bound;
use std::collections::BTreeMap;

/// A streak that is rarer than this, in a canary no worse than its baseline, is no chance.
const RARE: f64 = 1e-5;
/// A baseline that fails may fail as often as this bound says.
const CERTAIN: f64 = 0.95;
/// How far back before a streak the baseline is looked at.
const BEFORE_STREAK_MS: u64 = 30_000;

/// What the canary was caught at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Breach {
    /// So many probes in a row gave no answer or a server error.
    Outage(u64),
    /// So many probes in a row failed.
    Consecutive(u64),
    /// Too large a share of all failed.
    ErrorRate(Share),
    /// The 95th percentile is above the limit.
    P95 { canary_ms: f64, limit_ms: u64 },
    /// The 95th percentile is too far above the baseline's.
    P95AboveBaseline { canary_ms: f64, baseline_ms: f64, limit_ms: u64 },
    /// Statistics have proved it.
    Proved(Proof),
}

impl Breach {
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::Outage(_) => Reason::TotalOutage,
            Self::Consecutive(_) => Reason::ConsecutiveFailures,
            Self::ErrorRate(_) | Self::Proved(Proof::Errors | Proof::Alone) => Reason::ErrorRateExceeded,
            Self::P95 { .. } | Self::P95AboveBaseline { .. } | Self::Proved(Proof::Slow) => {
                Reason::LatencyExceeded
            }
        }
    }
}

/// A breach whose verdict waits until the baseline was asked, too.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    since_ms: u64,
    /// The baseline's answer to a probe that was sent then settles it.
    baseline_sent_ms: u64,
}

/// Everything known of one service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) canary: ArmLog,
    /// `None`: there is nothing to compare with.
    pub(crate) baseline: Option<ArmLog>,
    /// True while canary and baseline fail together.
    pub(crate) holding: bool,
    /// The breach that the verdict is about, if there is one.
    pub(crate) breach: Option<Breach>,
    /// `None`: there are only limits.
    pub(crate) evidence: Option<Evidence>,
    /// What of an arm could not be read from its source, and still cannot.
    pub(crate) trouble: BTreeMap<Arm, String>,
    /// The evidence at some moments.
    pub(crate) path: Vec<(u64, f64)>,
    suspicion: Option<Suspicion>,
}

impl Service {
    pub(crate) fn new(watched: &Watched, settings: &Settings) -> Self {
        let rules = settings.statistics.as_ref();
        Self {
            name: watched.service.clone(),
            canary: ArmLog::default(),
            baseline: watched.baseline.then(ArmLog::default),
            holding: false,
            breach: None,
            evidence: rules.map(|rules| Evidence::new(rules, settings, watched.baseline)),
            trouble: BTreeMap::new(),
            path: Vec::new(),
            suspicion: None,
        }
    }

    pub(crate) fn mark(&mut self, now_ms: u64) {
        let live = self.live_baseline().is_some();
        if let Some(evidence) = &self.evidence {
            let value = evidence.value(live);
            self.path.push((now_ms, value));
        }
    }

    pub(crate) fn note_trouble(&mut self, arm: Arm, what: Option<&str>) {
        match what {
            Some(what) => self.trouble.insert(arm, what.to_owned()),
            None => self.trouble.remove(&arm),
        };
    }

    pub(crate) fn absorb(&mut self, arm: &ArmTick, t_ms: u64, settings: &Settings) {
        if let Some(evidence) = &mut self.evidence {
            evidence.absorb(arm);
        }
        let log = match arm.arm {
            Arm::Canary => Some(&mut self.canary),
            Arm::Baseline => self.baseline.as_mut(),
        };
        if let Some(log) = log {
            for sample in &arm.samples {
                log.add(*sample, t_ms, settings.warm_up_ms);
            }
            for counts in &arm.counts {
                log.add_counts(counts, t_ms, settings.warm_up_ms);
            }
        }
    }

    /// The baseline, if it ever answered: one that never did is nothing to compare with.
    pub(crate) fn live_baseline(&self) -> Option<&ArmLog> {
        self.baseline.as_ref().filter(|baseline| baseline.is_reached())
    }

    /// True if failures say something about this service: `path_open` means that something was
    /// reached from here. Where neither of two arms ever was, the way to them is what failed.
    pub(crate) fn can_be_judged(&self, path_open: bool) -> bool {
        path_open && (self.canary.is_reached() || self.baseline.as_ref().is_none_or(ArmLog::is_reached))
    }

    /// True if the verdict waits for an answer of the baseline.
    pub(crate) fn is_suspicious(&self) -> bool {
        self.suspicion.is_some()
    }

    /// True if samples were taken out because canary and baseline failed together.
    pub(crate) fn has_excused(&self) -> bool {
        self.canary.judged().n < self.canary.total().n
    }

    /// True if the stage may end early for this service.
    pub(crate) fn may_pass_early(&self, settings: &Settings) -> bool {
        let live = self.live_baseline().is_some();
        let passed = self.evidence.as_ref().is_some_and(|evidence| evidence.may_pass_early(live));
        passed
            && !self.holding
            && !self.is_suspicious()
            && self.trouble.is_empty()
            && self.canary.judged().n >= settings.least()
    }

    /// Looks at everything after a tick. Gives the breach that the canary alone is to blame for. `last`:
    /// nothing more will come.
    pub(crate) fn evaluate(
        &mut self,
        t_ms: u64,
        settings: &Settings,
        path_open: bool,
        last: bool,
    ) -> Option<Breach> {
        self.holding = false;
        self.breach = None;
        if let Some(evidence) = &mut self.evidence {
            evidence.advance(t_ms, last);
        }
        if !self.can_be_judged(path_open) {
            return None;
        }
        self.excuse_common_failures(settings);
        self.holding |= self.are_ill_together(t_ms, settings);
        let Some(breach) = self.find_breach(settings) else {
            self.suspicion = None;
            return None;
        };
        if self.is_common(breach, settings) {
            self.holding = true;
            self.suspicion = None;
            return None;
        }
        if !matches!(breach, Breach::Proved(_)) && self.waits_for_baseline(t_ms, settings) {
            return None;
        }
        self.breach = Some(breach);
        self.breach
    }

    /// While the baseline is in trouble and the canary is not clearly worse, what either did does not
    /// count.
    fn excuse_common_failures(&mut self, settings: &Settings) {
        let Some(baseline) = self.live_baseline() else { return };
        let Some(since_ms) = trouble_since(baseline, settings) else { return };
        let (canary_share, baseline_share) = (self.canary.since(since_ms), baseline.since(since_ms));
        if canary_share.errors == 0 || canary_share.is_clearly_worse_than(baseline_share) {
            return;
        }
        let down = canary_share.errors == canary_share.n && canary_share.n >= settings.outage();
        self.holding = down || canary_share.is_above(settings.trouble_percent());
        self.canary.excuse_since(since_ms);
        self.canary.forgive_streak();
        if let Some(baseline) = &mut self.baseline {
            baseline.excuse_since(since_ms);
        }
    }

    /// True if both arms fail at the moment, and the canary is not clearly worse. Only asked where
    /// statistics judge: they see no fault of the canary in that, but good it is not.
    fn are_ill_together(&self, t_ms: u64, settings: &Settings) -> bool {
        let Some(baseline) = self.live_baseline().filter(|_| self.evidence.is_some()) else { return false };
        let since_ms = t_ms.saturating_sub(settings.moment_ms());
        if !self.canary.may_have_failed_twice_since(since_ms)
            || !baseline.may_have_failed_twice_since(since_ms)
        {
            return false;
        }
        let (canary, baseline) = (self.canary.since(since_ms), baseline.since(since_ms));
        let ill = |share: Share| share.errors >= 2 && share.is_above(settings.trouble_percent());
        ill(canary) && ill(baseline) && !canary.is_surely_worse_than(baseline)
    }

    /// The gravest breach, whoever is to blame.
    fn find_breach(&self, settings: &Settings) -> Option<Breach> {
        if let Some(breach) = self.find_row(settings) {
            return Some(breach);
        }
        let judged = self.canary.judged();
        if judged.n >= settings.least()
            && settings.max_error_percent.is_some_and(|percent| judged.is_above(percent))
        {
            return Some(Breach::ErrorRate(judged));
        }
        self.find_slowness(settings).or_else(|| self.find_proof())
    }

    /// Failures in a row.
    fn find_row(&self, settings: &Settings) -> Option<Breach> {
        let streak = self.canary.streak();
        if streak.length == 0 {
            return None;
        }
        let clump = self.evidence.as_ref().map_or(1, Evidence::clump);
        let is_outage = streak.dark >= settings.outage_of(clump);
        let is_row = settings.row_of(clump).is_some_and(|row| streak.length >= row);
        let newest_ms = self.canary.newest_sent_ms().unwrap_or_default();
        // What is proved needs no time to be believed.
        let lasts = newest_ms.saturating_sub(streak.since_ms) >= settings.least_row_ms()
            || self.find_proof().is_some();
        if !(is_outage || is_row) || !lasts || self.is_explained(streak) {
            return None;
        }
        Some(if is_outage { Breach::Outage(streak.dark) } else { Breach::Consecutive(streak.length) })
    }

    /// What statistics have proved: against the baseline if it lives, against what is tolerated if not.
    fn find_proof(&self) -> Option<Breach> {
        let live = self.live_baseline().is_some();
        self.evidence.as_ref().and_then(|evidence| evidence.proof(live)).map(Breach::Proved)
    }

    /// True if a canary no worse than the baseline at that time would show such a streak now and then.
    /// Where a third of all requests fail, five in a row say nothing. Only asked where statistics judge.
    fn is_explained(&self, streak: Streak) -> bool {
        let Some(baseline) = self.live_baseline().filter(|_| self.evidence.is_some()) else { return false };
        let share = baseline.since(streak.since_ms.saturating_sub(BEFORE_STREAK_MS));
        // Where both are ill, a few lucky answers of the baseline must not make the canary guilty.
        let ill = (share.errors > 0).then(|| upper_bound(share.errors, share.n, CERTAIN)).flatten();
        let rate = ill.unwrap_or(0.5 / (share.n as f64 + 1.0));
        rate.powf(streak.length as f64) > RARE
    }

    fn find_slowness(&self, settings: &Settings) -> Option<Breach> {
        let p95_of = |log: &ArmLog| {
            if log.warm_count() >= settings.least() { log.warm_p95_ms() } else { None }
        };
        let canary_ms = p95_of(&self.canary)?;
        if let Some(limit_ms) = settings.max_p95_ms
            && canary_ms > limit_ms as f64
        {
            return Some(Breach::P95 { canary_ms, limit_ms });
        }
        let limit_ms = settings.max_p95_above_baseline_ms?;
        let baseline_ms = self.live_baseline().and_then(p95_of)?;
        (canary_ms > baseline_ms + limit_ms as f64).then_some(Breach::P95AboveBaseline {
            canary_ms,
            baseline_ms,
            limit_ms,
        })
    }

    /// True if the baseline breaks the same rule, and the canary is not clearly worse.
    fn is_common(&self, breach: Breach, settings: &Settings) -> bool {
        let Some(baseline) = self.live_baseline() else { return false };
        match breach {
            Breach::Outage(_) | Breach::Consecutive(_) => {
                let share = baseline.since(self.canary.streak().since_ms);
                share.n > 0 && !Share { errors: 1, n: 1 }.is_clearly_worse_than(share)
            }
            Breach::ErrorRate(canary) => {
                let share = baseline.judged();
                share.is_above(settings.trouble_percent()) && !canary.is_clearly_worse_than(share)
            }
            Breach::P95 { canary_ms, limit_ms } => {
                let enough = baseline.warm_count() >= settings.least();
                let baseline_ms = baseline.warm_p95_ms().filter(|_| enough);
                baseline_ms.is_some_and(|p95_ms| p95_ms > limit_ms as f64 && canary_ms <= 2.0 * p95_ms)
            }
            // What hits both has cancelled already.
            Breach::P95AboveBaseline { .. } | Breach::Proved(_) => false,
        }
    }

    /// A baseline that hangs fails later than a canary that refuses, for the same cause. So nobody is
    /// blamed before the baseline's answer to a probe of the same moment is in, or its time is up.
    fn waits_for_baseline(&mut self, t_ms: u64, settings: &Settings) -> bool {
        let Some(baseline) = self.live_baseline() else { return false };
        let newest_ms = baseline.newest_sent_ms();
        let suspicion = *self
            .suspicion
            .get_or_insert(Suspicion { since_ms: t_ms, baseline_sent_ms: self.canary.newest_failed_ms() });
        let answered = newest_ms.is_some_and(|newest_ms| newest_ms >= suspicion.baseline_sent_ms);
        !answered && t_ms < suspicion.since_ms.saturating_add(settings.patience_ms())
    }
}

/// When the trouble began that an arm is in, if it is: several recent failures, and more than allowed.
fn trouble_since(log: &ArmLog, settings: &Settings) -> Option<u64> {
    let (share, first_ms) = log.recent(settings.window());
    let in_trouble = share.errors >= 2 && share.is_above(settings.trouble_percent());
    let streak = log.streak();
    if in_trouble {
        Some(first_ms)
    } else if streak.length >= settings.outage() {
        Some(streak.since_ms)
    } else {
        None
    }
}
