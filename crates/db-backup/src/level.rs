//! How hard to compress. Pure, but for one look at the machine.
//!
//! Members of a gzip file are independent, so each may have its own level. Harder costs nothing as long as
//! the dump is the bottleneck and there are cores with nothing to do; as soon as the dump has to wait for
//! the compression, or would have to share its core with it, it is given back.

use std::path::Path;

/// That of `kit-deflate`; those above are levels of libdeflate. Rows get about as small as by `gzip -6`, prose a fifth
/// larger.
pub(crate) const FASTEST: u8 = 1;
/// Beyond this, size hardly falls and time doubles.
const HARDEST: u8 = 6;
/// Members between two decisions: 16 MiB of the dump.
pub(crate) const WINDOW: u32 = 32;
/// In percent.
const IDLE_ENOUGH: u64 = 30;

/// What was seen over one window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// How often no other member was being compressed when the next one came.
    pub(crate) empty: u32,
    /// How often the dump had to wait.
    pub(crate) full: u32,
    /// Cores that had nothing to do, in percent of all; `None` where nobody can say.
    pub(crate) idle_percent: Option<u64>,
}

/// The level for the next window.
pub(crate) fn next(level: u8, seen: Seen) -> u8 {
    if seen.full > WINDOW / 8 {
        return level.saturating_sub(1).max(FASTEST);
    }
    let waits_for_dump = seen.empty > WINDOW / 4 * 3;
    match seen.idle_percent {
        Some(idle) if waits_for_dump && idle >= IDLE_ENOUGH => level.saturating_add(1).min(HARDEST),
        // Somebody else needs the cores by now.
        Some(idle) if idle < IDLE_ENOUGH / 3 => level.saturating_sub(1).max(FASTEST),
        _ => level,
    }
}

/// How much time the machine's cores have had in all, and with nothing to do, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    /// As the kernel counts them (proc_stat(5)); `None` where there is no such file.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&kit_core::fs::read_text(Path::new("/proc/stat"), 1 << 20).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
        // idle and iowait are the fourth and the fifth.
        Some(Self { all: ticks.iter().sum(), idle: ticks.get(3)? + ticks.get(4)? })
    }

    /// Percent of the time since `before` in which cores had nothing to do.
    pub(crate) fn idle_percent_since(self, before: Self) -> Option<u64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.idle.saturating_sub(before.idle) * 100 / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harder_only_where_it_costs_nothing() {
        let seen = |empty, full, idle_percent| Seen { empty, full, idle_percent };
        for (level, seen, expected, why) in [
            (1, seen(32, 0, Some(80)), 2, "a slow network: idle cores"),
            (6, seen(32, 0, Some(80)), 6, "no harder than this"),
            (1, seen(32, 0, Some(20)), 1, "the dump needs the cores itself"),
            (1, seen(32, 0, None), 1, "nobody can say"),
            (1, seen(10, 0, Some(80)), 1, "there is always something to compress"),
            (4, seen(0, 32, Some(0)), 3, "the dump waits"),
            (1, seen(0, 32, Some(0)), 1, "no faster than this"),
            (3, seen(32, 0, Some(5)), 2, "somebody took the cores"),
            (3, seen(32, 0, Some(15)), 3, "neither"),
        ] {
            assert_eq!(next(level, seen), expected, "{why}");
        }
    }

    #[test]
    fn ticks_of_the_kernel() {
        let before = Ticks::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4").unwrap();
        let after = Ticks::parse("cpu  150 0 50 840 60 0 0 0 0 0\n").unwrap();
        assert_eq!(after.idle_percent_since(before), Some(50));
        assert_eq!(before.idle_percent_since(before), None);
        assert_eq!(Ticks::parse("intr 1"), None);
        assert!(Ticks::now().is_some() || !cfg!(target_os = "linux"));
    }
}
