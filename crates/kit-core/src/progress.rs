//! A line now and then about how far it is.

use crate::Context;
use std::time::Duration;

/// Longest silence while bytes are moved.
const EVERY: Duration = Duration::from_secs(5);

/// Counts bytes and says so at a sensible pace.
pub struct Progress {
    cx: Context,
    what: String,
    started: Duration,
    said: Duration,
    bytes: u64,
    /// All there is, where that is known.
    total_bytes: Option<u64>,
}

impl Progress {
    /// `what` is done from now on, for example `main: copying`.
    pub fn new(cx: &Context, what: String, total_bytes: Option<u64>) -> Self {
        let now = cx.clock.elapsed();
        Self { cx: cx.clone(), what, started: now, said: now, bytes: 0, total_bytes }
    }

    /// More was moved.
    pub fn advance(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let now = self.cx.clock.elapsed();
        if now.saturating_sub(self.said) < EVERY {
            return;
        }
        self.said = now;
        let took = now.saturating_sub(self.started);
        self.cx.out.say(&line(&self.what, self.bytes, self.total_bytes, took));
    }
}

fn line(what: &str, bytes: u64, total_bytes: Option<u64>, took: Duration) -> String {
    let of = total_bytes.map(|total| format!(" of {}", size_text(total))).unwrap_or_default();
    let per_second = (bytes as f64 / took.as_secs_f64().max(0.001)) as u64;
    format!("  {what}: {}{of}, {}/s", size_text(bytes), size_text(per_second))
}

/// A size for people, in powers of 1024.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 50, "3.0 PiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size_text(bytes), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_something_every_five_seconds_at_most() {
        let (cx, said) = Context::for_test(Env::default());
        let mut progress = Progress::new(&cx, "main: copying".to_owned(), Some(40 << 20));
        for _ in 0..12 {
            cx.clock.sleep(Duration::from_secs(1)).await;
            progress.advance(1 << 20);
        }
        assert_eq!(
            said.stderr(),
            "  main: copying: 5.0 MiB of 40.0 MiB, 1.0 MiB/s\n  main: copying: 10.0 MiB of 40.0 MiB, 1.0 MiB/s\n"
        );
    }
}
