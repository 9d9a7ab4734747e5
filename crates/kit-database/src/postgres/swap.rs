//! Renames. The name of what was restored says whether it was compared: see `finish`.
//!
//! The swap: two renames in one transaction, so that the live name always has a database.
//!
//! A rename waits, with the database locked against newcomers, for those who use it to leave (five seconds,
//! `CountOtherDBBackends`); a second connection ends them meanwhile. Who is just coming in waits, too, and is
//! then told that the database was renamed; at his next attempt he gets the restored one. Nothing is left to
//! undo if this process dies.

use super::PostgresDatabase;
use super::beside::{finished_name, maintenance, sibling};
use super::connect::{self, Doing};
use super::ident::quote;
use crate::{Beside, DatabaseError, EngineError, Swapped};
use kit_core::Context;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Between two rounds of ending connections.
const ROUND: Duration = Duration::from_millis(100);

pub(super) async fn swap(
    database: &PostgresDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Swapped, DatabaseError> {
    let live = &database.address.database;
    let kept = sibling(live, "before", &beside.id);
    let display = database.address.display();
    let doing = Doing {
        action: "swap",
        database: &display,
        unfinished: "the databases were swapped; nothing was renamed",
    };
    let mut connection = maintenance(database, cx, doing).await?;
    let there = doing.run(cx, databases(&mut connection)).await?;
    let has = |name: &str| there.iter().any(|known| known == name);
    if beside.name != finished_name(live, &beside.id) {
        let problem = format!("{} is unfinished: it was not compared with its backup", beside.name);
        return Err(DatabaseError::Refused { problem });
    }
    if !has(&beside.name) {
        let problem = format!("the server has no database {}, so there is nothing to swap", beside.name);
        return Err(DatabaseError::Refused { problem });
    }
    if has(&kept) {
        let problem =
            format!("the database {kept} exists; it holds an earlier database and is never replaced");
        return Err(DatabaseError::Refused { problem });
    }
    let had_live = has(live);
    let warnings = if had_live { doing.run(cx, slots(&mut connection, live)).await? } else { Vec::new() };
    let mut renames = Vec::new();
    if had_live {
        renames.push((live.as_str(), kept.as_str()));
    }
    renames.push((beside.name.as_str(), live.as_str()));
    let ender = maintenance(database, cx, doing).await?;
    let renamed =
        rename(&mut connection, &renames, end_users(ender, cx, [live.as_str(), &beside.name])).await;
    connect::close(connection).await;
    if let Err(error) = renamed {
        look_again(database, cx, doing, (beside, &kept), error).await?;
    }
    Ok(Swapped { kept: had_live.then(|| format!("PostgreSQL {kept}")), warnings })
}

/// Gives a restored database the name that says that it was compared.
pub(super) async fn finish(
    database: &PostgresDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Beside, DatabaseError> {
    let name = finished_name(&database.address.database, &beside.id);
    let doing = Doing {
        action: "rename",
        database: &beside.name,
        unfinished: "what was restored got the name of what is whole",
    };
    let mut connection = maintenance(database, cx, doing).await?;
    // Sessions of ours that were closed a moment ago may still be there.
    let ender = maintenance(database, cx, doing).await?;
    let users = end_users(ender, cx, [&beside.name, &name]);
    let renamed = cx.cancel.unless(rename(&mut connection, &[(&beside.name, &name)], users)).await;
    connect::close(connection).await;
    let finished = Beside { name, id: beside.id.clone() };
    match renamed {
        None => Err(doing.cancelled(cx)),
        Some(Ok(())) => Ok(finished),
        // It may have been renamed all the same.
        Some(Err(error)) => {
            let mut connection = maintenance(database, cx, doing).await?;
            let there = doing.run(cx, databases(&mut connection)).await;
            connect::close(connection).await;
            let there = there?;
            let is_done = there.contains(&finished.name) && !there.contains(&beside.name);
            if is_done { Ok(finished) } else { Err(doing.failed(error)) }
        }
    }
}

/// All of them or none, while `ending` ends the connections that are in the way.
async fn rename(
    connection: &mut PgConnection,
    renames: &[(&str, &str)],
    ending: impl Future<Output = Never>,
) -> Result<(), sqlx::Error> {
    let mut sql = "BEGIN; ".to_owned();
    for (from, to) in renames {
        sql.push_str(&format!("ALTER DATABASE {} RENAME TO {}; ", quote(from), quote(to)));
    }
    sql.push_str("COMMIT");
    tokio::select! {
        renamed = connect::execute(connection, sql) => renamed,
        never = ending => match never {},
    }
}

enum Never {}

/// Ends the connections of others again and again, until it is dropped.
async fn end_users(mut connection: PgConnection, cx: &Context, databases: [&str; 2]) -> Never {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname IN ($1, $2) AND pid <> pg_backend_pid()";
    loop {
        // If we may not, or nobody is there, the rename itself says so.
        let _: Result<i64, _> = sqlx::query_scalar(sql)
            .bind(databases[0])
            .bind(databases[1])
            .persistent(false)
            .fetch_one(&mut connection)
            .await;
        cx.clock.sleep(ROUND).await;
    }
}

async fn databases(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT datname::text FROM pg_database").persistent(false).fetch_all(connection).await
}

/// Replication slots stay with the database that is kept.
async fn slots(connection: &mut PgConnection, live: &str) -> Result<Vec<String>, sqlx::Error> {
    let slots: Vec<String> =
        sqlx::query_scalar("SELECT slot_name::text FROM pg_replication_slots WHERE database = $1")
            .bind(live)
            .persistent(false)
            .fetch_all(connection)
            .await?;
    let warning = |slot: String| {
        format!(
            "the replication slot {slot} stays with the database that is kept: make it anew, and restart what reads it"
        )
    };
    Ok(slots.into_iter().map(warning).collect())
}

/// The renames failed, or their confirmation was lost: only the server knows.
async fn look_again(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
    (beside, kept): (&Beside, &str),
    error: sqlx::Error,
) -> Result<(), DatabaseError> {
    let live = &database.address.database;
    // Also if the step is cancelled: what is where has to be said.
    let cx = Context { cancel: kit_core::Cancel::default(), ..cx.clone() };
    let asked = async {
        let mut connection = maintenance(database, &cx, doing).await?;
        let there = doing.run(&cx, databases(&mut connection)).await;
        connect::close(connection).await;
        there
    };
    let source = EngineError::from(error);
    match asked.await {
        Ok(there) if there.contains(&beside.name) => Err(match source.code.as_deref() {
            // 55006 object_in_use.
            Some("55006") => DatabaseError::Busy {
                database: doing.database.to_owned(),
                waited_ms: 5000,
                refused: "nothing was swapped",
            },
            _ => doing.said(source),
        }),
        // It was committed after all.
        Ok(_) => Ok(()),
        Err(_) => Err(DatabaseError::Stuck {
            state: format!(
                "the connection broke during the renames, which happen both or not at all: if the server has a \
                 database {}, nothing was swapped; else {live} is the restored one and {kept} the one before",
                beside.name
            ),
            source,
        }),
    }
}
