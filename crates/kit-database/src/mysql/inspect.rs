//! What a database holds: tables, definitions, code, and how it wants to be made.

use super::clients;
use super::connect::{self, Server};
use super::ident::{literal, quote};
use super::scan::{Code, Content};
use crate::{Inspection, TableState};
use kit_contract::Sha256;
use kit_contract::body::{RestoreNeeds, TableRows};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

/// The server enforces them, unless it was told not to; then violations are part of the data.
const FOREIGN_KEYS: &str = "MariaDB and MySQL enforce them themselves";

/// What there is, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Tables that hold rows.
    pub(super) tables: Vec<String>,
    pub(super) sequences: Vec<String>,
    /// Everything that `RENAME TABLE` moves from one database to another.
    pub(super) movable: Vec<String>,
    pub(super) views: Vec<String>,
    pub(super) triggers: Vec<String>,
    pub(super) events: Vec<String>,
    /// Kind, as `SHOW CREATE` has it, and name.
    pub(super) routines: Vec<(String, String)>,
    /// Tables that cannot be copied in one snapshot with the others, and why.
    pub(super) unfit: Vec<String>,
}

impl Names {
    /// How many of each there are.
    pub(super) fn code(&self) -> Code {
        Code {
            triggers: self.triggers.len() as u64,
            events: self.events.len() as u64,
            routines: self.routines.len() as u64,
        }
    }
}

/// Begins the one snapshot in which everything is read.
pub(super) async fn begin_snapshot(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connect::execute(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT".to_owned()).await
}

/// Rows of text, in the protocol that takes every statement.
async fn rows(connection: &mut MySqlConnection, sql: String) -> Result<Vec<MySqlRow>, sqlx::Error> {
    connection.fetch_all(AssertSqlSafe(sql)).await
}

/// A column as text; servers call some texts binary.
fn text(row: &MySqlRow, column: usize) -> Result<String, sqlx::Error> {
    Ok(row.try_get_unchecked::<Option<String>, _>(column)?.unwrap_or_default())
}

/// The first column of every row.
pub(super) async fn list(connection: &mut MySqlConnection, sql: String) -> Result<Vec<String>, sqlx::Error> {
    rows(connection, sql).await?.iter().map(|row| text(row, 0)).collect()
}

/// The rights of whoever is connected, as the server prints them.
pub(super) async fn grants(connection: &mut MySqlConnection) -> Result<Vec<String>, sqlx::Error> {
    list(connection, "SHOW GRANTS".to_owned()).await
}

/// Whether there is such a database.
pub(super) async fn exists(connection: &mut MySqlConnection, name: &str) -> Result<bool, sqlx::Error> {
    let sql =
        format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", literal(name));
    Ok(!rows(connection, sql).await?.is_empty())
}

/// What a database holds.
pub(super) async fn names(connection: &mut MySqlConnection, database: &str) -> Result<Names, sqlx::Error> {
    let of = literal(database);
    let mut names = Names::default();
    let found = rows(
        connection,
        format!(
            "SELECT t.TABLE_NAME, t.TABLE_TYPE, COALESCE(t.ENGINE, ''), COALESCE(e.TRANSACTIONS, '')
             FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
             WHERE t.TABLE_SCHEMA = {of} ORDER BY BINARY t.TABLE_NAME"
        ),
    )
    .await?;
    for row in &found {
        let (name, kind, engine, transactions) = (text(row, 0)?, text(row, 1)?, text(row, 2)?, text(row, 3)?);
        if kind != "VIEW" {
            names.movable.push(name.clone());
        }
        match kind.as_str() {
            "VIEW" => names.views.push(name),
            "SEQUENCE" => names.sequences.push(name),
            "SYSTEM VERSIONED" => {
                names.unfit.push(format!("{name} keeps the history of its rows (SYSTEM VERSIONING)"));
            }
            _ if transactions == "YES" => names.tables.push(name),
            _ => names.unfit.push(format!("{name} uses the engine {engine}")),
        }
    }
    names.triggers = list(
        connection,
        format!(
            "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {of} ORDER BY BINARY TRIGGER_NAME"
        ),
    )
    .await?;
    names.events = list(
        connection,
        format!("SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of} ORDER BY BINARY EVENT_NAME"),
    )
    .await?;
    let routines = rows(
        connection,
        format!(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of}
             ORDER BY BINARY ROUTINE_TYPE, BINARY ROUTINE_NAME"
        ),
    )
    .await?;
    for row in &routines {
        names.routines.push((text(row, 0)?, text(row, 1)?));
    }
    Ok(names)
}

/// The definitions, one per line: as the server itself writes them, without where counters stand and
/// whether events run, which is data.
pub(super) async fn schema_lines(
    connection: &mut MySqlConnection,
    names: &Names,
) -> Result<Vec<String>, sqlx::Error> {
    let mut lines = Vec::new();
    let tables = names.tables.iter().map(|name| ("TABLE", name));
    let sequences = names.sequences.iter().map(|name| ("SEQUENCE", name));
    let views = names.views.iter().map(|name| ("VIEW", name));
    for (kind, name) in tables.chain(sequences).chain(views) {
        let definition = definition(connection, kind, name, &[1]).await?;
        lines.push(format!("{kind} {definition}"));
    }
    // Columns: sql_mode, the statement, character set and collation it was written in.
    for name in &names.triggers {
        lines.push(definition(connection, "TRIGGER", name, &[1, 2, 3, 4]).await?);
    }
    for name in &names.events {
        let line = definition(connection, "EVENT", name, &[1, 2, 3, 4, 5]).await?;
        lines.push(without_status(&line));
    }
    for (kind, name) in &names.routines {
        lines.push(definition(connection, kind, name, &[1, 2, 3, 4]).await?);
    }
    Ok(lines)
}

async fn definition(
    connection: &mut MySqlConnection,
    kind: &str,
    name: &str,
    columns: &[usize],
) -> Result<String, sqlx::Error> {
    let found = rows(connection, format!("SHOW CREATE {kind} {}", quote(name))).await?;
    let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
    let texts: Result<Vec<String>, _> = columns.iter().map(|column| text(row, *column)).collect();
    let mut definition = texts?.join(" | ");
    if kind == "TABLE" {
        definition = without_counter(&definition);
    }
    Ok(definition)
}

/// `) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4` without the counter.
fn without_counter(definition: &str) -> String {
    let Some(options) = definition.rfind("\n) ENGINE=") else { return definition.to_owned() };
    let (columns, options) = definition.split_at(options);
    let mut words: Vec<&str> = options.split(' ').collect();
    if words.get(2).is_some_and(|word| word.starts_with("AUTO_INCREMENT=")) {
        words.remove(2);
    }
    format!("{columns}{}", words.join(" "))
}

fn without_status(line: &str) -> String {
    match super::scan::event_status(line.as_bytes()) {
        Some((at, status)) => {
            let (before, after) = line.split_at(at);
            format!("{before}{}", after.strip_prefix(status).unwrap_or(after))
        }
        None => line.to_owned(),
    }
}

/// Digest of the schema in normal form.
pub(super) fn schema_sha256(lines: &[String]) -> Sha256 {
    Sha256::of(lines.join("\n").as_bytes())
}

/// Rows of one table in the snapshot of this connection.
pub(super) async fn count(connection: &mut MySqlConnection, table: &str) -> Result<u64, sqlx::Error> {
    let sql = format!("SELECT COUNT(*) FROM {}", quote(table));
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// Rows per table in one snapshot, sorted by name.
pub(super) async fn inventory(
    connection: &mut MySqlConnection,
    database: &str,
) -> Result<Vec<TableRows>, sqlx::Error> {
    begin_snapshot(connection).await?;
    let names = names(connection, database).await?;
    let mut counted = Vec::new();
    for table in &names.tables {
        counted.push(TableRows { table: table.clone(), rows: count(connection, table).await? });
    }
    connect::execute(connection, "COMMIT".to_owned()).await?;
    Ok(counted)
}

/// How many rows the server has written or removed since it started, in all databases.
pub(super) async fn changes(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Handler_write', 'Handler_delete')";
    let mut sum = 0;
    for row in rows(connection, sql.to_owned()).await? {
        sum += text(&row, 1)?.parse::<u64>().unwrap_or_default();
    }
    Ok(sum)
}

/// Where the binary log stood when the snapshot of this connection was taken. MariaDB alone knows that
/// without a lock (mariadb.com/kb: `Binlog_snapshot_position`), and only if it writes one.
pub(super) async fn log_position(connection: &mut MySqlConnection) -> Result<Option<String>, sqlx::Error> {
    let sql = "SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')";
    let found: Result<Vec<String>, _> =
        rows(connection, sql.to_owned()).await?.iter().map(|row| text(row, 1)).collect();
    match found?.as_slice() {
        [file, position] if !file.is_empty() => Ok(Some(format!("{file}:{position}"))),
        _ => Ok(None),
    }
}

/// What another server must have for a dump of this database to be restored there.
pub(super) async fn needs(
    connection: &mut MySqlConnection,
    server: &Server,
    database: &str,
) -> Result<RestoreNeeds, sqlx::Error> {
    let sql = format!(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
         WHERE SCHEMA_NAME = {}",
        literal(database)
    );
    let found = rows(connection, sql).await?;
    let row = found.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(RestoreNeeds {
        server_major: server.number().0,
        series: Some(clients::series(server.product, &server.version)),
        encoding: text(row, 0)?,
        collate: text(row, 1)?,
        ctype: String::new(),
        icu_locale: None,
        roles: Vec::new(),
        extensions: Vec::new(),
        longest_statement_bytes: None,
    })
}

/// An inspection whose parts were found. With content, it says how the digests were made.
pub(super) fn inspection(
    schema_sha256: Sha256,
    tables: Vec<TableState>,
    content: Option<(Sha256, String)>,
) -> Inspection {
    let (beyond_tables_sha256, content_method) = content.unzip();
    Inspection {
        integrity: Ok(()),
        foreign_keys_violated: Err(FOREIGN_KEYS.to_owned()),
        schema_sha256,
        tables,
        beyond_tables_sha256,
        content_method,
    }
}

/// The tables of a dump, with digests of their rows.
pub(super) fn states(content: &Content) -> Vec<TableState> {
    let state = |(table, digest): (&String, &crate::rows::RowDigest)| TableState {
        table: table.clone(),
        rows: digest.rows(),
        content_sha256: Some(digest.sha256()),
    };
    content.tables.iter().map(state).collect()
}

/// Digest of what is data and lies in no table.
pub(super) fn beyond_tables(content: &Content) -> Sha256 {
    Sha256::of(content.beyond.join("\n").as_bytes())
}

/// Takes events that we put to sleep for what they were: see `quiet`.
pub(super) fn wake(content: &mut Content) {
    for line in &mut content.beyond {
        if let Some(event) = line.strip_suffix(": DISABLE ON SLAVE") {
            *line = format!("{event}: ENABLE");
        }
    }
}

/// Object by object, what a dump lacks of what is there, or has beyond it. Pure.
pub(super) fn lacks(content: &Content, names: &Names) -> Option<String> {
    let table = names.tables.iter().find(|table| !content.tables.contains_key(*table));
    if let Some(table) = table {
        return Some(format!("table {table:?} is not in it"));
    }
    if let Some(stranger) = content.tables.keys().find(|table| !names.tables.contains(table)) {
        return Some(format!("it has rows of table {stranger:?}, which the server did not list"));
    }
    let mut views = content.views.clone();
    views.sort();
    let mut expected = names.views.clone();
    expected.sort();
    if views != expected {
        return Some(format!("it has {} views of {}", views.len(), expected.len()));
    }
    let (found, expected) = (content.code, names.code());
    let kinds = [
        ("triggers", found.triggers, expected.triggers),
        ("events", found.events, expected.events),
        ("routines", found.routines, expected.routines),
    ];
    kinds
        .into_iter()
        .find(|(_, found, expected)| found != expected)
        .map(|(kind, found, expected)| format!("it has {found} {kind}, and the server lists {expected}"))
}

/// Whether so many rows can be all there were. The dump's snapshot lies between two of ours, and `changed` is
/// how many rows the server wrote and removed between these: if it was none, there is no doubt. Pure.
pub(super) fn plausible(dumped: u64, before: u64, after: u64, changed: u64) -> bool {
    let least = before.min(after).saturating_sub(changed);
    let most = before.max(after).saturating_add(changed);
    (least..=most).contains(&dumped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_switches_are_no_schema() {
        let table = "CREATE TABLE `t` (\n  `id` int COMMENT 'AUTO_INCREMENT=9'\n) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4";
        assert_eq!(without_counter(table), table.replace(" AUTO_INCREMENT=3", ""));
        let none = table.replace(" AUTO_INCREMENT=3", "");
        assert_eq!(without_counter(&none), none);
        let event =
            "EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION NOT PRESERVE DISABLE ON SLAVE DO SELECT 1";
        assert_eq!(without_status(event), event.replace("DISABLE ON SLAVE", ""));
    }

    #[test]
    fn as_many_rows_as_there_can_have_been() {
        for (dumped, before, after, changed, expected) in [
            (10, 10, 10, 0, true),
            (9, 10, 10, 0, false),
            (0, 10, 10, 0, false),
            (11, 10, 12, 0, true),
            (11, 10, 10, 2, true),
            (7, 10, 10, 2, false),
            (13, 10, 10, 2, false),
            (0, 1, 1, 5, true),
        ] {
            assert_eq!(
                plausible(dumped, before, after, changed),
                expected,
                "{dumped} {before} {after} {changed}"
            );
        }
    }

    #[test]
    fn what_a_dump_lacks_is_named() {
        let names = Names {
            tables: vec!["a".to_owned()],
            views: vec!["v".to_owned()],
            routines: vec![("FUNCTION".to_owned(), "f".to_owned())],
            ..Names::default()
        };
        let mut content = Content::default();
        let lacks = |content: &Content| super::lacks(content, &names).unwrap_or_default();
        assert_eq!(lacks(&content), "table \"a\" is not in it");
        content.tables.insert("a".to_owned(), crate::rows::RowDigest::default());
        assert_eq!(lacks(&content), "it has 0 views of 1");
        content.views.push("v".to_owned());
        assert_eq!(lacks(&content), "it has 0 routines, and the server lists 1");
        content.code.routines = 1;
        assert_eq!(lacks(&content), "");
        content.code.triggers = 1;
        assert_eq!(lacks(&content), "it has 1 triggers, and the server lists 0");
        content.code.triggers = 0;
        content.tables.insert("b".to_owned(), crate::rows::RowDigest::default());
        assert!(lacks(&content).contains("table \"b\", which the server did not list"));
    }
}
