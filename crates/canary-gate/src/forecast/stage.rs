//! One stage, worked out beforehand. Pure.

use crate::judge::{CLUMPS_PER_BLOCK, Settings, Statistics, compared_blocks, probe_blocks};
use crate::plan;
use kit_contract::Name;
use kit_contract::config::{Config, Gate, Stage};
use kit_sequential::{
    Boundary, OneArmTest, Scene, consecutive, detectable, detectable_alone, rate_above, upper_bound,
};
use serde::Serialize;

/// What is certified as detectable is detected with this probability.
const POWER: f64 = 0.9;
/// Error rates for which it is said how often a rule of the user's misses them.
const MISSED: [f64; 3] = [0.02, 0.05, 0.2];
/// A rate that would suffice is looked for up to so many times what there is.
const MOST_TIMES: f64 = 1024.0;
const HALVINGS: u32 = 5;

/// What is taken for granted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Assumed {
    /// Of a healthy version, 0 to 1.
    pub(crate) baseline_error_rate: f64,
    /// Of both arms, as others count them; `None`: the gate probes.
    pub(crate) requests_per_second: Option<f64>,
}

/// A rule that the user wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// Probability of rolling back a healthy release in this stage.
    pub(crate) false_rollback: f64,
    /// Error rate of the canary, and the probability that the rule does not see it.
    pub(crate) missed: Vec<(f64, f64)>,
}

/// What one stage could see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Forecast {
    pub(crate) stage: Name,
    pub(crate) duration_ms: u64,
    /// Per service: of the canary, and of the baseline.
    pub(crate) samples: u64,
    pub(crate) baseline_samples: u64,
    /// Probability that statistics blame a healthy canary of one service.
    pub(crate) alpha: Option<f64>,
    /// Smallest error rate that is seen with 90 % probability.
    pub(crate) detectable_error_rate: Option<f64>,
    pub(crate) asked_error_rate: Option<f64>,
    /// Requests per second of one canary that would make the asked rate visible.
    pub(crate) needed_per_second: Option<f64>,
    /// Upper 95 % bound on the error rate if not one sample fails.
    pub(crate) clean_bound: Option<f64>,
    /// Without a baseline: so many failed blocks, up to that block, are too many.
    pub(crate) limits: Vec<(u32, u32)>,
    pub(crate) probes_per_block: u32,
    pub(crate) rules: Vec<Rule>,
}

impl Forecast {
    pub(crate) fn of(stage: &Stage, gate: &Gate, config: &Config, assumed: &Assumed) -> Self {
        let settings = plan::settings(gate, stage.duration, config, &stage.name, config.services.len());
        let has_baseline = config.services.iter().all(|service| crate::plan::has_baseline(service, stage))
            && !config.services.is_empty();
        let scale = Scale::new(stage, &settings, assumed, has_baseline);
        let settings = scale.as_judged(&settings, stage.percent / 100.0);
        let statistics = settings.statistics.as_ref();
        let seen = statistics.and_then(|rules| scale.detectable(rules, assumed, 1.0));
        let asked = statistics.and_then(|rules| rules.detect_rate);
        let short = asked.is_some_and(|asked| seen.is_none_or(|seen| seen > asked));
        let limits = statistics.and_then(|rules| scale.limits(rules, 1.0));
        Self {
            stage: stage.name.clone(),
            duration_ms: settings.planned_ms,
            samples: scale.samples(),
            baseline_samples: (scale.baseline * scale.blocks as f64).round() as u64,
            alpha: statistics.map(|rules| rules.alpha),
            detectable_error_rate: seen,
            asked_error_rate: asked,
            needed_per_second: statistics
                .filter(|_| short)
                .and_then(|rules| scale.needed(rules, assumed, &settings)),
            clean_bound: upper_bound(0, scale.samples(), 0.95),
            limits: limits.map(|limits| limits.steps()).unwrap_or_default(),
            probes_per_block: scale.size,
            rules: rules(&settings, scale.samples(), assumed.baseline_error_rate),
        }
    }

    /// True if the stage cannot see what is asked of it.
    pub(crate) fn is_too_weak(&self) -> bool {
        let seen = self.detectable_error_rate;
        self.asked_error_rate.is_some_and(|asked| seen.is_none_or(|seen| seen > asked))
    }
}

/// How much a stage gets to see.
struct Scale {
    blocks: u64,
    /// Requests per block, on average.
    canary: f64,
    baseline: f64,
    /// Probes per block.
    size: u32,
    counted: bool,
}

impl Scale {
    fn new(stage: &Stage, settings: &Settings, assumed: &Assumed, has_baseline: bool) -> Self {
        let clump = settings.statistics.as_ref().map_or(1, |rules| rules.clump);
        if let Some(rate) = assumed.requests_per_second {
            // One block per second at least, or as many as there are clumps' worth of requests.
            let canary = rate * stage.percent / 100.0;
            let per_second = (canary / f64::from(clump * CLUMPS_PER_BLOCK)).max(1.0);
            let blocks = (settings.planned_ms as f64 / 1000.0 * per_second).round().max(1.0);
            let baseline = rate * (1.0 - stage.percent / 100.0) / per_second;
            return Self {
                blocks: blocks as u64,
                canary: canary / per_second,
                baseline,
                size: 1,
                counted: true,
            };
        }
        let (blocks, size) =
            if has_baseline { compared_blocks(settings, clump) } else { probe_blocks(settings, clump) };
        let canary = f64::from(size);
        let baseline = if has_baseline { canary } else { 0.0 };
        Self { blocks: u64::from(blocks), canary, baseline, size, counted: false }
    }

    /// The settings for requests that are counted, if they are, of which the canary gets this share.
    fn as_judged(&self, settings: &Settings, share: f64) -> Settings {
        let counted = self.counted;
        let share = Some(share).filter(|_| counted && self.baseline > 0.0);
        let rules = settings.statistics.clone().map(|rules| Statistics { counted, share, ..rules });
        settings.clone().with(rules)
    }

    fn samples(&self) -> u64 {
        (self.canary * self.blocks as f64).round() as u64
    }

    /// The exact limits of probes without a baseline, at `times` the rate.
    fn limits(&self, rules: &Statistics, times: f64) -> Option<Boundary> {
        if self.counted || self.baseline > 0.0 {
            return None;
        }
        let blocks = u32::try_from((self.blocks as f64 * times) as u64).unwrap_or(u32::MAX);
        Some(Boundary::for_blocks(blocks, self.size, rules.tolerated_rate, rules.alpha))
    }

    /// The smallest rate that is seen, at `times` the number of requests.
    fn detectable(&self, rules: &Statistics, assumed: &Assumed, times: f64) -> Option<f64> {
        if let Some(limits) = self.limits(rules, times) {
            let rate = limits.detectable(POWER)?;
            return Some(1.0 - (1.0 - rate).powf(1.0 / f64::from(self.size)));
        }
        let blocks = (self.blocks as f64 * times) as u64;
        if self.baseline <= 0.0 {
            let mut test = OneArmTest::new(rules.tolerated_rate);
            test.start(crate::judge::FIRST);
            return detectable_alone(&test, rules.alpha, blocks, self.canary, rules.clump, POWER);
        }
        let scene = Scene {
            settings: rules.rate_settings(),
            blocks,
            requests: self.canary,
            baseline_requests: self.baseline,
            baseline_rate: assumed.baseline_error_rate,
            baseline_failures: None,
            arrivals: rules.arrivals(),
            first: crate::judge::FIRST,
        };
        detectable(&scene, POWER)
    }

    /// Requests per second of the canary that would do; `None` if even many times as many would not.
    fn needed(&self, rules: &Statistics, assumed: &Assumed, settings: &Settings) -> Option<f64> {
        let asked = rules.detect_rate?;
        let enough = |times: f64| self.detectable(rules, assumed, times).is_some_and(|seen| seen <= asked);
        let mut high = 2.0;
        while !enough(high) {
            high *= 2.0;
            if high > MOST_TIMES {
                return None;
            }
        }
        let mut low = high / 2.0;
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if enough(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(self.samples() as f64 * high / (settings.planned_ms as f64 / 1000.0))
    }
}

/// What the limits of the user cost and miss, if every sample is looked at on its own.
fn rules(settings: &Settings, samples: u64, noise: f64) -> Vec<Rule> {
    // Beyond this many samples the exact sum takes too long; more of them only make a rule worse.
    let n = u32::try_from(samples).unwrap_or(u32::MAX).min(20_000);
    let rule = |name: String, crossing: &dyn Fn(f64) -> f64| Rule {
        name,
        false_rollback: crossing(noise),
        missed: MISSED.iter().map(|rate| (*rate, 1.0 - crossing(*rate))).collect(),
    };
    let mut rules = Vec::new();
    let clump = settings.statistics.as_ref().map_or(1, |rules| u64::from(rules.clump));
    if let Some(row) = settings.row_of(clump) {
        let in_a_row = u32::try_from(row).unwrap_or(u32::MAX);
        rules.push(rule(format!("{in_a_row} failures in a row"), &|rate| consecutive(in_a_row, n, rate)));
    }
    if let Some(percent) = settings.max_error_percent {
        let least = u32::try_from(settings.least()).unwrap_or(u32::MAX);
        let name = format!("more than {percent} % failed of at least {least}");
        rules.push(rule(name, &|rate| rate_above(percent / 100.0, least, n, rate)));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(services: &str, gate: &str) -> Config {
        let stages = "[[stages]]\nname = \"canary\"\npercent = 5\nduration = \"5m\"\n[[stages]]\nname = \"full\"\npercent = 100\nduration = \"15m\"\n";
        let text = format!("app = \"shop\"\n{stages}[gate]\n{gate}{services}");
        Config::parse(&text, &"production".parse().unwrap()).unwrap()
    }

    const PAIR: &str = "[[services]]\nname = \"api\"\nprobe.canary.url = \"http://a/\"\nprobe.baseline.url = \"http://b/\"\n";
    const ALONE: &str = "[[services]]\nname = \"api\"\nprobe.canary.url = \"http://a/\"\n";

    fn forecast(config: &Config, rate: Option<f64>) -> Forecast {
        let assumed = Assumed { baseline_error_rate: 0.001, requests_per_second: rate };
        Forecast::of(&config.stages[0], &config.gate, config, &assumed)
    }

    #[test]
    fn thirty_probes_cannot_certify_and_a_rule_of_thumb_has_its_price() {
        let slow = forecast(&config(ALONE, "interval = \"10s\"\ndetect_error_percent = 5\n"), None);
        assert_eq!((slow.samples, slow.baseline_samples), (30, 0));
        assert!((slow.clean_bound.unwrap() - 0.095).abs() < 0.001);
        assert!(slow.is_too_weak(), "{slow:?}");
        assert!(slow.needed_per_second.unwrap() > 0.3, "{slow:?}");
        assert!(!slow.limits.is_empty());

        let strict = forecast(&config(PAIR, "consecutive_failures = 1\nmax_error_percent = 5\n"), None);
        assert_eq!((strict.samples, strict.baseline_samples), (300, 300));
        let any = &strict.rules[0];
        assert!((any.false_rollback - (1.0 - 0.999_f64.powi(300))).abs() < 1e-9, "{any:?}");
        assert_eq!(strict.rules.len(), 2);
        assert!(!strict.is_too_weak(), "nothing was asked");
    }

    #[test]
    fn requests_of_users_see_more_than_probes() {
        let config = config(PAIR, "detect_error_percent = 2\n");
        let (probed, counted) = (forecast(&config, None), forecast(&config, Some(100.0)));
        assert_eq!((counted.samples, counted.baseline_samples), (1500, 28_500));
        let (probed_rate, counted_rate) =
            (probed.detectable_error_rate.unwrap(), counted.detectable_error_rate.unwrap());
        assert!(counted_rate < 0.012 && probed_rate > 0.03, "{counted_rate} {probed_rate}");
        assert!(!counted.is_too_weak() && probed.is_too_weak());
        let needed = probed.needed_per_second.unwrap();
        assert!(needed > 1.5 && needed < 20.0, "{needed}");
    }
}
