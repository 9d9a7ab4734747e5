//! Does what the plan says, one action after the other, each written to the journal before and after.

use crate::Args;
use crate::gather::Outside;
use crate::plan::Plan;
use kit_contract::body::{ObservedService, Rollback, UndoAction, UndoOutcome};
use kit_contract::chain::ChainEvent;
use kit_contract::{DeploymentId, Name};
use kit_core::{Cancel, Context, StepError, fs};
use kit_step::StepContext;
use kit_store::{JournalPhase, LockOwner, StopRequest, StopSubject};
use kit_traffic::Service;

/// What was done and what is so now.
pub(crate) struct Undone {
    pub(crate) actions: Vec<UndoAction>,
    pub(crate) observed: Vec<ObservedService>,
}

/// Runs the plan. Every action is tried, also after one that is stuck: a lock that stays behind does not
/// help anybody.
pub(crate) async fn run(cx: &StepContext<Rollback>, outside: &Outside, args: &Args, plan: &Plan) -> Undone {
    let mut log = Log { cx, outside, actions: Vec::new() };
    let subject = plan.subject.to_string();
    log.act("stop_request", &subject, request_stop(cx, outside, args, plan)).await;
    cx.in_danger(
        format!("rolling back {subject} is under way"),
        "run rollback again: it does what is left to do",
    );
    let names = plan.withdraw.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    log.act("withdraw_canary", &names, withdraw(cx, outside, plan)).await;
    log.act("switch_back", &subject, switch_back(cx, outside, plan)).await;
    let observed = observe(cx, outside).await;
    let in_traffic = log.actions.iter().any(|action| {
        matches!(action.action.as_str(), "withdraw_canary" | "switch_back")
            && action.outcome == UndoOutcome::Stuck
    });
    // The chain must not say "rolled back" of something that still serves.
    if in_traffic {
        log.skip("close_chain", &subject, "traffic is stuck");
        log.skip("release_lock", &subject, "traffic is stuck");
    } else {
        log.act("close_chain", &subject, close_chain(cx, outside, args, plan)).await;
        log.act("release_lock", &subject, release_lock(cx, outside, plan)).await;
    }
    Undone { actions: log.actions, observed }
}

/// `Ok(None)`: there was nothing to do.
type Did = Result<Option<String>, StepError>;

struct Log<'a> {
    cx: &'a StepContext<Rollback>,
    outside: &'a Outside,
    actions: Vec<UndoAction>,
}

impl Log<'_> {
    async fn act(&mut self, action: &str, target: &str, work: impl Future<Output = Did>) {
        self.journal(JournalPhase::Intent, action, target).await;
        let (outcome, message) = match work.await {
            Ok(Some(message)) => (UndoOutcome::Done, message),
            Ok(None) => (UndoOutcome::NotNeeded, "nothing to do".to_owned()),
            Err(error) => (UndoOutcome::Stuck, error.chain()),
        };
        self.journal(JournalPhase::Outcome, action, &message).await;
        self.cx.out.say(&format!("{action}: {message}"));
        self.push(action, target, outcome, message);
    }

    fn skip(&mut self, action: &str, target: &str, why: &str) {
        self.push(action, target, UndoOutcome::NotTried, why.to_owned());
    }

    fn push(&mut self, action: &str, target: &str, outcome: UndoOutcome, message: String) {
        let message = self.cx.out.clean(&message);
        self.actions.push(UndoAction {
            action: action.to_owned(),
            target: target.to_owned(),
            outcome,
            message,
        });
    }

    /// Beside the artifacts always, in the store where it can be asked. A journal that cannot be written
    /// never keeps traffic from moving.
    async fn journal(&self, phase: JournalPhase, action: &str, text: &str) {
        let at = self.cx.clock.now();
        let line = serde_json::json!({ "at": at, "phase": phase, "action": action, "text": self.cx.out.clean(text) });
        let path = self.cx.artifacts().path().join("journal-rollback.jsonl");
        if let Err(error) = fs::append(&path, format!("{line}\n").as_bytes()) {
            self.cx.out.say(&format!("the journal cannot be written: {error}"));
        }
        let Some(memory) = &self.outside.memory else { return };
        let Ok(step) = "rollback".parse::<Name>() else { return };
        let id = self.cx.identity().deployment_id;
        let journal = memory.journal(&id, self.cx.attempt(), step);
        let text = format!("{action}: {}", self.cx.out.clean(text));
        if let Err(error) = journal.write(at, phase, &text, serde_json::Value::Null).await {
            self.cx.out.say(&format!("the journal in the store cannot be written: {error}"));
        }
    }
}

/// The undo goes on although the step is cancelled: half of it helps nobody. The frame's deadline ends it.
fn unstoppable(cx: &Context) -> Context {
    Context { cancel: Cancel::default(), ..cx.clone() }
}

async fn request_stop(cx: &StepContext<Rollback>, outside: &Outside, args: &Args, plan: &Plan) -> Did {
    let Some(memory) = outside.memory.as_ref().filter(|_| plan.close) else { return Ok(None) };
    let request = StopRequest {
        subject: StopSubject::Deployment(plan.subject.clone()),
        requested_by: cx.run_info().actor.clone(),
        why: args.reason.clone(),
        at: cx.clock.now(),
        by_deployment: Some(cx.identity().deployment_id),
    };
    memory.stop.request(request).await?;
    Ok(Some("a deploy that still runs will stop at its next tick".to_owned()))
}

async fn withdraw(cx: &StepContext<Rollback>, outside: &Outside, plan: &Plan) -> Did {
    let Some(router) = outside.router.as_ref().filter(|_| !plan.withdraw.is_empty()) else { return Ok(None) };
    let id = cx.identity().deployment_id;
    let limit = cx.config().traffic.settle.duration();
    kit_traffic::withdraw(&**router, cx, &id, &outside.services, limit).await?;
    Ok(Some("0 % observed for every service".to_owned()))
}

async fn switch_back(cx: &StepContext<Rollback>, outside: &Outside, plan: &Plan) -> Did {
    let Some(router) = outside.router.as_ref().filter(|_| !plan.switch_back.is_empty()) else {
        return Ok(None);
    };
    let own = unstoppable(cx);
    let id = cx.identity().deployment_id;
    let stuck = |error: kit_traffic::TrafficError| {
        error.into_step_error(kit_contract::Reason::RollbackStuck, "the router could not switch back")
    };
    router.switch(&own, &id, &plan.switch_back).await.map_err(stuck)?;
    // What counts is what is observed, not what the switch answered.
    let names: Vec<Name> = plan.switch_back.iter().map(|(name, _)| name.clone()).collect();
    let seen = router.observe(&own, &id, &names).await.map_err(stuck)?;
    for (name, version) in &plan.switch_back {
        let found = seen.iter().find(|service| service.name == *name).and_then(|s| s.stable_version.clone());
        if found.as_ref() != Some(version) {
            let found = found.unwrap_or_else(|| "an unknown version".to_owned());
            return Err(StepError::new(
                kit_contract::Reason::RollbackStuck,
                format!("{name} is observed at {found}, not at {version}"),
            ));
        }
    }
    let versions: Vec<String> =
        plan.switch_back.iter().map(|(name, version)| format!("{name} {version}")).collect();
    Ok(Some(format!("observed: {}", versions.join(", "))))
}

async fn observe(cx: &StepContext<Rollback>, outside: &Outside) -> Vec<ObservedService> {
    let Some(router) = &outside.router else { return Vec::new() };
    let id = cx.identity().deployment_id;
    let seen: Vec<Service> =
        router.observe(&unstoppable(cx), &id, &outside.services).await.unwrap_or_default();
    outside
        .services
        .iter()
        .map(|name| ObservedService {
            service: name.clone(),
            version: seen.iter().find(|service| service.name == *name).and_then(|s| s.stable_version.clone()),
        })
        .collect()
}

async fn close_chain(cx: &StepContext<Rollback>, outside: &Outside, args: &Args, plan: &Plan) -> Did {
    if !plan.close {
        return Ok(None);
    }
    let Some(memory) = &outside.memory else {
        return Err(StepError::new(kit_contract::Reason::StoreUnreachable, "the store could not be asked"));
    };
    let id = cx.identity().deployment_id;
    let actor = cx.run_info().actor.clone();
    let now = cx.clock.now();
    let event = ChainEvent::RolledBack {
        subject: plan.subject.clone(),
        target: plan.target.clone(),
        why: args.reason.clone(),
    };
    let appended = memory.chain.append(event, id.clone(), now, actor.clone()).await?;
    if let Some(version) = plan.version.clone().filter(|_| plan.mark_bad) {
        let event = ChainEvent::MarkedBad { version, why: args.reason.clone() };
        memory.chain.append(event, id, now, actor).await?;
    }
    Ok(Some(format!("entry {} says so", appended.sequence)))
}

/// Takes the lock over from the deployment that was undone, and gives it back.
async fn release_lock(cx: &StepContext<Rollback>, outside: &Outside, plan: &Plan) -> Did {
    let Some(memory) = &outside.memory else { return Ok(None) };
    let Some(lock) = outside.lock().await.filter(|lock| is_of(&lock.owner, &plan.subject)) else {
        return Ok(None);
    };
    let ours = LockOwner {
        deployment_id: cx.identity().deployment_id,
        run_id: cx.run_info().run_id.clone(),
        attempt: cx.run_info().run_attempt.unwrap_or(1),
        actor: cx.run_info().actor.clone(),
    };
    memory.lock.hand_over(&lock.owner, &ours, cx.clock.now()).await?;
    memory.lock.release(&ours).await?;
    memory.stop.clear(&plan.subject).await?;
    Ok(Some(format!("the lock of {} is free", plan.subject)))
}

fn is_of(owner: &LockOwner, subject: &DeploymentId) -> bool {
    owner.deployment_id == *subject
}
