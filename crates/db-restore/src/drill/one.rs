//! One backup, restored into a scratch place and compared.

use crate::catalogue::{check_object, object_key};
use crate::fault::{mismatch, of_fault, why_not};
use crate::judge::{not_comparable, not_holding, other_bytes, other_content};
use kit_backup::{Identity, key_for, unpack};
use kit_contract::body::{AssertionResult, DatabaseBackup, DatabaseDrill, Engine, TableRows};
use kit_contract::{Reason, config};
use kit_core::{Progress, Secret, StepError};
use kit_database::Depth;
use kit_database::assertions::unmet;
use kit_step::ToolContext;
use kit_store::Store;
use std::path::Path;

/// What came back, and how long it took.
struct Restored {
    restore_ms: u64,
    compare_ms: u64,
    tables: Vec<TableRows>,
    assertions: Vec<AssertionResult>,
    /// Why more than rows and schema could not be compared, if it could not.
    content_limit: Option<String>,
}

/// What came of one backup.
pub(super) struct Tried {
    pub(super) entry: DatabaseDrill,
    /// What a reader must know of it.
    pub(super) note: Option<String>,
    pub(super) error: Option<StepError>,
}

/// Restores one backup; the entry says what came of it, also where there is an error.
pub(super) async fn try_restore(
    cx: &ToolContext,
    store: &dyn Store,
    (config, backup): (&config::Database, &DatabaseBackup),
    (identity, scratch, jobs): (Option<&Identity>, &Path, Option<u8>),
) -> Tried {
    let mut entry = DatabaseDrill {
        database: backup.database.clone(),
        engine: backup.engine,
        source: backup.location.clone(),
        source_sha256: backup.sha256.clone(),
        size_bytes: backup.size_bytes,
        uncompressed_bytes: backup.uncompressed_bytes,
        proof: backup.proof,
        snapshot_at: backup.snapshot_at,
        age_s: cx.clock.now().duration_since(backup.snapshot_at).as_secs(),
        restore_ms: None,
        compare_ms: None,
        tables: Vec::new(),
        assertions: Vec::new(),
        failure: None,
    };
    match restore(cx, store, (config, backup), (identity, scratch, jobs)).await {
        Ok(restored) => {
            entry.restore_ms = Some(restored.restore_ms);
            entry.compare_ms = Some(restored.compare_ms);
            entry.tables = restored.tables;
            entry.assertions = restored.assertions;
            let note = restored.content_limit.map(|why| {
                format!("{}: of its content only rows and schema were compared: {why}", backup.database)
            });
            let error = unmet(&entry.assertions).map(|unmet| not_holding(&backup.database, unmet));
            entry.failure = error.as_ref().map(|error| cx.out.clean(&error.chain()));
            Tried { entry, note, error }
        }
        Err(error) => {
            entry.failure = Some(cx.out.clean(&error.chain()));
            let error = match error.reason {
                Reason::RestoreMismatch => {
                    error.hint("make a backup now, and find out what happened to this one")
                }
                _ => error,
            };
            Tried { entry, note: None, error: Some(error) }
        }
    }
}

async fn restore(
    cx: &ToolContext,
    store: &dyn Store,
    (config, backup): (&config::Database, &DatabaseBackup),
    (identity, scratch, jobs): (Option<&Identity>, &Path, Option<u8>),
) -> Result<Restored, StepError> {
    let opener = key_for(backup, identity)?;
    let (url, options) = super::place(config, jobs, cx)?;
    let rows = options.rows.clone();
    rows.counted(backup.tables.iter().map(|table| table.rows).sum());
    let url = url.unwrap_or_else(|| nowhere(backup.engine));
    let input = format!("the drill of {}", backup.database);
    let database = kit_database::open_for_restore(&url, &input, options, cx.context()).await?;
    if database.engine() != backup.engine {
        let message = format!("the backup of {} was made of another kind of database", backup.database);
        return Err(StepError::new(Reason::UsageError, message));
    }
    check_object(store, backup).await?;
    let key = object_key(backup)?;
    cx.out.say(&format!("{}: restoring {} into a scratch place", backup.database, backup.location));
    let began_ms = cx.clock.elapsed_ms();
    let Some(source) = store.read_stream(&key).await? else {
        return Err(StepError::new(Reason::BackupNotFound, format!("{key} is gone from the store")));
    };
    let what = format!("{}: restoring", backup.database);
    let progress = Progress::with_rows(cx, what, Some(backup.uncompressed_bytes), Some(rows));
    let mut gunzip = unpack(source, opener, progress).await.map_err(|fault| of_fault(backup, &fault))?;
    let restored = database.restore_scratch(cx, &mut gunzip, backup.details.needs.as_ref(), scratch).await;
    let restored = restored.map_err(|error| why_not(backup, gunzip.fault(), error))?;
    let restored_ms = cx.clock.elapsed_ms();
    // Reading all of it is for nothing if there is nothing to compare it with.
    let depth = if backup.details.content.is_some() { Depth::Content } else { Depth::Rows };
    let inspected = restored.inspect(cx, depth).await;
    let asked = restored.assertions(cx).await;
    let compared_ms = cx.clock.elapsed_ms();
    if let Err(error) = restored.close(cx).await {
        cx.out.say(&format!("warning: {}", StepError::from(error).chain()));
    }
    let inspection = inspected.map_err(|error| why_not(backup, None, error))?;
    let assertions = asked.map_err(|error| why_not(backup, None, error))?;
    let Some(read) = gunzip.read() else {
        return Err(StepError::new(Reason::InternalError, "the restore ended before the backup did"));
    };
    let mut found: Vec<String> = other_bytes(backup, &read).into_iter().collect();
    found.extend(other_content(backup, &inspection));
    if !found.is_empty() {
        return Err(mismatch(backup, &found.join("; ")));
    }
    Ok(Restored {
        restore_ms: restored_ms.saturating_sub(began_ms),
        compare_ms: compared_ms.saturating_sub(restored_ms),
        tables: inspection.table_rows(),
        assertions,
        content_limit: not_comparable(backup, &inspection),
    })
}

/// Stands for the live database where nothing may be asked of it: nobody listens there (RFC 6761, section
/// 6.4), and nothing but the scratch place is ever opened.
fn nowhere(engine: Engine) -> Secret {
    Secret::new(match engine {
        Engine::Postgres => "postgres://drill@live.invalid/drill",
        Engine::Mysql => "mariadb://drill@live.invalid/drill",
        Engine::Redis => "redis://live.invalid",
        Engine::Sqlite | Engine::Unknown => "sqlite:live.invalid",
    })
}
