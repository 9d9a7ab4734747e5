//! `deploy-record begin`: lock and chain entry. From here on, somebody is deploying.

use crate::place::Place;
use crate::store::{Memory, StoreArgs, owner};
use kit_contract::body::{Begin, Deployment, Preflight};
use kit_contract::chain::{ChainEntry, ChainEvent, State};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, ArtifactName, Reason};
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Outcome, OutputSpec, ReadSpec, Step, StepContext};
use kit_store::{Acquisition, self_proof};

/// The inputs of `begin`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Deploy a version that is marked bad; says why
    #[arg(long, value_name = "REASON")]
    allow_bad: Option<String>,
}

/// `deploy-record begin`.
pub(crate) struct BeginDeploy;

impl Step for BeginDeploy {
    type Args = Args;
    type Body = Begin;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("begin"),
        about: "Takes the lock and writes down that this deploy has begun",
        details: "Proves by use that the store honours conditional writes, takes the lock of this app and \
                  environment, refuses a version that is marked bad, and appends `begun` to the chain. The lock is \
                  taken before any expensive work.",
        examples: &[Example { what: "Begin the deploy of deployment.json", line: "deploy-record begin" }],
        reads: &[
            ReadSpec { kind: ArtifactKind::Deployment, required: true, what_for: "what is deployed" },
            ReadSpec { kind: ArtifactKind::Preflight, required: true, what_for: "must say go" },
        ],
        qualifier: None,
        outputs: &[
            OutputSpec { name: "rollback-target", help: "The deployment to return to; empty at the first" },
            OutputSpec { name: "first-deployment", help: "true if nothing was ever deployed here before" },
        ],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "renews the lock and finds its entry in the chain",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Begin>) -> Result<Outcome<Begin>, StepError> {
        if cx.identity().standalone {
            return Err(StepError::new(Reason::ArtifactMissing, "there is no deployment to begin")
                .hint("the artifact folder must hold the deployment.json of validate-tag"));
        }
        if args.allow_bad.as_deref().is_some_and(|why| why.trim().is_empty()) {
            return Err(StepError::new(Reason::UsageError, "--allow-bad needs a reason")
                .hint("say why a version that was marked bad is deployed all the same"));
        }
        let deployment = cx.read_go::<Deployment>(&ArtifactName::only(ArtifactKind::Deployment))?;
        cx.read_go::<Preflight>(&ArtifactName::only(ArtifactKind::Preflight))?;
        let Some(body) = deployment.body else {
            return Err(StepError::new(Reason::ArtifactInvalid, "deployment.json has no body"));
        };
        let memory = Memory::open(&args.store, &cx).await?;
        self_proof(&*memory.store, &memory.layout).await?;
        let id = cx.identity().deployment_id;
        let ours = owner(&cx, &id);
        let taken = memory.lock.acquire(&ours, cx.clock.now()).await?;
        if let Acquisition::TakenOver(before) = &taken.how {
            cx.out.say(&format!("took over the lock of {}, which had expired", before.owner.deployment_id));
        }
        match append(&memory, &cx, &body, args.allow_bad).await {
            Ok((begin, state)) => {
                Ok(outcome(&body, Begin { lock_expires_at: taken.lock.expires_at, ..begin }, &state))
            }
            Err(error) => {
                // Nothing has begun, so nobody must wait for it. A lock that cannot be released expires.
                if matches!(taken.how, Acquisition::Created | Acquisition::TakenOver(_))
                    && let Err(kept) = memory.lock.release(&ours).await
                {
                    cx.out.say(&format!(
                        "the lock could not be released, and expires at {}: {}",
                        taken.lock.expires_at,
                        StepError::from(kept).chain()
                    ));
                }
                Err(error)
            }
        }
    }

    fn outputs(artifact: &Artifact<Begin>) -> Vec<(&'static str, String)> {
        let body = artifact.body.as_ref();
        let target = body.and_then(|body| body.rollback_target.as_ref()).map(ToString::to_string);
        let first = body.map(|body| body.first_deployment.to_string());
        vec![("rollback-target", target.unwrap_or_default()), ("first-deployment", first.unwrap_or_default())]
    }
}

async fn append(
    memory: &Memory,
    cx: &StepContext<Begin>,
    body: &Deployment,
    allow_bad: Option<String>,
) -> Result<(Begin, State), StepError> {
    let id = cx.identity().deployment_id;
    let actor = cx.run_info().actor.clone();
    let version = body.version.to_string();
    let loaded = memory.chain.load().await?;
    // One that failed may be tried again, as its next attempt.
    if let Place::Closed(entry) = Place::of(&id, loaded.entries.iter().map(|(entry, _)| entry))
        && !matches!(entry.event, ChainEvent::Failed { .. })
    {
        return Err(StepError::new(
            Reason::RecordRefused,
            format!("deployment {id} is over, with entry {} of the chain", entry.sequence),
        )
        .hint("an id stands for one deploy: run validate-tag in a fresh --artifacts folder"));
    }
    if let Some(why) = loaded.state.bad_versions.get(&version) {
        let Some(because) = allow_bad else {
            return Err(StepError::new(Reason::VersionMarkedBad, format!("{version} is marked bad: {why}"))
                .hint("make a new version, or give --allow-bad with a reason"));
        };
        let what = format!("version_marked_bad: {version}");
        let known = |entry: &ChainEntry| {
            entry.deployment_id == id
                && matches!(&entry.event, ChainEvent::Override { what: known, .. } if *known == what)
        };
        if !loaded.entries.iter().any(|(entry, _)| known(entry)) {
            let event = ChainEvent::Override { what, why: because };
            memory.chain.append(event, id.clone(), cx.clock.now(), actor.clone()).await?;
        }
    }
    // A second run finds the entry of the first.
    let open = loaded.state.open.as_ref().is_some_and(|open| open.deployment_id == id);
    let found = loaded.entries.iter().rev().find(|(entry, _)| {
        open && entry.deployment_id == id && matches!(entry.event, ChainEvent::Begun { .. })
    });
    let (sequence, entry_sha256) = match found {
        Some((entry, digest)) => (entry.sequence, digest.clone()),
        None => {
            let event = ChainEvent::Begun {
                version,
                sha: body.commit.sha.clone(),
                kind: body.kind,
                services: body.services.clone(),
                config_sha256: body.config_sha256.clone(),
            };
            let appended = memory.chain.append(event, id.clone(), cx.clock.now(), actor).await?;
            (appended.sequence, appended.sha256)
        }
    };
    let begin = Begin {
        sequence,
        entry_sha256,
        lock_expires_at: cx.clock.now(),
        rollback_target: loaded.state.target_of(&id).map(|good| good.deployment_id.clone()),
        first_deployment: loaded.state.good.is_empty(),
    };
    Ok((begin, loaded.state))
}

fn outcome(body: &Deployment, begin: Begin, state: &State) -> Outcome<Begin> {
    let from = match state.current() {
        Some(good) => format!("{} serves now", good.version),
        None => "this is the first deployment: there is nothing to return to".to_owned(),
    };
    let message = format!("deploy of {} has begun; {from}", body.version);
    Outcome::new(Reason::Begun, message, begin)
}
