use crate::{ArtifactKind, Body, Name};
use jiff::Timestamp;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

/// Why a deployment is made. A kind's profile says which checks may be skipped, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentKind {
    /// A planned release.
    Release,
    /// A small release that repairs the one before.
    Hotfix,
    /// A release that cannot wait for the usual checks.
    Emergency,
    /// A version that ran before, deployed again.
    Redeploy,
    /// A branch or commit, for environments that are not production.
    Branch,
    /// The way back to an earlier version.
    Rollback,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// A service and the version of it that is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceVersion {
    /// The service.
    pub name: Name,
    /// The version as the service reports it, without a leading `v`.
    pub version: String,
    /// Digest of the image or bundle (`sha256:…`), where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The commit that is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Full object id, 40 or 64 hexadecimal characters.
    pub sha: String,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// What is to be deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// The version, without a leading `v`.
    #[schemars(with = "String")]
    pub version: Version,
    /// The tag, as it stands in the repository.
    pub tag: String,
    /// The commit behind the tag.
    pub commit: Commit,
    /// The full git reference that started the run, for example `refs/tags/v1.2.3`.
    pub git_ref: String,
    /// True if the tag is an object of its own, with author and date.
    pub annotated: bool,
    /// The release branch that holds the commit, where one is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Why this deployment is made.
    pub kind: DeploymentKind,
    /// What is deployed, in the order of `deploy.toml`.
    pub services: Vec<ServiceVersion>,
    /// The stages of the rollout, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Name>,
    /// Digest of the effective configuration, with this environment's overlay applied.
    pub config_sha256: crate::Sha256,
}

impl Body for Deployment {
    const KIND: ArtifactKind = ArtifactKind::Deployment;
}
