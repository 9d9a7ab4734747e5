use crate::{DeploymentId, Name};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What another tool says that it did to know that its backup is good. Weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// It was made, and the tool reported success.
    #[default]
    Created,
    /// It was read again and its checksums compared.
    Checked,
    /// It was restored somewhere.
    Restored,
}

impl Claim {
    /// The word used in `deploy.toml` and artifacts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Checked => "checked",
            Self::Restored => "restored",
        }
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells the metadata of such a backup from that of one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExternalKind {
    /// The only one.
    External,
}

/// The answer of a program that has another tool make a backup: one JSON object on stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAnswer {
    /// `deploy-kit/external-backup/v1`.
    pub schema: String,
    /// What the tool calls the backup.
    pub id: String,
    /// The moment whose content it holds: everything committed before is in it. Not the end of the upload.
    pub content_at: Timestamp,
    /// Where it lies, for people; without credentials.
    pub location: String,
    /// What the tool did to know that it is good.
    pub claim: Claim,
    /// When the tool removes it; absent: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The command, or what else to do, that restores it. For people: never run by us.
    pub restore: String,
}

impl ExternalAnswer {
    /// What `schema` must be.
    pub const SCHEMA: &'static str = "deploy-kit/external-backup/v1";
}

/// A backup that another tool made and vouches for: nothing about it was proved here, and only that tool
/// restores it. Also the metadata object in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalBackup {
    /// `external`.
    pub kind: ExternalKind,
    /// The database, as `deploy.toml` names it.
    pub database: Name,
    /// The deployment for which it was made.
    pub deployment_id: DeploymentId,
    /// What the tool calls it.
    pub id: String,
    /// The moment whose content it holds.
    pub content_at: Timestamp,
    /// Where it lies.
    pub location: String,
    /// What the tool says that it did.
    pub claim: Claim,
    /// When the tool removes it; absent: not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The command, or what else to do, that restores it.
    pub restore: String,
    /// The program that was asked, with its arguments.
    pub command: Vec<String>,
    /// Key of this metadata in the store.
    pub metadata_key: String,
    /// When the answer was taken.
    pub recorded_at: Timestamp,
    /// True if an earlier run of this deployment had it made.
    #[serde(default)]
    pub adopted: bool,
}
