//! Does what the plan says, one action after the other, each written to the journal before and after.

use crate::Args;
use crate::outside::{Memory, Outside, in_time};
use crate::plan::Plan;
use kit_contract::body::{ObservedService, Rollback, UndoAction, UndoOutcome};
use kit_contract::chain::ChainEvent;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Cancel, Context, StepError, fs};
use kit_step::StepContext;
use kit_store::{Existing, JournalPhase, LockOwner, StopRequest, StopSubject};
use kit_traffic::Service;

/// `Ok(None)`: there was nothing to do.
type Did = Result<Option<String>, StepError>;

/// What is being undone, and what came of it so far.
pub(crate) struct Undo<'a> {
    cx: &'a StepContext<Rollback>,
    outside: &'a Outside,
    args: &'a Args,
    pub(crate) actions: Vec<UndoAction>,
    /// A store that did not take a line is not asked to take another: traffic would wait for it.
    journal_fails: bool,
}

impl<'a> Undo<'a> {
    pub(crate) fn new(cx: &'a StepContext<Rollback>, outside: &'a Outside, args: &'a Args) -> Self {
        Self { cx, outside, args, actions: Vec::new(), journal_fails: false }
    }

    /// Asks a deploy that still runs to stop.
    pub(crate) async fn request_stop(&mut self, subject: &DeploymentId) {
        let (cx, outside, why) = (self.cx, self.outside, self.args.reason.clone());
        let work = async {
            let memory = memory(outside)?;
            let ours = cx.identity().deployment_id;
            let request = StopRequest {
                subject: StopSubject::Deployment(subject.clone()),
                requested_by: cx.run_info().actor.clone(),
                why,
                at: cx.clock.now(),
                // A rollback that was given the id of the deploy would else spare it.
                by_deployment: (ours != *subject).then_some(ours),
            };
            in_time(cx, async { Ok(memory.stop.request(request).await?) }).await?;
            Ok(Some("a deploy that still runs will stop at its next tick".to_owned()))
        };
        self.act("stop_request", subject.as_ref(), work).await;
    }

    /// Takes every canary to zero; gives what was observed then, or `None` if that is stuck.
    pub(crate) async fn withdraw(&mut self) -> Option<Vec<Service>> {
        let (cx, outside) = (self.cx, self.outside);
        let mut seen = None;
        let work = async {
            let Some(router) = &outside.router else { return Ok(None) };
            let (id, limit) = (cx.identity().deployment_id, cx.config().traffic.settle.duration());
            seen = Some(kit_traffic::withdraw(&**router, cx, &id, &outside.services, limit).await?);
            Ok(Some("0 % observed for every service".to_owned()))
        };
        self.act("withdraw_canary", &names(&outside.services), work).await;
        seen
    }

    /// Moves the traffic. Both are tried, also if the first is stuck.
    pub(crate) async fn traffic(&mut self, plan: &Plan) {
        if !plan.withdraw.is_empty() {
            self.withdraw().await;
        }
        if !plan.switch_back.is_empty() {
            let targets: Vec<Name> = plan.switch_back.iter().map(|(name, _)| name.clone()).collect();
            let work = switch_back(self.cx, self.outside, plan);
            self.act("switch_back", &names(&targets), work).await;
        }
    }

    /// Tells chain and lock, unless something may still serve.
    pub(crate) async fn tell(&mut self, plan: &Plan, chain_was_read: bool) {
        let subject = plan.subject.id.to_string();
        if self.traffic_is_stuck() {
            for action in ["close_chain", "release_lock"] {
                self.push(action, &subject, UndoOutcome::NotTried, "traffic is stuck".to_owned());
            }
            return;
        }
        if plan.close {
            let work = close_chain(self.cx, self.outside, self.args, plan, chain_was_read);
            self.act("close_chain", &subject, work).await;
        }
        self.act("release_lock", &subject, release_lock(self.cx, self.outside, plan)).await;
    }

    /// True if a change of traffic did not come to its end.
    pub(crate) fn traffic_is_stuck(&self) -> bool {
        self.actions.iter().any(|action| {
            matches!(action.action.as_str(), "withdraw_canary" | "switch_back")
                && action.outcome != UndoOutcome::Done
        })
    }

    /// What serves now, where anybody can tell.
    pub(crate) async fn observe(&self) -> Vec<ObservedService> {
        let id = self.cx.identity().deployment_id;
        let seen = match self.outside.observe(&unstoppable(self.cx), &id).await {
            Ok(None) => return Vec::new(),
            Ok(Some(seen)) => seen,
            Err(error) => {
                self.cx.out.say(&error.chain());
                Vec::new()
            }
        };
        let version = |name: &Name| seen.iter().find(|service| service.name == *name)?.stable_version.clone();
        let observed = |name: &Name| ObservedService { service: name.clone(), version: version(name) };
        self.outside.services.iter().map(observed).collect()
    }

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
    async fn journal(&mut self, phase: JournalPhase, action: &str, text: &str) {
        let (at, text) = (self.cx.clock.now(), self.cx.out.clean(text));
        let line = serde_json::json!({ "at": at, "phase": phase, "action": action, "text": text });
        let path = self.cx.artifacts().path().join("journal-rollback.jsonl");
        if let Err(error) = fs::append(&path, format!("{line}\n").as_bytes()) {
            self.cx.out.say(&format!("the journal cannot be written: {error}"));
        }
        let Some(memory) = self.outside.memory.as_ref().filter(|_| !self.journal_fails) else { return };
        let Ok(step) = "rollback".parse::<Name>() else { return };
        let id = self.cx.identity().deployment_id;
        let journal = memory.journal(&id, self.cx.attempt(), step);
        let text = format!("{action}: {text}");
        let work = async { Ok(journal.write(at, phase, &text, serde_json::Value::Null).await?) };
        if let Err(error) = in_time(self.cx, work).await {
            self.journal_fails = true;
            self.cx.out.say(&format!("the journal in the store cannot be written: {}", error.chain()));
        }
    }
}

fn names(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The undo goes on although the step is cancelled: half of it helps nobody. The frame's deadline ends it.
fn unstoppable(cx: &Context) -> Context {
    Context { cancel: Cancel::default(), ..cx.clone() }
}

fn memory(outside: &Outside) -> Result<&Memory, StepError> {
    outside
        .memory
        .as_ref()
        .ok_or_else(|| StepError::new(Reason::StoreUnreachable, "the store could not be opened"))
}

async fn switch_back(cx: &StepContext<Rollback>, outside: &Outside, plan: &Plan) -> Did {
    let Some(router) = &outside.router else { return Ok(None) };
    let (id, limit) = (cx.identity().deployment_id, cx.config().traffic.settle.duration());
    let seen = kit_traffic::switch(&**router, &unstoppable(cx), &id, &plan.switch_back, limit).await;
    let seen = seen.map_err(|error| {
        error.into_step_error(Reason::RollbackStuck, "nobody knows which version is the stable one")
    })?;
    if !seen.missing.is_empty() {
        return Err(StepError::new(Reason::RollbackStuck, seen.why()));
    }
    let versions = plan.switch_back.iter().map(|(name, version)| format!("{name} {version}"));
    Ok(Some(format!("observed: {}", versions.collect::<Vec<_>>().join(", "))))
}

async fn close_chain(
    cx: &StepContext<Rollback>,
    outside: &Outside,
    args: &Args,
    plan: &Plan,
    chain_was_read: bool,
) -> Did {
    let memory = memory(outside)?;
    if !chain_was_read {
        // What the chain says decides what it is to be told.
        return Err(StepError::new(Reason::StoreUnreachable, "the chain could not be read"));
    }
    let id = cx.identity().deployment_id;
    let actor = cx.run_info().actor.clone();
    let now = cx.clock.now();
    let state = memory.chain.load().await?.state;
    // First, because a subject that is closed is not looked at again.
    let bad = plan.subject.version.clone().filter(|_| plan.mark_bad);
    if let Some(version) = bad.filter(|version| !state.bad_versions.contains_key(version)) {
        let event = ChainEvent::MarkedBad { version, why: args.reason.clone() };
        memory.chain.append(event, id.clone(), now, actor.clone()).await?;
    }
    let rolled_back = |subject: &DeploymentId| ChainEvent::RolledBack {
        subject: subject.clone(),
        target: plan.target.clone(),
        why: args.reason.clone(),
    };
    for other in &plan.passed_over {
        memory.chain.append(rolled_back(other), id.clone(), now, actor.clone()).await?;
    }
    let appended = memory.chain.append(rolled_back(&plan.subject.id), id, now, actor).await?;
    Ok(Some(format!("entry {} says so", appended.sequence)))
}

/// Takes the lock over from the deployment that was undone, and gives it back.
async fn release_lock(cx: &StepContext<Rollback>, outside: &Outside, plan: &Plan) -> Did {
    let memory = memory(outside)?;
    let owner = match memory.lock.peek().await? {
        Some(Existing::Readable(lock)) if lock.owner.deployment_id == plan.subject.id => lock.owner,
        // Nobody's, or somebody else's.
        _ => return Ok(None),
    };
    let ours = LockOwner {
        deployment_id: cx.identity().deployment_id,
        run_id: cx.run_info().run_id.clone(),
        attempt: cx.run_info().run_attempt.unwrap_or(1),
        actor: cx.run_info().actor.clone(),
    };
    memory.lock.hand_over(&owner, &ours, cx.clock.now()).await?;
    memory.lock.release(&ours).await?;
    memory.stop.clear(&plan.subject.id).await?;
    Ok(Some(format!("the lock of {} is free", plan.subject.id)))
}
