//! Where a deployment stands in the chain. Pure.

use kit_contract::chain::{ChainEntry, ChainEvent};
use kit_contract::{DeploymentId, Sha256};

/// Where a deployment stands in the chain.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// It never began.
    NotBegun,
    /// It has begun and not ended.
    Open,
    /// It has ended with this entry, its own or that of whoever rolled it back.
    Closed(Box<ChainEntry>),
    /// It never ended, and this deployment has begun since.
    Overtaken(DeploymentId),
}

impl Place {
    /// Finds the place of `id`. A deployment that began again after it had ended is open again.
    pub(crate) fn of<'a>(id: &DeploymentId, entries: impl IntoIterator<Item = &'a ChainEntry>) -> Self {
        entries.into_iter().fold(Self::NotBegun, |place, entry| {
            let ours = entry.deployment_id == *id;
            match (&entry.event, &place) {
                (ChainEvent::Begun { .. }, _) if ours => Self::Open,
                (ChainEvent::Begun { .. }, Self::Open) => Self::Overtaken(entry.deployment_id.clone()),
                (ChainEvent::Deployed { .. } | ChainEvent::Failed { .. }, Self::Open) if ours => {
                    Self::Closed(Box::new(entry.clone()))
                }
                (ChainEvent::RolledBack { subject, .. }, _) if subject == id => {
                    Self::Closed(Box::new(entry.clone()))
                }
                _ => place,
            }
        })
    }

    /// True if somebody rolled it back.
    pub(crate) fn rolled_back(&self) -> bool {
        matches!(self, Self::Closed(entry) if matches!(entry.event, ChainEvent::RolledBack { .. }))
    }

    /// The digest of the record that the closing entry names.
    pub(crate) fn record_sha256(&self) -> Option<&Sha256> {
        match self {
            Self::Closed(entry) => record_sha256(&entry.event),
            _ => None,
        }
    }
}

/// The digest of the record that an entry names.
pub(crate) fn record_sha256(event: &ChainEvent) -> Option<&Sha256> {
    match event {
        ChainEvent::Deployed { record_sha256, .. } => Some(record_sha256),
        ChainEvent::Failed { record_sha256, .. } => record_sha256.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::{DeploymentKind, RecordStatus};

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn chain(events: &[(&str, ChainEvent)]) -> Vec<ChainEntry> {
        let entry = |(index, (deployment, event)): (usize, &(&str, ChainEvent))| ChainEntry {
            schema: String::new(),
            sequence: index as u64 + 1,
            previous_sha256: None,
            app: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            deployment_id: id(deployment),
            at: jiff::Timestamp::UNIX_EPOCH,
            actor: None,
            event: event.clone(),
        };
        events.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn the_table() {
        let begun = || ChainEvent::Begun {
            version: "2.0.0".into(),
            sha: String::new(),
            kind: DeploymentKind::Release,
            services: Vec::new(),
            config_sha256: Sha256::of(b""),
        };
        let failed = || ChainEvent::Failed {
            status: RecordStatus::Failed,
            because: String::new(),
            record_sha256: None,
        };
        let undone =
            |subject| ChainEvent::RolledBack { subject: id(subject), target: None, why: String::new() };
        let place = |events: &[(&str, ChainEvent)]| Place::of(&id("deploy-2"), &chain(events));
        let closed_by = |place: Place| match place {
            Place::Closed(entry) => Some(entry.sequence),
            _ => None,
        };
        assert_eq!(place(&[("deploy-1", begun())]), Place::NotBegun);
        assert_eq!(place(&[("deploy-2", begun())]), Place::Open);
        assert_eq!(place(&[("deploy-2", begun()), ("deploy-1", failed())]), Place::Open);
        assert_eq!(place(&[("deploy-2", begun()), ("deploy-3", begun())]), Place::Overtaken(id("deploy-3")));
        assert_eq!(closed_by(place(&[("deploy-2", begun()), ("deploy-2", failed())])), Some(2));
        let again = [("deploy-2", begun()), ("deploy-2", failed()), ("deploy-2", begun())];
        assert_eq!(place(&again), Place::Open, "what has begun again is open again");
        let rolled_back = place(&[("deploy-2", begun()), ("rollback-1", undone("deploy-2"))]);
        assert!(rolled_back.rolled_back() && closed_by(rolled_back) == Some(2));
        let other = [("deploy-2", begun()), ("rollback-1", undone("deploy-1"))];
        assert_eq!(place(&other), Place::Open);
    }
}
