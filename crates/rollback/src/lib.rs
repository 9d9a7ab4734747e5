//! `rollback` puts a deployment right, from whatever is left of it: the chain, the artifacts of the
//! folder, or only what the router says.
//!
//! A canary is withdrawn without any guard. A version that was promoted is switched back, and that is
//! guarded: there must be a version to return to, the window must be open, the schema must fit. What
//! cannot be undone is said, exit code 30. With the store down it still moves traffic; run again later,
//! it tells the chain.
#![warn(missing_docs)]

mod gather;
mod plan;
mod undo;

use gather::Outside;
use kit_contract::body::{Rollback, UndoAction, UndoOutcome};
use kit_contract::config::Span;
use kit_contract::{Artifact, ArtifactKind, DeploymentId, Reason};
use kit_core::StepError;
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, Program, ReadSpec, Step, StepContext, markdown_escape,
};
use plan::{Plan, plan};

/// The program.
pub fn program() -> Program {
    Program::new("rollback", "Puts a deployment right: withdraws a canary, or switches back a release")
        .step::<RollbackStep>()
}

/// The inputs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The deployment to undo; without this, the one that is open, else the one that serves
    #[arg(long, value_name = "ID")]
    deployment: Option<DeploymentId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Switch back although the window has passed or another deployment runs
    #[arg(long)]
    force: bool,
    /// Switch back although migrations were applied that the old version cannot live with
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
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Own,
        rerun: "does what is left to do; where everything is undone already, it observes and says so",
        deadline: Span::from_secs(10 * 60),
    };

    async fn run(args: Args, cx: StepContext<Rollback>) -> Result<Outcome<Rollback>, StepError> {
        let outside = Outside::open(&cx, args.store.as_deref()).await?;
        let mut known = outside.gather(&cx, &args).await?;
        let now = cx.clock.now();
        let drawn = plan(&known, now).map_err(|refused| StepError::new(refused.reason, refused.message));
        if args.dry_run {
            return drawn.map(|plan| dry(&args, &plan));
        }
        let drawn = match drawn {
            // A guard forbids switching back; a canary of the same deployment is still withdrawn.
            Err(error) if error.reason.class() == kit_contract::Class::Verdict => {
                known.services = outside.withdraw_anyway(&cx, known.services.take()).await?;
                return Err(error);
            }
            other => other?,
        };
        if nothing_left(&drawn) {
            let message = format!("nothing of {} serves, and the chain is closed", drawn.subject);
            return Ok(Outcome::new(Reason::NothingToUndo, message, body(&args, &drawn, Vec::new())));
        }
        let undone = undo::run(&cx, &outside, &args, &drawn).await;
        cx.out_of_danger();
        Ok(conclude(&args, &drawn, undone))
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

fn nothing_left(plan: &Plan) -> bool {
    plan.withdraw.is_empty() && plan.switch_back.is_empty() && !plan.close
}

fn body(args: &Args, plan: &Plan, actions: Vec<UndoAction>) -> Rollback {
    Rollback {
        subject: plan.subject.clone(),
        target: plan.target.clone(),
        why: args.reason.clone(),
        forced: args.force,
        actions,
        observed: Vec::new(),
    }
}

fn dry(args: &Args, plan: &Plan) -> Outcome<Rollback> {
    let names =
        |names: &[kit_contract::Name]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut steps = Vec::new();
    if !plan.withdraw.is_empty() {
        steps.push(format!("take the canary of {} to zero", names(&plan.withdraw)));
    }
    for (service, version) in &plan.switch_back {
        steps.push(format!("switch {service} back to {version}"));
    }
    if plan.close {
        steps.push(format!("close {} in the chain", plan.subject));
    }
    if plan.mark_bad {
        steps.push("mark its version bad".to_owned());
    }
    let message = if steps.is_empty() { "nothing to do".to_owned() } else { steps.join("; ") };
    Outcome::new(
        Reason::NothingToUndo,
        format!("would {message}; nothing was changed"),
        body(args, plan, Vec::new()),
    )
}

/// What was undone settles the result; book-keeping that failed is said, and can be done again.
fn conclude(args: &Args, plan: &Plan, undone: undo::Undone) -> Outcome<Rollback> {
    let stuck_in_traffic = undone.actions.iter().any(|action| {
        matches!(action.action.as_str(), "withdraw_canary" | "switch_back")
            && !matches!(action.outcome, UndoOutcome::Done | UndoOutcome::NotNeeded)
    });
    let untold: Vec<&UndoAction> = undone
        .actions
        .iter()
        .filter(|action| matches!(action.action.as_str(), "close_chain" | "release_lock" | "stop_request"))
        .filter(|action| !matches!(action.outcome, UndoOutcome::Done | UndoOutcome::NotNeeded))
        .collect();
    let reason = if stuck_in_traffic { Reason::RollbackStuck } else { Reason::RolledBack };
    let first_stuck = undone.actions.iter().find(|action| action.outcome == UndoOutcome::Stuck);
    let message = match (stuck_in_traffic, first_stuck) {
        (true, Some(action)) => format!("{} of {}: {}", action.action, action.target, action.message),
        _ => {
            let version = plan.version.as_deref().unwrap_or("an unknown version");
            format!("{} ({version}) is out of traffic, and that was observed", plan.subject)
        }
    };
    let hints: Vec<String> = untold
        .iter()
        .map(|action| format!("{} is not done: {}; run rollback again once the store answers", action.action, action.message))
        .chain(stuck_in_traffic.then(|| {
            "see what the router says with `rollout status`, put it right by hand, then run rollback again".to_owned()
        }))
        .collect();
    let body = Rollback { observed: undone.observed, ..body(args, plan, undone.actions) };
    let mut outcome = Outcome::new(reason, message, body);
    outcome.hints = hints;
    outcome
}
