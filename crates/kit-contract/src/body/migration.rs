use crate::{ArtifactKind, Body, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which half of an expand-and-contract change is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationPhase {
    /// Before traffic is shifted: only changes that the old version can live with.
    Pre,
    /// After the rollback window: what only the new version needs gone.
    Post,
}

/// One migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedMigration {
    /// Its version, as the migration tool orders it.
    pub version: String,
    /// Its description.
    pub description: String,
    /// Checksum of its text, hexadecimal.
    pub checksum: String,
    /// How long it took; absent if it was applied before this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What was done to one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseMigration {
    /// The database.
    pub database: Name,
    /// Applied before this run.
    pub before: Vec<AppliedMigration>,
    /// Applied by this run, in order.
    pub applied: Vec<AppliedMigration>,
    /// Still to be applied, by version, after this run.
    pub pending: Vec<String>,
    /// The migration that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Migrations applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Migration {
    /// Which half was applied.
    pub phase: MigrationPhase,
    /// True if nothing was changed and this only says what would be.
    pub dry_run: bool,
    /// One per database, in the order of `deploy.toml`.
    pub databases: Vec<DatabaseMigration>,
}

impl Migration {
    /// How many migrations this run applied over all databases.
    pub fn applied_count(&self) -> usize {
        self.databases.iter().map(|database| database.applied.len()).sum()
    }
}

/// What the journal of `migrate` keeps of one migration, before and after it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournaledMigration {
    /// The database.
    pub database: Name,
    /// Its version.
    pub version: i64,
    /// Checksum of its text, hexadecimal.
    pub checksum: String,
    /// Which half of a change it belongs to.
    pub phase: MigrationPhase,
    /// Whether the database is another one now; absent before it was applied, and where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

impl Body for Migration {
    const KIND: ArtifactKind = ArtifactKind::Migration;
}
