//! `canary-gate plan`: what each stage could see, and what it would cost, before anything is deployed.

mod rules;
mod stage;
mod table;

use crate::args::{self, Criteria};
use crate::plan::check;
use kit_contract::config::{Config, Span};
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use stage::{Assumed, Forecast};

/// The inputs of `plan`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this stage; without it, every stage of deploy.toml
    #[arg(long)]
    stage: Option<Name>,

    /// Error rate of a healthy version, in percent: what is normal for your service
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    baseline_error_percent: f64,

    /// Requests per second that others count, over both versions; without it, the probes of the gate
    #[arg(long, value_name = "RATE")]
    requests_per_second: Option<f64>,

    /// Median latency of a healthy version, to know what a rule about latency costs
    #[arg(long, value_name = "TIME", requires = "baseline_p95")]
    baseline_p50: Option<Span>,

    /// 95th percentile of it
    #[arg(long, value_name = "TIME", requires = "baseline_p50")]
    baseline_p95: Option<Span>,

    #[command(flatten)]
    criteria: Criteria,
}

/// `canary-gate plan`.
pub(crate) struct Plan;

impl Tool for Plan {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("plan"),
        about: "Says what each stage could see and what it would cost, before anything is deployed",
        details: "For each stage: how many samples it gets, how often it would roll back a healthy release, the \
                  smallest error rate that it would see with 90 % probability, and what your own limits \
                  (consecutive_failures, max_error_percent) and rules ([[gate.rules]]) cost and miss. Refuses if a stage cannot see what \
                  detect_error_percent asks for, and says which request rate would. The figures are exact or \
                  simulated with a fixed seed, and hold for independent samples.",
        examples: &[
            Example {
                what: "Is this deploy.toml able to see 2 % errors?",
                line: "canary-gate plan --detect-error-percent 2",
            },
            Example {
                what: "The same, if a metrics server counted 40 requests per second",
                line: "canary-gate plan --detect-error-percent 2 --requests-per-second 40",
            },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "says the same again",
        deadline: Span::from_secs(10 * 60),
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        args::criteria_from_config(config)
    }

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let config = cx.config();
        let assumed = assumed(&args)?;
        if assumed.requests_per_second.is_none()
            && let Some(service) = config.services.iter().find(|service| service.source.is_some())
        {
            let message = format!(
                "others count the requests of {}, so how many there will be must be said",
                service.name
            );
            return Err(StepError::new(Reason::UsageError, message).hint("give --requests-per-second"));
        }
        let gate = args.criteria.to_gate(&config.gate);
        let stages =
            config.stages.iter().filter(|stage| args.stage.as_ref().is_none_or(|name| *name == stage.name));
        let mut forecasts = Vec::new();
        for stage in stages {
            check(&gate, stage.duration)?;
            forecasts.push(Forecast::of(stage, &gate, config, &assumed));
        }
        if forecasts.is_empty() {
            let name = args.stage.map(|name| name.to_string()).unwrap_or_default();
            let names: Vec<&str> = config.stages.iter().map(|stage| stage.name.as_str()).collect();
            let message =
                format!("--stage {name:?} is no stage of deploy.toml: use one of {}", names.join(", "));
            return Err(StepError::new(Reason::UsageError, message));
        }
        let weak = forecasts.iter().any(Forecast::is_too_weak);
        Ok(ToolOutput {
            reason: if weak { Reason::StageTooWeak } else { Reason::Planned },
            text: table::text(&forecasts, &assumed),
            json: serde_json::json!({ "assumed": assumed, "stages": forecasts }),
        })
    }
}

fn assumed(args: &Args) -> Result<Assumed, StepError> {
    let percent = args.baseline_error_percent;
    if !(0.0..100.0).contains(&percent) {
        let message = format!("--baseline-error-percent is {percent}: use 0 or more, and less than 100");
        return Err(StepError::new(Reason::UsageError, message));
    }
    if let Some(rate) = args.requests_per_second.filter(|rate| !(*rate > 0.0 && rate.is_finite())) {
        let message = format!("--requests-per-second is {rate}: use a number above 0");
        return Err(StepError::new(Reason::UsageError, message));
    }
    let latency = args.baseline_p50.zip(args.baseline_p95);
    if let Some((p50, p95)) = latency.filter(|(p50, p95)| p50.is_zero() || p95 <= p50) {
        let message = format!("--baseline-p95 is {p95}: it must be above --baseline-p50, which is {p50}");
        return Err(StepError::new(Reason::UsageError, message));
    }
    Ok(Assumed {
        baseline_error_rate: percent / 100.0,
        requests_per_second: args.requests_per_second,
        latency,
    })
}
