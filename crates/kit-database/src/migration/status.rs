use super::{MigrationFile, hex, set::file};
use crate::DatabaseError;
use kit_contract::body::AppliedMigration;
use sqlx::migrate::Migration;
use std::collections::BTreeMap;

/// A row of the bookkeeping table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMigration {
    /// Version.
    pub version: i64,
    /// Description at the time it was applied.
    pub description: String,
    /// False if it failed half-way.
    pub success: bool,
    /// SHA-384 of the file as it was applied.
    pub checksum: Vec<u8>,
}

impl RecordedMigration {
    /// As artifacts hold it, applied before this run.
    pub fn applied(&self) -> AppliedMigration {
        AppliedMigration {
            version: self.version.to_string(),
            description: self.description.clone(),
            checksum: hex(&self.checksum),
            duration_ms: None,
        }
    }
}

/// How a migration that was applied differs from the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// Its text was changed.
    Changed,
    /// Only the line ends of its text differ (CRLF against LF), as a checkout on another system does it.
    LineEnds,
    /// Its file is gone.
    Missing,
}

/// A migration that was applied and is not that of the folder any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Its version.
    pub version: i64,
    /// Its description as recorded.
    pub description: String,
    /// How it differs.
    pub kind: DriftKind,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            DriftKind::Changed => "its text was changed",
            DriftKind::LineEnds => "only its line ends differ, CRLF against LF",
            DriftKind::Missing => "its file is gone",
        };
        write!(f, "{} {} ({kind})", self.version, self.description)
    }
}

/// How a folder of migrations compares with a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Applied, by version.
    pub applied: Vec<AppliedMigration>,
    /// Still to be applied, in order.
    pub pending: Vec<MigrationFile>,
    /// Applied, but not as the folder has it.
    pub drifted: Vec<Drift>,
    /// Versions that failed half-way.
    pub dirty: Vec<i64>,
}

impl MigrationStatus {
    /// An error if nothing may be applied on top of this.
    ///
    /// # Errors
    /// [`DatabaseError::Dirty`] or [`DatabaseError::Drifted`].
    pub fn check(&self, database: &str) -> Result<(), DatabaseError> {
        if !self.dirty.is_empty() {
            return Err(DatabaseError::Dirty { database: database.to_owned(), list: join(&self.dirty) });
        }
        if !self.drifted.is_empty() {
            return Err(DatabaseError::Drifted { database: database.to_owned(), list: join(&self.drifted) });
        }
        Ok(())
    }

    /// Versions still to be applied, as artifacts hold them.
    pub fn pending_versions(&self) -> Vec<String> {
        self.pending.iter().map(|file| file.version.to_string()).collect()
    }
}

fn join<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn status(files: &[&Migration], recorded: &[RecordedMigration]) -> MigrationStatus {
    let mut folder: BTreeMap<i64, &Migration> =
        files.iter().map(|migration| (migration.version, *migration)).collect();
    let mut found = MigrationStatus::default();
    for row in recorded {
        let file = folder.remove(&row.version);
        if !row.success {
            found.dirty.push(row.version);
            continue;
        }
        found.applied.push(row.applied());
        if let Some(kind) = drift(file, row) {
            found.drifted.push(Drift { version: row.version, description: row.description.clone(), kind });
        }
    }
    found.pending = folder.into_values().map(file).collect();
    found
}

fn drift(file: Option<&Migration>, row: &RecordedMigration) -> Option<DriftKind> {
    let Some(file) = file else { return Some(DriftKind::Missing) };
    if *file.checksum == *row.checksum {
        return None;
    }
    let unix = file.sql.as_str().replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    let same = |text: String| *checksum(file, text) == *row.checksum;
    Some(if same(unix) || same(windows) { DriftKind::LineEnds } else { DriftKind::Changed })
}

/// The checksum that sqlx would give the file if it had this text.
fn checksum(file: &Migration, text: String) -> Vec<u8> {
    use sqlx::SqlSafeStr as _;
    let sql = sqlx::AssertSqlSafe(text).into_sql_str();
    let twin = Migration::new(file.version, file.description.clone(), file.migration_type, sql, file.no_tx);
    twin.checksum.into_owned()
}
