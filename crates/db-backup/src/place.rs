//! Where a backup lies, and what lies there already.

use crate::args::Args;
use jiff::{SignedDuration, Timestamp};
use kit_contract::body::{BundleBackup, DatabaseBackup, EarlierBackup, ExternalBackup, Proof};
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Context, ResultExt as _, StepError};
use kit_step::ToolContext;
use kit_store::{Key, Layout, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// After so long no run is still writing a backup: a job ends earlier.
const ABANDONED: SignedDuration = SignedDuration::from_hours(48);
/// A step that is stopped has to be gone after 7 s in all.
const ABANDON_LIMIT: Duration = Duration::from_secs(3);
/// How often a backup is begun anew beside copies that cannot be removed.
const MOST_ATTEMPTS: u32 = 9;
/// How many earlier backups are looked at.
const LOOK_BACK: usize = 8;

/// The store, and the part of it where this deployment's backups lie.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    layout: Layout,
    deployment: DeploymentId,
    /// True if the deployment has several databases, so that keys must name them.
    several: bool,
}

/// The two objects that make up one backup.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The compressed copy.
    pub(crate) key: Key,
    /// The commit marker.
    pub(crate) metadata: Key,
}

impl Slot {
    /// The key of an attempt: the first is the key itself, the second `backup-<id>.attempt-2.sql.gz`.
    fn attempt(&self, number: u32) -> Result<Key, StepError> {
        let key = self.key.as_str();
        let extensions = self.metadata.as_str().strip_suffix(".json").and_then(|stem| key.strip_prefix(stem));
        match (number, extensions) {
            (1, _) | (_, None) => Ok(self.key.clone()),
            (_, Some(extensions)) => {
                let stem = key.strip_suffix(extensions).unwrap_or(key);
                let key = format!("{stem}.attempt-{number}{extensions}").parse();
                key.or_reason(Reason::InternalError, "a backup cannot be named")
            }
        }
    }

    /// The slot of a backup that was finished, if its key is one of this slot's: of whichever attempt, format and
    /// encryption. Those may have been decided anew since.
    pub(crate) fn finished(&self, key: &str) -> Option<Self> {
        let rest = key.strip_prefix(self.metadata.as_str().strip_suffix(".json")?)?.strip_prefix('.')?;
        let mut parts: Vec<&str> = rest.split('.').collect();
        parts.pop_if(|last| *last == "age");
        if let Some(number) = parts.first().and_then(|first| first.strip_prefix("attempt-")) {
            number.parse().ok().filter(|number| (2..=MOST_ATTEMPTS).contains(number))?;
            parts.remove(0);
        }
        let [extension, "gz"] = parts.as_slice() else { return None };
        let is_one = !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_lowercase());
        is_one.then_some(())?;
        Some(Self { key: key.parse().ok()?, ..self.clone() })
    }
}

impl Place {
    /// Opens the store of flag or configuration.
    pub(crate) async fn open(args: &Args, cx: &ToolContext, several: bool) -> Result<Self, StepError> {
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        Ok(Self { store, layout, deployment: identity.deployment_id, several })
    }

    /// The only database of a deployment, in this store.
    #[cfg(test)]
    pub(crate) fn for_test(store: Arc<dyn Store>) -> Result<Self, kit_contract::IdentityError> {
        let layout = Layout::new("shop".parse()?, "production".parse()?);
        Ok(Self { store, layout, deployment: "1763712000-abc1234".parse()?, several: false })
    }

    /// Where the backup of one database belongs, with this extension: `sql.gz`.
    pub(crate) fn slot(&self, database: &Name, extension: &str) -> Result<Slot, StepError> {
        let name = self.several.then_some(database);
        let key = self.layout.backup(&self.deployment, name, extension);
        let key = key.or_reason(Reason::InternalError, "a backup cannot be named")?;
        Ok(Slot { key, metadata: self.layout.backup_metadata(&self.deployment, name) })
    }

    /// Where the bundle of files belongs.
    pub(crate) fn bundle_slot(&self, name: &Name, extension: &str) -> Result<Slot, StepError> {
        let key = self.layout.backup(&self.deployment, Some(name), extension);
        let key = key.or_reason(Reason::InternalError, "a bundle cannot be named")?;
        Ok(Slot { key, metadata: self.layout.backup_metadata(&self.deployment, Some(name)) })
    }

    /// The bundle, if a run of this deployment finished one.
    pub(crate) async fn bundle(&self, slot: &Slot) -> Result<Option<BundleBackup>, StepError> {
        let Some(object) = self.store.get(&slot.metadata).await? else { return Ok(None) };
        serde_json::from_slice(&object.bytes).map(Some).or_reason(
            Reason::ArtifactInvalid,
            format!("{} cannot be read, so nobody knows what it vouches for", self.location(&slot.metadata)),
        )
    }

    /// Where the metadata of one database belongs.
    pub(crate) fn metadata_key(&self, database: &Name) -> Key {
        self.layout.backup_metadata(&self.deployment, self.several.then_some(database))
    }

    /// What is known of a backup that another tool made for this deployment.
    pub(crate) async fn external(&self, metadata: &Key) -> Result<Option<ExternalBackup>, StepError> {
        let Some(object) = self.store.get(metadata).await? else { return Ok(None) };
        serde_json::from_slice(&object.bytes).map(Some).or_reason(
            Reason::ArtifactInvalid,
            format!("{} does not speak of a backup by another tool", self.location(metadata)),
        )
    }

    /// The address of an object, for people.
    pub(crate) fn location(&self, key: &Key) -> String {
        format!("{}/{key}", self.store.describe())
    }

    /// The metadata, if a run of this deployment finished this backup.
    pub(crate) async fn metadata(&self, slot: &Slot) -> Result<Option<DatabaseBackup>, StepError> {
        let Some(object) = self.store.get(&slot.metadata).await? else { return Ok(None) };
        serde_json::from_slice(&object.bytes).map(Some).or_reason(
            Reason::ArtifactInvalid,
            format!("{} cannot be read, so nobody knows what it vouches for", self.location(&slot.metadata)),
        )
    }

    /// Size of the newest earlier backup of this database, where that can be found quickly.
    pub(crate) async fn previous_size(&self, slot: &Slot, database: &Name) -> Option<u64> {
        let keys = self.store.list(&self.layout.backups_prefix()).await.ok()?;
        let earlier =
            keys.iter().rev().filter(|key| key.ends_with(".json") && **key != slot.metadata.as_str());
        for key in earlier.take(LOOK_BACK) {
            let Ok(key) = key.parse::<Key>() else { continue };
            let Ok(Some(object)) = self.store.get(&key).await else { continue };
            match serde_json::from_slice::<DatabaseBackup>(&object.bytes) {
                Ok(backup) if backup.database == *database => return Some(backup.size_bytes),
                _ => {}
            }
        }
        None
    }

    /// True if a run of this deployment finished a backup, of any database.
    pub(crate) async fn has_finished(&self) -> Result<bool, StepError> {
        let stem = format!("{}{}", self.layout.backups_prefix(), self.deployment);
        let rest = |key: &String| key.strip_prefix(&stem).is_some_and(|rest| rest.starts_with('.'));
        let keys = self.store.list(&stem).await?;
        Ok(keys.iter().any(|key| key.ends_with(".json") && rest(key)))
    }

    /// The newest proved backup of each of these databases that there is. Deployment ids begin with their second, so
    /// that the newest stand last.
    pub(crate) async fn newest_of(&self, databases: &[Name]) -> Result<Vec<EarlierBackup>, StepError> {
        let mut found: Vec<EarlierBackup> = Vec::new();
        let keys = self.store.list(&self.layout.backups_prefix()).await?;
        for name in keys.iter().rev().filter(|key| key.ends_with(".json")) {
            if found.len() == databases.len() {
                break;
            }
            let Ok(key) = name.parse::<Key>() else { continue };
            let Some(object) = self.store.get(&key).await? else { continue };
            // What cannot be read is no backup that anybody could restore.
            let Some(earlier) = earlier(name, &object.bytes) else { continue };
            let known = found.iter().any(|found| found.database == earlier.database);
            if !known && databases.contains(&earlier.database) {
                found.push(earlier);
            }
        }
        Ok(found)
    }

    /// A slot whose key is free. What stands there without metadata is removed, since nobody knows any more
    /// whether it is whole; where this run may remove nothing, the next attempt is written beside it.
    pub(crate) async fn clear(&self, cx: &Context, slot: Slot) -> Result<Slot, StepError> {
        self.sweep(cx, &slot).await;
        for attempt in 1..=MOST_ATTEMPTS {
            let key = slot.attempt(attempt)?;
            let Some(found) = self.store.head(&key).await? else { return Ok(Slot { key, ..slot }) };
            let location = self.location(&key);
            match self.store.delete(&key, &found.version).await {
                Ok(()) => {
                    cx.out.say(&format!(
                        "removed {location}: a run left it without metadata, so it was no backup"
                    ));
                    return Ok(Slot { key, ..slot });
                }
                Err(error) => {
                    let why = StepError::from(error).chain();
                    cx.out.say(&format!(
                        "{location} stays: a run left it without metadata, so it is no backup, and it cannot be \
                         removed ({why})"
                    ));
                }
            }
        }
        let location = self.location(&slot.key);
        Err(StepError::new(
            Reason::StoreUnreachable,
            format!(
                "{MOST_ATTEMPTS} runs left copies like {location} without metadata, and none can be removed"
            ),
        )
        .hint("remove them by hand, with more rights than this run has"))
    }

    /// Removes what killed runs began and never ended: of this backup, which is nobody else's, and of any
    /// other once no run can still be at it. It is no object and stands in nobody's way, so failing to
    /// remove it fails nothing.
    async fn sweep(&self, cx: &Context, slot: &Slot) {
        let long_ago = cx.clock.now().checked_sub(ABANDONED).unwrap_or(Timestamp::MIN);
        for (prefix, before) in
            [(slot.key.as_str(), Timestamp::MAX), (self.layout.backups_prefix().as_str(), long_ago)]
        {
            match self.store.remove_unfinished(prefix, before).await {
                Ok(keys) => {
                    for key in keys {
                        cx.out.say(&format!("removed what a killed run left of {key}"));
                    }
                }
                Err(error) => {
                    let why = StepError::from(error).chain();
                    cx.out.say(&format!("whether a killed run left something could not be found out: {why}"));
                    return;
                }
            }
        }
    }

    /// Ends an upload of ours that was given up, before the process is gone. Says what came of it.
    pub(crate) async fn abandon(&self, cx: &Context, slot: &Slot) -> String {
        let location = self.location(&slot.key);
        let work = self.store.remove_unfinished(slot.key.as_str(), Timestamp::MAX);
        let why = match cx.clock.timeout(ABANDON_LIMIT, work).await {
            Ok(Ok(_)) => return format!("nothing of it stays at {location}"),
            Ok(Err(error)) => StepError::from(error).chain(),
            Err(elapsed) => format!("the store did not answer within {} s", elapsed.limit.as_secs()),
        };
        format!(
            "parts of it may stay at {location} ({why}); they are no object, and the next run removes them"
        )
    }

    /// Removes a worthless object. Says what came of it.
    pub(crate) async fn discard(&self, slot: &Slot) -> String {
        let location = self.location(&slot.key);
        let removed = match self.store.head(&slot.key).await {
            Ok(Some(found)) => self.store.delete(&slot.key, &found.version).await,
            Ok(None) => return format!("{location} is not there any more"),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => format!("{location} was removed"),
            Err(error) => {
                let why = StepError::from(error).chain();
                format!("{location} could not be removed ({why}); without metadata it counts as no backup")
            }
        }
    }

    /// Makes a stored copy a backup, or a bundle: writes its metadata, which must not be there yet.
    pub(crate) async fn commit<T: serde::Serialize>(
        &self,
        cx: &Context,
        slot: &Slot,
        backup: &T,
    ) -> Result<(), StepError> {
        if cx.cancel.is_cancelled() {
            return Err(StepError::new(Reason::Interrupted, "stopped before the backup was finished")
                .hint("what is stored has no metadata, so it is no backup; the next run makes it anew"));
        }
        self.must_not_be_overwritten(slot).await?;
        self.write_metadata(cx, &slot.metadata, backup).await
    }

    /// A store that writes over what is there lets two runs mix their copies. It is asked to, with nothing in hand: if
    /// it does, the copy is spoiled, and has no metadata yet.
    async fn must_not_be_overwritten(&self, slot: &Slot) -> Result<(), StepError> {
        match self.store.create(&slot.key, b"").await {
            Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let address = self.store.describe();
                let what = "it created an object over an existing one";
                let error = StepError::from(StoreError::Unsuitable { address, what });
                Err(error.hint(self.discard(slot).await))
            }
        }
    }

    /// Writes metadata, which must not be there yet.
    pub(crate) async fn write_metadata<T: serde::Serialize>(
        &self,
        cx: &Context,
        metadata: &Key,
        backup: &T,
    ) -> Result<(), StepError> {
        let mut bytes = serde_json::to_vec_pretty(backup)
            .or_reason(Reason::InternalError, "the metadata of the backup cannot be written")?;
        bytes.push(b'\n');
        let Some(written) = cx.cancel.unless(self.store.create(metadata, &bytes)).await else {
            let message = format!("stopped while {} was written", self.location(metadata));
            return Err(StepError::new(Reason::Interrupted, message)
                .hint("whether it got there is not known: if it did, the next run finds a backup"));
        };
        match written {
            Ok(_) => Ok(()),
            // It may be written all the same.
            Err(error @ StoreError::Unreachable { .. }) => match self.store.get(metadata).await {
                Ok(Some(object)) if object.bytes == bytes => Ok(()),
                _ => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// What metadata says, of either kind, if it says it of itself. Pure.
fn earlier(key: &str, metadata: &[u8]) -> Option<EarlierBackup> {
    if let Ok(backup) = serde_json::from_slice::<DatabaseBackup>(metadata) {
        let usable = backup.proof != Proof::None && backup.metadata_key == key;
        let DatabaseBackup { database, location, snapshot_at, proof, .. } = backup;
        return usable.then_some(EarlierBackup { database, location, snapshot_at, proof });
    }
    let backup = serde_json::from_slice::<ExternalBackup>(metadata)
        .ok()
        .filter(|backup| backup.metadata_key == key)?;
    let ExternalBackup { database, location, content_at, .. } = backup;
    Some(EarlierBackup { database, location, snapshot_at: content_at, proof: Proof::External })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_backup_is_one_whatever_its_format_and_nothing_else_is() {
        let slot = |stem: &str| Slot {
            key: format!("shop/production/{stem}.sql.gz").parse().unwrap(),
            metadata: format!("shop/production/{stem}.json").parse().unwrap(),
        };
        for (stem, key, ours) in [
            ("backup-a", "shop/production/backup-a.sql.gz", true),
            ("backup-a", "shop/production/backup-a.dump.gz", true),
            ("backup-a", "shop/production/backup-a.sqlite.gz.age", true),
            ("backup-a", "shop/production/backup-a.attempt-2.tar.gz.age", true),
            ("backup-a.main", "shop/production/backup-a.main.attempt-9.sql.gz", true),
            ("backup-a", "shop/production/backup-a.attempt-10.sql.gz", false),
            ("backup-a", "shop/production/backup-a.attempt-1.sql.gz", false),
            ("backup-a", "shop/production/backup-a.main.sql.gz", false),
            ("backup-a", "shop/production/backup-ab.sql.gz", false),
            ("backup-a", "shop/production/backup-a.sql", false),
            ("backup-a", "shop/production/backup-a.gz", false),
            ("backup-a", "shop/production/backup-a.json", false),
            ("backup-a", "shop/production/backup-a./x.gz", false),
            ("backup-a", "other/production/backup-a.sql.gz", false),
        ] {
            let found = slot(stem).finished(key);
            assert_eq!(found.map(|slot| slot.key.to_string()), ours.then(|| key.to_owned()), "{key}");
        }
    }
}
