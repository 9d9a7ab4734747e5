//! Migrations as plain SQL files, in the form of sqlx: what a folder holds and how that compares with
//! what a database records. Applying them is the engines' business.

mod set;
mod status;

pub use set::{MigrationFile, MigrationSet};
pub use status::{Drift, DriftKind, MigrationStatus, RecordedMigration};

use kit_contract::body::AppliedMigration;

/// The table in which sqlx keeps the books; the same as that of `sqlx migrate run`.
pub(crate) const BOOKS: &str = "_sqlx_migrations";

/// How applying a migration ended, when it ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationOutcome {
    /// This run applied it.
    Applied(AppliedMigration),
    /// Somebody else had applied it by the time this run held the database.
    AppliedElsewhere(AppliedMigration),
}

impl MigrationOutcome {
    /// The migration.
    pub const fn migration(&self) -> &AppliedMigration {
        match self {
            Self::Applied(migration) | Self::AppliedElsewhere(migration) => migration,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
