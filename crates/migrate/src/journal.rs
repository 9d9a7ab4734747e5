//! What is about to be done and what came of it, in the store, for whoever takes over from a dead run.

use crate::phase::Phase;
use crate::safety::Place;
use kit_contract::body::JournaledMigration;
use kit_contract::{Name, Reason};
use kit_core::{Context, ResultExt as _, StepError};
use kit_database::MigrationFile;
use kit_store::JournalPhase;
use serde_json::Value;
use std::sync::Arc;

/// The journal of this step, where it belongs to a deployment.
pub(crate) struct Journal(Option<kit_store::Journal>);

impl Journal {
    /// The journal of this attempt; without a place, nothing is written.
    pub(crate) fn new(
        place: Option<&Place>,
        deployment: kit_contract::DeploymentId,
        attempt: u32,
    ) -> Result<Self, StepError> {
        let Some(place) = place else { return Ok(Self(None)) };
        let step: Name =
            "migrate".parse().or_reason(Reason::InternalError, "a name of our own is invalid")?;
        let (store, layout) = (Arc::clone(&place.store), place.layout.clone());
        Ok(Self(Some(kit_store::Journal::new(store, layout, deployment, attempt, step))))
    }

    /// Says what is about to be done. If this cannot be written, it must not be done.
    pub(crate) async fn intend(
        &self,
        cx: &Context,
        database: &Name,
        file: &MigrationFile,
    ) -> Result<(), StepError> {
        let Some(journal) = &self.0 else { return Ok(()) };
        let text = format!("apply migration {} ({}) to {database}", file.version, file.description);
        journal.write(cx.clock.now(), JournalPhase::Intent, &text, data(database, file, None)?).await?;
        Ok(())
    }

    /// Says what came of it. It has happened, so a store that fails now changes nothing but the journal.
    pub(crate) async fn conclude(
        &self,
        cx: &Context,
        database: &Name,
        file: &MigrationFile,
        (outcome, changed): (&str, Option<bool>),
    ) {
        let Some(journal) = &self.0 else { return };
        let text = format!("migration {} ({}) of {database}: {outcome}", file.version, file.description);
        let text = cx.out.clean(&text);
        let written = match data(database, file, changed) {
            Ok(data) => {
                let written = journal.write(cx.clock.now(), JournalPhase::Outcome, &text, data).await;
                written.map(|_| ()).map_err(StepError::from)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let why = error.chain();
            cx.out.say(&format!(
                "warning: the journal does not say what came of migration {}: {why}",
                file.version
            ));
        }
    }
}

/// `rollback` reads it: what the old version cannot live with must be known on every machine.
fn data(database: &Name, file: &MigrationFile, changed: Option<bool>) -> Result<Value, StepError> {
    let migration = JournaledMigration {
        database: database.clone(),
        version: file.version,
        checksum: file.checksum.clone(),
        phase: Phase::of(file).of_contract(),
        changed,
    };
    serde_json::to_value(migration).or_reason(Reason::InternalError, "the journal cannot be written")
}
