//! The test of a backup: read it back from the store, restore all of it, look at what came.

use crate::place::{Place, Slot};
use kit_contract::body::{AssertionResult, RestoreNeeds};
use kit_contract::{Name, Reason, Sha256};
use kit_core::Progress;
use kit_core::{Context, StepError};
use kit_database::gunzip::{Fault, Gunzip, Read};
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
    (name, database): (&Name, &dyn Database),
    (needs, scratch, depth): (Option<&RestoreNeeds>, &Path, Depth),
) -> Result<Restored, NotRestored> {
    let source = match place.store.read_stream(&slot.key).await {
        Ok(Some(source)) => source,
        Ok(None) => return Err(NotRestored::Worthless("it is gone from the store".to_owned())),
        Err(error) => return Err(NotRestored::Unknown(error.into())),
    };
    let mut gunzip = Gunzip::new(source, Progress::new(cx, format!("{name}: trying the restore"), None));
    let restored = database.restore_scratch(cx, &mut gunzip, needs, scratch).await;
    let restored = restored.map_err(|error| why_not(gunzip.fault(), error))?;
    let inspected = restored.inspect(cx, depth).await;
    let asked = restored.assertions(cx).await;
    if let Err(error) = restored.close(cx).await {
        cx.out.say(&format!("warning: {}", StepError::from(error).chain()));
    }
    let inspection = inspected.map_err(|error| why_not(None, error))?;
    let assertions = asked.map_err(|error| why_not(None, error))?;
    match gunzip.read() {
        Some(read) => Ok(Restored { read, inspection, assertions }),
        None => Err(NotRestored::Unknown(StepError::new(
            Reason::InternalError,
            "the restore ended before the backup did",
        ))),
    }
}

/// Reads the backup back and compares it byte for byte, by digest.
pub(crate) async fn same_bytes(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    name: &Name,
    stored: &Read,
) -> Result<(), NotRestored> {
    let mut source = match place.store.read_stream(&slot.key).await {
        Ok(Some(source)) => source,
        Ok(None) => return Err(NotRestored::Worthless("it is gone from the store".to_owned())),
        Err(error) => return Err(NotRestored::Unknown(error.into())),
    };
    let mut progress = Progress::new(cx, format!("{name}: reading back"), Some(stored.size_bytes));
    let mut hasher = sha2::Sha256::new();
    let mut size_bytes = 0_u64;
    let mut piece = vec![0_u8; 256 * 1024];
    loop {
        let Some(read) = cx.cancel.unless(source.read(&mut piece)).await else {
            return Err(NotRestored::Unknown(StepError::new(
                Reason::Interrupted,
                "stopped before the backup was read back",
            )));
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

/// Tells a worthless backup from a test that could not be made.
fn why_not(fault: Option<&Fault>, error: DatabaseError) -> NotRestored {
    match (fault, error) {
        (Some(Fault::Content(text)), _) => NotRestored::Worthless(text.clone()),
        (Some(Fault::Store(text)), _) => NotRestored::Unknown(
            StepError::new(Reason::StoreUnreachable, "the backup cannot be read back from the store")
                .because(text.clone()),
        ),
        (None, DatabaseError::Unavailable { what }) => NotRestored::Unavailable(what),
        (None, error @ (DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })) => {
            NotRestored::Worthless(StepError::from(error).chain())
        }
        (None, error) => NotRestored::Unknown(error.into()),
    }
}
