//! `deploy-record finish`: computes the record, publishes the artifacts, closes the deploy in the chain,
//! hands the lock back.

use crate::assemble::{Cause, Facts, Found, record};
use crate::render;
use crate::store::{Memory, StoreArgs, config_toml, owner};
use kit_contract::body::{Record, RecordStatus};
use kit_contract::chain::ChainEvent;
use kit_contract::config::Span;
use kit_contract::{AnyArtifact, Artifact, ArtifactKind, ArtifactName, DeploymentId, Reason, Sha256};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, OutputSpec, ReadSpec, Step, StepContext};
use kit_store::StoreError;

/// No artifact is longer.
const LIMIT_BYTES: u64 = 16 << 20;

/// The inputs of `finish`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Only say what the record would be; publish nothing
    #[arg(long)]
    dry_run: bool,
}

/// `deploy-record finish`.
pub(crate) struct Finish;

impl Step for Finish {
    type Args = Args;
    type Body = Record;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("finish"),
        about: "Computes the record from all artifacts, and closes the deploy",
        details: "The status is computed from the artifacts, never given: a deploy succeeded only if every line of \
                  the pipeline says so, and what is missing is recorded as missing. Publishes the artifacts to the \
                  store, appends the closing entry to the chain, marks a version bad that was seen to be bad, and \
                  hands the lock back. A deploy that is stuck keeps its lock, so that nobody deploys over it.",
        examples: &[
            Example { what: "Close the deploy", line: "deploy-record finish" },
            Example { what: "What would be recorded?", line: "deploy-record finish --dry-run" },
        ],
        reads: &[ReadSpec {
            kind: ArtifactKind::Deployment,
            required: false,
            what_for: "this and every other artifact of the deployment, whatever it says",
        }],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "status", help: "success, failed, inconclusive, rolled_back or stuck" },
            OutputSpec {
                name: "rollback-deadline",
                help: "End of the rollback window; empty unless it succeeded",
            },
        ],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "finds the closing entry in the chain and publishes what is missing",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Record>) -> Result<Outcome<Record>, StepError> {
        let identity = cx.identity();
        if identity.standalone {
            return Err(StepError::new(Reason::ArtifactMissing, "there is no deployment to record")
                .hint("the artifact folder must hold deployment.json"));
        }
        let id = identity.deployment_id;
        let (found, files) = gather(&cx)?;
        let memory = Memory::open(&args.store, &cx).await?;
        let loaded = memory.chain.load().await?;
        let closing =
            loaded.entries.iter().find(|(entry, _)| entry.deployment_id == id && closes(&entry.event));
        let facts = Facts {
            config: cx.config(),
            config_toml: config_toml(&cx)?,
            sequence: closing.map_or(loaded.state.sequence + 1, |(entry, _)| entry.sequence),
            now: closing.map_or_else(|| cx.clock.now(), |(entry, _)| entry.at),
        };
        let (record, because) = record(&found, &facts);
        if args.dry_run {
            let message = format!("would record {}; nothing was published", status_word(record.status));
            return Ok(Outcome::new(Reason::Recorded, message, record));
        }
        cx.save(record.clone());
        let record_sha256 = publish(&memory, &cx, &id, &files, &record).await?;
        let open = loaded.state.open.as_ref().is_some_and(|open| open.deployment_id == id);
        if closing.is_none() && open {
            close(&memory, &cx, &id, &record, because.as_ref(), record_sha256, facts.now).await?;
        }
        let mut outcome = Outcome::new(Reason::Recorded, message(&record, because.as_ref()), record);
        if outcome.body.status == RecordStatus::Stuck {
            outcome = outcome.hint("the lock is kept so that nobody deploys over this; `deploy-kit unlock` releases it once it is put right");
        } else if open || closing.is_some() {
            hand_back(&memory, &cx, &id).await?;
        }
        write_beside(&cx, &outcome.body)?;
        Ok(outcome)
    }

    fn outputs(artifact: &Artifact<Record>) -> Vec<(&'static str, String)> {
        let body = artifact.body.as_ref();
        let deadline = body.and_then(|body| body.rollback_deadline).map(|at| at.to_string());
        vec![
            ("status", body.map(|body| status_word(body.status).to_owned()).unwrap_or_default()),
            ("rollback-deadline", deadline.unwrap_or_default()),
        ]
    }

    fn summary(artifact: &Artifact<Record>) -> String {
        artifact.body.as_ref().map(render::report).unwrap_or_default()
    }
}

/// The word of a status, as artifacts write it.
pub(crate) fn status_word(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Success => "success",
        RecordStatus::Failed => "failed",
        RecordStatus::Inconclusive => "inconclusive",
        RecordStatus::RolledBack => "rolled_back",
        RecordStatus::Stuck => "stuck",
        RecordStatus::Unknown => "unknown",
    }
}

fn closes(event: &ChainEvent) -> bool {
    matches!(event, ChainEvent::Deployed { .. } | ChainEvent::Failed { .. })
}

fn message(record: &Record, because: Option<&Cause>) -> String {
    let version =
        record.deployment.as_ref().map_or_else(|| "unknown".to_owned(), |body| body.version.to_string());
    match because {
        None => format!("{version}: {}", status_word(record.status)),
        Some(cause) => format!("{version}: {} because of {}", status_word(record.status), cause.because),
    }
}

type Files = Vec<(ArtifactName, Vec<u8>)>;

/// Every artifact of the folder that belongs to this deployment. A foreign or unreadable one is refused:
/// a record that rests on it would be worth nothing.
fn gather(cx: &StepContext<Record>) -> Result<(Found, Files), StepError> {
    let folder = cx.artifacts();
    let names =
        fs::list(folder.path()).or_reason(Reason::ArtifactInvalid, "the artifact folder cannot be read")?;
    let mut found = Found::new();
    let mut files = Files::new();
    for file in names.unwrap_or_default() {
        let Some(name) = file.strip_suffix(".json").and_then(|stem| stem.parse::<ArtifactName>().ok()) else {
            continue;
        };
        if matches!(name.kind, ArtifactKind::Record | ArtifactKind::Notice) {
            continue;
        }
        let bytes = fs::read(&folder.file(&name), LIMIT_BYTES)
            .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
        let artifact = read_any(cx, &name)?;
        if artifact.standalone {
            return Err(StepError::new(
                Reason::RecordRefused,
                format!("{file} was written by a step that ran alone, outside this deployment"),
            )
            .hint("run the step again with this deployment's artifact folder"));
        }
        found.insert(name.to_string(), (artifact, Sha256::of(&bytes)));
        files.push((name, bytes));
    }
    Ok((found, files))
}

fn read_any(cx: &StepContext<Record>, name: &ArtifactName) -> Result<AnyArtifact, StepError> {
    use kit_contract::body;
    macro_rules! read {
        ($body:ty) => {{
            let artifact = cx.read::<$body>(name)?;
            let json = artifact.body.as_ref().map(serde_json::to_value).transpose();
            let json = json.or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")?;
            Ok(artifact.with_body(json))
        }};
    }
    match name.kind {
        ArtifactKind::Deployment => read!(body::Deployment),
        ArtifactKind::Preflight => read!(body::Preflight),
        ArtifactKind::Readiness => read!(body::Readiness),
        ArtifactKind::Begin => read!(body::Begin),
        ArtifactKind::Backup => read!(body::Backup),
        ArtifactKind::Migration => read!(body::Migration),
        ArtifactKind::Rollout => read!(body::Rollout),
        ArtifactKind::Gate => read!(body::Gate),
        ArtifactKind::Smoke => read!(body::Smoke),
        ArtifactKind::Record => read!(body::Record),
        ArtifactKind::Rollback => read!(body::Rollback),
        ArtifactKind::Restore => read!(body::Restore),
        ArtifactKind::Notice => read!(body::Notice),
    }
}

/// Puts artifacts and record into the store. What an earlier run has put there already stays.
async fn publish(
    memory: &Memory,
    cx: &StepContext<Record>,
    id: &DeploymentId,
    files: &Files,
    record: &Record,
) -> Result<Sha256, StepError> {
    let attempt = cx.attempt();
    for (name, bytes) in files {
        create(memory, &memory.layout.artifact(id, attempt, name), bytes).await?;
    }
    let bytes =
        serde_json::to_vec_pretty(record).or_reason(Reason::InternalError, "the record cannot be written")?;
    let bytes = cx.redactor.redact(&String::from_utf8_lossy(&bytes)).into_bytes();
    create(memory, &memory.layout.artifact(id, attempt, &ArtifactName::only(ArtifactKind::Record)), &bytes)
        .await?;
    Ok(Sha256::of(&bytes))
}

async fn create(memory: &Memory, key: &kit_store::Key, bytes: &[u8]) -> Result<(), StepError> {
    match memory.store.create(key, bytes).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Appends what happened to the chain.
async fn close(
    memory: &Memory,
    cx: &StepContext<Record>,
    id: &DeploymentId,
    record: &Record,
    because: Option<&Cause>,
    record_sha256: Sha256,
    now: jiff::Timestamp,
) -> Result<(), StepError> {
    let actor = cx.run_info().actor.clone();
    let event = match (record.status, record.rollback_deadline) {
        (RecordStatus::Success, Some(rollback_deadline)) => {
            ChainEvent::Deployed { record_sha256, rollback_deadline }
        }
        (status, _) => ChainEvent::Failed {
            status,
            because: because.map(|cause| cause.because.clone()).unwrap_or_default(),
            record_sha256: Some(record_sha256),
        },
    };
    memory.chain.append(event, id.clone(), now, actor.clone()).await?;
    if let (Some(cause), Some(deployment)) = (because.filter(|cause| cause.bad_version), &record.deployment) {
        let event =
            ChainEvent::MarkedBad { version: deployment.version.to_string(), why: cause.because.clone() };
        memory.chain.append(event, id.clone(), now, actor).await?;
    }
    Ok(())
}

/// Hands the lock back. One that is somebody else's by now is theirs.
async fn hand_back(memory: &Memory, cx: &StepContext<Record>, id: &DeploymentId) -> Result<(), StepError> {
    match memory.lock.release(&owner(cx, id)).await {
        Ok(()) => {}
        Err(error) => cx.out.say(&format!("the lock was not handed back by this run: {error}")),
    }
    memory.stop.clear(id).await?;
    Ok(())
}

/// The pages for people, beside the artifacts.
fn write_beside(cx: &StepContext<Record>, record: &Record) -> Result<(), StepError> {
    let identity = cx.identity();
    let page = render::rollback_page(&identity.app, &identity.environment, &identity.deployment_id, record);
    fs::write_atomic(&cx.artifacts().path().join("rollback.md"), page.as_bytes())
        .or_reason(Reason::ArtifactUnwritable, "rollback.md cannot be written")
}
