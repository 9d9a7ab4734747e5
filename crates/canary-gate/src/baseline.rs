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
use kit_contract::body::{Backup, Begin, Gate, GateVerdict, Migration};
use kit_contract::config::{Config, Service, ServiceProbe, Source, Span};
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
                  at most. Inside a deployment nothing is measured where nothing is migrated, at the first \
                  deployment, and where no service has a baseline that can be asked.",
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
                kind: ArtifactKind::Begin,
                required: false,
                what_for: "whether this is the first deployment, which has no version to measure",
            },
            ReadSpec {
                kind: ArtifactKind::Backup,
                required: false,
                what_for: "whether nothing is going to be migrated",
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
        let mut values = args::criteria_from_config(config);
        values.push(("duration", config.gate.measure_baseline.to_string()));
        values
    }

    async fn run(args: Args, cx: StepContext<Gate>) -> Result<Outcome<Gate>, StepError> {
        if let Some((reason, why)) = needless(&args, &cx)? {
            return Ok(Outcome::new(reason, why, nothing(args.at)?));
        }
        let before = match args.at {
            At::BeforeMigration => Past::default(),
            At::AfterMigration => before(&cx)?,
        };
        if let Some(down) = &before.down {
            let message =
                format!("{down} was down before the migration as well, so there is nothing to compare");
            return Ok(Outcome::new(Reason::BaselineNotCompared, message, nothing(args.at)?));
        }
        let plan = plan(&args, cx.config(), &before.rates)?;
        for service in left_out(cx.config()) {
            cx.out.say(&format!(
                "{service} is not measured: it has no baseline, or its source names the versions itself"
            ));
        }
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

/// Why nothing is measured here, if nothing is.
fn needless(args: &Args, cx: &StepContext<Gate>) -> Result<Option<(Reason, String)>, StepError> {
    if args.duration.is_zero() {
        return Ok(Some((Reason::NotConfigured, "gate.measure_baseline is 0s".to_owned())));
    }
    // Whoever asks by hand gets an answer, or is told what is missing.
    if cx.identity().standalone {
        return Ok(None);
    }
    let config = cx.config();
    if config.databases.is_empty() {
        return Ok(Some((Reason::NotConfigured, "there is no database that is migrated".to_owned())));
    }
    if config.services.iter().all(|service| measured(service).is_none()) {
        let why = "no service has a baseline that can be measured: each needs probe.baseline, or a source other than command and file";
        return Ok(Some((Reason::NotConfigured, why.to_owned())));
    }
    let no = |why: &str| Ok(Some((Reason::BaselineNotCompared, why.to_owned())));
    let begin = cx.read_if_there::<Begin>(&ArtifactName::only(ArtifactKind::Begin))?;
    if begin.and_then(|artifact| artifact.body).is_some_and(|body| body.first_deployment) {
        return no("this is the first deployment: no version serves yet");
    }
    match args.at {
        At::BeforeMigration => {
            let backup = cx.read_if_there::<Backup>(&ArtifactName::only(ArtifactKind::Backup))?;
            if backup.is_some_and(|artifact| artifact.reason == Reason::BackupNotNeeded) {
                return no("no migration is pending");
            }
        }
        At::AfterMigration => {
            let migration = cx.read_if_there::<Migration>(&ArtifactName::only(ArtifactKind::Migration))?;
            let body = migration.and_then(|artifact| artifact.body);
            if body.is_some_and(|body| body.dry_run || body.applied_count() == 0) {
                return no("nothing was migrated");
            }
        }
    }
    Ok(None)
}

/// The body of a run that measured nothing.
fn nothing(at: At) -> Result<Gate, StepError> {
    Ok(Gate {
        stage: stage(at)?,
        share_percent: None,
        verdict: GateVerdict::Inconclusive,
        services: Vec::new(),
        rules: Vec::new(),
        planned_ms: 0,
        watched_ms: 0,
        ticks: 0,
        ticks_file: None,
        shadow: false,
    })
}

/// What the first run says.
#[derive(Debug, Default)]
struct Past {
    /// The error rate that it allows for, by service (0 to 1).
    rates: BTreeMap<Name, f64>,
    /// A service that was down then.
    down: Option<Name>,
}

fn before(cx: &StepContext<Gate>) -> Result<Past, StepError> {
    let name = ArtifactName::qualified(ArtifactKind::Gate, stage(At::BeforeMigration)?);
    let body = cx.read_if_there::<Gate>(&name)?.and_then(|artifact| artifact.body);
    let Some(body) = body.filter(|body| !body.services.is_empty()) else {
        cx.out.say(
            "nobody measured before the migration: what is tolerated is gate.tolerated_error_percent, whatever \
             was normal",
        );
        return Ok(Past::default());
    };
    let mut past = Past::default();
    for service in body.services {
        let counts = service.canary;
        if counts.requests > 0 && counts.errors == counts.requests {
            past.down = Some(service.service);
            break;
        }
        past.rates.extend(upper_bound(counts.errors, counts.requests).map(|rate| (service.service, rate)));
    }
    Ok(past)
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
        rules: Vec::new(),
        // However little is seen is better than nothing; what it could have shown stands in the certificate.
        min_samples: 1,
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
        .filter_map(|service| Some(Target { service: service.name.clone(), how: measured(service)? }))
        .collect();
    if targets.is_empty() {
        return Err(StepError::new(Reason::ConfigInvalid, "no service has a baseline that can be measured")
            .hint("give one probe.baseline, or a source other than command and file with a baseline"));
    }
    Ok(Plan::of_one_arm(stage(args.at)?, &gate, args.duration, targets, before))
}

/// How the version that serves now is asked, where it can be.
fn measured(service: &Service) -> Option<How> {
    match (&service.probe, &service.source) {
        (Some(probe), _) => {
            let baseline = probe.baseline.clone()?;
            Some(How::Probe(ServiceProbe { canary: baseline, baseline: None }))
        }
        (None, Some(source)) => Some(How::Source(baseline_of(source)?, false)),
        (None, None) => None,
    }
}

/// The services that cannot be measured.
fn left_out(config: &Config) -> impl Iterator<Item = &Name> {
    config.services.iter().filter(|service| measured(service).is_none()).map(|service| &service.name)
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
