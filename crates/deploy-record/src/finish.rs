//! `deploy-record finish`: computes the record, publishes the artifacts, closes the deploy in the chain,
//! hands the lock back.

use crate::assemble::{Facts, record};
use crate::gather::{Gathered, gather};
use crate::judge::Cause;
use crate::place::Place;
use crate::publish::publish;
use crate::render;
use crate::store::{Memory, StoreArgs, config_toml, owner};
use kit_contract::body::{Record, RecordStatus};
use kit_contract::chain::{ChainEvent, State};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, DeploymentId, Reason, Sha256};
use kit_core::{Level, ResultExt as _, StepError, fs};
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, OutputSpec, ReadSpec, Step, StepContext};
use kit_store::LockError;

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
                  hands the lock back. A deploy that is stuck, or whose canary still has traffic, has not ended: it \
                  stays open and keeps its lock, so that nobody deploys over it.",
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
        rerun: "finds the closing entry in the chain and does what is left: publish, mark, hand back",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Record>) -> Result<Outcome<Record>, StepError> {
        let identity = cx.identity();
        if identity.standalone {
            return Err(StepError::new(Reason::ArtifactMissing, "there is no deployment to record")
                .hint("the artifact folder must hold deployment.json"));
        }
        let id = identity.deployment_id;
        let Gathered { found, refused, files } = gather(&cx)?;
        for (_, message) in refused.values() {
            cx.out.annotate(Level::Warning, "an artifact is not believed", message);
            cx.out.say(&format!("warning: not believed: {message}"));
        }
        let memory = Memory::existing(&args.store, &cx).await?;
        let loaded = memory.chain.load().await?;
        let place = Place::of(&id, loaded.entries.iter().map(|(entry, _)| entry));
        let (sequence, now) = match &place {
            Place::Closed(entry) => (Some(entry.sequence), entry.at),
            Place::Open => (Some(loaded.state.sequence + 1), cx.clock.now()),
            Place::NotBegun | Place::Overtaken(_) => (None, cx.clock.now()),
        };
        let facts = Facts {
            config: cx.config(),
            config_toml: config_toml(&cx)?,
            sequence,
            refused: &refused,
            rolled_back: place.rolled_back(),
            now,
        };
        let (mut record, because) = record(&found, &facts);
        if record.status == RecordStatus::Stuck && place == Place::Open {
            record.sequence = None;
        }
        if args.dry_run {
            let message = format!("would record {}; nothing was published", status_word(record.status));
            return Ok(Outcome::new(Reason::Planned, message, record));
        }
        cx.save(record.clone());
        let bytes = record_bytes(&cx, &record)?;
        let digest = Sha256::of(&bytes);
        if let Some(named) = place.record_sha256().filter(|named| **named != digest) {
            // An artifact has changed since. What the chain says has happened, has happened.
            let record = recorded(&memory, &id, named).await?;
            hand_back(&memory, &cx, &id).await?;
            let message = format!("recorded before as {}; the chain keeps that", status_word(record.status));
            return Ok(Outcome::new(Reason::Recorded, message, record));
        }
        publish(&memory, &id, cx.attempt(), &files, &bytes).await?;
        write_beside(&cx, &record, because.as_ref());
        let end = End { memory: &memory, cx: &cx, id: &id, state: &loaded.state, now };
        end.conclude(&place, record, because.as_ref(), digest).await
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

fn message(record: &Record, because: Option<&Cause>) -> String {
    let version =
        record.deployment.as_ref().map_or_else(|| "unknown".to_owned(), |body| body.version.to_string());
    match because {
        None => format!("{version}: {}", status_word(record.status)),
        Some(cause) => format!("{version}: {} because of {}", status_word(record.status), cause.because),
    }
}

/// The record as it is stored.
fn record_bytes(cx: &StepContext<Record>, record: &Record) -> Result<Vec<u8>, StepError> {
    let bytes =
        serde_json::to_vec_pretty(record).or_reason(Reason::InternalError, "the record cannot be written")?;
    Ok(cx.redactor.redact(&String::from_utf8_lossy(&bytes)).into_bytes())
}

/// The record that the chain names.
async fn recorded(memory: &Memory, id: &DeploymentId, named: &Sha256) -> Result<Record, StepError> {
    let published = memory.records(id).await?.into_iter().find(|one| Sha256::of(&one.bytes) == *named);
    let Some(published) = published else {
        return Err(StepError::new(
            Reason::ChainBroken,
            format!("the record of {id} that the chain names is missing, or is not the one that was written"),
        )
        .hint("`deploy-record verify` lists every problem with its entry"));
    };
    serde_json::from_slice(&published.bytes).or_reason(Reason::ArtifactInvalid, "the record cannot be read")
}

/// What is done once the record is published.
struct End<'a> {
    memory: &'a Memory,
    cx: &'a StepContext<Record>,
    id: &'a DeploymentId,
    state: &'a State,
    now: jiff::Timestamp,
}

impl End<'_> {
    async fn conclude(
        &self,
        place: &Place,
        record: Record,
        because: Option<&Cause>,
        record_sha256: Sha256,
    ) -> Result<Outcome<Record>, StepError> {
        if let Place::Overtaken(other) = place {
            return Err(StepError::new(
                Reason::RecordRefused,
                format!("deployment {other} has begun since: the chain no longer has this one open"),
            )
            .hint("the record is published; see `deploy-record list` for what happened"));
        }
        let stuck = record.status == RecordStatus::Stuck;
        if *place == Place::Open && !stuck {
            self.close(&record, because, record_sha256).await?;
        }
        if *place != Place::NotBegun {
            self.mark_bad(&record, because).await?;
        }
        let outcome = Outcome::new(Reason::Recorded, message(&record, because), record);
        if stuck {
            return Ok(outcome
                .hint("it is still open and keeps the lock, so that nobody deploys over it: `rollback` takes it out of traffic and closes it"));
        }
        hand_back(self.memory, self.cx, self.id).await?;
        Ok(outcome)
    }

    /// Appends how it ended to the chain.
    async fn close(
        &self,
        record: &Record,
        because: Option<&Cause>,
        record_sha256: Sha256,
    ) -> Result<(), StepError> {
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
        self.append(event).await
    }

    /// Marks a version that was seen to be bad, also where an earlier run got no further than closing.
    async fn mark_bad(&self, record: &Record, because: Option<&Cause>) -> Result<(), StepError> {
        let Some(cause) = because.filter(|cause| cause.bad_version) else { return Ok(()) };
        let Some(deployment) = &record.deployment else { return Ok(()) };
        let version = deployment.version.to_string();
        if self.state.bad_versions.contains_key(&version) {
            return Ok(());
        }
        self.append(ChainEvent::MarkedBad { version, why: cause.because.clone() }).await
    }

    async fn append(&self, event: ChainEvent) -> Result<(), StepError> {
        let actor = self.cx.run_info().actor.clone();
        self.memory.chain.append(event, self.id.clone(), self.now, actor).await?;
        Ok(())
    }
}

/// Hands the lock back. One that is somebody else's by now is theirs.
async fn hand_back(memory: &Memory, cx: &StepContext<Record>, id: &DeploymentId) -> Result<(), StepError> {
    match memory.lock.release(&owner(cx, id)).await {
        Ok(()) | Err(LockError::Lost { holder: None }) => {}
        Err(LockError::Lost { holder: Some(holder) }) => {
            cx.out.say(&format!("the lock is left alone: it is held by {holder}"));
        }
        Err(error) => return Err(error.into()),
    }
    memory.stop.clear(id).await?;
    Ok(())
}

/// The pages for people, beside the artifacts. That one cannot be written changes no verdict.
fn write_beside(cx: &StepContext<Record>, record: &Record, because: Option<&Cause>) {
    let identity = cx.identity();
    let id = &identity.deployment_id;
    let mut pages =
        vec![("rollback.md", render::rollback_page(&identity.app, &identity.environment, id, record))];
    if record.status != RecordStatus::Success {
        let because = because.map(|cause| cause.because.as_str());
        pages.push(("failure-report.md", render::failure_report(id, record, because)));
    }
    for (name, page) in pages {
        if let Err(error) = fs::write_atomic(&cx.artifacts().path().join(name), page.as_bytes()) {
            cx.out.say(&format!("warning: {name} is not written: {error}"));
        }
    }
}
