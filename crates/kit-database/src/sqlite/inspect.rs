//! Examines a SQLite file without writing to it.

use super::connect::{self, Access, Doing, is_damage};
use crate::{DatabaseError, Depth, EngineError, Inspection, TableState};
use futures_util::TryStreamExt as _;
use kit_contract::Sha256;
use kit_contract::body::TableRows;
use kit_core::Context;
use sha2::Digest as _;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Decode, Row as _, TypeInfo as _, ValueRef as _};
use std::path::Path;
use std::time::Duration;

/// How many complaints of `integrity_check` are shown.
const COMPLAINTS: usize = 10;
/// Of the digests of content: to be changed with them, since the metadata of backups holds them.
const CONTENT_METHOD: &str = "sqlite/1";
/// Rows are handed to the hasher in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// A table whose content is in the file. Virtual tables are not: their content is in shadow tables.
struct Table {
    name: String,
    without_rowid: bool,
}

/// Examines a file in one snapshot.
pub(super) async fn inspect_file(
    path: &Path,
    access: Access,
    depth: Depth,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Inspection, DatabaseError> {
    let failed = |error: sqlx::Error| {
        if access == Access::Immutable && is_damage(&error) {
            let source = EngineError::from(error);
            return DatabaseError::Damaged { database: doing.database.to_owned(), source };
        }
        doing.failed(error, cx)
    };
    let mut connection = connect::open(path, access, doing.waited, Some(&cx.cancel)).await.map_err(failed)?;
    let inspected = inspect(&mut connection, depth).await.map_err(failed);
    connect::close(connection).await;
    inspected
}

/// Version of the SQLite library; reads the file's header and schema in passing.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<String, sqlx::Error> {
    let (version, _): (String, i64) =
        sqlx::query_as("SELECT sqlite_version(), count(*) FROM sqlite_schema").fetch_one(connection).await?;
    Ok(version)
}

/// Rows per table in one snapshot.
pub(super) async fn count(connection: &mut SqliteConnection) -> Result<Vec<TableRows>, sqlx::Error> {
    let mut snapshot = connection.begin().await?;
    let mut counted = Vec::new();
    for table in tables(&mut snapshot).await? {
        let rows = count_rows(&mut snapshot, &table.name).await?;
        counted.push(TableRows { table: table.name, rows });
    }
    snapshot.rollback().await?;
    Ok(counted)
}

async fn inspect(connection: &mut SqliteConnection, depth: Depth) -> Result<Inspection, sqlx::Error> {
    let mut snapshot = connection.begin().await?;
    let schema_sha256 = schema(&mut snapshot).await?;
    let mut integrity = integrity(&mut snapshot).await?;
    let mut states = Vec::new();
    for table in tables(&mut snapshot).await? {
        match examine(&mut snapshot, &table, depth).await {
            Ok((rows, content_sha256)) => {
                states.push(TableState { table: table.name, rows, content_sha256 });
            }
            // Damage is an answer, not a failure to ask. The table is left out, and the reason kept.
            Err(error) if is_damage(&error) => {
                let complaint = format!("table {:?}: {}", table.name, EngineError::from(error));
                integrity = Err(match integrity {
                    Ok(()) => complaint,
                    Err(before) => format!("{before}; {complaint}"),
                });
            }
            Err(error) => return Err(error),
        }
    }
    let foreign_keys_violated = foreign_keys(&mut snapshot).await?;
    snapshot.rollback().await?;
    Ok(Inspection {
        integrity,
        foreign_keys_violated,
        schema_sha256,
        tables: states,
        beyond_tables_sha256: None,
        content_method: (depth == Depth::Content).then(|| CONTENT_METHOD.to_owned()),
    })
}

async fn integrity(connection: &mut SqliteConnection) -> Result<Result<(), String>, sqlx::Error> {
    let sql = format!("PRAGMA integrity_check({COMPLAINTS})");
    let lines: Vec<String> = match sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await {
        Ok(lines) => lines,
        Err(error) if is_damage(&error) => return Ok(Err(EngineError::from(error).to_string())),
        Err(error) => return Err(error),
    };
    if lines == ["ok"] {
        return Ok(Ok(()));
    }
    Ok(Err(kit_core::sanitise(&lines.join("; "))))
}

async fn foreign_keys(connection: &mut SqliteConnection) -> Result<Result<u64, String>, sqlx::Error> {
    let asked: Result<i64, _> =
        sqlx::query_scalar("SELECT count(*) FROM pragma_foreign_key_check").fetch_one(connection).await;
    match asked {
        Ok(count) => Ok(Ok(count.unsigned_abs())),
        Err(error) if connect::is_interrupt(&error) || connect::is_busy(&error) => Err(error),
        // A foreign key that names no unique key is an error of the schema ("foreign key mismatch").
        Err(error) => Ok(Err(EngineError::from(error).to_string())),
    }
}

/// Digest of everything that defines the schema, in an order of its own; where pages lie is left out.
async fn schema(connection: &mut SqliteConnection) -> Result<Sha256, sqlx::Error> {
    let mut bytes = Vec::new();
    for pragma in ["PRAGMA encoding", "PRAGMA user_version", "PRAGMA application_id"] {
        encode_row(&sqlx::query(pragma).fetch_one(&mut *connection).await?, &mut bytes)?;
    }
    let mut hasher = sha2::Sha256::new();
    let mut rows = sqlx::query("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        encode_row(&row, &mut bytes)?;
        hasher.update(&bytes);
        bytes.clear();
    }
    hasher.update(&bytes);
    Ok(Sha256::from_raw(&hasher.finalize()))
}

async fn tables(connection: &mut SqliteConnection) -> Result<Vec<Table>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' \
         AND type IN ('table', 'shadow') AND name <> 'sqlite_schema' ORDER BY name",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(name, wr)| Table { name, without_rowid: wr != 0 }).collect())
}

async fn examine(
    connection: &mut SqliteConnection,
    table: &Table,
    depth: Depth,
) -> Result<(u64, Option<Sha256>), sqlx::Error> {
    match depth {
        Depth::Rows => Ok((count_rows(connection, &table.name).await?, None)),
        Depth::Content => {
            let sql = content_query(connection, table).await?;
            let (rows, digest) = digest(connection, sql).await?;
            Ok((rows, Some(digest)))
        }
    }
}

async fn count_rows(connection: &mut SqliteConnection, table: &str) -> Result<u64, sqlx::Error> {
    let sql = format!("SELECT count(*) FROM main.{}", quote(table));
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// Selects every stored value of a table in the order of its key.
async fn content_query(connection: &mut SqliteConnection, table: &Table) -> Result<String, sqlx::Error> {
    let columns: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT name, pk, hidden FROM pragma_table_xinfo(?1, 'main')")
            .bind(&table.name)
            .fetch_all(connection)
            .await?;
    // `hidden` is 2 for virtual generated columns, which are not stored.
    let mut selected: Vec<String> =
        columns.iter().filter(|(_, _, hidden)| *hidden != 2).map(|(name, _, _)| quote(name)).collect();
    let from = quote(&table.name);
    if table.without_rowid {
        let mut key: Vec<(i64, String)> =
            columns.iter().filter(|(_, pk, _)| *pk > 0).map(|(name, pk, _)| (*pk, quote(name))).collect();
        key.sort();
        let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
        return Ok(format!("SELECT {} FROM main.{from} ORDER BY {}", selected.join(", "), key.join(", ")));
    }
    // A column may take any of the three names of the row id; if all are taken, a scan without an
    // index still goes in the order of row ids.
    let free = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|alias| !columns.iter().any(|(name, _, _)| name.eq_ignore_ascii_case(alias)));
    let order = free.map(|alias| format!(" ORDER BY {alias}")).unwrap_or_default();
    selected.extend(free.map(str::to_owned));
    Ok(format!("SELECT {} FROM main.{from} NOT INDEXED{order}", selected.join(", ")))
}

/// Rows and their digest, streamed.
async fn digest(connection: &mut SqliteConnection, sql: String) -> Result<(u64, Sha256), sqlx::Error> {
    let mut hasher = sha2::Sha256::new();
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut count = 0_u64;
    let mut rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        encode_row(&row, &mut piece)?;
        count += 1;
        if piece.len() >= PIECE_BYTES {
            hasher.update(&piece);
            piece.clear();
        }
    }
    hasher.update(&piece);
    Ok((count, Sha256::from_raw(&hasher.finalize())))
}

/// One row, unambiguously: the number of columns, then a type letter and the value of each.
fn encode_row(row: &SqliteRow, into: &mut Vec<u8>) -> Result<(), sqlx::Error> {
    into.extend_from_slice(&(row.len() as u64).to_be_bytes());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            into.push(b'n');
            continue;
        }
        let kind = value.type_info().name().as_bytes().first().copied().unwrap_or(b'?');
        into.push(kind.to_ascii_lowercase());
        match kind {
            b'I' => {
                let number = <i64 as Decode<'_, Sqlite>>::decode(value).map_err(sqlx::Error::Decode)?;
                into.extend_from_slice(&number.to_be_bytes());
            }
            b'R' => {
                let number = <f64 as Decode<'_, Sqlite>>::decode(value).map_err(sqlx::Error::Decode)?;
                into.extend_from_slice(&number.to_bits().to_be_bytes());
            }
            // Texts as bytes: SQLite does not insist on UTF-8.
            _ => {
                let bytes = <&[u8] as Decode<'_, Sqlite>>::decode(value).map_err(sqlx::Error::Decode)?;
                into.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                into.extend_from_slice(bytes);
            }
        }
    }
    Ok(())
}

/// An identifier as SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For files that nobody else has: nothing to wait for.
pub(super) const NO_WAIT: Duration = Duration::ZERO;
