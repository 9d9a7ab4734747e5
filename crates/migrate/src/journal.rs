//! What is about to be done and what came of it, in the store, for whoever takes over from a dead run.

use crate::safety::Place;
use kit_contract::{Name, Reason};
use kit_core::{Context, ResultExt as _, StepError};
use kit_database::MigrationFile;
use kit_store::JournalPhase;
use serde_json::{Value, json};
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
        journal.write(cx.clock.now(), JournalPhase::Intent, &text, data(database, file)).await?;
        Ok(())
    }

    /// Says what came of it. It has happened, so a store that fails now changes nothing but the journal.
    pub(crate) async fn conclude(&self, cx: &Context, database: &Name, file: &MigrationFile, outcome: &str) {
        let Some(journal) = &self.0 else { return };
        let text = format!("migration {} ({}) of {database}: {outcome}", file.version, file.description);
        let text = cx.out.clean(&text);
        let written = journal.write(cx.clock.now(), JournalPhase::Outcome, &text, data(database, file)).await;
        if let Err(error) = written {
            let why = StepError::from(error).chain();
            cx.out.say(&format!(
                "warning: the journal does not say what came of migration {}: {why}",
                file.version
            ));
        }
    }
}

fn data(database: &Name, file: &MigrationFile) -> Value {
    json!({ "database": database, "version": file.version, "checksum": file.checksum })
}
