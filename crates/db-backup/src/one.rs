//! One database: make its backup and prove it, or prove the one that an earlier run made.

use crate::args::Target;
use crate::place::{Place, Slot};
use crate::proof::{broken_promises, differences};
use crate::read_back::{NotRestored, read_back};
use crate::upload::upload;
use kit_contract::Reason;
use kit_contract::body::{DatabaseBackup, Proof};
use kit_core::{Context, StepError};
use kit_database::gunzip::Read;
use kit_database::{Database, Depth};
use std::path::Path;

/// Makes or adopts the backup of one database.
pub(crate) async fn back_up(
    cx: &Context,
    place: &Place,
    target: &Target,
    scratch: &Path,
) -> Result<DatabaseBackup, StepError> {
    // A finished backup is worth proving also if the database is gone by now.
    let database = kit_database::open_for_restore(&target.url, &target.input, cx).await?;
    let slot = place.slot(&target.name, database.extension())?;
    match place.metadata(&slot).await? {
        Some(promised) => adopt(cx, place, &slot, target, &*database, promised, scratch).await,
        None => {
            place.clear(cx, &slot).await?;
            make(cx, place, &slot, target, &*database, scratch).await
        }
    }
}

async fn make(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    target: &Target,
    database: &dyn Database,
    scratch: &Path,
) -> Result<DatabaseBackup, StepError> {
    cx.out.say(&format!("{}: copying {}", target.name, database.display()));
    let dump = database.begin_dump(cx, scratch).await?;
    let (snapshot_at, engine_version) = (dump.snapshot_at(), dump.engine_version().to_owned());
    let source = dump.inspect(cx, Depth::Content).await?;
    let (uploaded, produced) = upload(cx, place, slot, &target.name, dump).await?;
    let stored = Read {
        sha256: uploaded.sha256.clone(),
        size_bytes: uploaded.size_bytes,
        uncompressed_sha256: produced.sha256,
        uncompressed_bytes: produced.report.uncompressed_bytes,
    };
    let tried = read_back(cx, place, slot, (&target.name, database), (scratch, Depth::Content)).await;
    let found = match tried {
        Ok(restored) => differences(&stored, &source, &restored),
        Err(NotRestored::Worthless(text)) => vec![text],
        Err(NotRestored::Unknown(error)) => return Err(unproved(error)),
    };
    if !found.is_empty() {
        return Err(mismatch(target, &found).hint(place.discard(slot).await));
    }
    let backup = DatabaseBackup {
        database: target.name.clone(),
        engine: database.engine(),
        engine_version,
        location: place.location(&slot.key),
        key: slot.key.to_string(),
        metadata_key: slot.metadata.to_string(),
        sha256: stored.sha256,
        size_bytes: stored.size_bytes,
        uncompressed_bytes: stored.uncompressed_bytes,
        uncompressed_sha256: stored.uncompressed_sha256,
        tables: produced.report.tables,
        schema_sha256: produced.report.schema_sha256,
        proof: Proof::Full,
        snapshot_at,
        verified_at: cx.clock.now(),
        adopted: false,
    };
    // Whoever is stopped now finds no metadata, and starts anew.
    if cx.cancel.is_cancelled() {
        return Err(unproved(StepError::new(Reason::Interrupted, "stopped before the backup was finished")));
    }
    place.commit(slot, &backup).await?;
    Ok(backup)
}

async fn adopt(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    target: &Target,
    database: &dyn Database,
    promised: DatabaseBackup,
    scratch: &Path,
) -> Result<DatabaseBackup, StepError> {
    let metadata = place.location(&slot.metadata);
    cx.out.say(&format!("{}: an earlier run finished this backup; proving it again", target.name));
    let ours = promised.database == target.name
        && promised.engine == database.engine()
        && promised.key == slot.key.as_str()
        && promised.metadata_key == slot.metadata.as_str()
        && promised.proof != Proof::None;
    if !ours {
        let message = format!("{metadata} does not vouch for a proved backup of {}", target.name);
        return Err(StepError::new(Reason::ArtifactInvalid, message)
            .hint("nothing but db-backup may write there; find out who did"));
    }
    // The rows are those of the digest, which was compared with the content when the backup was made.
    let tried = read_back(cx, place, slot, (&target.name, database), (scratch, Depth::Rows)).await;
    let found = match tried {
        Ok(restored) => broken_promises(&promised, &restored),
        Err(NotRestored::Worthless(text)) => vec![text],
        Err(NotRestored::Unknown(error)) => return Err(error),
    };
    if !found.is_empty() {
        // It was whole once, so it is kept: somebody has to find out what happened to it.
        return Err(mismatch(target, &found).hint(format!(
            "it was proved at {} and has changed since; it is left as it is. Remove {metadata} to have the \
             next run make it anew",
            promised.verified_at
        )));
    }
    Ok(DatabaseBackup {
        location: place.location(&slot.key),
        verified_at: cx.clock.now(),
        adopted: true,
        ..promised
    })
}

fn mismatch(target: &Target, found: &[String]) -> StepError {
    StepError::new(
        Reason::BackupMismatch,
        format!("the backup of {} is not what was dumped: {}", target.name, found.join("; ")),
    )
}

fn unproved(error: StepError) -> StepError {
    error.hint("what is stored has no metadata, so it is no backup; the next run makes it anew")
}
