//! Samples in, verdict out. Pure: no clock, no network, no file.
//!
//! A service is rolled back when its canary breaks a criterion that its baseline keeps:
//!
//! - *total outage*: the last `max(consecutive_failures, 3)` probes gave no answer or a server error;
//! - *consecutive failures*: the last `consecutive_failures` probes failed;
//! - *error rate*: more than `max_error_percent` of all probes failed, if there is such a limit and once
//!   there are `min_samples`;
//! - *latency*: the 95th percentile of the good answers after `warm_up` is above `max_p95`, or more
//!   than `max_p95_above_baseline` above the baseline's, once there are `min_samples` of them.
//!
//! Statistics come on top, unless they are switched off: *errors* and *latency* are compared with the
//! baseline by tests that may be looked at after every tick ([`kit_sequential`]); where no baseline lives,
//! errors are held against a rate that is tolerated. A promotion then certifies what would have been seen.
//!
//! Where the baseline breaks the same rule and the canary is not clearly worse (more than twice as
//! bad), both have the same cause: the verdict is `hold`, what happens meanwhile is excused, and the
//! judge goes on looking, up to `hold_max` after the planned end. Nobody is blamed before the
//! baseline's answer of the same moment is in.
//!
//! As long as nothing at all was reached, failures say more about the way from here than about any
//! version: the verdict is then `inconclusive`.

mod arm;
mod bound;
mod evidence;
mod latency;
mod pairing;
mod percentiles;
mod service;
mod settings;
mod verdict;

pub use bound::upper_bound;
pub(crate) use evidence::{FIRST, compared_blocks, probe_blocks};
pub(crate) use pairing::CLUMPS_PER_BLOCK;
pub use settings::{Settings, Statistics, Watched, alpha};
pub(crate) use verdict::percent;

use crate::tick::Tick;
use kit_contract::Reason;
use kit_contract::body::{GateVerdict, ServiceVerdict};
use service::Service;
use verdict::Moment;

/// What the judge came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The worst verdict over all services: rollback before hold before inconclusive before promote.
    pub verdict: GateVerdict,
    /// Its reason.
    pub reason: Reason,
    /// For people, with the numbers.
    pub message: String,
    /// One per service, in the order of [`Judge::new`].
    pub services: Vec<ServiceVerdict>,
    /// How long was watched.
    pub watched_ms: u64,
    /// Ticks that were judged.
    pub ticks: u64,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Judge {
    settings: Settings,
    services: Vec<Service>,
    now_ms: u64,
    ticks: u64,
    pending: u64,
    path_open: bool,
    certifies: bool,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(settings: Settings, services: &[Watched]) -> Self {
        let services = services.iter().map(|watched| Service::new(watched, &settings)).collect();
        Self { settings, services, now_ms: 0, ticks: 0, pending: 0, path_open: false, certifies: true }
    }

    /// The same judge, but a promotion does not say what would have been seen, which takes long to work
    /// out: for those who judge a hundred thousand stages. Asking for a detectable rate has no effect then.
    #[must_use]
    pub fn without_certificate(self) -> Self {
        Self { certifies: false, ..self }
    }

    /// Takes one tick. Gives the decision as soon as there is one; nothing may be fed after that.
    ///
    /// Ticks come in the order of their time; one may be late or missing. What is said of a service
    /// that nobody named beforehand is left out.
    pub fn feed(&mut self, tick: &Tick) -> Option<Decision> {
        self.now_ms = self.now_ms.max(tick.t_ms);
        self.ticks += 1;
        self.pending = 0;
        for arm in &tick.arms {
            self.pending += arm.pending;
            self.path_open |= arm.is_reached();
            if let Some(service) = self.services.iter_mut().find(|service| service.name == arm.service) {
                service.absorb(arm, self.now_ms, &self.settings);
            }
        }
        if self.evaluate(false) {
            return Some(self.decide(Moment::Early));
        }
        if !self.services.is_empty()
            && self.services.iter().all(|service| service.may_pass_early(&self.settings))
        {
            return Some(self.decide(Moment::EarlyPass));
        }
        let patience_over = self.now_ms >= self.last_call_ms();
        if self.wants_more() || (self.pending > 0 && !patience_over) {
            return None;
        }
        Some(self.finish(self.now_ms))
    }

    /// True if some canary is to blame.
    fn evaluate(&mut self, last: bool) -> bool {
        let mut breached = false;
        for service in &mut self.services {
            breached |= service.evaluate(self.now_ms, &self.settings, self.path_open, last).is_some();
        }
        breached
    }

    /// True if more probes are wanted: the stage is not over, or the judge waits for canary and
    /// baseline to recover.
    pub fn wants_more(&self) -> bool {
        let planned_ms = self.settings.planned_ms;
        if self.now_ms < planned_ms {
            return true;
        }
        let unsettled = |service: &Service| {
            let too_few = service.canary.judged().n < self.settings.least();
            service.holding || service.is_suspicious() || (service.has_excused() && too_few)
        };
        self.now_ms < planned_ms.saturating_add(self.settings.hold_max_ms)
            && self.services.iter().any(unsettled)
    }

    /// The decision when there will be no more ticks. Before the planned end it is never `promote`.
    pub fn finish(&mut self, now_ms: u64) -> Decision {
        self.now_ms = self.now_ms.max(now_ms);
        if self.now_ms < self.settings.planned_ms {
            return self.decide(Moment::Early);
        }
        if self.settings.statistics.is_some() {
            self.evaluate(true);
        }
        self.decide(Moment::End)
    }

    /// What is known when the gate is ended from outside. Never `promote`.
    pub fn abandon(&mut self, now_ms: u64) -> Decision {
        self.now_ms = self.now_ms.max(now_ms);
        self.standing()
    }

    /// The decision if somebody asked the deploy to stop. `why` is for people.
    pub fn stop(&mut self, now_ms: u64, why: &str) -> Decision {
        let mut decision = self.abandon(now_ms);
        decision.verdict = GateVerdict::Rollback;
        decision.reason = Reason::StopRequested;
        decision.message = why.to_owned();
        for service in &mut decision.services {
            service.verdict = GateVerdict::Rollback;
            service.reason = Reason::StopRequested;
        }
        decision
    }

    /// How things stand at the moment, as if this were the end. Never `promote`.
    pub fn standing(&self) -> Decision {
        self.decide(Moment::Early)
    }

    /// How long was watched so far.
    pub fn watched_ms(&self) -> u64 {
        self.now_ms
    }

    /// Ticks so far.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// By then every probe that was sent is over.
    fn last_call_ms(&self) -> u64 {
        let Settings { planned_ms, hold_max_ms, .. } = self.settings;
        planned_ms.saturating_add(hold_max_ms).saturating_add(self.settings.patience_ms())
    }

    fn view(&self, moment: Moment) -> verdict::View<'_> {
        let certifies = self.certifies && moment != Moment::Early;
        verdict::View {
            settings: &self.settings,
            now_ms: self.now_ms,
            path_open: self.path_open,
            moment,
            certifies,
        }
    }

    fn decide(&self, moment: Moment) -> Decision {
        let view = self.view(moment);
        let services: Vec<ServiceVerdict> = self.services.iter().map(|service| view.of(service)).collect();
        let (verdict, reason, message) = verdict::combine(&services);
        Decision { verdict, reason, message, services, watched_ms: self.now_ms, ticks: self.ticks }
    }
}

#[cfg(test)]
mod statistics_tests;
#[cfg(test)]
mod tests;
