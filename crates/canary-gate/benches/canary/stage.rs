//! One stage: what the judge says of a stream, and what others would have seen.

use crate::peers::Second;
use crate::stream::{Class, Part, Stream, Traffic};
use canary_gate::judge::{Decision, Judge, Settings, Statistics, Watched};
use canary_gate::tick::{Arm, ArmTick, Kind, Sample, Tick};
use kit_contract::Name;
use kit_contract::config::{Gate, Span};
use kit_sequential::Random;
use std::collections::VecDeque;

/// What the first of three stages may spend.
pub(crate) const ALPHA: f64 = 0.0045;
pub(crate) const STAGE_MS: u64 = 300_000;
const HOLD_MAX_MS: u64 = 60_000;

/// Requests that others count, so many per second on the canary.
pub(crate) fn counted(per_second: f64, ratio: f64, latencies: bool) -> Traffic {
    // At 50 requests per second a block is shorter than a second.
    let tick_ms = if per_second > 10.0 { 500 } else { 1000 };
    Traffic { per_second, ratio, tick_ms, stage_ms: STAGE_MS, latencies, probes: false }
}

/// Probes of the gate's own, as many on each arm.
pub(crate) fn probed(per_second: f64) -> Traffic {
    let tick_ms = (1000.0 / per_second) as u64;
    Traffic { per_second, ratio: 1.0, tick_ms, stage_ms: STAGE_MS, latencies: true, probes: true }
}

impl Traffic {
    pub(crate) fn name(&self) -> String {
        match self.probes {
            true => format!("probes, {}/s", self.per_second),
            false if self.ratio > 0.0 => format!("{}/s, 1 : {}", self.per_second, self.ratio),
            false => format!("{}/s, alone", self.per_second),
        }
    }

    pub(crate) fn settings(&self, alpha: f64, change: impl FnOnce(&mut Gate)) -> Settings {
        let mut gate = Gate {
            interval: Span::from_ms(self.tick_ms),
            hold_max: Span::from_ms(HOLD_MAX_MS),
            ..Gate::default()
        };
        change(&mut gate);
        let share = (!self.probes && self.ratio > 0.0).then(|| 1.0 / (1.0 + self.ratio));
        let rules = Statistics::new(&gate, alpha);
        let rules = rules.map(|rules| Statistics { counted: !self.probes, share, ..rules });
        Settings::new(&gate, Span::from_ms(self.stage_ms)).with(rules)
    }
}

/// What came of a stage.
pub(crate) struct Run {
    pub(crate) decision: Decision,
    pub(crate) seconds: Vec<Second>,
}

/// What is drawn, and what the judge goes by.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) class: Class,
    pub(crate) traffic: Traffic,
    pub(crate) settings: &'a Settings,
    pub(crate) certifies: bool,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(class: Class, traffic: Traffic, settings: &'a Settings) -> Self {
        Self { class, traffic, settings, certifies: false }
    }

    /// Up to the decision.
    pub(crate) fn decide(&self, seed: u64) -> Decision {
        self.drive(seed, None)
    }

    /// Up to the planned end, whenever the judge decides: others need the whole.
    pub(crate) fn whole(&self, seed: u64) -> Run {
        let mut seconds = vec![Second::default(); (self.traffic.stage_ms / 1000) as usize];
        let decision = self.drive(seed, Some(&mut seconds));
        Run { decision, seconds }
    }

    fn drive(&self, seed: u64, mut seconds: Option<&mut Vec<Second>>) -> Decision {
        let service: Name = "app".parse().unwrap_or_else(|_| unreachable!());
        let has_baseline = self.traffic.ratio > 0.0;
        let watched = [Watched { service: service.clone(), baseline: has_baseline }];
        let judge = Judge::new(self.settings.clone(), &watched);
        let mut judge = if self.certifies { judge } else { judge.without_certificate() };
        let mut stream = Stream::new(self.class, self.traffic, seed);
        // Thinning the baseline to the size that Kayenta asks for must not change what is drawn.
        let mut thinning = Random::new(!seed);
        let mut waiting: [VecDeque<Part>; 2] = Default::default();
        let mut decided = None;
        loop {
            let (t_ms, parts) = stream.next();
            for (arm, part) in parts.into_iter().enumerate() {
                let Some(part) = part else { continue };
                let second = seconds.as_mut().and_then(|all| all.get_mut(((t_ms - 1) / 1000) as usize));
                if let Some(second) = second {
                    second.add(arm, &part.counts, self.traffic.ratio, &mut thinning);
                }
                waiting[arm].push_back(part);
            }
            if decided.is_none() {
                let arms =
                    [(Arm::Canary, 0), (Arm::Baseline, 1)].into_iter().take(if has_baseline { 2 } else { 1 });
                let arms = arms.map(|(arm, at)| {
                    let due = waiting[at].iter().take_while(|part| part.arrives_ms <= t_ms).count();
                    let parts: Vec<Part> = waiting[at].drain(..due).collect();
                    self.arm(&service, arm, at, parts, &mut stream)
                });
                let tick = Tick { t_ms, arms: arms.collect() };
                decided = judge.feed(&tick);
            }
            if let Some(decision) = decided.take() {
                if seconds.is_none() || t_ms >= self.traffic.stage_ms {
                    return decision;
                }
                decided = Some(decision);
            }
        }
    }

    fn arm(&self, service: &Name, arm: Arm, at: usize, parts: Vec<Part>, stream: &mut Stream) -> ArmTick {
        let mut tick =
            ArmTick { service: service.clone(), arm, samples: Vec::new(), pending: 0, counts: Vec::new() };
        for Part { counts, .. } in parts {
            if self.traffic.probes {
                let kind = if counts.errors > 0 { Kind::ServerError } else { Kind::Ok };
                let sent_ms = counts.until_ms - self.traffic.tick_ms;
                let sample = Sample { kind, sent_ms, latency_ms: stream.probe_ms(at) };
                tick.samples.extend((counts.requests > 0).then_some(sample));
            } else {
                tick.counts.push(counts);
            }
        }
        tick
    }
}
