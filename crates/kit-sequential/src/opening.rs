//! The first few failures of a stage.

use crate::binomial::upper_tail;

/// Fewer failures of the canary than this never suffice.
const FEWEST: u64 = 3;
/// With more than this it is no quicker than other tests.
const WORTHWHILE: u64 = 6;
/// It is over after so many failures.
const MOST: u64 = 64;

/// So many of the first failures are too many: `few` of the first `of` come with at most the probability
/// `spent` as long as each is the canary's with at most the probability that it was worked out for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    few: u64,
    of: u64,
    spent: f64,
    /// The largest probability that was met.
    most_theta: f64,
    won: bool,
}

impl Opening {
    /// The smallest number of failures that leaves room for one of the baseline. `None` if that is too large to
    /// be worth it.
    pub(crate) fn new(theta: f64, spent: f64) -> Option<Self> {
        let few = (FEWEST..=WORTHWHILE).find(|few| upper_tail(*few, few + 1, theta) <= spent)?;
        let mut of = few + 1;
        while of < MOST && upper_tail(few, of + 1, theta) <= spent {
            of += 1;
        }
        Some(Self { few, of, spent, most_theta: theta, won: false })
    }

    /// True once: if so many of all failures so far are the canary's, each of the latest block with the
    /// probability `theta`. While no larger one than what `few` and `of` allow was met, all that is counted by
    /// then has at most that probability, so no later one can undo the bound.
    pub(crate) fn wins(&mut self, canary: u64, failures: u64, theta: f64) -> bool {
        self.most_theta = self.most_theta.max(theta);
        let wins = self.is_open(failures)
            && canary >= self.few
            && upper_tail(self.few, self.of, self.most_theta) <= self.spent;
        self.won |= wins;
        wins
    }

    /// True if it may still be won.
    pub(crate) fn is_open(&self, failures: u64) -> bool {
        !self.won && failures <= self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The opening alone over all sequences of failures dealt at random: at most what it may spend.
    #[test]
    fn the_opening_spends_what_it_may() {
        for (share, spent) in [(0.05, 0.0008), (0.01, 0.0008), (0.2, 0.002)] {
            let theta = 1.2 * share / (1.2 * share + 1.0 - share);
            let opening = Opening::new(theta, spent).unwrap();
            let mut running = vec![1.0_f64];
            let mut won = 0.0;
            for _ in 0..opening.of {
                let mut next = vec![0.0; running.len() + 1];
                for (canary, p) in running.iter().enumerate() {
                    next[canary] += p * (1.0 - theta);
                    next[canary + 1] += p * theta;
                }
                won += next.split_off(next.len().min(opening.few as usize)).iter().sum::<f64>();
                running = next;
            }
            assert!(won <= spent, "{share}: {won}");
            assert!(won > 0.2 * spent, "{share}: {won} is far less than what it may spend");
            assert!(opening.of > opening.few);
        }
    }

    #[test]
    fn a_canary_with_half_of_the_requests_has_none() {
        assert!(Opening::new(0.5, 0.0008).is_none());
        assert!(Opening::new(0.0, 0.0).is_some());
    }

    #[test]
    fn it_is_won_once_and_not_by_those_who_get_more_than_they_should() {
        let theta = 0.06;
        let mut opening = Opening::new(theta, 0.0009).unwrap();
        assert!(!opening.wins(2, 3, theta));
        assert!(opening.wins(3, 4, theta));
        assert!(!opening.wins(3, 4, theta));
        assert!(!Opening::new(theta, 0.0009).unwrap().wins(3, 5, theta), "too many failures of the baseline");
        assert!(!Opening::new(theta, 0.0009).unwrap().wins(3, 4, 2.0 * theta));
    }
}
