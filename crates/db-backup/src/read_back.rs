//! The test of a backup: read it back from the store, restore all of it, look at what came.

use crate::place::{Place, Slot};
use kit_contract::{Name, Reason};
use kit_core::Progress;
use kit_core::{Context, StepError};
use kit_database::gunzip::{Fault, Gunzip, Read};
use kit_database::{Database, DatabaseError, Depth, Inspection};
use std::path::Path;

/// What came back.
pub(crate) struct Restored {
    pub(crate) read: Read,
    pub(crate) inspection: Inspection,
}

/// Why nothing came back.
pub(crate) enum NotRestored {
    /// The backup itself is worthless.
    Worthless(String),
    /// Nobody knows: the store or the scratch place failed.
    Unknown(StepError),
}

/// Reads the backup back and restores it into a scratch database, which is gone afterwards.
pub(crate) async fn read_back(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    (name, database): (&Name, &dyn Database),
    (scratch, depth): (&Path, Depth),
) -> Result<Restored, NotRestored> {
    let source = match place.store.read_stream(&slot.key).await {
        Ok(Some(source)) => source,
        Ok(None) => return Err(NotRestored::Worthless("it is gone from the store".to_owned())),
        Err(error) => return Err(NotRestored::Unknown(error.into())),
    };
    let mut gunzip = Gunzip::new(source, Progress::new(cx, format!("{name}: trying the restore"), None));
    let restored = database.restore_scratch(cx, &mut gunzip, scratch).await;
    let restored = restored.map_err(|error| why_not(gunzip.fault(), error))?;
    let inspection = restored.inspect(cx, depth).await.map_err(|error| why_not(None, error))?;
    match gunzip.read() {
        Some(read) => Ok(Restored { read, inspection }),
        None => Err(NotRestored::Unknown(StepError::new(
            Reason::InternalError,
            "the restore ended before the backup did",
        ))),
    }
}

/// Tells a worthless backup from a test that could not be made.
fn why_not(fault: Option<&Fault>, error: DatabaseError) -> NotRestored {
    match (fault, error) {
        (Some(Fault::Content(text)), _) => NotRestored::Worthless(text.clone()),
        (Some(Fault::Store(text)), _) => NotRestored::Unknown(
            StepError::new(Reason::StoreUnreachable, "the backup cannot be read back from the store")
                .because(text.clone()),
        ),
        (None, error @ (DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })) => {
            NotRestored::Worthless(StepError::from(error).chain())
        }
        (None, error) => NotRestored::Unknown(error.into()),
    }
}
