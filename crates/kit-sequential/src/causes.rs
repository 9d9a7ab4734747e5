//! How many causes do failures have?

use crate::rate::TwoArms;

/// Fewer companions per failure than this are no sign of clumps.
const FEWEST_COMPANIONS: f64 = 0.5;
/// Three standard errors of the companions per failure times the root of the number of blocks: under a
/// Poisson law of mean `λ` a block's term has the variance `15 λ²`.
const NOISE: f64 = 12.0;
/// Clumps up to so many times the mean size are expected.
const SIZES: f64 = 2.0;
/// A clump that is cut by the edge of a block goes on for at most so many blocks.
const GOES_ON: u64 = 2;
/// So many failures and not one success: a block that one cause has covered from edge to edge.
const LEAST_SOLID: u64 = 3;
/// A cause that covers a whole block covers so many usual clumps.
const SOLID_CLUMPS: u64 = 2;

/// Counts the causes of the canary's failures, never more than there are failures.
///
/// Up to `clump` failures of a block have one cause. Whether clumps are larger, or go on from block to
/// block, is learned from the baseline, which has more of them. With `y_t` its failures in block `t`, the
/// companions of its failures are estimated by
///
/// ```text
/// Σ_t [ y_t (y_t - 1) + 2 y_t y_{t-1} - 3 y_t y_{t-3} ]
/// ```
///
/// which is 0 on average for independent failures, also if their rate changes within tens of blocks, since
/// the last term cancels what neighbours have in common. Once it is clearly above 0, a cause of the
/// canary's covers twice the mean number of failures, and goes on for two more blocks.
///
/// Before anything is learned, only a block without any success is suspected of being the middle of a
/// clump: it and its neighbours have one cause, up to two usual clumps, if it is no larger itself. (A canary that only fails is found by
/// the length of the row.)
///
/// Whatever is learned, the count is at most the number of failures, so a ratio that grows with it stays an
/// e-process for independent failures.
#[derive(Clone, Debug)]
pub(crate) struct Causes {
    usual: u64,
    before: [u64; 3],
    blocks: u64,
    failures: u64,
    companions: f64,
    /// Failures that a cause of an earlier block still covers, and blocks since then.
    covered: u64,
    since: u64,
    was_solid: bool,
}

impl Causes {
    pub(crate) fn new(clump: u32) -> Self {
        Self {
            usual: u64::from(clump.max(1)),
            before: [0; 3],
            blocks: 0,
            failures: 0,
            companions: 0.0,
            covered: 0,
            since: 0,
            was_solid: false,
        }
    }

    /// Takes `blocks` blocks in which nothing failed.
    pub(crate) fn pass(&mut self, blocks: u64) {
        self.blocks += blocks;
        self.since = self.since.saturating_add(blocks);
        self.was_solid &= blocks == 0;
        match blocks {
            0 => {}
            1 => self.before = [0, self.before[0], self.before[1]],
            2 => self.before = [0, 0, self.before[0]],
            _ => self.before = [0; 3],
        }
    }

    /// Takes the baseline's failures of a block.
    fn learn(&mut self, failures: u64) {
        let y = failures as f64;
        let [last, _, third] = self.before.map(|failures| failures as f64);
        self.companions += y * (y - 1.0) + 2.0 * y * last - 3.0 * y * third;
        self.failures += failures;
        self.pass(1);
        self.before[0] = failures;
    }

    /// How many failures one cause covers: the usual number, or more if the baseline shows it.
    pub(crate) fn size(&self) -> u64 {
        self.learned().map_or(self.usual, |size| size.max(self.usual))
    }

    fn learned(&self) -> Option<u64> {
        let companions = self.companions / self.failures.max(1) as f64;
        let least = FEWEST_COMPANIONS.max(NOISE / (self.blocks.max(1) as f64).sqrt());
        (companions >= least).then(|| (SIZES * (1.0 + companions)).ceil() as u64)
    }

    /// Takes the failures of both arms in a block, and gives the number of causes of the canary's.
    pub(crate) fn of(&mut self, block: TwoArms) -> u64 {
        let was_solid = self.was_solid;
        self.learn(block.baseline_errors);
        let size = self.size();
        let most = SOLID_CLUMPS * self.usual;
        self.was_solid = (LEAST_SOLID..=most).contains(&block.errors) && block.errors >= block.requests;
        let goes_on = self.learned().is_some() || self.was_solid || was_solid;
        if !goes_on || self.since > GOES_ON {
            self.covered = 0;
        }
        let left = block.errors.saturating_sub(self.covered);
        self.covered -= block.errors - left;
        let causes = left.div_ceil(size);
        if causes > 0 {
            self.covered = causes * size.max(most) - left;
            self.since = 0;
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn learned_from(rate_at: impl Fn(u64) -> f64, clump: u64, random: &mut Random) -> u64 {
        let mut causes = Causes::new(5);
        for block in 0..300 {
            let rate = rate_at(block);
            causes.learn(clump * random.binomial(95, rate / clump as f64));
        }
        causes.size()
    }

    #[test]
    fn clumps_are_learned_and_changing_rates_are_not_mistaken_for_them() {
        let mut random = Random::new(1);
        let (mut seen, mut mistaken) = (0, 0);
        for _ in 0..200 {
            seen += u32::from(learned_from(|_| 0.001, 8, &mut random) > 10);
            for rate in [0.001, 0.01] {
                mistaken += u32::from(learned_from(|_| rate, 1, &mut random) != 5);
            }
            let slow = |block: u64| 0.002 * (1.0 + (block as f64 / 50.0).sin());
            mistaken += u32::from(learned_from(slow, 1, &mut random) != 5);
        }
        assert!(seen >= 180, "clumps of 8 are seen in {seen} of 200 stages");
        assert!(mistaken <= 30, "{mistaken} of 600 stages without clumps are taken for clumped");
    }

    fn clumped() -> Causes {
        let mut causes = Causes::new(5);
        for _ in 0..10 {
            causes.learn(8);
            causes.pass(40);
        }
        assert_eq!(causes.size(), 16);
        causes
    }

    fn counted<const N: usize>(causes: &mut Causes, failures: [u64; N]) -> [u64; N] {
        failures.map(|errors| causes.of(TwoArms { errors, requests: 5, ..TwoArms::default() }))
    }

    #[test]
    fn a_clump_that_is_cut_counts_once_and_the_next_one_again() {
        let mut causes = clumped();
        assert_eq!(counted(&mut causes, [3, 5, 0, 0, 0, 4, 0, 4]), [1, 0, 0, 0, 0, 1, 0, 0]);
        causes.pass(3);
        assert_eq!(causes.of(TwoArms { errors: 17, requests: 40, ..TwoArms::default() }), 2);
    }

    #[test]
    fn without_clumps_in_the_baseline_each_block_counts_for_itself() {
        let mut causes = Causes::new(5);
        assert_eq!(counted(&mut causes, [1, 4, 1, 2, 0, 3]), [1, 1, 1, 1, 0, 1]);
        let of = |errors| TwoArms { errors, requests: 20, ..TwoArms::default() };
        assert_eq!([6, 11, 20, 20].map(|errors| causes.of(of(errors))), [2, 3, 4, 4]);
    }

    #[test]
    fn a_row_without_a_success_is_one_cause_up_to_two_clumps() {
        let mut causes = Causes::new(5);
        assert_eq!(counted(&mut causes, [1, 5, 2, 0, 1, 5, 3, 3]), [1, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!(counted(&mut Causes::new(5), [5; 6]), [1, 0, 1, 0, 1, 0]);
    }
}
