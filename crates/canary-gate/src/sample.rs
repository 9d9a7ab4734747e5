//! Probes of all arms side by side, on a schedule that does not drift.

use crate::tick::{Arm, ArmTick, Kind, Sample, Tick, to_us};
use kit_contract::{Name, Reason};
use kit_core::{Clock, ResultExt as _, StepError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Asks one arm once.
pub(crate) trait Ask: Send {
    /// What came of it and how long that took, in ms; `None` if nothing is known. Ends by itself.
    fn ask(&self, arm: usize) -> impl Future<Output = Option<(Kind, f64)>> + Send + 'static;
}

struct State {
    service: Name,
    arm: Arm,
    pending: u64,
    samples: Vec<Sample>,
}

struct Ended {
    arm: usize,
    sent_ms: u64,
    outcome: Option<(Kind, f64)>,
}

/// Sends the probes of a stage. What is under way when this is dropped is given up.
pub(crate) struct Sampler<A> {
    ask: A,
    clock: Clock,
    began: Duration,
    interval: Duration,
    timeout: Duration,
    /// Rounds of which the time has come.
    round: u32,
    most_pending: u64,
    arms: Vec<State>,
    running: JoinSet<Ended>,
}

impl<A: Ask> Sampler<A> {
    /// The stage begins now.
    pub(crate) fn new(
        ask: A,
        clock: Clock,
        arms: Vec<(Name, Arm)>,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        let most_pending = timeout.as_millis().div_ceil(interval.as_millis().max(1)) + 1;
        let state = |(service, arm)| State { service, arm, pending: 0, samples: Vec::new() };
        Self {
            ask,
            clock,
            began: clock.elapsed(),
            interval,
            timeout,
            round: 0,
            most_pending: u64::try_from(most_pending).unwrap_or(u64::MAX),
            arms: arms.into_iter().map(state).collect(),
            running: JoinSet::new(),
        }
    }

    /// Time since the stage began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.began)
    }

    /// One round: sends a probe to every arm, if `send`, and waits for the next round. Gives what
    /// came in meanwhile, of whichever round.
    ///
    /// # Errors
    /// If a probe hit a bug.
    pub(crate) async fn round(&mut self, send: bool) -> Result<Tick, StepError> {
        if send {
            self.send();
        }
        // Rounds that were missed stay missed: a burst of probes would measure itself.
        let due = self.now().as_nanos() / self.interval.as_nanos().max(1) + 1;
        self.round = u32::try_from(due).unwrap_or(u32::MAX).max(self.round.saturating_add(1));
        self.clock.sleep_until(self.began + self.interval.saturating_mul(self.round)).await;
        self.collect()?;
        Ok(self.tick())
    }

    fn send(&mut self) {
        let sent_ms = self.now_ms();
        for (arm, state) in self.arms.iter_mut().enumerate() {
            if state.pending >= self.most_pending {
                // Those under way are older than the timeout: this runner does not keep up.
                let latency_ms = to_us(self.timeout.as_secs_f64() * 1000.0);
                state.samples.push(Sample { kind: Kind::Timeout, sent_ms, latency_ms });
                continue;
            }
            state.pending += 1;
            let asking = self.ask.ask(arm);
            self.running.spawn(async move { Ended { arm, sent_ms, outcome: asking.await } });
        }
    }

    fn collect(&mut self) -> Result<(), StepError> {
        while let Some(ended) = self.running.try_join_next() {
            let Ended { arm, sent_ms, outcome } =
                ended.or_reason(Reason::InternalError, "a probe hit a bug")?;
            let Some(state) = self.arms.get_mut(arm) else { continue };
            state.pending = state.pending.saturating_sub(1);
            if let Some((kind, latency_ms)) = outcome {
                state.samples.push(Sample { kind, sent_ms, latency_ms: to_us(latency_ms) });
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Tick {
        let t_ms = self.now_ms();
        let take = |state: &mut State| ArmTick {
            service: state.service.clone(),
            arm: state.arm,
            samples: std::mem::take(&mut state.samples),
            pending: state.pending,
            counts: Vec::new(),
        };
        Tick { t_ms, arms: self.arms.iter_mut().map(take).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    /// Takes so long, whoever asks; the canary fails.
    struct Fake(Clock, Duration);

    impl Ask for Fake {
        fn ask(&self, arm: usize) -> impl Future<Output = Option<(Kind, f64)>> + Send + 'static {
            let (clock, takes) = (self.0, self.1);
            async move {
                clock.sleep(takes).await;
                Some((if arm == 0 { Kind::ServerError } else { Kind::Ok }, takes.as_secs_f64() * 1000.0))
            }
        }
    }

    fn sampler(takes_ms: u64, timeout_ms: u64) -> Sampler<Fake> {
        let clock = Clock::simulated(Timestamp::UNIX_EPOCH);
        let service: Name = "api".parse().unwrap();
        let arms = vec![(service.clone(), Arm::Canary), (service, Arm::Baseline)];
        let (interval, timeout) = (Duration::from_millis(100), Duration::from_millis(timeout_ms));
        Sampler::new(Fake(clock, Duration::from_millis(takes_ms)), clock, arms, interval, timeout)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_probe_delays_no_round_and_its_answer_keeps_its_time() {
        let mut sampler = sampler(250, 1000);
        let mut sent = Vec::new();
        for round in 1..=10_u64 {
            let tick = sampler.round(round <= 5).await.unwrap();
            assert_eq!(tick.t_ms, round * 100);
            assert_eq!(tick.arms.len(), 2);
            for sample in &tick.arms[1].samples {
                assert_eq!((sample.kind, sample.latency_ms), (Kind::Ok, 250.0));
                sent.push(sample.sent_ms);
            }
            assert_eq!(tick.arms[0].samples.len(), tick.arms[1].samples.len());
        }
        assert_eq!(sent, [0, 100, 200, 300, 400]);
        let last = sampler.round(false).await.unwrap();
        assert_eq!(last.arms.iter().map(|arm| arm.pending).sum::<u64>(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_that_never_end_are_bounded_and_count_as_unanswered() {
        let mut sampler = sampler(1_000_000, 250);
        let mut unanswered = 0;
        for round in 1..=10 {
            let tick = sampler.round(true).await.unwrap();
            unanswered += tick.arms[0].samples.len();
            assert!(tick.arms[0].samples.iter().all(|sample| sample.kind == Kind::Timeout));
            assert_eq!(tick.arms[0].pending, 4.min(round));
        }
        assert_eq!(unanswered, 6, "ceil(250 / 100) + 1 = 4 of 10 are under way");
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_were_missed_stay_missed() {
        let mut sampler = sampler(10, 1000);
        sampler.round(true).await.unwrap();
        sampler.clock.sleep(Duration::from_millis(450)).await;
        let tick = sampler.round(true).await.unwrap();
        assert_eq!(tick.t_ms, 600);
        assert_eq!(tick.arms[1].samples.len(), 1);
    }
}
