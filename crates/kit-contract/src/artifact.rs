//! Which kinds of artifact there are, and what their files are called.

use crate::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A kind of artifact. One step writes it; the others read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// What is to be deployed (`validate-tag`).
    Deployment,
    /// Go or no-go before anything is touched (`preflight`).
    Preflight,
    /// Can this deploy be undone? (`preflight readiness`).
    Readiness,
    /// Backups and the level of proof reached (`db-backup`).
    Backup,
    /// Migrations applied (`migrate`).
    Migration,
    /// Traffic asked for and observed, per stage (`rollout`).
    Rollout,
    /// The verdict on one stage (`canary-gate`).
    Gate,
    /// The result of the smoke checks (`smoke-test`).
    Smoke,
    /// A deploy that has begun: lock and chain entry (`deploy-record begin`).
    Begin,
    /// The record of the deployment (`deploy-record finish`).
    Record,
    /// What was undone (`rollback`).
    Rollback,
    /// What was restored (`db-restore`).
    Restore,
    /// A restore that was tried, and how long it took (`db-restore drill`).
    Drill,
    /// What was sent to whom (`notify`).
    Notice,
}

impl ArtifactKind {
    /// Every kind, in pipeline order.
    pub const ALL: &'static [Self] = &[
        Self::Deployment,
        Self::Preflight,
        Self::Begin,
        Self::Readiness,
        Self::Backup,
        Self::Migration,
        Self::Rollout,
        Self::Gate,
        Self::Smoke,
        Self::Record,
        Self::Rollback,
        Self::Restore,
        Self::Drill,
        Self::Notice,
    ];

    /// The word used in schema names and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Preflight => "preflight",
            Self::Readiness => "readiness",
            Self::Backup => "backup",
            Self::Migration => "migration",
            Self::Rollout => "rollout",
            Self::Gate => "gate",
            Self::Smoke => "smoke",
            Self::Begin => "begin",
            Self::Record => "record",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Notice => "notice",
        }
    }

    /// The `schema` of the envelope, for example `deploy-kit/backup/v1`.
    pub fn schema(self) -> String {
        format!("deploy-kit/{}/v1", self.as_str())
    }
}

impl std::fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of one kind of artifact.
pub trait Body: Serialize + DeserializeOwned + JsonSchema + Send + Sync + Clone + 'static {
    /// The kind whose body this is.
    const KIND: ArtifactKind;
}

/// Names one artifact of a deployment: a kind, and a qualifier where there are several of it
/// (`gate-canary`, `gate-full`). The file is `<name>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactName {
    /// The kind.
    pub kind: ArtifactKind,
    /// Stage or purpose; `None` where a deployment has only one.
    pub qualifier: Option<Name>,
}

/// The text names no artifact.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} names no artifact: use <kind> or <kind>-<qualifier>, for example \"backup\" or \"gate-canary\""
)]
pub struct ParseArtifactNameError(String);

impl ArtifactName {
    /// The only artifact of its kind.
    pub const fn only(kind: ArtifactKind) -> Self {
        Self { kind, qualifier: None }
    }

    /// One of several of its kind.
    pub const fn qualified(kind: ArtifactKind, qualifier: Name) -> Self {
        Self { kind, qualifier: Some(qualifier) }
    }

    /// `<name>.json`.
    pub fn file_name(&self) -> String {
        format!("{self}.json")
    }
}

impl std::fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.qualifier {
            None => f.write_str(self.kind.as_str()),
            Some(qualifier) => write!(f, "{}-{qualifier}", self.kind.as_str()),
        }
    }
}

impl std::str::FromStr for ArtifactName {
    type Err = ParseArtifactNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseArtifactNameError(text.chars().take(80).collect());
        for &kind in ArtifactKind::ALL {
            if text == kind.as_str() {
                return Ok(Self::only(kind));
            }
            if let Some(rest) = text.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix('-')) {
                return Ok(Self::qualified(kind, rest.parse().map_err(|_| fail())?));
            }
        }
        Err(fail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &kind in ArtifactKind::ALL {
            let plain = ArtifactName::only(kind);
            assert_eq!(plain.to_string().parse(), Ok(plain));
            let staged = ArtifactName::qualified(kind, "half-way".parse().unwrap());
            assert_eq!(staged.to_string().parse(), Ok(staged));
        }
        for bad in ["", "gates", "gate-", "gate-A", "../gate", "gate-../x"] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad}");
        }
    }
}
