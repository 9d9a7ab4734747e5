//! `canary-gate baseline`: how the version that serves now does, before and after the migration.
//!
//! A migration can break the old version, which still serves everybody. It is measured twice, and the second
//! time held against the first: nothing else has changed in between. Only failures are compared, since two
//! spans of time differ in their latencies for many other reasons.

use crate::args::{self, Criteria};
use crate::judge::upper_bound;
use crate::plan::{How, Plan, Target, check};
use crate::report;
use crate::watch::{Run, STOP_FILE};
use kit_contract::body::Gate;
use kit_contract::config::{Config, ServiceProbe, Source, Span};
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Name, Reason};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Qualifier, ReadSpec, Step, StepContext,
};
use std::collections::BTreeMap;

/// What this may spend of false alarms, over all services: with the rollout's own 0.9 % it stays under 1 %.
const FALSE_ALARM_PERCENT: f64 = 0.1;

/// When the version that serves now is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum At {
    /// On the old schema
    BeforeMigration,
    /// On the new schema, before any traffic is shifted
    AfterMigration,
}

impl At {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeMigration => "before-migration",
            Self::AfterMigration => "after-migration",
        }
    }
}

/// The inputs of `baseline`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is measured: before-migration, or after-migration, which is held against it
    #[arg(long, value_enum)]
    at: At,

    /// How long to watch
    #[arg(long, value_name = "TIME", default_value_t = Span::from_secs(30))]
    duration: Span,

    #[command(flatten)]
    criteria: Criteria,
}

/// `canary-gate baseline`.
pub(crate) struct Baseline;

impl Step for Baseline {
    type Args = Args;
    type Body = Gate;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("baseline"),
        about: "Measures the version that serves now, before and after the migration",
        details: "The old version still serves everybody while the schema is already the new one. Run this \
                  before the migration and again after it, before any traffic is shifted: if the old version \
                  fails more often than the first run allows for, or than gate.tolerated_error_percent, the \
                  second ends with baseline_worse and names the migration. Only the baseline of each service is \
                  asked, and only failures are compared; a healthy version is called worse in 0.1 % of deploys \
                  at most.",
        examples: &[
            Example { what: "before the migration", line: "canary-gate baseline --at before-migration" },
            Example { what: "after it", line: "canary-gate baseline --at after-migration --duration 1m" },
        ],
        reads: &[
            ReadSpec {
                kind: ArtifactKind::Gate,
                required: false,
                what_for: "gate-before-migration, which the second run is held against",
            },
            ReadSpec {
                kind: ArtifactKind::Migration,
                required: false,
                what_for: "what was migrated, to name it",
            },
        ],
        qualifier: Some(Qualifier::Input("at")),
        outputs: &[OutputSpec { name: "verdict", help: "promote, rollback, hold, inconclusive or unknown" }],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "measures again; the ticks of the run before move to the history",
        deadline: args::DEADLINE,
    };

    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        args::criteria_from_config(config)
    }

    async fn run(args: Args, cx: StepContext<Gate>) -> Result<Outcome<Gate>, StepError> {
        let before = match args.at {
            At::BeforeMigration => BTreeMap::new(),
            At::AfterMigration => before(&cx)?,
        };
        let plan = plan(&args, cx.config(), &before)?;
        let stop_file = cx.artifacts().path().join(STOP_FILE);
        let mut run = Run::start(&cx, &plan, stop_file, false)?;
        let decision = run.until_decided().await?;
        let (reason, message) = run.header.told(&decision);
        Ok(Outcome::new(reason, message, run.header.body(&decision)))
    }

    fn outputs(artifact: &Artifact<Gate>) -> Vec<(&'static str, String)> {
        let verdict = artifact.body.as_ref().map_or("unknown", |body| report::word(body.verdict));
        vec![("verdict", verdict.to_owned())]
    }

    fn summary(artifact: &Artifact<Gate>) -> String {
        artifact.body.as_ref().map(report::summary).unwrap_or_default()
    }
}

/// The error rate that the first run allows for, by service (0 to 1). Empty if there was none.
fn before(cx: &StepContext<Gate>) -> Result<BTreeMap<Name, f64>, StepError> {
    let name = ArtifactName::qualified(ArtifactKind::Gate, stage(At::BeforeMigration)?);
    let Some(body) = cx.read_if_there::<Gate>(&name)?.and_then(|artifact| artifact.body) else {
        cx.out.say(
            "nobody measured before the migration: what is tolerated is gate.tolerated_error_percent, whatever \
             was normal",
        );
        return Ok(BTreeMap::new());
    };
    let mut rates = BTreeMap::new();
    for service in body.services {
        let counts = service.canary;
        if counts.requests > 0 && counts.errors == counts.requests {
            let message = format!(
                "{} was down before the migration as well, so nobody can say what the migration did to it",
                service.service
            );
            return Err(StepError::new(Reason::NoData, message));
        }
        rates.extend(upper_bound(counts.errors, counts.requests).map(|rate| (service.service, rate)));
    }
    Ok(rates)
}

fn stage(at: At) -> Result<Name, StepError> {
    at.as_str()
        .parse()
        .map_err(|error| StepError::new(Reason::InternalError, "a stage has no valid name").because(error))
}

/// One arm per service, the version that serves now, and no limit but its own past.
fn plan(args: &Args, config: &Config, before: &BTreeMap<Name, f64>) -> Result<Plan, StepError> {
    let gate = args.criteria.to_gate(&config.gate);
    let false_alarm = match args.at {
        At::BeforeMigration => 0.0,
        At::AfterMigration => gate.max_false_rollback_percent.min(FALSE_ALARM_PERCENT),
    };
    let gate = kit_contract::config::Gate {
        max_false_rollback_percent: false_alarm,
        consecutive_failures: 0,
        detect_error_percent: None,
        early_pass_error_percent: None,
        max_error_percent: None,
        max_p95: None,
        max_p95_above_baseline: None,
        hold_max: Span::from_ms(0),
        ..gate
    };
    check(&gate, args.duration)?;
    let targets: Vec<Target> = config
        .services
        .iter()
        .map(|service| {
            let how = match (&service.probe, &service.source) {
                (Some(probe), _) => probe
                    .baseline
                    .clone()
                    .map(|baseline| How::Probe(ServiceProbe { canary: baseline, baseline: None })),
                (None, Some(source)) => baseline_of(source).map(|source| How::Source(source, false)),
                (None, None) => None,
            };
            how.map(|how| Target { service: service.name.clone(), how }).ok_or_else(|| {
                let message =
                    format!("service {:?} has no baseline that can be measured", service.name.as_str());
                StepError::new(Reason::ConfigInvalid, message)
                    .hint("give it probe.baseline, or a source other than command and file with a baseline")
            })
        })
        .collect::<Result<_, _>>()?;
    if targets.is_empty() {
        return Err(StepError::new(Reason::ConfigInvalid, "there is no service to measure"));
    }
    Ok(Plan::of_one_arm(stage(args.at)?, &gate, args.duration, targets, before))
}

/// The same source, with the version that serves now as the only one. `None` for one that names its arms itself.
fn baseline_of(source: &Source) -> Option<Source> {
    let mut source = source.clone();
    match &mut source {
        Source::Prometheus(source) => source.canary = source.baseline.take()?,
        Source::Metrics(source) => source.canary = some(std::mem::take(&mut source.baseline))?,
        Source::Haproxy(source) => source.canary = some(std::mem::take(&mut source.baseline))?,
        Source::Json(source) => source.canary = source.baseline.take()?,
        Source::Command(_) | Source::File(_) => return None,
    }
    Some(source)
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    if list.is_empty() { None } else { Some(list) }
}
