//! `rollback` puts a deployment right, from whatever is left of it: the chain, the artifacts of the
//! folder, or only what the router says.
//!
//! A canary is withdrawn without any guard. A version that was promoted is switched back, and that is
//! guarded: there must be a version to return to, the window must be open, the schema must fit. What
//! cannot be undone is said, exit code 30. With the store down it still moves traffic; run again later,
//! it tells the chain.
#![warn(missing_docs)]

mod conclude;
mod gather;
mod journaled;
mod known;
mod outside;
mod plan;
mod undo;

use gather::gather;
use kit_contract::body::Rollback;
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, DeploymentId, Reason};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, ReadSpec, Step, StepContext,
    markdown_escape,
};
use kit_traffic::Service;
use known::Known;
use outside::Outside;
use plan::{Plan, Refused, Subject, plan, subject};
use undo::Undo;

/// The program.
pub fn program() -> Program {
    Program::new("rollback", "Puts a deployment right: withdraws a canary, or switches back a release")
        .step::<RollbackStep>()
}

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The deployment to undo; without this, the one that is open, else the newest
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Switch back although the window has passed or another deployment runs
    #[arg(long)]
    force: bool,
    /// Switch back although migrations were applied that the old version cannot live with, or may have been
    #[arg(long)]
    accept_schema_ahead: bool,
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// `rollback`.
pub(crate) struct RollbackStep;

impl Step for RollbackStep {
    type Args = Args;
    type Body = Rollback;
    // A withdrawal is never refused, not even by a full disk.
    const ACTS_UNRECORDED: bool = true;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Undoes a deployment and observes that it is undone",
        details: "Its first act is a request to stop, which a deploy that still runs obeys at its next tick. Then it \
                  takes every canary to zero, switches back what was promoted, observes the result, closes the \
                  deployment in the chain and hands the lock back. It needs as little as possible: with store, \
                  GitHub or registry down it still moves traffic. It never restores a database.",
        examples: &[
            Example { what: "Undo what runs or ran last", line: "rollback --reason \"checkout is slow\"" },
            Example {
                what: "What would be done?",
                line: "rollback --deployment 1763712000-abc1234 --reason \"drill\" --dry-run",
            },
        ],
        reads: &[
            ReadSpec {
                kind: ArtifactKind::Deployment,
                required: false,
                what_for: "what a dead run was deploying",
            },
            ReadSpec {
                kind: ArtifactKind::Rollout,
                required: false,
                what_for: "which version served before",
            },
            ReadSpec {
                kind: ArtifactKind::Migration,
                required: false,
                what_for: "whether the old version fits",
            },
        ],
        qualifier: None,
        outputs: &[OutputSpec { name: "subject", help: "The deployment that was undone" }],
        secrets: &[],
        identity: IdentityRule::Own,
        rerun: "does what is left to do; where everything is undone already, it observes and says so",
        deadline: Span::from_secs(10 * 60),
    };

    async fn run(args: Args, cx: StepContext<Rollback>) -> Result<Outcome<Rollback>, StepError> {
        if args.reason.trim().is_empty() {
            return Err(StepError::new(Reason::UsageError, "--reason is empty")
                .hint("say why: it stands in the chain for ever"));
        }
        cx.must_have_config()?;
        let outside = Outside::open(&cx, args.store.as_deref()).await?;
        let mut known = gather(&cx, &outside, &args).await;
        if args.dry_run {
            known.services = outside.observe(&cx, &cx.identity().deployment_id).await?;
            return dry(&args, &known, plan(&known, cx.clock.now())).map_err(conclude::refusal);
        }
        let subject = subject(&known);
        match &subject {
            Ok(subject) => cx.save(conclude::body(&args, &subject.id, None, Vec::new())),
            // Whoever named the wrong one is asked before anything is touched.
            Err(refused) if refused.reason == Reason::UsageError => {
                return Err(conclude::refusal(refused.clone()));
            }
            Err(_) => {}
        }
        let mut undo = Undo::new(&cx, &outside, &args);
        for running in running(&known, subject.as_ref().ok()) {
            undo.request_stop(&running).await;
        }
        cx.in_danger(
            "a rollback was under way and did not come to its end",
            "run rollback again: it does what is left to do",
        );
        let done = match look(&cx, &outside, &known, &mut undo, subject.as_ref().ok()).await {
            Ok(services) => {
                known.services = services;
                match plan(&known, cx.clock.now()) {
                    Ok(plan) if plan.is_empty() && undo.actions.is_empty() => {
                        Ok(conclude::nothing(&args, &known, &plan))
                    }
                    Ok(plan) => Ok(carry_out(&cx, &known, undo, &args, &plan).await),
                    Err(refused) => {
                        let error = refuse(&known, &mut undo, refused).await;
                        if let Ok(subject) = &subject {
                            cx.save(conclude::body(&args, &subject.id, None, undo.actions));
                        }
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        };
        cx.out_of_danger();
        done
    }

    fn outputs(artifact: &Artifact<Rollback>) -> Vec<(&'static str, String)> {
        artifact.body.iter().map(|body| ("subject", body.subject.to_string())).collect()
    }

    fn summary(artifact: &Artifact<Rollback>) -> String {
        let Some(body) = &artifact.body else { return String::new() };
        let mut text = String::from("\n| action | on | outcome | observed |\n|---|---|---|---|\n");
        for action in &body.actions {
            text.push_str(&format!(
                "| {} | {} | {:?} | {} |\n",
                action.action,
                markdown_escape(&action.target),
                action.outcome,
                markdown_escape(&action.message)
            ));
        }
        text
    }
}

/// What the router says. One that cannot be asked can perhaps still be told to withdraw, and says then
/// what is so.
async fn look(
    cx: &StepContext<Rollback>,
    outside: &Outside,
    known: &Known,
    undo: &mut Undo<'_>,
    subject: Option<&Subject>,
) -> Result<Option<Vec<Service>>, StepError> {
    match outside.observe(cx, &cx.identity().deployment_id).await {
        Err(error) if !others_run(known, subject) => {
            cx.out.say(&format!("{}; withdrawing all the same", error.chain()));
            undo.withdraw().await.map(Some).ok_or_else(|| conclude::stuck_withdrawal(undo))
        }
        looked => looked,
    }
}

/// Moves the traffic, looks what serves, tells the books.
async fn carry_out(
    cx: &StepContext<Rollback>,
    known: &Known,
    mut undo: Undo<'_>,
    args: &Args,
    plan: &Plan,
) -> Outcome<Rollback> {
    undo.traffic(plan).await;
    let observed = undo.observe().await;
    cx.save(conclude::body(args, &plan.subject.id, plan.target.as_ref(), undo.actions.clone()));
    // From here on, nothing but the books can be wrong.
    cx.out_of_danger();
    undo.tell(plan, known.history.is_some()).await;
    conclude::conclude(args, plan, undo, observed)
}

/// Whom to ask to stop: the subject if it may still run; with `--force` also another that does.
fn running(known: &Known, subject: Option<&Subject>) -> Vec<DeploymentId> {
    match (known.open(), subject) {
        (Some(open), Some(subject)) if *open == subject.id || known.force => vec![open.clone()],
        (None, Some(subject)) if known.history.is_none() => vec![subject.id.clone()],
        _ => Vec::new(),
    }
}

/// True if another deploy is under way, whose canary is not ours to withdraw.
fn others_run(known: &Known, subject: Option<&Subject>) -> bool {
    let other = |open: &DeploymentId| subject.is_none_or(|subject| subject.id != *open);
    known.open().is_some_and(other) && !known.force
}

/// A guard forbids the rest, or nobody knows what is to be undone; but nothing stands before a withdrawal.
async fn refuse(known: &Known, undo: &mut Undo<'_>, refused: Refused) -> StepError {
    let has_canary = known.services.iter().flatten().any(|service| service.canary_percent > 0.0);
    let withdraws = has_canary
        && refused.reason != Reason::UsageError
        && !others_run(known, subject(known).ok().as_ref());
    if !withdraws {
        return conclude::refusal(refused);
    }
    if undo.withdraw().await.is_none() {
        return conclude::stuck_withdrawal(undo);
    }
    let reason = if refused.reason == Reason::NothingToUndo { Reason::Withdrawn } else { refused.reason };
    let message = format!("the canary was withdrawn, 0 % observed for every service; {}", refused.message);
    conclude::refusal(Refused { reason, message })
}

fn dry(args: &Args, known: &Known, drawn: Result<Plan, Refused>) -> Result<Outcome<Rollback>, Refused> {
    let plan = match drawn {
        Ok(plan) => plan,
        Err(refused) if refused.reason == Reason::Withdrawn => {
            let message = format!("would only withdraw the canary; nothing was changed; {}", refused.message);
            let body = conclude::body(args, &subject(known)?.id, None, Vec::new());
            return Ok(Outcome::new(Reason::Planned, message, body));
        }
        Err(refused) => return Err(refused),
    };
    let mut steps = Vec::new();
    for service in &plan.withdraw {
        steps.push(format!("take the canary of {service} to zero"));
    }
    for (service, version) in &plan.switch_back {
        steps.push(format!("switch {service} back to {version}"));
    }
    if plan.close {
        steps.push(format!("close {} in the chain", plan.subject.id));
    }
    if plan.mark_bad {
        steps.push("mark its version bad".to_owned());
    }
    if plan.release {
        steps.push("release its lock".to_owned());
    }
    let message = if steps.is_empty() { "do nothing".to_owned() } else { steps.join("; ") };
    Ok(Outcome::new(
        Reason::Planned,
        format!("would {message}; nothing was changed"),
        conclude::body(args, &plan.subject.id, plan.target.as_ref(), Vec::new()),
    ))
}
