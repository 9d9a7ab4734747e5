//! What rules about a sliding window cost: simulated, for independent samples of one arm.

use crate::random::Random;
use std::collections::VecDeque;

/// "More than `limit` of the samples of the last `window_s` seconds have failed, for `lasting_s` seconds",
/// looked at once per second, from the first whole window on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowRule {
    /// Share of failures, 0 to 1.
    pub limit: f64,
    /// Length of the window in seconds; at least 1.
    pub window_s: u32,
    /// How long it must be so, in seconds.
    pub lasting_s: u32,
    /// Length of the stage in seconds.
    pub stage_s: u32,
}

impl WindowRule {
    /// True if the stage is long enough for the rule to hold at all.
    pub fn can_hold(&self) -> bool {
        self.window_s.max(1).saturating_add(self.lasting_s) <= self.stage_s
    }

    /// The probability that it holds at some time, if `per_second` samples come, each failing with
    /// probability `rate`: the share of `runs` simulated stages, the same for the same arguments.
    pub fn holds(&self, per_second: f64, rate: f64, runs: u32) -> f64 {
        if !self.can_hold() {
            return 0.0;
        }
        let mut random = Random::new(0x7769_6E64);
        let held = (0..runs).filter(|_| self.run(per_second, rate, &mut random)).count();
        held as f64 / f64::from(runs.max(1))
    }

    fn run(&self, per_second: f64, rate: f64, random: &mut Random) -> bool {
        let window = self.window_s.max(1);
        let mut seen: VecDeque<(u64, u64)> = VecDeque::with_capacity(window as usize);
        let (mut samples, mut failures, mut since) = (0_u64, 0_u64, None);
        for second in 1..=self.stage_s {
            // Samples come evenly: probes do, and of many requests the number hardly matters.
            let n = (per_second * f64::from(second)) as u64 - (per_second * f64::from(second - 1)) as u64;
            let failed = random.binomial(n, rate);
            seen.push_back((n, failed));
            (samples, failures) = (samples + n, failures + failed);
            if seen.len() > window as usize
                && let Some((n, failed)) = seen.pop_front()
            {
                (samples, failures) = (samples - n, failures - failed);
            }
            if second < window {
                continue;
            }
            if failures as f64 > self.limit * samples as f64 {
                if second - *since.get_or_insert(second) >= self.lasting_s {
                    return true;
                }
            } else {
                since = None;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binomial::upper_tail;
    use crate::classical::consecutive;

    const RUNS: u32 = 20_000;

    fn close(found: f64, exact: f64) {
        let error = (exact * (1.0 - exact) / f64::from(RUNS)).sqrt();
        assert!((found - exact).abs() <= 5.0 * error + 1e-9, "{found}, exactly {exact}");
    }

    #[test]
    fn a_window_as_long_as_the_stage_is_a_binomial_tail() {
        let rule = WindowRule { limit: 0.05, window_s: 60, lasting_s: 0, stage_s: 60 };
        for rate in [0.01, 0.05, 0.2] {
            // 300 samples: more than 15 failures.
            close(rule.holds(5.0, rate, RUNS), upper_tail(16, 300, rate));
        }
    }

    #[test]
    fn a_window_of_one_probe_that_lasts_is_a_row() {
        let rule = WindowRule { limit: 0.0, window_s: 1, lasting_s: 2, stage_s: 90 };
        close(rule.holds(1.0, 0.2, RUNS), consecutive(3, 90, 0.2));
    }

    #[test]
    fn a_rule_that_is_longer_than_the_stage_never_holds() {
        let rule = WindowRule { limit: 0.05, window_s: 60, lasting_s: 300, stage_s: 300 };
        assert!(!rule.can_hold());
        assert_eq!(rule.holds(5.0, 1.0, 10), 0.0);
        let just = WindowRule { stage_s: 360, ..rule };
        assert_eq!(just.holds(5.0, 1.0, 10), 1.0);
    }

    #[test]
    fn no_sample_is_no_failure() {
        let rule = WindowRule { limit: 0.0, window_s: 10, lasting_s: 0, stage_s: 60 };
        assert_eq!(rule.holds(0.0, 1.0, 10), 0.0);
    }
}
