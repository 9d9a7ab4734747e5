//! Who gets the next request.

use serde::{Deserialize, Serialize};

/// One of the two sides of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arm {
    Stable,
    Canary,
}

impl Arm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

/// Smooth weighted round robin over two arms: exactly `percent` of every hundred requests in a row, evenly
/// spread. With two arms it comes down to one counter.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// In hundredths of a request that the canary is owed.
    credit: u16,
}

impl Default for Split {
    /// Half a request ahead: the first canary request comes in the middle of its interval, not at the end.
    fn default() -> Self {
        Self { credit: 50 }
    }
}

impl Split {
    /// `percent` is at most 100.
    pub(super) fn next(&mut self, percent: u8) -> Arm {
        self.credit += u16::from(percent);
        if self.credit < 100 {
            return Arm::Stable;
        }
        self.credit -= 100;
        Arm::Canary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries(split: &mut Split, percent: u8, requests: usize) -> usize {
        (0..requests).filter(|_| split.next(percent) == Arm::Canary).count()
    }

    #[test]
    fn every_hundred_in_a_row_is_exact() {
        for percent in 0..=100 {
            let mut split = Split::default();
            for offset in [0, 1, 33] {
                canaries(&mut split, percent, offset);
                assert_eq!(
                    canaries(&mut split, percent, 100),
                    usize::from(percent),
                    "{percent} % at {offset}"
                );
            }
        }
    }

    #[test]
    fn the_canary_is_spread_evenly() {
        let mut split = Split::default();
        let at: Vec<usize> = (0..60).filter(|_| split.next(5) == Arm::Canary).collect();
        assert_eq!(at, [9, 29, 49]);
    }
}
