//! What has to be undone, and whether it may be. Pure.
//!
//! Withdrawing a canary is never refused. Guards stand only before switching back a version that was
//! promoted, because that is a deploy of its own.

use crate::known::{Known, LockSeen, Schema};
use jiff::Timestamp;
use kit_contract::body::ServiceVersion;
use kit_contract::chain::{GoodVersion, State};
use kit_contract::{DeploymentId, Name, Reason};
use kit_traffic::Service;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The deployment that is undone.
    pub(crate) subject: Subject,
    /// The deployment that is returned to; `None` if there is none, or only a canary is withdrawn.
    pub(crate) target: Option<DeploymentId>,
    /// Good deployments between the two, which do not serve either from then on.
    pub(crate) passed_over: Vec<DeploymentId>,
    /// Canaries to take to zero.
    pub(crate) withdraw: Vec<Name>,
    /// Services to switch back, and to which version.
    pub(crate) switch_back: Vec<(Name, String)>,
    /// True if the chain has the subject open or serving, so that it has to be closed there, or cannot be
    /// asked.
    pub(crate) close: bool,
    /// True if the subject holds the lock.
    pub(crate) release: bool,
    /// True if the version is to be marked bad.
    pub(crate) mark_bad: bool,
}

impl Plan {
    /// True if everything is undone already.
    pub(crate) fn is_empty(&self) -> bool {
        self.withdraw.is_empty() && self.switch_back.is_empty() && !self.close && !self.release
    }
}

/// The deployment that is undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its id.
    pub(crate) id: DeploymentId,
    /// Its version, where known.
    pub(crate) version: Option<String>,
}

/// Why it may not, or need not, be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

fn refuse(reason: Reason, message: impl Into<String>) -> Refused {
    Refused { reason, message: message.into() }
}

/// Draws the plan.
pub(crate) fn plan(known: &Known, now: Timestamp) -> Result<Plan, Refused> {
    let nothing = State::default();
    let state = known.history.as_ref().map_or(&nothing, |history| &history.state);
    let subject = subject(known)?;
    let services = known.services.as_deref().unwrap_or_default();
    let open = state.open.as_ref().is_some_and(|open| open.deployment_id == subject.id);
    let current = state.current().filter(|good| good.deployment_id == subject.id);
    let withdraw: Vec<Name> =
        services.iter().filter(|service| has_canary(service)).map(|service| service.name.clone()).collect();
    if let Some(good) = current {
        if known.services.is_none() {
            let message = format!("{} serves, and traffic.driver is \"none\"", good.version);
            return Err(refuse(Reason::ConfigInvalid, format!("{message}: nothing here can switch it back")));
        }
        if known.asked.is_none() && !withdraw.is_empty() {
            // Somebody's canary has a share: that is the newest thing, and the release was not named.
            let message =
                format!("{} serves and stays: to undo it, give --deployment {}", good.version, subject.id);
            return Err(refuse(Reason::Withdrawn, message));
        }
    }
    if known.history.is_none() && subject.version.is_none() {
        let (reason, why) = without_history(known);
        return Err(refuse(reason, format!("{why}, so nobody knows whether {} was promoted", subject.id)));
    }
    let usable = target(state, &subject);
    let mut switch_back = Vec::new();
    for service in services.iter().filter(|service| is_promoted(service, &subject, state)) {
        guard(known, &subject, current.and_then(|good| good.rollback_deadline), now)?;
        let version = old_version(known, state, &subject, usable, &service.name)?;
        switch_back.push((service.name.clone(), version));
    }
    let target = match current {
        _ if !switch_back.is_empty() => usable,
        // Switched back already, by an earlier run that could not tell the chain.
        Some(_) => in_service(state, &subject, services),
        None => None,
    };
    Ok(Plan {
        passed_over: target.map(|target| passed_over(state, &subject, target)).unwrap_or_default(),
        target: target.map(|good| good.deployment_id.clone()),
        close: open || current.is_some() || known.history.is_none(),
        release: known.lock.holder() == Some(&subject.id),
        mark_bad: current.is_some(),
        subject,
        withdraw,
        switch_back,
    })
}

fn has_canary(service: &Service) -> bool {
    service.canary_percent > 0.0
}

/// True if the subject's version is the stable one of this service.
fn is_promoted(service: &Service, subject: &Subject, state: &State) -> bool {
    let current = state.current().is_some_and(|good| good.deployment_id == subject.id);
    let Some(stable) = &service.stable_version else {
        // A router that does not know is asked to switch back what the chain says serves.
        return current;
    };
    // A re-deploy of the version that serves has it on the stable side from the beginning.
    let was_there = state.current().is_some_and(|good| good.version == *stable);
    subject.version.as_ref() == Some(stable) && (current || !was_there)
}

/// Which deployment is undone: the one that was named, the one that is open, the one of the artifact
/// folder, the newest. One that ended badly is still the newest: the release that served before it, and
/// serves again, is only undone if it is named.
pub(crate) fn subject(known: &Known) -> Result<Subject, Refused> {
    let state = known.history.as_ref().map(|history| &history.state);
    let named = known.asked.clone();
    let open = || known.open().cloned();
    let local = || known.local.as_ref().map(|(id, _)| id.clone());
    if let (None, Some(open), Some(local)) = (&named, open(), local())
        && open != local
    {
        let message = format!("deployment {open} is open, and the artifact folder is that of {local}");
        return Err(refuse(Reason::UsageError, format!("{message}: say which one with --deployment")));
    }
    let newest = || known.history.as_ref().and_then(|history| history.newest.clone());
    let Some(id) = named.or_else(open).or_else(local).or_else(newest) else {
        return Err(match state {
            Some(_) => refuse(Reason::NothingToUndo, "nothing was deployed here, and nothing is open"),
            None => {
                let (reason, why) = without_history(known);
                let message =
                    format!("{why} and no deployment is named, so nobody knows what is to be undone");
                refuse(reason, message)
            }
        });
    };
    let in_folder = known.local.as_ref().filter(|(local, _)| *local == id);
    let in_chain = known.history.as_ref().map(|history| history.versions.get(&id));
    if matches!(in_chain, Some(None)) && in_folder.is_none() {
        return Err(refuse(Reason::UsageError, format!("nobody knows a deployment {id}")));
    }
    let version = in_chain.flatten().cloned().or_else(|| in_folder.and_then(|(_, version)| version.clone()));
    Ok(Subject { id, version })
}

/// Why nothing is known of the past.
fn without_history(known: &Known) -> (Reason, &'static str) {
    if known.chain_broken {
        (Reason::ChainBroken, "the chain is broken")
    } else {
        (Reason::StoreUnreachable, "the store cannot be asked")
    }
}

/// What stands before switching back. `--force` is for time and for others, not for the schema.
fn guard(
    known: &Known,
    subject: &Subject,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Refused> {
    let held = |who: &str| refuse(Reason::LockHeld, format!("{who} holds the lock"));
    match &known.lock {
        _ if known.force => {}
        LockSeen::Held(holder) if *holder != subject.id => return Err(held(&format!("deployment {holder}"))),
        LockSeen::Unreadable => return Err(held("somebody who cannot be made out")),
        LockSeen::Held(_) | LockSeen::Expired(_) | LockSeen::Free | LockSeen::NotAsked => {}
    }
    if let Some(deadline) = deadline.filter(|deadline| now > *deadline && !known.force) {
        return Err(refuse(Reason::WindowExpired, format!("the rollback window ended at {deadline}")));
    }
    let problem = match &known.schema {
        Schema::Fits => return Ok(()),
        _ if known.accept_schema_ahead => return Ok(()),
        Schema::Ahead => "migrations were applied that the old version cannot live with",
        Schema::Unknown => "which migrations were applied is not known",
    };
    Err(refuse(Reason::SchemaAhead, problem))
}

/// The newest good version that is not the subject's and not marked bad.
fn target<'a>(state: &'a State, subject: &Subject) -> Option<&'a GoodVersion> {
    state.good.iter().rev().find(|good| {
        good.deployment_id != subject.id
            && Some(&good.version) != subject.version.as_ref()
            && !state.bad_versions.contains_key(&good.version)
    })
}

/// The newest good version but the subject's that every service was observed at.
fn in_service<'a>(state: &'a State, subject: &Subject, services: &[Service]) -> Option<&'a GoodVersion> {
    let is_at = |good: &&GoodVersion| {
        let at = |service: &Service| {
            let version = version_of(&good.services, &service.name).unwrap_or(&good.version);
            service.stable_version.as_ref() == Some(version)
        };
        good.deployment_id != subject.id && !services.is_empty() && services.iter().all(at)
    };
    state.good.iter().rev().find(is_at)
}

fn passed_over(state: &State, subject: &Subject, target: &GoodVersion) -> Vec<DeploymentId> {
    let later = state.good.iter().rev().take_while(|good| good.deployment_id != target.deployment_id);
    later.map(|good| good.deployment_id.clone()).filter(|id| *id != subject.id).collect()
}

/// The chain knows best; without it, what the router had before the first stage.
fn old_version(
    known: &Known,
    state: &State,
    subject: &Subject,
    target: Option<&GoodVersion>,
    service: &Name,
) -> Result<String, Refused> {
    let in_chain = target.map(|good| version_of(&good.services, service).unwrap_or(&good.version));
    let before = known.before.iter().find(|(name, _)| name == service).map(|(_, version)| version);
    let usable = |version: &&String| {
        Some(*version) != subject.version.as_ref() && !state.bad_versions.contains_key(*version)
    };
    in_chain.or(before.filter(usable)).cloned().ok_or_else(|| {
        refuse(Reason::NoTarget, format!("nobody knows which version of {service} to return to"))
    })
}

fn version_of<'a>(services: &'a [ServiceVersion], name: &Name) -> Option<&'a String> {
    services.iter().find(|service| service.name == *name).map(|service| &service.version)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
