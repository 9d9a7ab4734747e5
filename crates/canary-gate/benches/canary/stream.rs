//! What a stage looks like: healthy classes, bad classes, and classes that nothing was tuned on.

use canary_gate::tick::{Counts, Latencies};
use kit_sequential::Random;

/// Healthy rate of failure.
pub(crate) const NOISE: f64 = 0.001;
/// Latency: lognormal with this median and spread, and one request in a hundred from a heavy tail.
const MEDIAN_MS: f64 = 80.0;
const SPREAD: f64 = 0.55;
const TAIL: f64 = 0.01;
const TAIL_FROM_MS: f64 = 300.0;
const BUCKETS: usize = 24;

/// What is special about a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Class {
    Healthy,
    /// Both arms fail 5 % and are twice as slow for half a minute.
    CommonMode,
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
    /// No requests at all.
    Silent,
    /// Both arms switch between 0.1 % and 3 % errors, every 20 s on average.
    Switching,
    /// Single instances pause for a second: the canary is one of them, the baseline is 19.
    Pauses,
    /// The canary fails at this rate from a part of the stage on.
    Errors {
        rate: f64,
        from: f64,
    },
    /// The same, for ten seconds of each minute.
    Bursts {
        rate: f64,
    },
    /// The canary is slower by this factor; all of it or the slowest tenth.
    Slow {
        factor: f64,
        tail_only: bool,
    },
    /// The canary gets none of its traffic.
    Starved,
}

/// Traffic of a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Requests per second of the canary.
    pub(crate) per_second: f64,
    /// Requests of the baseline per request of the canary.
    pub(crate) ratio: f64,
    pub(crate) tick_ms: u64,
    pub(crate) stage_ms: u64,
    /// Whether latencies are counted as well.
    pub(crate) latencies: bool,
}

/// One tick of one arm, and when it arrives.
pub(crate) struct Part {
    pub(crate) counts: Counts,
    pub(crate) arrives_ms: u64,
}

struct ArmState {
    carried: u64,
    load: f64,
    paused_until_ms: u64,
    missed: Counts,
    stalled_until_ms: u64,
}

/// Draws the ticks of one stage, canary and baseline side by side.
pub(crate) struct Stream {
    class: Class,
    traffic: Traffic,
    random: Random,
    arms: [ArmState; 2],
    common_load: f64,
    switched: bool,
    at_ms: u64,
}

impl Stream {
    pub(crate) fn new(class: Class, traffic: Traffic, seed: u64) -> Self {
        let arm = || ArmState {
            carried: 0,
            load: 0.0,
            paused_until_ms: 0,
            missed: Counts::default(),
            stalled_until_ms: 0,
        };
        let random = Random::new(seed);
        Self { class, traffic, random, arms: [arm(), arm()], common_load: 0.0, switched: false, at_ms: 0 }
    }

    /// The next tick.
    pub(crate) fn next(&mut self) -> (u64, [Option<Part>; 2]) {
        self.at_ms += self.traffic.tick_ms;
        let seconds = self.traffic.tick_ms as f64 / 1000.0;
        let keep = (-seconds / 30.0).exp();
        let fresh = (1.0 - keep * keep).sqrt();
        self.common_load = self.common_load * keep + 0.3 * fresh * self.random.normal();
        if self.random.chance(seconds / 20.0) {
            self.switched = !self.switched;
        }
        let mut parts = [None, None];
        for (arm, part) in parts.iter_mut().enumerate() {
            let state = &mut self.arms[arm];
            state.load = state.load * keep + 0.05 * fresh * self.random.normal();
            *part = self.part(arm);
        }
        (self.at_ms, parts)
    }

    fn part(&mut self, arm: usize) -> Option<Part> {
        let progress = self.at_ms as f64 / self.traffic.stage_ms as f64;
        let mut mean = self.traffic.per_second * self.traffic.tick_ms as f64 / 1000.0;
        mean *= if arm == 1 { self.traffic.ratio } else { 1.0 };
        match self.class {
            Class::Ramp => mean *= 1.0 + progress,
            Class::Silent => mean = 0.0,
            Class::Starved if arm == 0 => mean = 0.0,
            _ => {}
        }
        let requests = self.random.poisson(mean);
        let errors = self.errors(arm, requests, progress);
        let latencies = (self.traffic.latencies && requests > 0).then(|| self.latencies(arm, requests));
        let counts = Counts { until_ms: self.at_ms, requests, errors, latencies };
        if self.class == Class::Late {
            self.late(arm, counts)
        } else {
            Some(Part { arrives_ms: self.at_ms, counts })
        }
    }

    fn errors(&mut self, arm: usize, requests: u64, progress: f64) -> u64 {
        let second = self.at_ms / 1000;
        let rate = match self.class {
            Class::CommonMode if (0.4..0.5).contains(&progress) => 0.05,
            Class::Load => NOISE * self.common_load.exp(),
            Class::Ramp => NOISE * (1.0 + progress),
            Class::Switching if self.switched => 0.03,
            Class::Errors { rate, from } if arm == 0 && progress > from => rate,
            Class::Bursts { rate } if arm == 0 && second % 60 < 10 => rate,
            _ => NOISE,
        };
        let size = match self.class {
            Class::Clumps(size) => size,
            Class::MixedClumps => 3,
            _ => return self.random.binomial(requests, rate),
        };
        let mut errors = std::mem::take(&mut self.arms[arm].carried).min(requests);
        for _ in 0..self.random.binomial(requests, rate / size as f64) {
            let size =
                if self.class == Class::MixedClumps { 1 + self.random.geometric(1.0 / 3.0) } else { size };
            // A clump that begins late in a tick goes on in the next.
            let begins = (self.random.uniform() * requests as f64) as u64;
            let here = size.min(requests - begins);
            errors += here;
            self.arms[arm].carried += size - here;
        }
        errors.min(requests)
    }

    fn latencies(&mut self, arm: usize, requests: u64) -> Latencies {
        let t_s = self.at_ms as f64 / 1000.0;
        let progress = self.at_ms as f64 / self.traffic.stage_ms as f64;
        let (mut factor, mut tail_factor) = (1.0, 1.0);
        match self.class {
            Class::CommonMode if (0.4..0.5).contains(&progress) => factor = 2.0,
            Class::ColdCanary if arm == 0 => factor = 1.0 + 2.0 * (-t_s / 10.0).exp(),
            Class::Load => factor = (self.common_load + self.arms[arm].load).exp(),
            Class::Pauses => factor = self.pause(arm),
            Class::Slow { factor: slow, tail_only } if arm == 0 => {
                if tail_only {
                    tail_factor = slow;
                } else {
                    factor = slow;
                }
            }
            _ => {}
        }
        let upper_ms = edges();
        let mut counts = vec![0; BUCKETS];
        let (mut left, mut below) = (requests, 0.0);
        for (at, edge_ms) in upper_ms.iter().enumerate() {
            let share = cdf(edge_ms / factor, tail_factor);
            let drawn = self.random.binomial(left, ((share - below) / (1.0 - below)).clamp(0.0, 1.0));
            counts[at] = drawn;
            left -= drawn;
            below = share;
        }
        counts[BUCKETS - 1] = left;
        Latencies { upper_ms, counts }
    }

    /// How much slower requests are while an instance pauses; of the baseline one in 19 is concerned.
    fn pause(&mut self, arm: usize) -> f64 {
        let seconds = self.traffic.tick_ms as f64 / 1000.0;
        let instances = if arm == 0 { 1.0 } else { self.traffic.ratio };
        if self.random.chance(seconds / 60.0 * instances) {
            self.arms[arm].paused_until_ms = self.at_ms + 1000;
        }
        let paused = self.at_ms < self.arms[arm].paused_until_ms;
        match (paused, arm) {
            (false, _) => 1.0,
            (true, 0) => 5.0,
            (true, _) => 1.0 + 4.0 / instances,
        }
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
            state.missed = counts;
            return None;
        }
        if self.at_ms >= state.stalled_until_ms && self.random.chance(self.traffic.tick_ms as f64 / 60_000.0)
        {
            state.stalled_until_ms = self.at_ms + (self.random.uniform() * 60_000.0) as u64;
        }
        Some(Part { arrives_ms: self.at_ms.max(state.stalled_until_ms), counts })
    }
}

fn edges() -> Vec<f64> {
    (0..BUCKETS as i32 - 1).map(|at| 20.0 * 1.25_f64.powi(at)).collect()
}

/// P(latency ≤ x), with the slowest tenth slower by a factor.
fn cdf(x_ms: f64, tail_factor: f64) -> f64 {
    let plain = |x_ms: f64| {
        let tail = if x_ms > TAIL_FROM_MS { 1.0 - (TAIL_FROM_MS / x_ms).powi(2) } else { 0.0 };
        (1.0 - TAIL) * phi((x_ms / MEDIAN_MS).ln() / SPREAD) + TAIL * tail
    };
    let p = plain(x_ms);
    if tail_factor > 1.0 && p > 0.9 { plain(x_ms / tail_factor).max(0.9) } else { p }
}

/// The normal distribution (Abramowitz and Stegun 26.2.17; error below 1e-7).
fn phi(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly;
    if x >= 0.0 { 1.0 - upper } else { upper }
}
