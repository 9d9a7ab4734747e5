//! When each check is tried: all side by side, each again and again until it passes or the one shared
//! deadline is over. Knows nothing of HTTP.

use futures_util::future::join_all;
use kit_contract::body::SmokeAttempt;
use kit_core::Clock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// So many tries are under way at once: a burst of checks must not become the load that fails them.
const AT_ONCE: usize = 16;
/// So many tries of one check are kept.
const KEPT: usize = 20;

/// The times that hold for all checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// All must have passed within this.
    pub(crate) within: Duration,
    /// Pause between two tries of one check.
    pub(crate) interval: Duration,
    /// How long one try may take.
    pub(crate) timeout: Duration,
}

/// What one try came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tried {
    pub(crate) latency_ms: Option<f64>,
    pub(crate) status: Option<u16>,
    /// `None` if all was well.
    pub(crate) problem: Option<String>,
    pub(crate) reached: bool,
}

/// How far one check is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Track {
    pub(crate) attempts: VecDeque<SmokeAttempt>,
    pub(crate) total: u32,
    pub(crate) reached: bool,
    pub(crate) passed: bool,
}

impl Track {
    fn add(&mut self, after_ms: u64, tried: Tried) {
        self.total = self.total.saturating_add(1);
        self.reached |= tried.reached;
        self.passed = tried.problem.is_none();
        if self.attempts.len() == KEPT {
            self.attempts.pop_front();
        }
        let Tried { latency_ms, status, problem, reached } = tried;
        self.attempts.push_back(SmokeAttempt { after_ms, latency_ms, status, problem, reached });
    }
}

/// How far all checks are. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Board(Arc<Mutex<Vec<Track>>>);

impl Board {
    /// A board for so many checks, none of them tried.
    pub(crate) fn new(checks: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![Track::default(); checks])))
    }

    /// As it is now.
    pub(crate) fn tracks(&self) -> Vec<Track> {
        match self.0.lock() {
            Ok(tracks) => tracks.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    fn add(&self, index: usize, after_ms: u64, tried: Tried) {
        if let Ok(mut tracks) = self.0.lock()
            && let Some(track) = tracks.get_mut(index)
        {
            track.add(after_ms, tried);
        }
    }
}

/// Tries all checks. `ask` tries the check of an index for at most the given time; `on_try` is called
/// after each try, when the board holds it.
pub(crate) async fn run<F: Future<Output = Tried>>(
    clock: Clock,
    times: Times,
    board: &Board,
    ask: impl Fn(usize, Duration) -> F,
    on_try: impl Fn(usize),
) {
    let started = clock.elapsed();
    let turns = Semaphore::new(AT_ONCE);
    let left = || times.within.saturating_sub(clock.elapsed().saturating_sub(started));
    let until_passed = async |index: usize| {
        loop {
            let Ok(Ok(turn)) = clock.timeout(left(), turns.acquire()).await else { return };
            let limit = left().min(times.timeout);
            if limit.is_zero() {
                return;
            }
            let after = clock.elapsed().saturating_sub(started);
            let tried = ask(index, limit).await;
            drop(turn);
            let passed = tried.problem.is_none();
            board.add(index, u64::try_from(after.as_millis()).unwrap_or(u64::MAX), tried);
            on_try(index);
            // A try that could not begin in time is not waited for.
            if passed || left() <= times.interval {
                return;
            }
            clock.sleep(times.interval).await;
        }
    };
    let checks = board.tracks().len();
    join_all((0..checks).map(until_passed)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn clock() -> Clock {
        Clock::simulated("2026-01-01T00:00:00Z".parse().unwrap())
    }

    const TIMES: Times = Times {
        within: Duration::from_secs(60),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
    };

    fn bad() -> Tried {
        Tried { problem: Some("status 503".into()), reached: true, ..Tried::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_passes_at_once_is_tried_once() {
        let board = Board::new(2);
        let clock = clock();
        run(clock, TIMES, &board, async |_, _| Tried { reached: true, ..Tried::default() }, |_| {}).await;
        let tracks = board.tracks();
        assert!(tracks.iter().all(|track| track.passed && track.reached && track.total == 1));
        assert_eq!(clock.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_tried_until_it_passes_and_no_longer() {
        let board = Board::new(3);
        let clock = clock();
        let tries = [const { AtomicUsize::new(0) }; 3];
        let ask = async |index: usize, _| {
            let before = tries[index].fetch_add(1, SeqCst);
            if before < index * 2 { bad() } else { Tried { reached: true, ..Tried::default() } }
        };
        run(clock, TIMES, &board, ask, |_| {}).await;
        let totals: Vec<u32> = board.tracks().iter().map(|track| track.total).collect();
        assert_eq!(totals, [1, 3, 5]);
        assert_eq!(clock.elapsed(), Duration::from_secs(8), "the slowest settles it");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_passes_ends_at_the_deadline() {
        let board = Board::new(1);
        let clock = clock();
        run(clock, TIMES, &board, async |_, _| bad(), |_| {}).await;
        let track = board.tracks().remove(0);
        assert!(!track.passed && track.reached);
        assert_eq!(track.total, 30, "at 0 s, 2 s, … 58 s");
        assert_eq!(track.attempts.len(), KEPT);
        assert_eq!(track.attempts.back().unwrap().after_ms, 58_000);
        assert!(clock.elapsed() <= TIMES.within);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_try_gets_only_what_is_left() {
        let board = Board::new(1);
        let clock = clock();
        let limits = Mutex::new(Vec::new());
        let ask = async |_, limit: Duration| {
            limits.lock().unwrap().push(limit.as_secs());
            clock.sleep(limit).await;
            Tried { problem: Some("time".into()), ..Tried::default() }
        };
        run(clock, Times { within: Duration::from_secs(17), ..TIMES }, &board, ask, |_| {}).await;
        assert_eq!(*limits.lock().unwrap(), [5, 5, 3]);
        assert_eq!(clock.elapsed(), Duration::from_secs(17));
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_and_take_turns() {
        let board = Board::new(50);
        let clock = clock();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let ask = async |_, limit: Duration| {
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            clock.sleep(limit).await;
            now.fetch_sub(1, SeqCst);
            Tried { problem: Some("time".into()), ..Tried::default() }
        };
        run(clock, TIMES, &board, ask, |_| {}).await;
        assert_eq!(most.load(SeqCst), AT_ONCE);
        let tracks = board.tracks();
        assert!(tracks.iter().all(|track| track.total >= 3), "nobody waits for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn the_board_is_up_to_date_after_each_try() {
        let board = Board::new(1);
        let seen = Mutex::new(Vec::new());
        let times = Times { within: Duration::from_secs(5), ..TIMES };
        run(
            clock(),
            times,
            &board,
            async |_, _| bad(),
            |index| {
                seen.lock().unwrap().push(board.tracks()[index].total);
            },
        )
        .await;
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    }
}
