//! From what was done to what is said. Success is only what was observed.

use crate::Args;
use crate::known::Known;
use crate::plan::{Plan, Refused};
use crate::undo::Undo;
use kit_contract::body::{ObservedService, Rollback, UndoAction, UndoOutcome};
use kit_contract::{DeploymentId, Reason};
use kit_core::StepError;
use kit_step::Outcome;

const BY_HAND: &str =
    "see what the router says with `rollout status`, put it right by hand, then run rollback again";

/// The body of the artifact.
pub(crate) fn body(
    args: &Args,
    subject: &DeploymentId,
    target: Option<&DeploymentId>,
    actions: Vec<UndoAction>,
) -> Rollback {
    Rollback {
        subject: subject.clone(),
        target: target.cloned(),
        why: args.reason.clone(),
        forced: args.force,
        actions,
        observed: Vec::new(),
    }
}

/// Why it was not done, with what helps.
pub(crate) fn refusal(refused: Refused) -> StepError {
    let hint = match refused.reason {
        Reason::LockHeld => Some("wait for it, or --force switches back all the same and asks it to stop"),
        Reason::UsageError => Some(
            "`deploy-record list` lists the deployments; `rollout abort` withdraws whatever canary there is",
        ),
        Reason::StoreUnreachable => Some("run rollback again once the store answers"),
        Reason::ChainBroken => Some(
            "--artifacts with the folder of that deploy says what it was doing; `deploy-record verify` says what \
             is wrong with the chain",
        ),
        Reason::ConfigInvalid => Some("deploy the version before once more, by the means that you have"),
        _ => None,
    };
    let error = StepError::new(refused.reason, refused.message);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A withdrawal that is stuck before there was a plan.
pub(crate) fn stuck_withdrawal(undo: &Undo<'_>) -> StepError {
    let stuck = undo.actions.iter().rev().find(|action| action.outcome == UndoOutcome::Stuck);
    let message = stuck.map_or_else(String::new, |action| action.message.clone());
    StepError::new(Reason::RollbackStuck, message).hint(BY_HAND)
}

/// Nothing was left to do.
pub(crate) fn nothing(args: &Args, known: &Known, plan: &Plan) -> Outcome<Rollback> {
    let id = &plan.subject.id;
    let message = format!("nothing of {id} serves, and the chain has it closed");
    let outcome = Outcome::new(Reason::NothingToUndo, message, body(args, id, None, Vec::new()));
    let serving = known.history.as_ref().and_then(|history| history.state.current());
    match serving.filter(|good| good.deployment_id != *id) {
        None => outcome,
        Some(good) => outcome.hint(format!(
            "{} serves; to undo that one, give --deployment {}",
            good.version, good.deployment_id
        )),
    }
}

/// What was undone settles the result; book-keeping that failed is said, and can be done again.
pub(crate) fn conclude(
    args: &Args,
    plan: &Plan,
    undo: Undo<'_>,
    observed: Vec<ObservedService>,
) -> Outcome<Rollback> {
    let stuck = undo.traffic_is_stuck();
    let is_stuck = |action: &&UndoAction| action.outcome == UndoOutcome::Stuck;
    let undone: Vec<&UndoAction> = undo
        .actions
        .iter()
        .filter(|action| !matches!(action.outcome, UndoOutcome::Done | UndoOutcome::NotNeeded))
        .collect();
    let mut hints: Vec<String> =
        undone.iter().map(|action| format!("{} is not done: {}", action.action, action.message)).collect();
    let (reason, message) = match undo.actions.iter().find(is_stuck).filter(|_| stuck) {
        Some(first) => {
            hints = vec![BY_HAND.to_owned()];
            (Reason::RollbackStuck, format!("{} of {}: {}", first.action, first.target, first.message))
        }
        None => (Reason::RolledBack, out_of_traffic(plan, &observed)),
    };
    if !hints.is_empty() && !stuck {
        hints.push("run rollback again once the store answers: it does what is left".to_owned());
    }
    let body = Rollback { observed, ..body(args, &plan.subject.id, plan.target.as_ref(), undo.actions) };
    Outcome { reason, message, hints, body }
}

fn out_of_traffic(plan: &Plan, observed: &[ObservedService]) -> String {
    let id = &plan.subject.id;
    let version = plan.subject.version.as_deref().unwrap_or("an unknown version");
    if observed.is_empty() {
        return format!("{id} ({version}) is closed; traffic is not ours to move, so nobody looked at it");
    }
    let serving = observed.iter().map(|service| {
        format!("{} {}", service.service, service.version.as_deref().unwrap_or("of an unknown version"))
    });
    format!(
        "{id} ({version}) is out of traffic; observed in service: {}",
        serving.collect::<Vec<_>>().join(", ")
    )
}
