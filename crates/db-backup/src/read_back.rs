//! The test of a backup: read it back from the store, restore all of it, look at what came.

use crate::keys::Reader;
use crate::place::{Place, Slot};
use kit_backup::unpack;
use kit_contract::body::{AssertionResult, RestoreNeeds};
use kit_contract::{Name, Reason, Sha256};
use kit_core::{Context, Progress, Rows, StepError};
use kit_database::gunzip::{ByteReader, Fault, Gunzip, Read};
use kit_database::{Database, DatabaseError, Depth, Inspection};
use sha2::Digest as _;
use std::path::Path;
use tokio::io::AsyncReadExt as _;

/// What came back.
pub(crate) struct Restored {
    pub(crate) read: Read,
    pub(crate) inspection: Inspection,
    /// What came of the user's assertions.
    pub(crate) assertions: Vec<AssertionResult>,
}

/// Why nothing came back.
pub(crate) enum NotRestored {
    /// The backup itself is worthless.
    Worthless(String),
    /// The scratch place cannot take it; nothing is known about the backup.
    Unavailable(String),
    /// Nobody knows: the store or the scratch place failed.
    Unknown(StepError),
}

/// Reads the backup back and restores it into a scratch database, which is gone afterwards.
pub(crate) async fn read_back(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    (name, database, (uncompressed_bytes, rows)): (&Name, &dyn Database, (u64, Rows)),
    (reader, needs, scratch, depth): (Reader<'_>, Option<&RestoreNeeds>, &Path, Depth),
) -> Result<Restored, NotRestored> {
    let what = format!("{name}: trying the restore");
    let progress = Progress::with_rows(cx, what, Some(uncompressed_bytes), Some(rows));
    let mut gunzip = opened(place, slot, reader, progress).await?;
    let restored = database.restore_scratch(cx, &mut gunzip, needs, scratch).await;
    let restored = restored.map_err(|error| why_not(gunzip.fault(), error))?;
    let read = gunzip.read();
    // Nothing moves any more: the progress ends here.
    drop(gunzip);
    let inspected = restored.inspect(cx, depth).await;
    let asked = restored.assertions(cx).await;
    if let Err(error) = restored.close(cx).await {
        cx.out.say(&format!("warning: {}", StepError::from(error).chain()));
    }
    let inspection = inspected.map_err(|error| why_not(None, error))?;
    let assertions = asked.map_err(|error| why_not(None, error))?;
    match read {
        Some(read) => Ok(Restored { read, inspection, assertions }),
        None => Err(NotRestored::Unknown(StepError::new(
            Reason::InternalError,
            "the restore ended before the backup did",
        ))),
    }
}

/// The backup as it comes out of the store, and out of its encryption.
async fn opened(
    place: &Place,
    slot: &Slot,
    reader: Reader<'_>,
    progress: Progress,
) -> Result<Gunzip, NotRestored> {
    let source = stored_bytes(place, slot).await?;
    let key = match reader {
        Reader::With(key) => Some(key),
        Reader::Plain | Reader::Nobody => None,
    };
    unpack(source, key, progress).await.map_err(|fault| of_fault(&fault))
}

async fn stored_bytes(place: &Place, slot: &Slot) -> Result<ByteReader, NotRestored> {
    match place.store.read_stream(&slot.key).await {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(NotRestored::Worthless("it is gone from the store".to_owned())),
        Err(error) => Err(NotRestored::Unknown(error.into())),
    }
}

/// Reads the backup back and compares it byte for byte, by digest; what is encrypted is opened and inflated on the
/// way, if that can be done here, so that it is also known to hold what was dumped.
pub(crate) async fn same_bytes(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    name: &Name,
    (stored, reader): (&Read, Reader<'_>),
) -> Result<(), NotRestored> {
    if matches!(reader, Reader::With(_)) {
        let progress = Progress::new(cx, format!("{name}: reading back"), Some(stored.uncompressed_bytes));
        let mut gunzip = opened(place, slot, reader, progress).await?;
        let through = cx.cancel.unless(tokio::io::copy(&mut gunzip, &mut tokio::io::sink())).await;
        return match (through, gunzip.fault(), gunzip.read()) {
            (None, ..) => Err(stopped()),
            (_, Some(fault), _) => Err(of_fault(fault)),
            (_, None, Some(found)) if found == *stored => Ok(()),
            (_, None, Some(found)) => {
                Err(NotRestored::Worthless(crate::proof::digests(stored, &found).join("; ")))
            }
            (_, None, None) => Err(NotRestored::Unknown(StepError::new(
                Reason::InternalError,
                "the backup was not read to its end",
            ))),
        };
    }
    let mut source = stored_bytes(place, slot).await?;
    let mut progress = Progress::new(cx, format!("{name}: reading back"), Some(stored.size_bytes));
    let mut hasher = sha2::Sha256::new();
    let mut size_bytes = 0_u64;
    let mut piece = vec![0_u8; 256 * 1024];
    loop {
        let Some(read) = cx.cancel.unless(source.read(&mut piece)).await else {
            return Err(stopped());
        };
        let count = read.map_err(|error| {
            let message = "the backup cannot be read back from the store";
            NotRestored::Unknown(StepError::new(Reason::StoreUnreachable, message).because(error))
        })?;
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size_bytes += count as u64;
        progress.advance(count);
    }
    let sha256 = Sha256::from_raw(&hasher.finalize());
    if sha256 == stored.sha256 && size_bytes == stored.size_bytes {
        return Ok(());
    }
    let found = Read { sha256, size_bytes, ..stored.clone() };
    Err(NotRestored::Worthless(crate::proof::digests(stored, &found).join("; ")))
}

fn stopped() -> NotRestored {
    NotRestored::Unknown(StepError::new(Reason::Interrupted, "stopped before the backup was read back"))
}

fn of_fault(fault: &Fault) -> NotRestored {
    match fault {
        Fault::Content(text) => NotRestored::Worthless(text.clone()),
        Fault::Store(text) => NotRestored::Unknown(
            StepError::new(Reason::StoreUnreachable, "the backup cannot be read back from the store")
                .because(text.clone()),
        ),
    }
}

/// Tells a worthless backup from a test that could not be made.
fn why_not(fault: Option<&Fault>, error: DatabaseError) -> NotRestored {
    match (fault, error) {
        (Some(fault), _) => of_fault(fault),
        (None, DatabaseError::Unavailable { what }) => NotRestored::Unavailable(what),
        (None, error @ (DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })) => {
            NotRestored::Worthless(StepError::from(error).chain())
        }
        (None, error) => NotRestored::Unknown(error.into()),
    }
}
