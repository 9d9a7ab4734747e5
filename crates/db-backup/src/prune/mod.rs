//! `db-backup prune`: removes backups that have had their time, on confirmation.
//!
//! A tool for a person or a schedule with more rights than a deploy has, which can remove no backup. What is
//! removed first is the metadata: from then on it is no backup, whatever becomes of the rest.

mod policy;

use jiff::{SignedDuration, Timestamp};
use kit_contract::Reason;
use kit_contract::body::{BundleBackup, DatabaseBackup, ExternalBackup};
use kit_contract::config::{Keep, Span};
use kit_core::{StepError, count_text, size_text};
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use kit_store::{Key, Layout, Store};
use policy::{Candidate, expired};
use serde_json::json;

/// The inputs of `prune`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The store: file:<folder> or s3://<bucket>/<prefix>
    #[arg(long)]
    store: Option<String>,
    /// Remove what is listed; without this, it is only listed
    #[arg(long)]
    confirm: bool,
    /// Keep backups for so many days; without this, backup.keep.days of deploy.toml
    #[arg(long, value_name = "DAYS")]
    keep_days: Option<u32>,
    /// Keep the newest so many proved backups of each database, however old; without this, backup.keep.least
    #[arg(long, value_name = "NUMBER")]
    keep_least: Option<u32>,
    /// Keep at most so many backups of each database, however young; without this, backup.keep.most
    #[arg(long, value_name = "NUMBER")]
    keep_most: Option<u32>,
}

/// `db-backup prune`.
pub(crate) struct Prune;

impl Tool for Prune {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("prune"),
        about: "Lists the backups that have had their time, and removes them on confirmation",
        details: "Keeps, of each database, what is younger than backup.keep.days (365), and the newest \
                  backup.keep.least (5) that were proved as far as migrate asks, however old they are; a limit by \
                  number is backup.keep.most. The newest proved backup of a database is never removed. Needs the \
                  right to remove objects (docs/iam/db-backup-prune.json), which no step of a deploy has. What Object \
                  Lock protects stays until its date.",
        examples: &[
            Example { what: "What has had its time?", line: "db-backup prune" },
            Example { what: "Remove it", line: "db-backup prune --confirm" },
        ],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "finds nothing left to remove",
        deadline: Span::from_secs(30 * 60),
    };

    async fn run(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let config = &cx.config().backup;
        let keep = Keep {
            days: args.keep_days.unwrap_or(config.keep.days),
            least: args.keep_least.unwrap_or(config.keep.least),
            most: args.keep_most.or(config.keep.most),
        };
        let store =
            kit_store_s3::open(args.store.as_deref(), &cx.config().store, &cx, &cx.resolve("")).await?;
        let identity = cx.identity();
        let layout = Layout::new(identity.app, identity.environment);
        let found = Found::read(&*store, &layout).await?;
        let now = cx.clock.now();
        let doomed = expired(&found.backups, keep, config.required_proof.level(), now);
        let orphans: Vec<String> = found.orphans().filter(|key| is_abandoned(key, now)).cloned().collect();
        let mut kept_by_store = Vec::new();
        if args.confirm {
            for backup in &doomed {
                if let Err(error) = remove(&*store, backup).await {
                    kept_by_store.push(format!("{}: {}", backup.key, error.chain()));
                }
            }
            for key in &orphans {
                if let Err(error) = remove_object(&*store, key).await {
                    kept_by_store.push(format!("{key}: {}", error.chain()));
                }
            }
        }
        if !kept_by_store.is_empty() {
            let message = format!(
                "{} of {} backups and copies could not be removed",
                kept_by_store.len(),
                doomed.len() + orphans.len()
            );
            let error = StepError::new(Reason::StoreUnreachable, message);
            return Err(kept_by_store.into_iter().fold(error, StepError::hint));
        }
        Ok(output(&found, &doomed, &orphans, args.confirm))
    }
}

/// What the store holds.
#[derive(Default)]
struct Found {
    backups: Vec<Candidate>,
    /// Metadata that cannot be used, and why. It is left alone.
    unusable: Vec<String>,
    /// Keys that are no metadata.
    copies: Vec<String>,
}

/// After so long no run is still writing a backup.
const ABANDONED: SignedDuration = SignedDuration::from_hours(48);

/// True if a deployment began so long ago that what it left without metadata will never be a backup. Its id
/// begins with the second; of another id nobody knows. Pure.
fn is_abandoned(key: &str, now: Timestamp) -> bool {
    let begun = key
        .rsplit_once("/backup-")
        .and_then(|(_, id)| id.split_once('-'))
        .and_then(|(second, _)| second.parse::<i64>().ok())
        .filter(|second| *second > 1_000_000_000)
        .and_then(|second| Timestamp::from_second(second).ok());
    begun.is_some_and(|begun| now.duration_since(begun) > ABANDONED)
}

impl Found {
    /// Copies that no metadata speaks of. If some metadata cannot be read, nobody knows what it speaks of.
    fn orphans(&self) -> impl Iterator<Item = &String> {
        let known = |key: &String| self.backups.iter().any(|backup| backup.key == *key);
        self.copies.iter().filter(move |key| self.unusable.is_empty() && !known(key))
    }

    async fn read(store: &dyn Store, layout: &Layout) -> Result<Self, StepError> {
        let mut found = Self::default();
        for name in store.list(&layout.backups_prefix()).await? {
            let Some(key) = name.parse::<Key>().ok().filter(|_| name.ends_with(".json")) else {
                found.copies.push(name);
                continue;
            };
            // Removed since the listing: then it is no backup any more.
            let Some(object) = store.get(&key).await? else { continue };
            match serde_json::from_slice::<DatabaseBackup>(&object.bytes) {
                Ok(backup) if backup.metadata_key == name => found.backups.push(Candidate::of(&backup)),
                Ok(backup) => {
                    found.unusable.push(format!("{name} says that it is {}", backup.metadata_key));
                }
                Err(_) if let Some(bundle) = bundle(&name, &object.bytes) => found.backups.push(bundle),
                // Its tool removes it; what is written of it takes no room.
                Err(_) if serde_json::from_slice::<ExternalBackup>(&object.bytes).is_ok() => {}
                Err(error) => found.unusable.push(format!("{name} cannot be read: {error}")),
            }
        }
        Ok(found)
    }
}

/// The bundle that this metadata speaks of.
fn bundle(name: &str, metadata: &[u8]) -> Option<Candidate> {
    let bundle = serde_json::from_slice::<BundleBackup>(metadata).ok()?;
    (bundle.metadata_key == name).then(|| Candidate::of_bundle(&bundle)).flatten()
}

/// Removes the metadata, then the copy. Either may be gone already.
async fn remove(store: &dyn Store, backup: &Candidate) -> Result<(), StepError> {
    remove_object(store, &backup.metadata_key).await?;
    remove_object(store, &backup.key).await
}

async fn remove_object(store: &dyn Store, name: &str) -> Result<(), StepError> {
    let key: Key = name.parse().map_err(|error: kit_store::KeyError| {
        StepError::new(Reason::ArtifactInvalid, format!("{name} names no object")).because(error)
    })?;
    if let Some(found) = store.head(&key).await? {
        store.delete(&key, &found.version).await?;
    }
    Ok(())
}

fn output(found: &Found, doomed: &[Candidate], orphans: &[String], removed: bool) -> ToolOutput {
    let bytes: u64 = doomed.iter().map(|backup| backup.size_bytes).sum();
    let line = |backup: &Candidate| {
        format!(
            "{}  {:.0}  {}  {}  {}",
            backup.database,
            backup.snapshot_at,
            size_text(backup.size_bytes),
            backup.proof,
            backup.key
        )
    };
    let mut lines: Vec<String> = doomed.iter().map(line).collect();
    lines.extend(found.unusable.iter().map(|why| format!("left alone: {why}")));
    lines.extend(orphans.iter().map(|key| format!("without metadata, left by a run that died: {key}")));
    let number = format!("{} of {} backups ({})", doomed.len(), found.backups.len(), size_text(bytes));
    let (reason, what) = match (doomed.is_empty() && orphans.is_empty(), removed) {
        (true, _) => (
            Reason::Pruned,
            format!("nothing of {} has had its time", count_text(found.backups.len() as u64, "backup")),
        ),
        (false, true) => (Reason::Pruned, format!("removed {number}")),
        (false, false) => (Reason::PrunePlanned, format!("{number} would be removed: --confirm does it")),
    };
    lines.push(what);
    let entry = |backup: &Candidate| {
        json!({
            "database": backup.database, "key": backup.key, "metadata_key": backup.metadata_key,
            "size_bytes": backup.size_bytes, "proof": backup.proof, "snapshot_at": backup.snapshot_at,
        })
    };
    let json = json!({
        "removed": removed,
        "backups": doomed.iter().map(entry).collect::<Vec<_>>(),
        "without_metadata": orphans,
        "kept": found.backups.len() - doomed.len(),
        "unusable": found.unusable,
    });
    ToolOutput { reason, text: lines.join("\n"), json }
}

#[cfg(test)]
mod tests {
    use super::is_abandoned;
    use jiff::Timestamp;

    #[test]
    fn what_is_surely_abandoned() {
        let now = Timestamp::from_second(1_763_712_000 + 49 * 3600).unwrap();
        for (key, expected) in [
            ("shop/production/backup-1763712000-abc1234.sql.gz", true),
            ("shop/production/backup-1763798400-abc1234.sql.gz", false),
            ("shop/production/backup-local-abc1234.sql.gz", false),
            ("shop/production/backup-12-abc1234.sql.gz", false),
            ("shop/production/other", false),
        ] {
            assert_eq!(is_abandoned(key, now), expected, "{key}");
        }
    }
}
