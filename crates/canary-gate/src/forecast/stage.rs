//! One stage, worked out beforehand. Pure.

use super::rules::{Rule, Seen, rules};
use crate::judge::{CLUMPS_PER_BLOCK, Settings, Statistics, compared_blocks, probe_blocks};
use crate::plan;
use kit_contract::Name;
use kit_contract::config::{Config, Gate, Span, Stage};
use kit_sequential::{Boundary, OneArmTest, Scene, detectable, detectable_alone, upper_bound};
use serde::Serialize;

/// What is certified as detectable is detected with this probability.
const POWER: f64 = 0.9;
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
    /// Median and 95th percentile of a healthy version; `None`: not known.
    pub(crate) latency: Option<(Span, Span)>,
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
            rules: rules(gate, &settings, stage, assumed, scale.seen(&settings)),
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

    fn seen(&self, settings: &Settings) -> Seen {
        let per_second = self.samples() as f64 * 1000.0 / settings.planned_ms.max(1) as f64;
        Seen { samples: self.samples(), per_second, has_baseline: self.baseline > 0.0 }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::config::RuleAction;

    fn config(services: &str, gate: &str) -> Config {
        let stages = "[[stages]]\nname = \"canary\"\npercent = 5\nduration = \"5m\"\n[[stages]]\nname = \"full\"\npercent = 100\nduration = \"15m\"\n";
        let text = format!("app = \"shop\"\n{stages}[gate]\n{gate}{services}");
        Config::parse(&text, &"production".parse().unwrap()).unwrap()
    }

    const PAIR: &str = "[[services]]\nname = \"api\"\nprobe.canary.url = \"http://a/\"\nprobe.baseline.url = \"http://b/\"\n";
    const ALONE: &str = "[[services]]\nname = \"api\"\nprobe.canary.url = \"http://a/\"\n";

    fn forecast(config: &Config, rate: Option<f64>) -> Forecast {
        let assumed = Assumed { baseline_error_rate: 0.001, requests_per_second: rate, latency: None };
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
        assert!((any.false_alarm.unwrap() - (1.0 - 0.999_f64.powi(300))).abs() < 1e-9, "{any:?}");
        assert_eq!(strict.rules.len(), 2);
        assert!(!strict.is_too_weak(), "nothing was asked");
    }

    /// The rules of a procedure that somebody has on paper, as they stand there.
    #[test]
    fn rules_have_their_price() {
        let rules = "[[gate.rules]]\nname = \"error-rate\"\nerror_percent_above = 5\nfor = \"5m\"\n\
                     [[gate.rules]]\nname = \"errors\"\nerror_percent_above = 5\nwindow = \"10s\"\n\
                     [[gate.rules]]\nname = \"latency\"\np95_above = \"1000ms\"\nfor = \"3m\"\n\
                     [[gate.rules]]\nname = \"health\"\nconsecutive_failures = 3\n\
                     [[gate.rules]]\nname = \"memory\"\naction = \"warn\"\nabove = 80\ngauge.command.command = [\"free\"]\n\
                     [[gate.rules]]\nname = \"logins\"\nfalls_percent = 20\nevents.command.command = [\"count\"]\n";
        let config = config(PAIR, &format!("consecutive_failures = 0\n{rules}"));
        let forecast = Forecast::of(
            &config.stages[0],
            &config.gate,
            &config,
            &Assumed {
                baseline_error_rate: 0.01,
                requests_per_second: None,
                latency: Some((Span::from_ms(80), Span::from_ms(200))),
            },
        );
        let [long, errors, latency, health, memory, logins] = forecast.rules.as_slice() else {
            unreachable!("{:?}", forecast.rules)
        };
        assert!(
            long.note.as_ref().unwrap().starts_with("cannot hold in this stage: it takes 6m"),
            "{long:?}"
        );
        // Any failure of the ten probes in a window is 10 %: as good as any failure at all.
        let any = 1.0 - 0.99_f64.powi(300);
        assert!((errors.false_alarm.unwrap() - any).abs() < 0.02, "{errors:?}");
        assert!(latency.false_alarm.unwrap() < 0.001 && latency.missed[2].1 < 0.05, "{latency:?}");
        assert!(health.false_alarm.unwrap() < 0.001 && health.missed[2].1 > 0.05, "{health:?}");
        assert_eq!((memory.false_alarm, memory.action), (None, RuleAction::Warn));
        assert_eq!(logins.false_alarm, forecast.alpha);
        assert!(
            logins.note.as_ref().unwrap().contains("to nothing is found after about 7 events"),
            "{logins:?}"
        );
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
