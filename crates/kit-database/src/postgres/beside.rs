//! Restores beside the live database: another database on the same server. Until it was compared its name says that it
//! is unfinished, since whoever works on it may be killed at any moment.

use super::connect::{self, Doing, Session};
use super::ident::{literal, quote};
use super::{PostgresDatabase, restore, scratch};
use crate::{Beside, DatabaseError};
use kit_contract::body::RestoreNeeds;
use kit_core::Context;
use sqlx::postgres::PgConnection;
use tokio::io::AsyncRead;

/// Longer names are cut by the server (NAMEDATALEN).
const NAME_BYTES: usize = 63;
/// Databases that every server has; one to talk through while others are renamed.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// The name under which something of the live database is kept: `shop_restore_1763712000-abc1234`.
pub(super) fn sibling(live: &str, role: &str, id: &str) -> String {
    crate::sibling::sibling((live, role, id), (NAME_BYTES, str::len))
}

/// While it is not all there, or was not compared.
pub(super) fn unfinished_name(live: &str, id: &str) -> String {
    sibling(live, "unfinished", id)
}

/// Once it was.
pub(super) fn finished_name(live: &str, id: &str) -> String {
    sibling(live, "restore", id)
}

/// A connection to the server that uses neither of the two databases.
pub(super) async fn maintenance(
    database: &PostgresDatabase,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<PgConnection, DatabaseError> {
    let mut last = None;
    for name in MAINTENANCE.into_iter().filter(|name| *name != database.address.database) {
        match connect::open(&database.address.with_database(name), Session::Reading, cx, doing).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| doing.cancelled(cx)))
}

pub(super) fn needs_unknown() -> DatabaseError {
    let problem =
        "the backup does not say what it needs of a server, so it cannot be restored by this version";
    DatabaseError::Refused { problem: problem.to_owned() }
}

pub(super) async fn restore(
    database: &PostgresDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    id: &str,
) -> Result<Beside, DatabaseError> {
    let needs = needs.ok_or_else(needs_unknown)?;
    let live = &database.address.database;
    let name = unfinished_name(live, id);
    let display = database.address.display();
    let doing =
        Doing { action: "use the server of", database: &display, unfinished: "the dump was restored" };
    let mut connection = maintenance(database, cx, doing).await?;
    let clients = scratch::clients_for(database, cx, needs).await?;
    crate::sibling::say_left(cx, doing.run(cx, left(&mut connection, live, &name)).await);
    scratch::prepare(&mut connection, cx, doing, needs, &name).await?;
    let beside = Beside { name: name.clone(), id: id.to_owned() };
    let restoring = Doing { action: "restore into", database: &name, ..doing };
    let address = database.address.with_database(&name);
    let jobs = database.restore_jobs();
    let rows = &database.options.rows;
    let into =
        restore::Into { address: &address, clients: &clients, jobs, plain_jobs: jobs, scratch: None, rows };
    let restored = async {
        // Of an earlier run, whose end was not heard.
        doing.run(cx, scratch::remove(&mut connection, &finished_name(live, id))).await?;
        restore::run(cx, into, reader, restoring).await?;
        doing.run(cx, take_over(&mut connection, live, &name)).await
    };
    let restored = restored.await;
    connect::close(connection).await;
    if let Err(error) = restored {
        // The first error is the one to report; what stays is replaced by the next run.
        if let Err(left) = discard(database, cx, &beside).await {
            cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
        }
        return Err(error);
    }
    Ok(beside)
}

/// Removes it, whichever name it has, also when the step is cancelled.
pub(super) async fn discard(
    database: &PostgresDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<(), DatabaseError> {
    let via = MAINTENANCE.into_iter().find(|name| *name != database.address.database).unwrap_or("postgres");
    let live = &database.address.database;
    let names = [unfinished_name(live, &beside.id), finished_name(live, &beside.id)];
    scratch::drop_databases(&database.address.with_database(via), &names, cx).await
}

/// What else is unfinished beside the live database.
async fn left(connection: &mut PgConnection, live: &str, name: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT datname::text FROM pg_database WHERE left(datname, length($1)) = $1 AND datname <> $2 ORDER BY 1",
    )
    .bind(format!("{live}_unfinished_"))
    .bind(name)
    .persistent(false)
    .fetch_all(connection)
    .await
}

/// Gives the restored database what a dump of one database does not carry: owner, limits, settings of the
/// database and of roles in it, rights. Nothing, if the live one is lost.
async fn take_over(connection: &mut PgConnection, live: &str, name: &str) -> Result<(), sqlx::Error> {
    let target = quote(name);
    let row: Option<(String, i32, i64)> = sqlx::query_as(
        "SELECT pg_get_userbyid(datdba)::text, datconnlimit, oid::int8 FROM pg_database WHERE datname = $1",
    )
    .bind(live)
    .persistent(false)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((owner, limit, oid)) = row else { return Ok(()) };
    let mut statements = vec![
        format!("ALTER DATABASE {target} OWNER TO {}", quote(&owner)),
        format!("ALTER DATABASE {target} CONNECTION LIMIT {limit}"),
    ];
    let settings: Vec<(Option<String>, String)> = sqlx::query_as(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole)::text END, unnest(setconfig)
         FROM pg_db_role_setting WHERE setdatabase = $1::int8::oid",
    )
    .bind(oid)
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    for (role, setting) in settings {
        let Some((key, value)) = setting.split_once('=') else { continue };
        let whose = match role {
            Some(role) => format!("ROLE {} IN DATABASE {target}", quote(&role)),
            None => format!("DATABASE {target}"),
        };
        statements.push(format!("ALTER {whose} SET {} TO {}", quote_setting(key), setting_value(key, value)));
    }
    let rights: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type::text,
            a.is_grantable FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = $1",
    )
    .bind(live)
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    if !rights.is_empty() {
        statements.push(format!("REVOKE ALL ON DATABASE {target} FROM PUBLIC"));
    }
    for (grantee, privilege, grantable) in rights {
        let grantee = if grantee.is_empty() { "PUBLIC".to_owned() } else { quote(&grantee) };
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        statements.push(format!("GRANT {privilege} ON DATABASE {target} TO {grantee}{option}"));
    }
    for statement in statements {
        connect::execute(connection, statement).await?;
    }
    Ok(())
}

/// Settings whose value is a list of names, stored as SQL already (GUC_LIST_QUOTE in guc_tables.c).
const LISTS: &[&str] = &[
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
];

fn setting_value(key: &str, value: &str) -> String {
    match value {
        "\"\"" if LISTS.contains(&key) => "''".to_owned(),
        list if LISTS.contains(&key) => list.to_owned(),
        _ => literal(value),
    }
}

/// `work_mem`, `my.setting`: each part by itself.
fn quote_setting(key: &str) -> String {
    key.split('.').map(quote).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_their_id() {
        assert_eq!(sibling("shop", "restore", "1763712000-abc1234"), "shop_restore_1763712000-abc1234");
        let long = sibling(&"ü".repeat(31), "before", "1763712000-abc1234");
        assert!(long.len() <= 63 && long.ends_with("_before_1763712000-abc1234"), "{long}");
        assert_eq!(quote_setting("my.setting"), "\"my\".\"setting\"");
        assert_eq!(setting_value("search_path", "\"a, b\", public"), "\"a, b\", public");
        assert_eq!(setting_value("search_path", "\"\""), "''");
        assert_eq!(setting_value("my.setting", "it's"), "'it''s'");
    }
}
