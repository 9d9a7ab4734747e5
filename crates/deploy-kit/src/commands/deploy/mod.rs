//! `deploy-kit deploy <tag>`: the whole pipeline as processes, one after the other, without Actions.
//!
//! A loop over the table of `kit-contract`: run a line, read its artifact, and let the continuation table
//! say what follows. What a step printed or returned is never believed over what its artifact says.

mod invoke;
mod report;

use super::memory::{Memory, StoreArgs};
use invoke::Invoker;
use kit_contract::config::Span;
use kit_contract::continuation::{Continuation, TrafficState, after};
use kit_contract::pipeline::{Line, lines};
use kit_contract::{ArtifactKind, ArtifactName, Reason};
use kit_core::{Cancel, Cause, Context, ResultExt as _, StepError, fs, random_hex};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{Hold, LockOwner, StopRequest};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the store is asked whether this deploy may go on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Held while a deploy runs in an artifact folder. No artifact has this name.
const FOLDER_LOCK: &str = ".deploy.lock";

/// The inputs of `deploy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The release tag to deploy
    tag: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Why this deployment is made
    #[arg(long, default_value = "release")]
    kind: String,
    /// Only say which commands would be run
    #[arg(long)]
    dry_run: bool,
}

/// `deploy-kit deploy`.
pub(crate) struct Deploy;

impl Tool for Deploy {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("deploy"),
        about: "Runs a whole deploy, step by step, without GitHub Actions",
        details: "Runs every step of the pipeline as a process of its own and prints each command, so that any of \
                  them can be repeated by hand. What follows a step that did not say go is decided by one table: \
                  a bad canary is withdrawn, the deploy is closed in the chain, people are told. Every artifact's \
                  digest is passed on to the steps that read it. Without --artifacts, every deploy gets a folder \
                  of its own below .deploy-kit/deploys.",
        examples: &[
            Example { what: "Deploy a release", line: "deploy-kit deploy v2.0.0" },
            Example { what: "Which commands would be run?", line: "deploy-kit deploy v2.0.0 --dry-run" },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Own,
        rerun: "with the same --artifacts folder, every step does what its own page says of a second run",
        deadline: Span::from_secs(24 * 60 * 60),
    };
    // Withdrawing and closing take longer than ending one step.
    const GRACE: Duration = Duration::from_secs(120);

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        cx.must_have_config()?;
        let folder = artifact_folder(&cx, &args.tag)?;
        let invoker = Invoker::new(&cx, &args, folder)?;
        let lines = lines(&cx.config().stages);
        if args.dry_run {
            let commands: Vec<String> =
                lines.iter().map(|line| invoker.shown(&invoker.arguments(line))).collect();
            return Ok(ToolOutput {
                reason: Reason::Recorded,
                json: serde_json::json!({ "commands": commands }),
                text: commands.join("\n"),
            });
        }
        let _ours = lock_folder(invoker.folder())?;
        let memory = Memory::open(&args.store, &cx).await?;
        let started = cx.clock.elapsed();
        let mut walk = Walk { cx: &cx, invoker, memory, traffic: TrafficState::Untouched, ended: None };
        walk.go(&lines).await;
        let took = cx.clock.elapsed().saturating_sub(started);
        Ok(report::output(&walk.invoker, walk.ended, took))
    }
}

/// Two deploys in one folder would share the deployment, and with it the lock of the store.
fn lock_folder(folder: &Path) -> Result<File, StepError> {
    let unwritable = "the artifact folder cannot be used";
    fs::create_folder(folder).or_reason(Reason::ArtifactUnwritable, unwritable)?;
    let locked = fs::try_lock(&folder.join(FOLDER_LOCK)).or_reason(Reason::ArtifactUnwritable, unwritable)?;
    locked.ok_or_else(|| {
        StepError::new(
            Reason::UsageError,
            format!("--artifacts {}: a deploy is running in this folder", folder.display()),
        )
        .hint("wait for its end, or ask it to stop with `deploy-kit stop`; without --artifacts every deploy has a folder of its own")
    })
}

/// A folder of its own for every deploy, unless one was named.
fn artifact_folder(cx: &ToolContext, tag: &str) -> Result<PathBuf, StepError> {
    let named = cx.artifacts().path();
    if named != std::path::Path::new(".deploy-kit/artifacts") {
        return Ok(named.to_owned());
    }
    // Two deploys may start in the same second; each needs a folder of its own.
    let fresh = random_hex(2).or_reason(Reason::InternalError, "there is no randomness")?;
    let safe: String = tag
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .take(60)
        .collect();
    Ok(PathBuf::from(format!(".deploy-kit/deploys/{}-{safe}-{fresh}", cx.clock.now().as_second())))
}

/// Why a deploy did not go on.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The artifact of the step that said so.
    pub(crate) artifact: ArtifactName,
    /// Its reason.
    pub(crate) reason: Reason,
    /// What followed.
    pub(crate) continuation: Continuation,
    /// What came of the withdrawal, if one followed.
    pub(crate) withdrawal: Withdrawal,
}

/// What came of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// None was due.
    None,
    /// It was observed that nothing of the new version has traffic.
    Observed,
    /// Traffic is not ours to move.
    NotOurs,
    /// It failed, for this reason.
    Failed(Reason),
}

struct Walk<'a> {
    cx: &'a ToolContext,
    invoker: Invoker<'a>,
    memory: Memory,
    traffic: TrafficState,
    ended: Option<Ended>,
}

impl Walk<'_> {
    /// Walks the lines; closes and tells whatever happens.
    async fn go(&mut self, lines: &[Line]) {
        let closing = |line: &&Line| matches!(line.step.id, "finish" | "notify");
        for line in lines.iter().filter(|line| !closing(line)) {
            if line.step.id == "rollout" {
                // From the moment it is asked, nobody knows what has a share.
                self.traffic = TrafficState::Canary;
            }
            let reason = self.run(line).await;
            if line.step.id == "promote" && reason.exit_code() == 0 {
                self.traffic = TrafficState::Promoted;
            }
            let continuation = after(line.step.id, self.traffic, reason);
            if continuation != Continuation::GoOn {
                let mut ended = Ended {
                    artifact: line.artifact.clone(),
                    reason,
                    continuation,
                    withdrawal: Withdrawal::None,
                };
                if matches!(continuation, Continuation::Withdraw { .. }) {
                    ended.withdrawal = self.withdraw(line, reason).await;
                }
                self.ended = Some(ended);
                break;
            }
        }
        // The deploy is closed and people are told although it may be cancelled by now.
        for line in lines.iter().filter(closing) {
            let reason = self.invoker.run(line, &self.uncancelled()).await;
            if line.step.id == "finish" && reason.exit_code() != 0 && self.ended.is_none() {
                let continuation = after("finish", self.traffic, reason);
                self.ended = Some(Ended {
                    artifact: line.artifact.clone(),
                    reason,
                    continuation,
                    withdrawal: Withdrawal::None,
                });
            }
        }
    }

    /// Runs one line while watching for a request to stop, which the gate is handed as a file.
    async fn run(&self, line: &Line) -> Reason {
        let mut hold = self.hold();
        let watch = async {
            loop {
                self.cx.clock.sleep(LOOK_EVERY).await;
                // A store that does not answer now is asked again in a second.
                if let Some(hold) = &mut hold
                    && let Ok(Some(request)) = hold.look(self.cx.clock.now()).await
                {
                    self.hand_over(&request);
                }
            }
        };
        let work = self.invoker.run(line, self.cx);
        tokio::pin!(work, watch);
        let reason = tokio::select! {
            reason = &mut work => reason,
            never = &mut watch => never,
        };
        // The step only sees a signal; why it was sent is known here.
        let stopped = matches!(reason, Reason::Interrupted | Reason::Terminated);
        if stopped && self.cx.cancel.cause() == Some(Cause::Deadline) {
            return Reason::DeadlineExceeded;
        }
        reason
    }

    /// A request that cannot be handed on now is handed on in a second.
    fn hand_over(&self, request: &StopRequest) {
        if let Err(error) = self.invoker.hand_over_stop(request) {
            self.cx.out.say(&format!("warning: {}", self.cx.out.clean(&error.chain())));
        }
    }

    /// What this deploy holds, once it has begun.
    fn hold(&self) -> Option<Hold> {
        let run = self.cx.run_info();
        let owner = LockOwner {
            deployment_id: self.invoker.deployment_id().filter(|_| self.invoker.has_begun())?,
            run_id: run.run_id.clone(),
            attempt: run.run_attempt.unwrap_or(1),
            actor: run.actor.clone(),
        };
        Some(Hold::new(self.memory.stop.clone(), self.memory.lock.clone(), owner))
    }

    /// Takes the canary out. After a promotion that failed half-way, `rollback` knows how; before it, a
    /// withdrawal is a change of weights.
    async fn withdraw(&self, line: &Line, reason: Reason) -> Withdrawal {
        let cx = self.uncancelled();
        let promoting = line.step.id == "promote";
        let (arguments, artifact) = if promoting {
            let why = format!("{}: {reason}", line.artifact);
            (self.invoker.rollback_arguments(&why), ArtifactName::only(ArtifactKind::Rollback))
        } else {
            (self.invoker.abort_arguments(), abort_artifact())
        };
        match self.invoker.run_arguments(&arguments, &artifact, &cx).await {
            Reason::Withdrawn | Reason::RolledBack => Withdrawal::Observed,
            seen if seen.exit_code() == 0 => Withdrawal::NotOurs,
            seen if promoting => Withdrawal::Failed(seen),
            seen => self.look(seen, &cx).await,
        }
    }

    /// A withdrawal acts also where it cannot write down what it saw, so somebody has to look.
    async fn look(&self, seen: Reason, cx: &Context) -> Withdrawal {
        match self.invoker.nothing_is_shifted(cx).await {
            Ok(true) => Withdrawal::Observed,
            Ok(false) => Withdrawal::Failed(seen),
            Err(error) => {
                cx.out.say(&format!("warning: {}", cx.out.clean(&error.chain())));
                Withdrawal::Failed(seen)
            }
        }
    }

    fn uncancelled(&self) -> Context {
        Context { cancel: Cancel::default(), ..self.cx.context().clone() }
    }
}

fn abort_artifact() -> ArtifactName {
    ArtifactName { kind: ArtifactKind::Rollout, qualifier: "abort".parse().ok() }
}
