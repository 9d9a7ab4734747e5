//! Which backups there are, and which one is meant. Choosing is pure.
//!
//! A backup is its metadata: what has none was never finished, and what was not proved is not offered.

use kit_contract::body::{BundleBackup, DatabaseBackup, ExternalBackup, Proof};
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::StepError;
use kit_store::{Key, Layout, Store};
use std::collections::BTreeMap;

/// Which deployment's backup is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest that has all databases.
    Latest,
    /// This one.
    Deployment(DeploymentId),
}

impl std::str::FromStr for Wanted {
    type Err = kit_contract::IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" { Ok(Self::Latest) } else { text.parse().map(Self::Deployment) }
    }
}

/// The backups that were found.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    backups: BTreeMap<DeploymentId, Vec<DatabaseBackup>>,
    /// Those that other tools made, which alone restore them.
    external: Vec<ExternalBackup>,
    /// Metadata that cannot be used, and why.
    pub(crate) unusable: Vec<String>,
}

/// The backups to restore, all of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) deployment: DeploymentId,
    pub(crate) backups: Vec<DatabaseBackup>,
}

impl Catalogue {
    /// Reads the metadata of every backup that `wanted` may mean.
    pub(crate) async fn read(store: &dyn Store, layout: &Layout, wanted: &Wanted) -> Result<Self, StepError> {
        let prefix = layout.backups_prefix();
        let mut catalogue = Self::default();
        for name in store.list(&prefix).await? {
            let Some(id) = deployment_of(&prefix, &name) else { continue };
            if matches!(wanted, Wanted::Deployment(only) if *only != id) {
                continue;
            }
            let Ok(key) = name.parse::<Key>() else { continue };
            // Removed since the listing: then it is no backup any more.
            let Some(object) = store.get(&key).await? else { continue };
            catalogue.add(id, &name, &object.bytes);
        }
        Ok(catalogue)
    }

    fn add(&mut self, id: DeploymentId, key: &str, metadata: &[u8]) {
        match serde_json::from_slice::<DatabaseBackup>(metadata) {
            Ok(backup) if backup.metadata_key != key => {
                self.unusable.push(format!("{key} says that it is {}", backup.metadata_key));
            }
            Ok(backup) if backup.proof == Proof::None => {
                self.unusable.push(format!("{key} says that the backup was never proved"));
            }
            Ok(backup) => self.backups.entry(id).or_default().push(backup),
            Err(error) => match serde_json::from_slice::<ExternalBackup>(metadata) {
                Ok(backup) if backup.metadata_key == key && backup.deployment_id == id => {
                    self.external.push(backup);
                }
                // Files, which `bundle` brings back.
                _ if serde_json::from_slice::<BundleBackup>(metadata).is_ok() => {}
                _ => self.unusable.push(format!("{key} cannot be read: {error}")),
            },
        }
    }

    /// The backups of these databases.
    pub(crate) fn choose(&self, wanted: &Wanted, databases: &[Name]) -> Result<Chosen, StepError> {
        let complete = self.backups.iter().filter_map(|(id, backups)| {
            let backups: Option<Vec<DatabaseBackup>> = databases
                .iter()
                .map(|name| backups.iter().find(|backup| backup.database == *name).cloned())
                .collect();
            Some(Chosen { deployment: id.clone(), backups: backups? })
        });
        // A deployment is as old as the oldest of its backups.
        let newest =
            complete.max_by_key(|chosen| chosen.backups.iter().map(|backup| backup.snapshot_at).min());
        newest.ok_or_else(|| self.elsewhere(databases).unwrap_or_else(|| self.not_found(wanted, databases)))
    }

    /// The newest backup of these databases that another tool made, as a refusal that says how to restore it.
    fn elsewhere(&self, databases: &[Name]) -> Option<StepError> {
        let mut newest: Vec<&ExternalBackup> = Vec::new();
        for name in databases {
            let of_one = self.external.iter().filter(|backup| backup.database == *name);
            newest.extend(of_one.max_by_key(|backup| backup.content_at));
        }
        let first = newest.first()?;
        let message =
            format!("the backup of {} was made by another tool: it is not restored here", first.database);
        let error = StepError::new(Reason::RestoreExternal, message);
        let rest = databases.iter().filter(|name| !newest.iter().any(|backup| backup.database == **name));
        let rest: Vec<String> = rest.map(|name| format!("--database {name}")).collect();
        let error = newest.into_iter().fold(error, |error, backup| error.hint(advice(backup)));
        Some(if rest.is_empty() { error } else { error.hint(format!("for the others: {}", rest.join(" "))) })
    }

    /// Those of other tools that are newer than what was chosen, for people.
    pub(crate) fn newer_elsewhere(&self, chosen: &Chosen) -> Vec<String> {
        let newer = |external: &&ExternalBackup| {
            let own = chosen.backups.iter().find(|backup| backup.database == external.database);
            own.is_some_and(|own| own.snapshot_at < external.content_at)
        };
        self.external.iter().filter(newer).map(|external| format!("newer: {}", advice(external))).collect()
    }

    fn not_found(&self, wanted: &Wanted, databases: &[Name]) -> StepError {
        let names = databases.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ");
        let whose = match wanted {
            Wanted::Latest => "any deployment".to_owned(),
            Wanted::Deployment(id) => format!("deployment {id}"),
        };
        let message = format!("there is no finished and proved backup of {names} by {whose}");
        let mut error = StepError::new(Reason::BackupNotFound, message);
        for (id, backups) in self.backups.iter().rev().take(3) {
            let found: Vec<&str> = backups.iter().map(|backup| backup.database.as_str()).collect();
            let flags: Vec<String> = found.iter().map(|name| format!("--database {name}")).collect();
            let (found, flags) = (found.join(" and "), flags.join(" "));
            error = error.hint(format!("{id} has a backup of {found} alone: {flags}"));
        }
        for why in self.unusable.iter().take(3) {
            error = error.hint(format!("not offered: {why}"));
        }
        if matches!(wanted, Wanted::Deployment(_)) && self.backups.is_empty() {
            error = error.hint(
                "with backup.when = \"pending_migrations\", a deploy that has nothing to migrate makes none; \
                 --deployment latest takes the newest that there is",
            );
        }
        error
    }
}

fn advice(backup: &ExternalBackup) -> String {
    format!(
        "{} as it was at {:.0} is {} at {} (made by {}): {}",
        backup.database,
        backup.content_at,
        backup.id,
        backup.location,
        backup.command.join(" "),
        backup.restore
    )
}

/// The deployment whose metadata this is: `backup-<id>.json` or `backup-<id>.<database>.json`.
pub(crate) fn deployment_of(prefix: &str, key: &str) -> Option<DeploymentId> {
    let stem = key.strip_prefix(prefix)?.strip_suffix(".json")?;
    stem.split_once('.').map_or(stem, |(id, _)| id).parse().ok()
}

/// Refuses a backup whose object is gone or has another size, before anything is begun.
pub(crate) async fn check_object(store: &dyn Store, backup: &DatabaseBackup) -> Result<(), StepError> {
    let key = object_key(backup)?;
    match store.head(&key).await? {
        Some(found) if found.size_bytes == backup.size_bytes => Ok(()),
        Some(found) => Err(StepError::new(
            Reason::RestoreMismatch,
            format!("{key} has {} bytes, not the {} of the backup", found.size_bytes, backup.size_bytes),
        )),
        None => Err(StepError::new(Reason::BackupNotFound, format!("{key} is gone from the store"))),
    }
}

/// The key of the object.
pub(crate) fn object_key(backup: &DatabaseBackup) -> Result<Key, StepError> {
    backup.key.parse().map_err(|error: kit_store::KeyError| {
        StepError::new(Reason::ArtifactInvalid, format!("{} names no object", backup.metadata_key))
            .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Sha256;
    use kit_contract::body::Engine;

    const PREFIX: &str = "shop/production/backup-";

    fn metadata(key: &str, database: &str, second: i64, proof: Proof) -> Vec<u8> {
        let backup = DatabaseBackup {
            database: database.parse().unwrap(),
            engine: Engine::Sqlite,
            engine_version: "3".to_owned(),
            location: "file:store/a".to_owned(),
            key: "a".to_owned(),
            metadata_key: key.to_owned(),
            sha256: Sha256::of(b"a"),
            size_bytes: 1,
            uncompressed_bytes: 2,
            tables: Vec::new(),
            schema_sha256: Sha256::of(b"c"),
            proof,
            snapshot_at: jiff::Timestamp::from_second(second).unwrap(),
            verified_at: jiff::Timestamp::from_second(second).unwrap(),
            adopted: false,
            details: Default::default(),
        };
        serde_json::to_vec(&backup).unwrap()
    }

    fn catalogue(entries: &[(&str, &str, i64, Proof)]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for (index, (id, database, second, proof)) in entries.iter().enumerate() {
            let key = format!("{PREFIX}{id}.n{index}.json");
            catalogue.add(
                deployment_of(PREFIX, &key).unwrap(),
                &key,
                &metadata(&key, database, *second, *proof),
            );
        }
        catalogue
    }

    fn choose(catalogue: &Catalogue, wanted: &str, databases: &[&str]) -> Option<String> {
        let names: Vec<Name> = databases.iter().map(|name| name.parse().unwrap()).collect();
        catalogue.choose(&wanted.parse().unwrap(), &names).ok().map(|chosen| chosen.deployment.to_string())
    }

    #[test]
    fn keys_of_metadata() {
        for (key, expected) in [
            ("backup-1763712000-abc1234.json", Some("1763712000-abc1234")),
            ("backup-1763712000-abc1234.users.json", Some("1763712000-abc1234")),
            ("backup-1763712000-abc1234.sqlite.gz", None),
            ("backup-.json", None),
            ("backup-x.json", None),
        ] {
            let id = deployment_of(PREFIX, &format!("shop/production/{key}"));
            assert_eq!(id.as_ref().map(DeploymentId::as_str), expected, "{key}");
        }
    }

    #[test]
    fn latest_is_the_newest_content_of_all_databases_and_never_an_unproved_one() {
        let found = catalogue(&[
            ("deploy-01", "main", 100, Proof::Full),
            ("deploy-01", "users", 101, Proof::Full),
            ("deploy-02", "main", 300, Proof::Schema),
            ("deploy-02", "users", 50, Proof::Full),
            ("deploy-03", "main", 200, Proof::Full),
            ("deploy-04", "main", 900, Proof::None),
        ]);
        assert_eq!(choose(&found, "latest", &["main"]).as_deref(), Some("deploy-02"));
        assert_eq!(choose(&found, "latest", &["users"]).as_deref(), Some("deploy-01"));
        assert_eq!(choose(&found, "latest", &["main", "users"]).as_deref(), Some("deploy-01"));
        assert_eq!(choose(&found, "latest", &["other"]), None);
        assert_eq!(found.unusable.len(), 1);
        assert_eq!(choose(&Catalogue::default(), "latest", &["main"]), None);
    }

    #[test]
    fn metadata_that_was_moved_or_cut_is_not_offered() {
        let mut found = Catalogue::default();
        let id: DeploymentId = "deploy-01".parse().unwrap();
        let whole = metadata("elsewhere.json", "main", 1, Proof::Full);
        found.add(id.clone(), "here.json", &whole);
        found.add(id, "elsewhere.json", &whole[..whole.len() / 2]);
        assert_eq!(choose(&found, "deploy-01", &["main"]), None);
        assert_eq!(found.unusable.len(), 2);
    }
}
