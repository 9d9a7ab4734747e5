//! The inputs.

use kit_contract::Name;
use kit_contract::config::{Config, Gate, Span};
use std::path::PathBuf;

/// The inputs of the gate.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stage that is judged
    #[arg(long)]
    pub(crate) stage: Name,

    /// Address of the new version, instead of the services of deploy.toml
    #[arg(long, value_name = "URL")]
    pub(crate) canary_url: Option<String>,

    /// Address of the version that serves now; only with --canary-url
    #[arg(long, value_name = "URL")]
    pub(crate) baseline_url: Option<String>,

    /// How long to watch; without this, the duration of the stage in deploy.toml
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<Span>,

    /// Judge, but let the verdict decide nothing: the step succeeds whatever it is
    #[arg(long)]
    pub(crate) shadow: bool,

    /// File whose appearance stops the gate; without this, stop.json in the artifact folder
    #[arg(long, value_name = "FILE")]
    pub(crate) stop_file: Option<PathBuf>,

    /// Program that renews the lock of the deploy and hands on requests to stop while this watches: rollout
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) hold_with: Option<String>,

    #[command(flatten)]
    pub(crate) criteria: Criteria,
}

/// How a stage is judged: the `[gate]` table of `deploy.toml`, one input each.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Criteria {
    /// Time between two probes of one arm of one service
    #[arg(long, value_name = "TIME", default_value_t = defaults().interval)]
    interval: Span,

    /// How long a probe may take; slower is an error
    #[arg(long, value_name = "TIME", default_value_t = defaults().timeout)]
    timeout: Span,

    /// Roll back after so many failed probes in a row; 0: never for this reason
    #[arg(long, value_name = "COUNT", default_value_t = defaults().consecutive_failures)]
    consecutive_failures: u32,

    /// How often a healthy release may be rolled back over all stages, in percent; 0: no statistics
    #[arg(long, value_name = "PERCENT", default_value_t = defaults().max_false_rollback_percent)]
    max_false_rollback_percent: f64,

    /// Promote only if so many errors, in percent, would have been seen with 90 % probability
    #[arg(long, value_name = "PERCENT")]
    detect_error_percent: Option<f64>,

    /// Promote early once fewer errors than this, in percent, are certain
    #[arg(long, value_name = "PERCENT")]
    early_pass_error_percent: Option<f64>,

    /// Roll back if more than this share of probes failed, in percent
    #[arg(long, value_name = "PERCENT")]
    max_error_percent: Option<f64>,

    /// Roll back if the 95th percentile of the canary is above this
    #[arg(long, value_name = "TIME")]
    max_p95: Option<Span>,

    /// Roll back if the 95th percentile is more than this above the baseline's
    #[arg(long, value_name = "TIME")]
    max_p95_above_baseline: Option<Span>,

    /// Fewer samples of the canary than this decide nothing
    #[arg(long, value_name = "COUNT", default_value_t = defaults().min_samples)]
    min_samples: u64,

    /// Latencies of the first moments are not judged, errors always are; without this, of the first tenth
    #[arg(long, value_name = "TIME")]
    warm_up: Option<Span>,

    /// How long after the stage to wait while canary and baseline fail together
    #[arg(long, value_name = "TIME", default_value_t = defaults().hold_max)]
    hold_max: Span,
}

fn defaults() -> Gate {
    Gate::default()
}

impl Criteria {
    /// In the terms of `deploy.toml`, whose values stand where there is no input.
    pub(crate) fn to_gate(&self, file: &Gate) -> Gate {
        Gate {
            interval: self.interval,
            timeout: self.timeout,
            consecutive_failures: self.consecutive_failures,
            max_false_rollback_percent: self.max_false_rollback_percent,
            detect_error_percent: self.detect_error_percent,
            early_pass_error_percent: self.early_pass_error_percent,
            max_error_percent: self.max_error_percent,
            max_p95: self.max_p95,
            max_p95_above_baseline: self.max_p95_above_baseline,
            min_samples: self.min_samples,
            warm_up: self.warm_up,
            hold_max: self.hold_max,
            ..file.clone()
        }
    }
}

/// Time for the start, the last probes, and the artifact.
const SLACK: Span = Span::from_secs(120);
/// Deadline unless the stages of `deploy.toml` need more.
pub(crate) const DEADLINE: Span = Span::from_secs(2 * 60 * 60);

/// The values of `deploy.toml`, by input name.
pub(crate) fn from_config(config: &Config) -> Vec<(&'static str, String)> {
    let gate = &config.gate;
    let mut values = criteria_from_config(config);
    let longest_ms = config.stages.iter().map(|stage| stage.duration.as_ms()).max().unwrap_or_default();
    let after_ms: u64 = [gate.hold_max, gate.timeout, SLACK].iter().map(|span| span.as_ms()).sum();
    let deadline = Span::from_ms(longest_ms + after_ms).max(DEADLINE);
    values.push(("deadline", deadline.to_string()));
    values
}

/// Those of the criteria.
pub(crate) fn criteria_from_config(config: &Config) -> Vec<(&'static str, String)> {
    let gate = &config.gate;
    let mut values = vec![
        ("interval", gate.interval.to_string()),
        ("timeout", gate.timeout.to_string()),
        ("consecutive-failures", gate.consecutive_failures.to_string()),
        ("max-false-rollback-percent", gate.max_false_rollback_percent.to_string()),
        ("min-samples", gate.min_samples.to_string()),
        ("hold-max", gate.hold_max.to_string()),
    ];
    let percents = [
        ("detect-error-percent", gate.detect_error_percent),
        ("early-pass-error-percent", gate.early_pass_error_percent),
        ("max-error-percent", gate.max_error_percent),
    ];
    values.extend(
        percents.iter().filter_map(|(name, percent)| percent.map(|percent| (*name, percent.to_string()))),
    );
    values.extend(gate.warm_up.map(|span| ("warm-up", span.to_string())));
    values.extend(gate.max_p95.map(|span| ("max-p95", span.to_string())));
    values.extend(gate.max_p95_above_baseline.map(|span| ("max-p95-above-baseline", span.to_string())));
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn parse(line: &str, config: &[(&'static str, String)], file: &Gate) -> Gate {
        let command = Args::augment_args(clap::Command::new("gate").no_binary_name(true));
        let given = config.iter().filter(|(name, _)| *name != "deadline");
        let words = given.flat_map(|(name, value)| [format!("--{name}"), value.clone()]);
        let words = words.chain(line.split_whitespace().map(str::to_owned));
        let matches = command.try_get_matches_from(words).unwrap();
        Args::from_arg_matches(&matches).unwrap().criteria.to_gate(file)
    }

    #[test]
    fn without_a_file_the_defaults_of_the_contract_hold() {
        assert_eq!(parse("--stage canary", &[], &Gate::default()), Gate::default());
    }

    #[test]
    fn every_setting_of_the_file_arrives() {
        let text = "app = \"shop\"\n[gate]\ninterval = \"2s\"\ntimeout = \"3s\"\nconsecutive_failures = 0\n\
                    max_error_percent = 1.5\nmax_false_rollback_percent = 0.5\ndetect_error_percent = 3\n\
                    early_pass_error_percent = 2.5\ntolerated_odds = 2\nlatency_margin_percent = 30\nmax_p95 = \"400ms\"\nmax_p95_above_baseline = \"1s 50ms\"\n\
                    min_samples = 7\nwarm_up = \"30s\"\nhold_max = \"4m\"\n";
        let config = Config::parse(text, &"production".parse().unwrap()).unwrap();
        assert_eq!(parse("--stage canary", &from_config(&config), &config.gate), config.gate);
        let deadline = |config: &Config| {
            from_config(config).into_iter().find(|(name, _)| *name == "deadline").map(|(_, value)| value)
        };
        assert_eq!(deadline(&config).as_deref(), Some("2h"));
        let mut long = config;
        long.stages[0].duration = Span::from_secs(3 * 60 * 60);
        assert_eq!(deadline(&long).as_deref(), Some("3h 6m 3s"), "the stage, hold_max, timeout, and slack");
    }
}
