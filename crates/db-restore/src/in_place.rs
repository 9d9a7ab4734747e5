//! Overwrites the live database where it stands. What it held is lost, so this is never done unless it was asked for
//! by name, and the backup is read through and compared before anything is dropped.

use crate::Job;
use crate::beside::{Compared, Times, compare, fetch, hold, mismatch, why_not};
use crate::consent::{flags, typed};
use crate::hooks::Hooks;
use crate::judge::other_bytes;
use kit_contract::body::{DatabaseBackup, Engine, Restore, TableRows};
use kit_contract::{Name, Reason};
use kit_core::{StepError, ask, can_ask, count_text as count, size_text};
use kit_database::DatabaseError;
use kit_step::StepContext;
use kit_store::Store;
use std::time::Duration;

/// How long somebody waits to see what there is to lose.
const COUNTING: Duration = Duration::from_secs(20);
/// Tables that are named one by one.
const MOST_TABLES: usize = 10;

/// Refuses what cannot be overwritten as one.
pub(crate) fn check(jobs: &[Job]) -> Result<(), StepError> {
    let refuse = |message: String| StepError::new(Reason::UsageError, message);
    match jobs {
        [job] if job.database.engine() == Engine::Sqlite => Err(refuse(format!(
            "--in-place is not for {}: a SQLite database is a file, which is exchanged by a rename",
            job.name
        ))
        .hint("leave --in-place out")),
        [job] if job.database.engine() == Engine::Redis => Err(refuse(format!(
            "--in-place is not for {}: a Redis database is exchanged for the restored one in an instant (SWAPDB)",
            job.name
        ))
        .hint("leave --in-place out")),
        [_] => Ok(()),
        _ => {
            let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
            Err(refuse(format!(
                "--in-place overwrites one database at a time, and {} are meant",
                names.join(" and ")
            ))
            .hint(format!("name one: --database {}", names.first().unwrap_or(&"NAME"))))
        }
    }
}

/// Shows the person at the terminal what is lost, and has the name of the database typed. Where nobody sits, it is
/// refused.
pub(crate) async fn agree(cx: &StepContext<Restore>, job: &Job) -> Result<(), StepError> {
    let (display, name) = (job.database.display(), &job.name);
    if !can_ask(cx) {
        let message =
            format!("--in-place overwrites {display}, and what it holds now would be lost for good");
        return Err(StepError::new(Reason::ConsentRequired, message)
            .hint(format!("to agree, give {}", flags(std::slice::from_ref(name))))
            .hint("without --in-place it is restored beside, and what was live is kept"));
    }
    let counted = cx.clock.timeout(COUNTING, job.database.inventory(cx)).await;
    let live = match counted {
        Ok(Ok(tables)) => Ok(tables),
        Ok(Err(error)) => Err(StepError::from(error).chain()),
        Err(elapsed) => Err(format!("counting takes longer than {} s", elapsed.limit.as_secs())),
    };
    for line in loss(&display, live.as_deref().map_err(String::as_str), &job.backup) {
        cx.out.say(&line);
    }
    let answer = ask(cx, &format!("Type {name} to overwrite it, anything else to leave it as it is:")).await;
    if cx.cancel.is_cancelled() {
        return Err(StepError::new(Reason::Interrupted, "stopped before anything was changed"));
    }
    typed(answer.as_deref(), name)
}

/// What is lost, and what comes instead. `live`: what the database holds now, or why that is not known. Pure.
fn loss(display: &str, live: Result<&[TableRows], &str>, backup: &DatabaseBackup) -> Vec<String> {
    let sum = |tables: &[TableRows]| {
        let rows = tables.iter().map(|table| table.rows).sum();
        format!("{} in {}", count(rows, "row"), count(tables.len() as u64, "table"))
    };
    let mut lines = match live {
        Ok(tables) => {
            let mut lines =
                vec![format!("{display} is overwritten where it stands. Lost for good: {}", sum(tables))];
            let differing = differing(tables, &backup.tables);
            lines.extend(differing.iter().take(MOST_TABLES).map(|text| format!("  {text}")));
            if let Some(more) = differing.len().checked_sub(MOST_TABLES).filter(|more| *more > 0) {
                lines.push(format!("  and {more} more tables that differ"));
            }
            lines
        }
        Err(why) => vec![format!(
            "{display} is overwritten where it stands. Lost for good: all that it holds, and nobody knows how much \
             that is ({why})"
        )],
    };
    lines.push(format!(
        "Instead of it: {}, as it was at {:.0}, {}, {} before compression, proof: {}",
        backup.location,
        backup.snapshot_at,
        sum(&backup.tables),
        size_text(backup.uncompressed_bytes),
        backup.proof
    ));
    lines.push("Stop the programs that use it first.".to_owned());
    lines
}

/// The tables that do not have as many rows as in the backup.
fn differing(live: &[TableRows], backup: &[TableRows]) -> Vec<String> {
    let of = |tables: &[TableRows], name: &str| {
        tables.iter().find(|table| table.table == name).map(|table| table.rows)
    };
    let now = live.iter().filter_map(|table| match of(backup, &table.table) {
        Some(rows) if rows == table.rows => None,
        Some(rows) => Some(format!("{}: {}, {rows} in the backup", table.table, count(table.rows, "row"))),
        None => Some(format!("{}: {}, not in the backup", table.table, count(table.rows, "row"))),
    });
    let gone = backup.iter().filter(|table| of(live, &table.table).is_none());
    now.chain(gone.map(|table| format!("{}: not there, {} in the backup", table.table, table.rows))).collect()
}

/// Overwrites one database; the entry then says what was compared.
pub(crate) async fn overwrite(
    cx: &StepContext<Restore>,
    store: &dyn Store,
    job: &Job,
    body: &mut Restore,
) -> Result<(), StepError> {
    cx.out.say(&format!("{}: reading {} through before anything is dropped", job.name, job.backup.location));
    read_through(cx, store, job).await?;
    let (subject, databases): (_, [Name; 1]) = (body.subject.clone(), [job.name.clone()]);
    let hooks = Hooks { cx, subject: &subject, databases: &databases };
    let overwritten = match hooks.before().await {
        Ok(()) => replace(cx, store, job).await,
        Err(error) => Err(error.hint("nothing was changed: the live database is as it was")),
    };
    let compared = hooks.end(overwritten).await?;
    if let Some(entry) = body.databases.first_mut() {
        entry.swapped = true;
        compared.enter(cx.context(), entry);
    }
    cx.save(body.clone());
    Ok(())
}

/// The whole backup is there and is the one that was proved.
async fn read_through(cx: &StepContext<Restore>, store: &dyn Store, job: &Job) -> Result<(), StepError> {
    let mut gunzip = fetch(cx, store, job, "reading").await?;
    let through = cx.cancel.unless(tokio::io::copy(&mut gunzip, &mut tokio::io::sink())).await;
    match (through, gunzip.read()) {
        (None, _) => Err(StepError::new(Reason::Interrupted, "stopped before anything was changed")),
        (Some(Ok(_)), Some(read)) => match other_bytes(&job.backup, &read) {
            None => Ok(()),
            Some(difference) => Err(mismatch(job, &difference)),
        },
        (Some(Err(source)), _) => {
            let error = DatabaseError::Transfer { action: "read", database: job.name.to_string(), source };
            Err(why_not(job, gunzip.fault(), error))
        }
        (Some(Ok(_)), None) => {
            Err(StepError::new(Reason::InternalError, "the backup was not read to its end"))
        }
    }
}

async fn replace(cx: &StepContext<Restore>, store: &dyn Store, job: &Job) -> Result<Compared, StepError> {
    let began_ms = cx.clock.elapsed_ms();
    let mut gunzip = fetch(cx, store, job, "overwriting").await?;
    let display = job.database.display();
    cx.in_danger(
        format!("{display} was being overwritten"),
        format!(
            "what it held may be gone: keep the programs that use it stopped, and run the same command again; \
             {} is whole",
            job.backup.location
        ),
    );
    let needs = job.backup.details.needs.as_ref();
    let live = match job.database.restore_in_place(cx.context(), &mut gunzip, needs).await {
        Ok(live) => live,
        // The danger stays: it says what to do.
        Err(error @ DatabaseError::Stuck { .. }) => return Err(error.into()),
        Err(error) => {
            cx.out_of_danger();
            let error = why_not(job, gunzip.fault(), error);
            return Err(error.hint("nothing was changed: the live database is as it was"));
        }
    };
    let times = Times { began_ms, restored_ms: cx.clock.elapsed_ms() };
    // It is whole, and what it held before is gone; whether it is right is another question.
    cx.out_of_danger();
    let compared = compare(job, job.database.inspect(cx.context(), job.depth()).await);
    let compared = match compared {
        Ok(limit) => {
            let asked = job.database.assertions_beside(cx.context(), &live).await;
            hold(cx.context(), job, (limit, asked), times)
        }
        Err(error) => Err(error),
    };
    compared.map_err(|error| {
        let (found, hint) = match error.reason {
            Reason::Interrupted | Reason::Terminated | Reason::DeadlineExceeded => (
                "nobody has compared what is in it now",
                "run the same command again, or look at it before anything uses it",
            ),
            _ => ("what is in it now is not what it should be", "restore another backup"),
        };
        StepError::new(Reason::LeftChanged, format!("{display} was overwritten, and {found}"))
            .because(error.chain())
            .hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(rows: &[(&str, u64)]) -> Vec<TableRows> {
        rows.iter().map(|(table, rows)| TableRows { table: (*table).to_owned(), rows: *rows }).collect()
    }

    #[test]
    fn what_is_lost_is_shown_table_by_table_and_unknown_is_not_nothing() {
        let backup: DatabaseBackup = serde_json::from_value(serde_json::json!({
            "database": "main", "engine": "postgres", "engine_version": "15", "location": "file:store/a", "key": "a",
            "metadata_key": "a.json", "sha256": "a".repeat(64), "size_bytes": 9, "uncompressed_bytes": 2048,
            "tables": tables(&[("gone", 3), ("orders", 1000), ("same", 1)]),
            "schema_sha256": "a".repeat(64), "proof": "full", "snapshot_at": "2026-01-01T00:00:00Z",
            "verified_at": "2026-01-01T00:00:00Z", "adopted": false,
        }))
        .unwrap();
        let live = tables(&[("new", 1), ("orders", 1200), ("same", 1)]);
        let shown = loss("shop on 127.0.0.1", Ok(&live), &backup);
        let expected = [
            "shop on 127.0.0.1 is overwritten where it stands. Lost for good: 1202 rows in 3 tables",
            "  new: 1 row, not in the backup",
            "  orders: 1200 rows, 1000 in the backup",
            "  gone: not there, 3 in the backup",
            "Instead of it: file:store/a, as it was at 2026-01-01T00:00:00Z, 1004 rows in 3 tables, 2.0 KiB before \
             compression, proof: full",
            "Stop the programs that use it first.",
        ];
        assert_eq!(shown, expected);
        let many: Vec<(String, u64)> = (0..13).map(|number| (format!("t{number}"), 1)).collect();
        let many: Vec<(&str, u64)> = many.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        let shown =
            loss("shop", Ok(&tables(&many)), &DatabaseBackup { tables: Vec::new(), ..backup.clone() });
        assert_eq!((shown.len(), shown[11].as_str()), (14, "  and 3 more tables that differ"));
        let shown = loss("shop", Err("it is down"), &backup);
        assert!(shown[0].ends_with("nobody knows how much that is (it is down)"), "{shown:?}");
    }
}
