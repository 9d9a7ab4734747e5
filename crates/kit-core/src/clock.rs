//! Time. Everything that reads a clock or waits goes through here, so that tests need not wait.

use jiff::Timestamp;
use std::time::Duration;

/// The time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", limit.as_millis())]
pub struct Elapsed {
    /// How long was waited.
    pub limit: Duration,
}

/// The clock of a step.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
    /// Wall-clock time at `origin`, for simulated clocks; `None` reads the machine's clock.
    base: Option<Timestamp>,
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock and waits")]
impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { origin: tokio::time::Instant::now(), base: None }
    }

    /// A clock that starts at `base` and follows tokio's time. Under `#[tokio::test(start_paused =
    /// true)]` that time moves only when every task waits, so tests with long waits take none.
    pub fn simulated(base: Timestamp) -> Self {
        Self { origin: tokio::time::Instant::now(), base: Some(base) }
    }

    /// Wall-clock time.
    pub fn now(&self) -> Timestamp {
        match self.base {
            None => Timestamp::now(),
            Some(base) => base.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }

    /// Time since the program started; never goes backwards.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Time since the program started, in whole milliseconds.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until [`Clock::elapsed`] reaches `since_start`; for schedules that must not drift.
    pub async fn sleep_until(&self, since_start: Duration) {
        tokio::time::sleep_until(self.origin + since_start).await;
    }

    /// Runs `work` for at most `limit`.
    ///
    /// # Errors
    /// [`Elapsed`] if it took longer; the work is dropped.
    pub async fn timeout<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        tokio::time::timeout(limit, work).await.map_err(|_| Elapsed { limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_time_costs_no_time_and_moves_the_wall_clock() {
        let base: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::simulated(base);
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
        let late = clock.timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(late, Err(Elapsed { limit: Duration::from_secs(1) }));
    }
}
