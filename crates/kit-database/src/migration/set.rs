use super::{MigrationStatus, RecordedMigration, hex, status};
use crate::DatabaseError;
use sqlx::migrate::{Migration, Migrator};
use std::collections::BTreeMap;
use std::path::Path;

/// One migration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationFile {
    /// Its version; migrations are applied in this order.
    pub version: i64,
    /// Its description, underscores as blanks.
    pub description: String,
    /// SHA-384 of its bytes, hexadecimal.
    pub checksum: String,
    /// True if it asks to run outside a transaction (first line `-- no-transaction`). If such a
    /// migration fails, parts of it may stay.
    pub no_transaction: bool,
}

/// The migrations of one folder, read once.
#[derive(Debug)]
pub struct MigrationSet {
    folder: String,
    /// Only a reader and a list here: each engine drives it one migration at a time.
    migrator: Migrator,
}

impl MigrationSet {
    /// Reads a folder of `<version>_<description>.sql` files. `.down.sql` files are never applied.
    ///
    /// # Errors
    /// If the folder cannot be read, a `.sql` file has another name, or two have the same version.
    pub async fn read(folder: &Path) -> Result<Self, DatabaseError> {
        let shown = folder.display().to_string();
        let refuse = |problem: String| DatabaseError::Migrations { folder: shown.clone(), problem };
        let names =
            kit_core::fs::list(folder)?.ok_or_else(|| refuse("there is no such folder".to_owned()))?;
        check_names(&names).map_err(refuse)?;
        let mut migrator = Migrator::new(folder).await.map_err(|error| DatabaseError::Migrations {
            folder: shown.clone(),
            problem: kit_core::sanitise(&error.to_string()),
        })?;
        // Its lock waits without bound; the engines serialise in their own way.
        migrator.set_locking(false);
        Ok(Self { folder: shown, migrator })
    }

    /// The folder, for people.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The migrations in the order in which they are applied.
    pub fn list(&self) -> Vec<MigrationFile> {
        self.ups().map(file).collect()
    }

    /// Compares the folder with what a database records. Pure.
    pub fn status(&self, recorded: &[RecordedMigration]) -> MigrationStatus {
        status::status(&self.ups().collect::<Vec<_>>(), recorded)
    }

    pub(crate) fn find(&self, version: i64) -> Option<&Migration> {
        self.ups().find(|migration| migration.version == version)
    }

    fn ups(&self) -> impl Iterator<Item = &Migration> {
        self.migrator.iter().filter(|migration| migration.migration_type.is_up_migration())
    }
}

pub(super) fn file(migration: &Migration) -> MigrationFile {
    MigrationFile {
        version: migration.version,
        description: migration.description.to_string(),
        checksum: hex(&migration.checksum),
        no_transaction: migration.no_tx,
    }
}

/// sqlx passes over files whose names it does not understand; a migration that is never applied
/// because of a typing error must not go unnoticed.
fn check_names(names: &[String]) -> Result<(), String> {
    let mut seen: BTreeMap<i64, &str> = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(".sql") && !name.starts_with('.')) {
        let version = name
            .split_once('_')
            .and_then(|(version, _)| version.parse::<i64>().ok())
            .filter(|version| *version > 0)
            .ok_or_else(|| format!("{name:?} is not named <version>_<description>.sql"))?;
        if name.ends_with(".down.sql") {
            continue;
        }
        if let Some(other) = seen.insert(version, name) {
            return Err(format!("{other:?} and {name:?} have the same version"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_names;

    #[test]
    fn names_that_would_be_passed_over_are_refused() {
        for (names, expected) in [
            (&["0001_a.sql", "2_b.up.sql", "2_b.down.sql", "README.md"][..], Ok(())),
            (&["1-a.sql"], Err("\"1-a.sql\" is not named <version>_<description>.sql")),
            (&["v1_a.sql"], Err("\"v1_a.sql\" is not named <version>_<description>.sql")),
            (&["0_a.sql"], Err("\"0_a.sql\" is not named <version>_<description>.sql")),
            (&["01_a.sql", "1_b.sql"], Err("\"01_a.sql\" and \"1_b.sql\" have the same version")),
        ] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(check_names(&names), expected.map_err(str::to_owned), "{names:?}");
        }
    }
}
