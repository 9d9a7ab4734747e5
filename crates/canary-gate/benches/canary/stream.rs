//! What a stage looks like: healthy classes, bad classes, and classes that nothing was tuned on.

use crate::shape::{self, BUCKETS, Drawer, Slower};
use canary_gate::tick::{Counts, Latencies};
use kit_sequential::Random;

/// Healthy rate of failure.
pub(crate) const NOISE: f64 = 0.001;
/// No clump of failures lasts longer, however few requests come; those of the classes that nothing was tuned on
/// last twice as long.
const CLUMP_MOST_MS: u64 = 1000;

/// What is special about a stage. Times are parts of its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Class {
    Healthy,
    /// Both arms fail at this rate and are twice as slow, for a time.
    Outage {
        rate: f64,
        from: f64,
        to: f64,
    },
    /// The canary is three times as slow at first, and warms up within seconds.
    ColdCanary,
    /// Failures come in clumps of so many.
    Clumps(u64),
    /// Sizes of clumps vary, 3 on average.
    MixedClumps,
    /// Load with a memory of half a minute: 30 % common to both arms, 5 % of each arm alone.
    Load,
    /// Requests and failures of both arms double in the course of the stage.
    Ramp,
    /// Three ticks in ten are missing on each arm, and feeds stall for up to a minute.
    Late,
    /// No requests at all from a part of the stage on.
    Silent {
        from: f64,
    },
    /// Both arms switch between 0.1 % and 3 % errors, every 20 s on average.
    Switching,
    /// Both arms draw another rate of failure every 10 s, with a heavy tail.
    Restless,
    /// Single instances pause for a second: the canary is one of them, the baseline is 19.
    Pauses,
    /// Single instances fail 30 % for 2 s, every 10 minutes on average.
    Blips,
    /// The canary fails at this rate from a part of the stage on.
    Errors {
        rate: f64,
        from: f64,
    },
    /// The same, for ten seconds of each minute.
    Bursts {
        rate: f64,
    },
    /// Failures of both arms come in clumps of four, and the canary fails at this rate.
    ClumpedErrors {
        rate: f64,
    },
    /// The canary is slower by this factor from a part of the stage on; all of it or the slowest tenth.
    Slow {
        factor: f64,
        tail_only: bool,
        from: f64,
    },
    /// The canary gets this part of its traffic.
    Starved {
        part: f64,
    },
}

/// Traffic of a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Requests per second of the canary.
    pub(crate) per_second: f64,
    /// Requests of the baseline per request of the canary; 0: there is no baseline.
    pub(crate) ratio: f64,
    pub(crate) tick_ms: u64,
    pub(crate) stage_ms: u64,
    /// Whether latencies are counted as well.
    pub(crate) latencies: bool,
    /// The gate sends the requests itself, one per tick to each arm.
    pub(crate) probes: bool,
}

/// One tick of one arm, and when it arrives.
pub(crate) struct Part {
    pub(crate) counts: Counts,
    pub(crate) arrives_ms: u64,
}

#[derive(Default)]
struct ArmState {
    /// What is left of a clump, and when it is over.
    carried: u64,
    carried_until_ms: u64,
    load: f64,
    ill_until_ms: u64,
    missed: Counts,
    stalled_until_ms: u64,
    requests: Poisson,
    drawer: Option<Drawer>,
}

/// Draws the ticks of one stage, canary and baseline side by side.
pub(crate) struct Stream {
    class: Class,
    traffic: Traffic,
    random: Random,
    arms: [ArmState; 2],
    common_load: f64,
    switched: bool,
    restless: f64,
    at_ms: u64,
}

impl Stream {
    pub(crate) fn new(class: Class, traffic: Traffic, seed: u64) -> Self {
        let mean = traffic.per_second * traffic.tick_ms as f64 / 1000.0;
        let arm = |mean: f64| ArmState { requests: Poisson::new(mean), ..ArmState::default() };
        Self {
            class,
            traffic,
            random: Random::new(seed),
            arms: [arm(mean), arm(mean * traffic.ratio)],
            common_load: 0.0,
            switched: false,
            restless: NOISE,
            at_ms: 0,
        }
    }

    /// The next tick.
    pub(crate) fn next(&mut self) -> (u64, [Option<Part>; 2]) {
        let restless_for = self.at_ms / 10_000;
        self.at_ms += self.traffic.tick_ms;
        let seconds = self.traffic.tick_ms as f64 / 1000.0;
        let keep = (-seconds / 30.0).exp();
        let fresh = (1.0 - keep * keep).sqrt();
        match self.class {
            Class::Load => {
                self.common_load = self.common_load * keep + 0.3 * fresh * self.random.normal();
                for arm in &mut self.arms {
                    arm.load = arm.load * keep + 0.05 * fresh * self.random.normal();
                }
            }
            Class::Switching if self.random.chance(seconds / 20.0) => self.switched = !self.switched,
            Class::Restless if self.at_ms / 10_000 > restless_for => {
                self.restless = (NOISE * (1.5 * self.random.normal()).exp()).min(0.3);
            }
            _ => {}
        }
        (self.at_ms, [self.part(0), self.part(1)])
    }

    fn progress(&self) -> f64 {
        self.at_ms as f64 / self.traffic.stage_ms as f64
    }

    fn part(&mut self, arm: usize) -> Option<Part> {
        let progress = self.progress();
        let drawn = |state: &ArmState, random: &mut Random| state.requests.draw(random);
        let requests = match self.class {
            Class::Silent { from } if progress > from => 0,
            _ if self.traffic.probes => 1,
            Class::Ramp => {
                let more = drawn(&self.arms[arm], &mut self.random);
                drawn(&self.arms[arm], &mut self.random) + self.random.binomial(more, progress.min(1.0))
            }
            Class::Starved { part } if arm == 0 => {
                let all = drawn(&self.arms[arm], &mut self.random);
                self.random.binomial(all, part)
            }
            _ => drawn(&self.arms[arm], &mut self.random),
        };
        let errors = self.errors(arm, requests);
        let latencies = (self.traffic.latencies && requests > 0).then(|| self.latencies(arm, requests));
        let counts = Counts { until_ms: self.at_ms, requests, errors, latencies };
        if self.class == Class::Late {
            self.late(arm, counts)
        } else {
            Some(Part { arrives_ms: self.at_ms, counts })
        }
    }

    fn errors(&mut self, arm: usize, requests: u64) -> u64 {
        let (progress, second) = (self.progress(), self.at_ms / 1000);
        let rate = match self.class {
            Class::Outage { rate, from, to } if progress > from && progress <= to => rate,
            Class::Load => NOISE * self.common_load.exp(),
            Class::Ramp => NOISE * (1.0 + progress),
            Class::Switching if self.switched => 0.03,
            Class::Restless => self.restless,
            Class::Blips => NOISE + 0.3 * self.ill_share(arm, 600.0, 2000),
            Class::Errors { rate, from } if arm == 0 && progress > from => rate,
            Class::Bursts { rate } if arm == 0 && second % 60 < 10 => rate,
            Class::ClumpedErrors { rate } if arm == 0 => rate,
            _ => NOISE,
        };
        match self.class {
            Class::Clumps(size) => self.clumps(arm, requests, rate, size),
            Class::ClumpedErrors { .. } => self.clumps(arm, requests, rate, 4),
            Class::MixedClumps => self.clumps(arm, requests, rate, 3),
            _ => self.random.binomial(requests, rate),
        }
    }

    fn clumps(&mut self, arm: usize, requests: u64, rate: f64, mean: u64) -> u64 {
        let state = &mut self.arms[arm];
        let carried = std::mem::take(&mut state.carried);
        let mut errors = if self.at_ms <= state.carried_until_ms { carried.min(requests) } else { 0 };
        state.carried = if self.at_ms < state.carried_until_ms { carried - errors.min(carried) } else { 0 };
        for _ in 0..self.random.binomial(requests, rate / mean as f64) {
            let size = if self.class == Class::MixedClumps {
                1 + self.random.geometric(1.0 / mean as f64)
            } else {
                mean
            };
            // A clump that begins late in a tick goes on in the next.
            let begins = (self.random.uniform() * requests as f64) as u64;
            let here = size.min(requests - begins);
            errors += here;
            self.arms[arm].carried += size - here;
            let untuned = size > 4 || self.class == Class::MixedClumps;
            self.arms[arm].carried_until_ms = self.at_ms + CLUMP_MOST_MS * if untuned { 2 } else { 1 };
        }
        errors.min(requests)
    }

    /// The share of an arm's instances that are ill: each for `lasts_ms`, every `every_s` on average.
    fn ill_share(&mut self, arm: usize, every_s: f64, lasts_ms: u64) -> f64 {
        let seconds = self.traffic.tick_ms as f64 / 1000.0;
        let instances = if arm == 0 { 1.0 } else { self.traffic.ratio.max(1.0) };
        if self.random.chance(seconds / every_s * instances) {
            self.arms[arm].ill_until_ms = self.at_ms + lasts_ms;
        }
        if self.at_ms < self.arms[arm].ill_until_ms { 1.0 / instances } else { 0.0 }
    }

    fn slower(&mut self, arm: usize) -> Slower {
        let progress = self.progress();
        let all = match self.class {
            Class::Outage { from, to, .. } if progress > from && progress <= to => 2.0,
            Class::ColdCanary if arm == 0 => 1.0 + 2.0 * (-(self.at_ms as f64) / 10_000.0).exp(),
            Class::Load => (self.common_load + self.arms[arm].load).exp(),
            Class::Pauses => 1.0 + 4.0 * self.ill_share(arm, 60.0, 1000),
            Class::Slow { factor, tail_only: false, from } if arm == 0 && progress > from => factor,
            _ => 1.0,
        };
        let tail = match self.class {
            Class::Slow { factor, tail_only: true, from } if arm == 0 && progress > from => factor,
            _ => 1.0,
        };
        Slower::by(all, tail)
    }

    fn latencies(&mut self, arm: usize, requests: u64) -> Latencies {
        let slower = self.slower(arm);
        let drawer = &mut self.arms[arm].drawer;
        let drawer = match drawer {
            Some(drawer) if drawer.draws(slower) => drawer,
            _ => drawer.insert(Drawer::new(slower)),
        };
        let mut counts = vec![0; BUCKETS];
        for _ in 0..requests {
            counts[drawer.bucket(&mut self.random)] += 1;
        }
        Latencies { upper_ms: shape::edges().to_vec(), counts }
    }

    /// How long a probe takes.
    pub(crate) fn probe_ms(&mut self, arm: usize) -> f64 {
        let slower = self.slower(arm);
        shape::ln_ms(&mut self.random, slower).exp()
    }

    /// Counters go on while nobody reads them: what was missed comes with what is read next.
    fn late(&mut self, arm: usize, counts: Counts) -> Option<Part> {
        let state = &mut self.arms[arm];
        let missed = std::mem::take(&mut state.missed);
        let mut counts = counts;
        counts.requests += missed.requests;
        counts.errors += missed.errors;
        if let (Some(sum), Some(more)) = (&mut counts.latencies, &missed.latencies) {
            sum.counts.iter_mut().zip(&more.counts).for_each(|(sum, more)| *sum += more);
        } else {
            counts.latencies = counts.latencies.or(missed.latencies);
        }
        if self.random.chance(0.3) {
            // A probe that is not sent is not sent later.
            state.missed = if self.traffic.probes { Counts::default() } else { counts };
            return None;
        }
        if self.at_ms >= state.stalled_until_ms && self.random.chance(self.traffic.tick_ms as f64 / 60_000.0)
        {
            state.stalled_until_ms = self.at_ms + (self.random.uniform() * 60_000.0) as u64;
        }
        Some(Part { arrives_ms: self.at_ms.max(state.stalled_until_ms), counts })
    }
}

/// Numbers of requests of a fixed mean, by the table.
#[derive(Default)]
struct Poisson {
    cumulated: Vec<f64>,
}

impl Poisson {
    fn new(mean: f64) -> Self {
        let most = (mean + 12.0 * mean.sqrt() + 12.0) as usize;
        let (mut cumulated, mut sum, mut ln) = (Vec::new(), 0.0, -mean);
        for k in 0..=most {
            sum += ln.exp();
            cumulated.push(sum);
            ln += (mean / (k as f64 + 1.0)).ln();
        }
        Self { cumulated }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let u = random.uniform();
        self.cumulated.partition_point(|below| *below < u) as u64
    }
}
