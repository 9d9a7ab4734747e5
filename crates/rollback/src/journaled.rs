//! What the journal of `migrate` says about the schema. Pure.

use crate::known::Schema;
use kit_contract::body::{JournaledMigration, MigrationPhase};
use kit_store::{JournalEntry, JournalPhase};

/// Whether the contracting half of a change was applied. What was begun counts as applied, until it is
/// known that nothing came of it.
pub(crate) fn schema(entries: &[JournalEntry]) -> Schema {
    // An outcome answers for one begin only: an earlier one that was killed may have done half of it.
    let mut begun = 0_u32;
    let mut undone = 0_u32;
    for entry in entries {
        // One of a version that kept no phase, or will keep something else.
        let Ok(migration) = serde_json::from_value::<JournaledMigration>(entry.data.clone()) else {
            return Schema::Unknown;
        };
        match entry.phase {
            _ if migration.phase == MigrationPhase::Pre => {}
            JournalPhase::Intent => begun += 1,
            JournalPhase::Outcome if migration.changed == Some(false) => undone += 1,
            JournalPhase::Outcome => {}
        }
    }
    if begun > undone { Schema::Ahead } else { Schema::Fits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn data(phase: &str, changed: Option<bool>) -> Value {
        let mut data = json!({ "database": "main", "version": 2, "checksum": "00", "phase": phase });
        if let Some(changed) = changed {
            data["changed"] = changed.into();
        }
        data
    }

    #[test]
    fn what_was_begun_counts_until_nothing_came_of_it() {
        use JournalPhase::{Intent, Outcome};
        let (pre, post) = (|changed| data("pre", changed), |changed| data("post", changed));
        let begun = || (Intent, post(None));
        for (entries, expected) in [
            (vec![], Schema::Fits),
            (vec![(Intent, pre(None)), (Outcome, pre(Some(true)))], Schema::Fits),
            (vec![(Intent, pre(None))], Schema::Fits),
            (vec![(Intent, pre(None)), begun()], Schema::Ahead),
            (vec![begun(), (Outcome, post(Some(true)))], Schema::Ahead),
            (vec![begun(), (Outcome, post(None))], Schema::Ahead),
            (vec![begun(), (Outcome, post(Some(false)))], Schema::Fits),
            (vec![begun(), begun(), (Outcome, post(Some(false)))], Schema::Ahead),
            (vec![begun(), (Outcome, post(Some(false))), begun()], Schema::Ahead),
            (vec![(Intent, json!({ "database": "main", "version": 1 }))], Schema::Unknown),
            (vec![(Intent, json!(null))], Schema::Unknown),
        ] {
            let entries: Vec<JournalEntry> = (1..)
                .zip(entries)
                .map(|(n, (phase, data))| JournalEntry {
                    n,
                    at: Timestamp::UNIX_EPOCH,
                    phase,
                    text: String::new(),
                    data,
                })
                .collect();
            assert_eq!(schema(&entries), expected, "{entries:?}");
        }
    }
}
