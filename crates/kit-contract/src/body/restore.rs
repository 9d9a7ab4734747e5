use super::{AssertionResult, Engine, TableRows};
use crate::{ArtifactKind, Body, DeploymentId, Name, Sha256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was restored into one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseRestore {
    /// The database.
    pub database: Name,
    /// Its engine.
    pub engine: Engine,
    /// The backup that was restored, without credentials.
    pub source: String,
    /// Digest of the backup, compared before restoring.
    pub source_sha256: Sha256,
    /// Everything committed after this moment is not in the backup.
    pub snapshot_at: Timestamp,
    /// Where it was restored to, without credentials.
    pub restored_to: String,
    /// Where the database that was there before is kept; absent if there was none.
    pub kept: Option<String>,
    /// True if the restored database took the place of the live one.
    pub swapped: bool,
    /// Rows per table after restoring.
    pub tables: Vec<TableRows>,
    /// True if the content of every row was compared with what was backed up, beside schema and numbers of rows.
    /// Absent as long as nothing was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_compared: Option<bool>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_limit: Option<String>,
    /// What came of the user's assertions, asked of what was restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionResult>,
    /// How long fetching and restoring took, until everything was in it, in milliseconds. Absent as long as nothing was
    /// restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_ms: Option<u64>,
    /// How long reading it back, comparing and the user's assertions took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_ms: Option<u64>,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restore {
    /// The deployment whose backup was restored.
    pub subject: DeploymentId,
    /// True if nothing was changed and this only says what would be.
    pub dry_run: bool,
    /// True if live databases are overwritten where they stand: what they held is lost.
    #[serde(default)]
    pub in_place: bool,
    /// One per database.
    pub databases: Vec<DatabaseRestore>,
}

impl Body for Restore {
    const KIND: ArtifactKind = ArtifactKind::Restore;
}
