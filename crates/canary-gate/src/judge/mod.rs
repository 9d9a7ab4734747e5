//! Samples in, verdict out. Pure: no clock, no network, no file.
//!
//! A service is rolled back when its canary breaks a criterion that its baseline keeps:
//!
//! - *total outage*: the last `max(consecutive_failures, 3)` probes gave no answer or a server error;
//! - *consecutive failures*: the last `consecutive_failures` probes failed. Requests that others count have
//!   no order: of these it takes a second without any success, and more than two clumps of one cause;
//! - *error rate*: more than `max_error_percent` of all probes failed, if there is such a limit and once
//!   there are `min_samples`;
//! - *latency*: the 95th percentile of the good answers after `warm_up` is above `max_p95`, or more
//!   than `max_p95_above_baseline` above the baseline's, once there are `min_samples` of them.
//!
//! Statistics come on top, unless they are switched off: *errors* and *latency* are compared with the
//! baseline by tests that may be looked at after every tick ([`kit_sequential`]); where no baseline lives,
//! errors are held against a rate that is tolerated. A promotion then certifies what would have been seen.
//!
//! Rules of the user's own come on top of all that ([`rules`]).
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
mod rules;
mod service;
mod settings;
mod verdict;

pub use bound::upper_bound;
pub(crate) use evidence::{FIRST, compared_blocks, probe_blocks};
pub(crate) use pairing::CLUMPS_PER_BLOCK;
pub use rules::{Criterion, RuleSettings};
pub use settings::{Counted, Settings, Statistics, Watched, alpha};
pub(crate) use verdict::percent;

use crate::tick::{Arm, Tick};
use kit_contract::body::{GateVerdict, RuleVerdict, ServiceVerdict};
use kit_contract::{Name, Reason};
use rules::Rules;
use service::Service;
use verdict::Moment;

/// What the judge came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The worst verdict over all services and rules: rollback before hold before inconclusive before promote.
    pub verdict: GateVerdict,
    /// Its reason.
    pub reason: Reason,
    /// For people, with the numbers.
    pub message: String,
    /// One per service, in the order of [`Judge::new`].
    pub services: Vec<ServiceVerdict>,
    /// How the rules of the user's stand.
    pub rules: Vec<RuleVerdict>,
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
    /// The settings of each service.
    own: Vec<Settings>,
    rules: Rules,
    now_ms: u64,
    ticks: u64,
    pending: u64,
    path_open: bool,
    certifies: bool,
    /// Points of the path of the evidence that were drawn.
    marks: u64,
    /// True while a stage that could not be judged at its end is watched on.
    extending: bool,
    /// When that is asked again.
    ask_again_ms: u64,
    /// When both versions last failed together, if a hold lasts as long as that.
    held_ms: u64,
}

/// Whether a stage can be judged by now is asked so often: the answer costs a judgement.
const ASK_AGAIN_MS: u64 = 1000;

/// Points of the path of the evidence in a stage of the planned length.
const MARKS: u64 = 30;

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(settings: Settings, services: &[Watched]) -> Self {
        let own: Vec<Settings> = services.iter().map(|watched| settings.of(&watched.service)).collect();
        let services = services.iter().zip(&own).map(|(watched, own)| Service::new(watched, own)).collect();
        Self {
            rules: Rules::new(&settings.rules),
            settings,
            services,
            own,
            now_ms: 0,
            ticks: 0,
            pending: 0,
            path_open: false,
            certifies: true,
            marks: 0,
            extending: false,
            ask_again_ms: 0,
            held_ms: 0,
        }
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
            let mut services = self.services.iter_mut().zip(&self.own);
            if let Some((service, own)) = services.find(|(service, _)| service.name == arm.service) {
                service.absorb(arm, self.now_ms, own);
            }
            self.rules.absorb(arm);
        }
        let breached = self.evaluate(false) | self.rules.evaluate(self.now_ms, &self.services, &self.own);
        self.mark();
        if breached {
            return Some(self.decide(Moment::Early));
        }
        if !self.services.is_empty()
            && self.rules.are_quiet()
            && self.services.iter().zip(&self.own).all(|(service, own)| service.may_pass_early(own))
        {
            return Some(self.decide(Moment::EarlyPass));
        }
        if self.settings.holds_on && self.is_holding() {
            self.held_ms = self.now_ms;
        }
        self.extend();
        let patience_over = self.now_ms >= self.last_call_ms();
        if self.wants_more() || (self.pending > 0 && !patience_over) {
            return None;
        }
        Some(self.finish(self.now_ms))
    }

    /// What a source could not say of an arm, for people; `None`: it can again. As long as it cannot, nothing
    /// is known of that arm, and the service is not promoted.
    pub fn note_trouble(&mut self, service: &Name, arm: Arm, what: Option<&str>) {
        if let Some(service) = self.services.iter_mut().find(|known| known.name == *service) {
            service.note_trouble(arm, what);
        }
        self.rules.note_trouble(service, arm, what);
    }

    /// What a gauge of a rule shows, or, for people, why nobody knows.
    pub fn note_gauge(&mut self, t_ms: u64, rule: &Name, read: Result<f64, &str>) {
        self.rules.note_gauge(t_ms, rule, read);
    }

    /// Keeps the evidence of the moment, if it is time to.
    fn mark(&mut self) {
        let due = self.now_ms.saturating_mul(MARKS) / self.settings.planned_ms.max(1);
        if due >= self.marks && due <= MARKS {
            self.marks = due + 1;
            self.services.iter_mut().for_each(|service| service.mark(self.now_ms));
        }
    }

    /// True if some canary is to blame.
    fn evaluate(&mut self, last: bool) -> bool {
        let mut breached = false;
        for (service, own) in self.services.iter_mut().zip(&self.own) {
            breached |= service.evaluate(self.now_ms, own, self.path_open, last).is_some();
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
        (self.settings.holds_on && self.is_holding())
            || self.now_ms < self.latest_end_ms()
                && (self.extending || self.rules.is_holding() || self.services.iter().any(unsettled))
    }

    /// The stage is over by then, but for answers that are under way.
    fn latest_end_ms(&self) -> u64 {
        self.settings.planned_ms.max(self.held_ms).saturating_add(self.settings.hold_max_ms)
    }

    /// True while canary and baseline of a service fail together, or a rule says hold.
    pub fn is_holding(&self) -> bool {
        self.services.iter().any(|service| service.holding) || self.rules.is_holding()
    }

    /// Settles whether the stage goes on beyond its end, because it cannot be judged yet.
    fn extend(&mut self) {
        let over = self.now_ms >= self.settings.planned_ms;
        if self.settings.extends && over && self.now_ms >= self.ask_again_ms {
            self.ask_again_ms = self.now_ms + ASK_AGAIN_MS;
            let mut asked = self.clone();
            // What would have been seen takes long to work out, and is only needed if it decides.
            asked.certifies &=
                self.settings.statistics.as_ref().is_some_and(|rules| rules.detect_rate.is_some());
            self.extending = asked.finish(self.now_ms).verdict == GateVerdict::Inconclusive;
        }
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

    /// How the rules of the user's stand.
    pub fn rules(&self) -> Vec<RuleVerdict> {
        self.rules.standing()
    }

    /// Ticks so far.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// By then every probe that was sent is over.
    fn last_call_ms(&self) -> u64 {
        let patience_ms = self.own.iter().map(Settings::patience_ms).max().unwrap_or_default();
        self.latest_end_ms().saturating_add(patience_ms)
    }

    fn view<'a>(&self, moment: Moment, settings: &'a Settings) -> verdict::View<'a> {
        let certifies = self.certifies && moment != Moment::Early;
        verdict::View { settings, now_ms: self.now_ms, path_open: self.path_open, moment, certifies }
    }

    fn decide(&self, moment: Moment) -> Decision {
        let services = self.services.iter().zip(&self.own);
        let services: Vec<ServiceVerdict> =
            services.map(|(service, own)| self.view(moment, own).of(service)).collect();
        let rules = self.rules.verdicts(moment == Moment::Early);
        let (verdict, reason, message) = verdict::combine(&services, &rules);
        let rules = self.rules.standing();
        Decision { verdict, reason, message, services, rules, watched_ms: self.now_ms, ticks: self.ticks }
    }
}

#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod statistics_tests;
#[cfg(test)]
mod tests;
