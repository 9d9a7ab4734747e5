//! How far something is: a line that is rewritten for whoever watches a terminal, a line now and then in a log.

use crate::Context;
use crate::numbers::{size_text, span_text};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the line on a terminal is rewritten.
const REDRAW: Duration = Duration::from_millis(250);
/// Shortest and longest silence in a log. In between it grows with the time that all of it takes.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// Before that, nobody can tell from the beginning how long the rest takes.
const TOO_EARLY: Duration = Duration::from_secs(2);
/// When so long nothing moved, that is said, and nothing of how long it may take.
const STILL: Duration = Duration::from_secs(5);

/// Rows as they pass by, told by whoever reads along. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Rows(Arc<RowCounts>);

#[derive(Debug, Default)]
struct RowCounts {
    passed: AtomicU64,
    total: Mutex<Total>,
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    /// `None`: nobody has counted yet.
    counted: Option<u64>,
    others: Others,
}

/// Those that nobody counts.
#[derive(Clone, Copy, Debug, Default)]
enum Others {
    /// There are none.
    #[default]
    None,
    /// Nobody can tell yet.
    Unknown,
    About(u64),
}

impl Rows {
    /// So many have passed by now.
    pub fn passed(&self, rows: u64) {
        self.0.passed.store(rows, Relaxed);
    }

    /// How many have passed.
    pub fn so_far(&self) -> u64 {
        self.0.passed.load(Relaxed)
    }

    /// Nobody knows yet how many there are.
    pub fn uncounted(&self) {
        *self.of_all() = Total::default();
    }

    /// There are so many, beside those that are [estimated](Self::estimated).
    pub fn counted(&self, rows: u64) {
        self.of_all().counted = Some(rows);
    }

    /// There are others that are not counted: about so many, `None` as long as nobody can tell.
    pub fn estimated(&self, rows: Option<u64>) {
        self.of_all().others = rows.map_or(Others::Unknown, Others::About);
    }

    /// How many there are, once it is known of all of them, and whether that is an estimate.
    pub fn total(&self) -> Option<(u64, bool)> {
        let Total { counted, others } = *self.of_all();
        match others {
            Others::None => Some((counted?, false)),
            Others::Unknown => None,
            Others::About(rows) => Some((counted?.saturating_add(rows), true)),
        }
    }

    fn of_all(&self) -> std::sync::MutexGuard<'_, Total> {
        self.0.total.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts bytes, and says how far it is until it is dropped, also when nothing moves.
pub struct Progress {
    cx: Context,
    shared: Arc<Shared>,
    telling: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    /// True once nothing may be said any more.
    over: Mutex<bool>,
}

impl Progress {
    /// `what` is done from now on, for example `main: copying`. `total_bytes` is all there is, where that is known.
    /// To be called where tokio runs.
    pub fn new(cx: &Context, what: String, total_bytes: Option<u64>) -> Self {
        Self::with_rows(cx, what, total_bytes, None)
    }

    /// The same of something in which somebody counts rows.
    pub fn with_rows(cx: &Context, what: String, total_bytes: Option<u64>, rows: Option<Rows>) -> Self {
        let shared = Arc::new(Shared::default());
        if let Some(rows) = &rows {
            rows.passed(0);
        }
        let teller = Teller { cx: cx.clone(), what, total_bytes, rows, shared: Arc::clone(&shared) };
        Self { cx: cx.clone(), shared, telling: tokio::spawn(teller.tell()) }
    }

    /// More was moved.
    pub fn advance(&mut self, bytes: usize) {
        self.shared.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.telling.abort();
        let mut over = self.shared.over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = true;
        self.cx.out.clear_status();
    }
}

struct Teller {
    cx: Context,
    what: String,
    total_bytes: Option<u64>,
    rows: Option<Rows>,
    shared: Arc<Shared>,
}

impl Teller {
    async fn tell(self) {
        let (clock, out) = (self.cx.clock, &self.cx.out);
        let began = clock.elapsed();
        let (mut before, mut moved) = (0, began);
        loop {
            let took = clock.elapsed().saturating_sub(began);
            clock.sleep(if out.is_terminal() { REDRAW } else { pause(took) }).await;
            let now = clock.elapsed();
            let bytes = self.shared.bytes.load(Relaxed);
            if bytes != before {
                (before, moved) = (bytes, now);
            }
            let seen = Seen {
                bytes,
                total_bytes: self.total_bytes,
                rows: self.rows.as_ref().map(Rows::so_far).filter(|rows| *rows > 0),
                total_rows: self.rows.as_ref().and_then(Rows::total).filter(|(rows, _)| *rows > 0),
                took: now.saturating_sub(began),
                still: now.saturating_sub(moved),
            };
            // Held while it is said: what is over says nothing any more.
            let over = self.shared.over.lock().unwrap_or_else(PoisonError::into_inner);
            if *over {
                return;
            }
            let line = format!("  {}: {}", self.what, seen.text());
            if out.is_terminal() {
                out.status(&line);
            } else {
                out.say(&line);
            }
        }
    }
}

/// The next silence in a log: a tenth of what it took so far.
fn pause(took: Duration) -> Duration {
    (took / 10).clamp(SHORTEST, LONGEST)
}

/// Three digits, since whoever estimates knows no more.
fn rounded(count: u64) -> u64 {
    let unit = 10_u64.pow(count.checked_ilog10().unwrap_or_default().saturating_sub(2));
    count.saturating_add(unit / 2) / unit * unit
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    bytes: u64,
    total_bytes: Option<u64>,
    rows: Option<u64>,
    /// And whether that is an estimate.
    total_rows: Option<(u64, bool)>,
    /// Since it began.
    took: Duration,
    /// Since something was seen to move.
    still: Duration,
}

impl Seen {
    /// For example `1.2 GiB, 84310 of 330000 rows, 45.0 MiB/s, about 2 min left`.
    fn text(&self) -> String {
        let of = self.total_bytes.map(|total| format!(" of {}", size_text(total))).unwrap_or_default();
        let rows = match (self.rows, self.total_rows) {
            (None, _) => String::new(),
            (Some(rows), None) => format!(", {rows} rows"),
            (Some(rows), Some((total, false))) => format!(", {rows} of {total} rows"),
            (Some(rows), Some((total, true))) => format!(", {rows} of about {} rows", rounded(total)),
        };
        let per_second = (self.bytes as f64 / self.took.as_secs_f64().max(0.001)) as u64;
        let moved = format!("{}{of}{rows}", size_text(self.bytes));
        if self.still >= STILL {
            let all = self.total_bytes.is_some_and(|total| self.bytes >= total);
            let still = span_text(self.still);
            return if all {
                format!("{moved}, all of it {still} ago")
            } else {
                format!("{moved}, nothing new for {still}")
            };
        }
        let left = self.left().map(|left| format!(", about {} left", span_text(left))).unwrap_or_default();
        format!("{moved}, {}/s{left}", size_text(per_second))
    }

    /// How long the rest takes if it goes on as it went: by bytes where all of them are known, else by rows.
    fn left(&self) -> Option<Duration> {
        let bytes = self.total_bytes.map(|total| (self.bytes, total));
        let (done, all) = bytes.or_else(|| self.rows.zip(self.total_rows.map(|(total, _)| total)))?;
        if done == 0 || done >= all || self.took < TOO_EARLY {
            return None;
        }
        let left = Duration::try_from_secs_f64(self.took.as_secs_f64() * (all - done) as f64 / done as f64);
        left.ok().filter(|left| *left >= Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        let s = Duration::from_secs;
        let copying = Seen { bytes: 10 * MIB, took: s(10), ..Seen::default() };
        let of_all = Seen { total_bytes: Some(40 * MIB), ..copying };
        let rows = Seen { rows: Some(100), ..copying };
        let counted = Seen { total_rows: Some((1300, false)), ..rows };
        for (seen, expected) in [
            (copying, "10.0 MiB, 1.0 MiB/s"),
            (of_all, "10.0 MiB of 40.0 MiB, 1.0 MiB/s, about 30 s left"),
            (rows, "10.0 MiB, 100 rows, 1.0 MiB/s"),
            (counted, "10.0 MiB, 100 of 1300 rows, 1.0 MiB/s, about 2 min left"),
            // Bytes that are known tell more than rows, which are of many sizes.
            (
                Seen { total_bytes: Some(20 * MIB), ..counted },
                "10.0 MiB of 20.0 MiB, 100 of 1300 rows, 1.0 MiB/s, about 10 s left",
            ),
            (
                Seen { total_rows: Some((144_100, false)), ..rows },
                "10.0 MiB, 100 of 144100 rows, 1.0 MiB/s, about 4 h 0 min left",
            ),
            (
                Seen { total_rows: Some((129_960, true)), ..rows },
                "10.0 MiB, 100 of about 130000 rows, 1.0 MiB/s, about 3 h 36 min left",
            ),
            (Seen { took: s(1), ..of_all }, "10.0 MiB of 40.0 MiB, 10.0 MiB/s"),
            (Seen { total_bytes: Some(10 * MIB + MIB / 2), ..copying }, "10.0 MiB of 10.5 MiB, 1.0 MiB/s"),
            // Rows that came since they were counted leave nothing.
            (Seen { total_rows: Some((90, false)), ..rows }, "10.0 MiB, 100 of 90 rows, 1.0 MiB/s"),
            (Seen { still: s(7), ..of_all }, "10.0 MiB of 40.0 MiB, nothing new for 7 s"),
            (Seen { bytes: 40 * MIB, still: s(90), ..of_all }, "40.0 MiB of 40.0 MiB, all of it 1 min ago"),
            (Seen::default(), "0 B, 0 B/s"),
        ] {
            assert_eq!(seen.text(), expected);
        }
    }

    #[test]
    fn a_total_is_one_of_everything() {
        let rows = Rows::default();
        assert_eq!(rows.total(), None);
        rows.counted(7);
        assert_eq!(rows.total(), Some((7, false)));
        rows.estimated(None);
        assert_eq!(rows.total(), None, "there are others");
        rows.estimated(Some(100));
        assert_eq!(rows.total(), Some((107, true)));
        rows.uncounted();
        rows.estimated(Some(100));
        assert_eq!(rows.total(), None, "nobody has counted yet");
        rows.uncounted();
        rows.counted(0);
        assert_eq!(rows.total(), Some((0, false)));
    }

    #[test]
    fn an_estimate_has_three_digits() {
        let numbers = [0, 7, 999, 1004, 1005, 129_960, u64::MAX].map(rounded);
        assert_eq!(numbers, [0, 7, 999, 1000, 1010, 130_000, 18_400_000_000_000_000_000]);
    }

    #[test]
    fn a_log_of_hours_is_not_a_log_of_thousands_of_lines() {
        let mut took = Duration::ZERO;
        let mut lines = Vec::new();
        while took < Duration::from_secs(3600) {
            took += pause(took);
            lines.push(took.as_secs());
        }
        assert_eq!(lines[..4], [5, 10, 15, 20]);
        assert!((60..120).contains(&lines.len()), "{}", lines.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_gets_a_line_now_and_then_also_when_nothing_moves() {
        let (cx, said) = Context::for_test(Env::default());
        let mut progress = Progress::new(&cx, "main: copying".to_owned(), Some(40 << 20));
        cx.clock.sleep(Duration::from_millis(500)).await;
        for _ in 0..10 {
            progress.advance(1 << 20);
            cx.clock.sleep(Duration::from_secs(1)).await;
        }
        cx.clock.sleep(Duration::from_secs(10)).await;
        drop(progress);
        cx.clock.sleep(Duration::from_secs(60)).await;
        let expected = "  main: copying: 5.0 MiB of 40.0 MiB, 1.0 MiB/s, about 35 s left
  main: copying: 10.0 MiB of 40.0 MiB, 1.0 MiB/s, about 30 s left
  main: copying: 10.0 MiB of 40.0 MiB, nothing new for 5 s
  main: copying: 10.0 MiB of 40.0 MiB, nothing new for 10 s
";
        assert_eq!(said.stderr(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_has_one_line_that_is_rewritten_and_gone_at_the_end() {
        let (cx, said) = Context::for_test(Env::default());
        let cx = Context { out: said.on_a_terminal(), ..cx };
        let rows = Rows::default();
        let mut progress = Progress::with_rows(&cx, "main: copying".to_owned(), None, Some(rows.clone()));
        cx.clock.sleep(Duration::from_millis(300)).await;
        rows.passed(7);
        progress.advance(512);
        cx.clock.sleep(Duration::from_millis(250)).await;
        cx.out.say("somebody says something");
        cx.clock.sleep(Duration::from_millis(250)).await;
        drop(progress);
        cx.out.say("done");
        let expected = "\r\u{1b}[K  main: copying: 0 B, 0 B/s\r\u{1b}[K  main: copying: 512 B, 7 rows, 1.0 KiB/s\r\u{1b}[K\
                        somebody says something\n\r\u{1b}[K  main: copying: 512 B, 7 rows, 682 B/s\r\u{1b}[Kdone\n";
        assert_eq!(said.stderr(), expected);
    }
}
