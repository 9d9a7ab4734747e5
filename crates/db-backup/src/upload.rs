//! From the database into the store, whole or not at all.

use crate::keys::Lock;
use crate::place::{Place, Slot};
use crate::produce::produce;
use kit_contract::{Name, Reason};
use kit_core::{Context, Progress, ResultExt as _, Rows, StepError};
use kit_database::pieces::Pieces;
use kit_database::{Dump, DumpReport};
use kit_store::Uploaded;

/// How many pieces the producer may be ahead of the store.
const AHEAD: usize = 8;

/// Copies the dump into the store. After an error nothing stands under the key.
pub(crate) async fn upload(
    cx: &Context,
    place: &Place,
    slot: &Slot,
    (database, dump, rows): (&Name, Box<dyn Dump>, Rows),
    lock: Option<&Lock>,
) -> Result<(Uploaded, DumpReport), StepError> {
    let sealer = lock.map(Lock::sealer).transpose()?;
    let (sender, mut pieces) = Pieces::channel(AHEAD);
    let what = format!("{database}: copying");
    let progress = Progress::with_rows(cx, what, dump.size_hint_bytes(), Some(rows));
    // A task of its own: compression and the store overlap.
    let producer = tokio::spawn(produce(cx.clone(), dump, progress, (sender, sealer)));
    // The producer may have come to its end long before a slow store does: then nobody else hears of a stop.
    let stored = cx.cancel.unless(place.store.create_stream(&slot.key, &mut pieces)).await;
    // A short copy fits into the channel: that its producer came to the end says nothing about the store.
    let was_read = pieces.was_read_whole();
    // Lets the producer go if the store gave up early.
    drop(pieces);
    let produced = producer.await.or_reason(Reason::InternalError, "the copy ended in a bug");
    let Some(stored) = stored else {
        let stopped = StepError::new(Reason::Interrupted, "stopped before the copy was stored");
        return Err(stopped.hint(place.abandon(cx, slot).await));
    };
    let (stored, why) = match (stored, produced) {
        (Ok(uploaded), Ok(Ok(Some(produced)))) if was_read => return Ok((uploaded, produced)),
        // The producer knows better than the store what went wrong.
        (stored, Err(error) | Ok(Err(error))) => (stored.is_ok(), error),
        (Err(error), Ok(Ok(_))) => (false, error.into()),
        (Ok(_), Ok(Ok(_))) => (
            true,
            StepError::new(
                Reason::StoreUnsuitable,
                "the store says that it stored what it never read to its end",
            ),
        ),
    };
    if stored {
        return Err(why.hint(place.discard(slot).await));
    }
    Err(why)
}
