//! One database: make its backup and prove it, or prove the one that an earlier run made.

use crate::args::Target;
use crate::keys::{Keys, Lock, Reader};
use crate::ladder::Rules;
use crate::place::{Place, Slot};
use crate::proof::broken_promises;
use crate::prove::{Attempt, Disproved, Proved};
use crate::read_back::{NotRestored, read_back, same_bytes};
use crate::upload::upload;
use kit_contract::Reason;
use kit_contract::body::{AssertionResult, BackupDetails, DatabaseBackup, Proof};
use kit_core::{Context, StepError};
use kit_database::assertions::{self, Unmet};
use kit_database::gunzip::Read;
use kit_database::{Database, DatabaseError, Depth};
use std::path::Path;

/// Makes or adopts the backup of one database.
pub(crate) async fn back_up(
    cx: &Context,
    place: &Place,
    target: &Target,
    (rules, keys, scratch): (&Rules, &Keys, &Path),
) -> Result<DatabaseBackup, StepError> {
    // A finished backup is worth proving also if the database is gone by now.
    let options = target.options.clone();
    let database = kit_database::open_for_restore(&target.url, &target.input, options, cx).await?;
    let slot = place.slot(&target.name, &keys.extension(database.extension()))?;
    match place.metadata(&slot).await? {
        Some(promised) => {
            let slot = slot.finished(&promised.key).unwrap_or(slot);
            adopt(cx, place, &slot, target, &*database, promised, (rules, keys, scratch)).await
        }
        None => {
            let slot = place.clear(cx, slot).await?;
            make(cx, place, &slot, target, &*database, (rules, keys, scratch)).await
        }
    }
}

async fn make(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    target: &Target,
    database: &dyn Database,
    (rules, keys, scratch): (&Rules, &Keys, &Path),
) -> Result<DatabaseBackup, StepError> {
    cx.out.say(&format!("{}: copying {}", target.name, database.display()));
    let began_ms = cx.clock.elapsed_ms();
    let lock = keys.lock();
    let dump = database.begin_dump(cx, scratch).await?;
    let (snapshot_at, engine_version) = (dump.snapshot_at(), dump.engine_version().to_owned());
    let rows = target.options.rows.clone();
    let (uploaded, report) = upload(cx, place, slot, (&target.name, dump, rows), lock.as_ref()).await?;
    let stored = Read {
        sha256: uploaded.sha256.clone(),
        size_bytes: uploaded.size_bytes,
        uncompressed_bytes: report.uncompressed_bytes,
    };
    let copied_ms = cx.clock.elapsed_ms();
    let attempt = Attempt {
        place,
        slot,
        name: &target.name,
        database,
        report: &report,
        stored: &stored,
        reader: Reader::of(lock.as_ref()),
        scratch,
        rows: &target.options.rows,
    };
    let proved = match attempt.prove(cx, rules).await {
        Ok(proved) => proved,
        Err(Disproved::Worthless(found)) => {
            return Err(mismatch(target, &found).hint(place.discard(slot).await));
        }
        Err(Disproved::Refuted(text)) => {
            return Err(refuted(target, &text).hint(place.discard(slot).await));
        }
        Err(Disproved::Unknown(error)) => return Err(unproved(error)),
    };
    rules.check(proved.level, proved.limit.as_deref()).map_err(unproved)?;
    let assertions = asked(target, &proved);
    let previous = place.previous_size(slot, &target.name).await;
    let details = BackupDetails {
        content: report.inspection.content_digests(),
        object_version: Some(uploaded.version.as_str().to_owned()),
        encryption: lock.as_ref().map(Lock::describe),
        proof_limit: proved.limit,
        assertions,
        percent_of_previous: previous.map(|bytes| stored.size_bytes.saturating_mul(100) / bytes.max(1)),
        dump_ms: Some(copied_ms.saturating_sub(began_ms)),
        proof_ms: Some(cx.clock.elapsed_ms().saturating_sub(copied_ms)),
        ..report.details
    };
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
        tables: report.inspection.table_rows(),
        schema_sha256: report.inspection.schema_sha256,
        proof: proved.level,
        snapshot_at,
        verified_at: cx.clock.now(),
        adopted: false,
        details,
    };
    place.commit(cx, slot, &backup).await?;
    Ok(backup)
}

/// What came of the user's assertions; that nobody asked them is said, too.
fn asked(target: &Target, proved: &Proved) -> Vec<AssertionResult> {
    if !proved.assertions.is_empty() {
        return proved.assertions.clone();
    }
    let why = format!("they are asked of a full restore alone, and the proof is {}", proved.level);
    assertions::not_asked(&target.options.assertions, &why)
}

async fn adopt(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    target: &Target,
    database: &dyn Database,
    promised: DatabaseBackup,
    (rules, keys, scratch): (&Rules, &Keys, &Path),
) -> Result<DatabaseBackup, StepError> {
    let metadata = place.location(&slot.metadata);
    cx.out.say(&format!("{}: an earlier run finished this backup; proving it again", target.name));
    let ours = promised.database == target.name
        && promised.key == slot.key.as_str()
        && promised.metadata_key == slot.metadata.as_str()
        && promised.proof != Proof::None;
    if !ours {
        let message = format!("{metadata} does not vouch for a proved backup of {}", target.name);
        return Err(StepError::new(Reason::ArtifactInvalid, message)
            .hint("nothing but db-backup may write there; find out who did"));
    }
    if promised.engine != database.engine() {
        let message = format!(
            "an earlier run of this deployment backed up {} when it was a database of another kind",
            target.name
        );
        return Err(StepError::new(Reason::UsageError, message).hint(format!(
            "begin a new deployment; or remove {metadata}, and what it speaks of is no backup any more"
        )));
    }
    keys.accept(&target.name, promised.details.encryption.as_ref(), &metadata)?;
    let reader = keys.reader_of(promised.details.encryption.as_ref());
    let tried = prove_again(cx, place, slot, (target, database), &promised, (rules, reader, scratch)).await;
    let (found, asked) = match tried {
        Ok(tried) => tried,
        Err(NotRestored::Worthless(text)) => (vec![text], None),
        Err(NotRestored::Unavailable(what)) => return Err(DatabaseError::Unavailable { what }.into()),
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
    match asked.as_deref().and_then(assertions::unmet) {
        None => {}
        Some(Unmet::Failed(text)) => return Err(refuted(target, &text)),
        Some(Unmet::Unavailable(what)) => return Err(DatabaseError::Unavailable { what }.into()),
    }
    let mut details = promised.details;
    details.assertions = asked.unwrap_or(details.assertions);
    Ok(DatabaseBackup {
        location: place.location(&slot.key),
        verified_at: cx.clock.now(),
        adopted: true,
        details,
        ..promised
    })
}

/// Looks whether a finished backup is still what it was. What was restored once needs no second restore as
/// long as the bytes are the same, but one that is quickly restored is, and is asked the user's assertions again.
async fn prove_again(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    (target, database): (&Target, &dyn Database),
    promised: &DatabaseBackup,
    (rules, reader, scratch): (&Rules, Reader<'_>, &Path),
) -> Result<(Vec<String>, Option<Vec<AssertionResult>>), NotRestored> {
    let again =
        promised.proof == Proof::Full && rules.plan(promised.uncompressed_bytes, true).level == Proof::Full;
    if again && !matches!(reader, Reader::Nobody) {
        let needs = promised.details.needs.as_ref();
        // The rows are those of the digest, which was compared with the content when the backup was made.
        let rows = target.options.rows.clone();
        rows.counted(promised.tables.iter().map(|table| table.rows).sum());
        let what = (&target.name, database, (promised.uncompressed_bytes, rows));
        let restored = read_back(cx, place, slot, what, (reader, needs, scratch, Depth::Rows)).await?;
        return Ok((broken_promises(promised, &restored), Some(restored.assertions)));
    }
    let stored = kit_backup::promised(promised);
    same_bytes(cx, place, slot, &target.name, (&stored, reader)).await.map(|()| (Vec::new(), None))
}

fn refuted(target: &Target, text: &str) -> StepError {
    let message = format!("the backup of {} came back as it was dumped; {text}", target.name);
    StepError::new(Reason::AssertionFailed, message)
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
