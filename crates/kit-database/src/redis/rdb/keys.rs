//! The keys of one database, summed up. Pure.
//!
//! Keys go when their time has come, in the source, in what is restored, and while both are read. So those that have a
//! time are kept apart by the second, and two sums are compared as of one and the same moment.

use crate::rows::{Partial, RowDigest};
use std::collections::BTreeMap;

/// How far ahead seconds are told apart. A restore and its comparison take less.
const AHEAD_S: u64 = 24 * 60 * 60;

/// When a key goes: milliseconds since 1970.
pub(in crate::redis) type ExpiresMs = Option<u64>;

/// What of a database is there, and until when.
#[derive(Clone, Debug, Default)]
pub(in crate::redis) struct Keys {
    /// Seconds since 1970 from which `by_second` counts.
    since_s: u64,
    /// Gone by then.
    gone: RowDigest,
    /// By the second before whose end they go.
    by_second: BTreeMap<u64, RowDigest>,
    /// Going later, or never.
    rest: RowDigest,
}

impl Keys {
    /// None yet.
    pub(in crate::redis) fn since(now_ms: u64) -> Self {
        Self { since_s: now_ms / 1000, ..Self::default() }
    }

    pub(super) fn add(&mut self, key: &Partial, expires: ExpiresMs) {
        let second = expires.map(|expires| expires / 1000);
        let of = match second {
            Some(second) if second < self.since_s => &mut self.gone,
            Some(second) if second < self.since_s + AHEAD_S => self.by_second.entry(second).or_default(),
            _ => &mut self.rest,
        };
        of.finished(key);
    }

    /// All of them.
    pub(in crate::redis) fn all(&self) -> RowDigest {
        let mut all = self.until(u64::MAX);
        all.join(&self.rest);
        all
    }

    /// Those that go before the end of this second.
    fn until(&self, second: u64) -> RowDigest {
        let mut sum = RowDigest::default();
        sum.join(&self.gone);
        self.by_second.range(..=second).for_each(|(_, keys)| sum.join(keys));
        sum
    }

    /// All of `self`, if those are taken from `source` whose time was over by the end of this second: they are not to be
    /// found any more, and need not be. Gives how many these are, too. `None`: too much time has passed.
    pub(in crate::redis) fn with_what_went(&self, source: &Self, second: u64) -> Option<(RowDigest, u64)> {
        let within = second < source.since_s + AHEAD_S && second < self.since_s + AHEAD_S;
        within.then(|| {
            let mut all = source.until(second);
            let went = all.rows();
            self.by_second.range(second + 1..).for_each(|(_, keys)| all.join(keys));
            all.join(&self.rest);
            (all, went)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(now_ms: u64, keys: &[(&str, ExpiresMs)]) -> Keys {
        let mut all = Keys::since(now_ms);
        for (name, expires) in keys {
            let mut partial = Partial::default();
            partial.take(format!("{name} {expires:?}").as_bytes());
            all.add(&partial, *expires);
        }
        all
    }

    #[test]
    fn what_went_meanwhile_is_no_difference_and_everything_else_is() {
        const LATER: u64 = 90_000_000;
        let everything =
            [("a", None), ("b", Some(1)), ("c", Some(10_500)), ("d", Some(20_000)), ("e", Some(LATER))];
        let source = keys(5000, &everything);
        assert_eq!(source.all().rows(), 5);
        // Read between second 9 and second 12: b was never restored, c may have gone or not.
        let with_c = keys(9000, &[("a", None), ("c", Some(10_500)), ("d", Some(20_000)), ("e", Some(LATER))]);
        let without_c = keys(9000, &[("a", None), ("d", Some(20_000)), ("e", Some(LATER))]);
        for found in [&with_c, &without_c] {
            let (sum, went) = found.with_what_went(&source, 12).unwrap();
            assert_eq!((sum.sha256(), went), (source.all().sha256(), 2));
        }
        // Lost before its time, another time, a stranger.
        for other in [
            keys(9000, &[("a", None), ("e", Some(LATER))]),
            keys(9000, &[("a", None), ("d", Some(21_000)), ("e", Some(LATER))]),
            keys(9000, &[("a", None), ("d", Some(20_000)), ("e", None), ("x", None)]),
        ] {
            let (sum, _) = other.with_what_went(&source, 12).unwrap();
            assert_ne!(sum.sha256(), source.all().sha256(), "{other:?}");
        }
        assert!(without_c.with_what_went(&source, 5 + AHEAD_S).is_none());
    }
}
