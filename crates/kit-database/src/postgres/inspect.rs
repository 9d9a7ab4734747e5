//! What a PostgreSQL database holds: tables, schema, positions of sequences, large objects, and the content
//! as `COPY` gives it, which is also how `pg_dump` reads it.

use super::connect;
use super::ident::{Qualified, literal, quote};
use crate::rows::{Partial, RowDigest};
use crate::{Depth, Inspection, TableState};
use futures_util::TryStreamExt as _;
use kit_contract::Sha256;
use kit_contract::body::{Extension, RestoreNeeds, TableRows};
use memchr::memchr;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

const SCHEMA: &str = include_str!("schema.sql");
/// Of the digests of content, which are those of the lines of `COPY`: to be changed with them, since the metadata of
/// backups holds them.
const CONTENT_METHOD: &str = "postgres/1";
/// The server enforces what it knows of; constraints that are not validated are part of the schema.
const FOREIGN_KEYS: &str = "PostgreSQL enforces them itself";

/// Tables and sequences that `pg_dump` dumps with their content.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Tables that hold rows, with their columns as SQL.
    pub(super) tables: BTreeMap<Qualified, String>,
    pub(super) sequences: BTreeSet<Qualified>,
    /// Tables of extensions whose rows are configuration: dumped, and none of our business.
    pub(super) of_extensions: BTreeSet<Qualified>,
}

/// Begins the one snapshot in which everything is read.
pub(super) async fn begin_snapshot(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    connect::execute(connection, sql.to_owned()).await
}

/// Examines the database behind a connection in one snapshot, which is over afterwards.
pub(super) async fn inspect(connection: &mut PgConnection, depth: Depth) -> Result<Inspection, sqlx::Error> {
    begin_snapshot(connection).await?;
    let names = names(connection).await?;
    let schema_sha256 = schema(connection).await?;
    let mut tables = Vec::new();
    for (table, columns) in &names.tables {
        let (rows, content_sha256) = match depth {
            Depth::Rows => (count(connection, table).await?, None),
            Depth::Content => {
                let digest = content(connection, table, columns).await?;
                (digest.rows(), Some(digest.sha256()))
            }
        };
        tables.push(TableState { table: table.to_string(), rows, content_sha256 });
    }
    let beyond_tables_sha256 = match depth {
        Depth::Rows => None,
        Depth::Content => {
            let positions = positions(connection, &names.sequences).await?;
            Some(beyond_tables(&positions, &large_objects(connection).await?))
        }
    };
    connect::execute(connection, "COMMIT".to_owned()).await?;
    Ok(inspection(schema_sha256, tables, beyond_tables_sha256))
}

/// An inspection whose parts were found; tables sorted by what people see.
pub(super) fn inspection(
    schema_sha256: Sha256,
    mut tables: Vec<TableState>,
    beyond_tables_sha256: Option<Sha256>,
) -> Inspection {
    tables.sort_by(|one, two| one.table.cmp(&two.table));
    let content_method = beyond_tables_sha256.is_some().then(|| CONTENT_METHOD.to_owned());
    Inspection {
        integrity: Ok(()),
        foreign_keys_violated: Err(FOREIGN_KEYS.to_owned()),
        schema_sha256,
        tables,
        beyond_tables_sha256,
        content_method,
    }
}

/// Rows per table in one snapshot, sorted by name.
pub(super) async fn inventory(connection: &mut PgConnection) -> Result<Vec<TableRows>, sqlx::Error> {
    begin_snapshot(connection).await?;
    let names = names(connection).await?;
    let mut counted = Vec::new();
    for table in names.tables.keys() {
        counted.push(TableRows { table: table.to_string(), rows: count(connection, table).await? });
    }
    connect::execute(connection, "COMMIT".to_owned()).await?;
    counted.sort_by(|one, two| one.table.cmp(&two.table));
    Ok(counted)
}

/// What there is, as `pg_dump` would find it.
pub(super) async fn names(connection: &mut PgConnection) -> Result<Names, sqlx::Error> {
    let rows: Vec<(String, String, String, bool, bool, Option<String>)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, c.relkind::text,
            EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.deptype = 'e'),
            EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)),
            (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'S') AND c.relpersistence <> 't'
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let mut names = Names::default();
    for (schema, name, kind, is_member, is_configuration, columns) in rows {
        let name = Qualified { schema, name };
        match (kind.as_str(), is_member) {
            (_, true) => {
                if is_configuration {
                    names.of_extensions.insert(name);
                }
            }
            ("r", false) => {
                names.tables.insert(name, columns.unwrap_or_default());
            }
            _ => {
                names.sequences.insert(name);
            }
        }
    }
    Ok(names)
}

/// Tables and sequences whose content the user may not see, or not all of it.
pub(super) async fn unreadable(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'S') AND c.relpersistence <> 't'
            AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
            AND (NOT has_schema_privilege(n.oid, 'USAGE')
                OR CASE c.relkind WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT')
                    ELSE NOT has_table_privilege(c.oid, 'SELECT') OR row_security_active(c.oid) END)
         ORDER BY 1, 2",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(schema, name)| Qualified { schema, name }.to_string()).collect())
}

/// Digest of the schema in normal form.
pub(super) async fn schema(connection: &mut PgConnection) -> Result<Sha256, sqlx::Error> {
    Ok(Sha256::of(schema_lines(connection).await?.join("\n").as_bytes()))
}

/// The schema in normal form, one line per part.
pub(super) async fn schema_lines(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(SCHEMA).persistent(false).fetch_all(connection).await
}

/// Rows of one table alone, without those of tables that inherit from it.
pub(super) async fn count(connection: &mut PgConnection, table: &Qualified) -> Result<u64, sqlx::Error> {
    let sql = format!("SELECT count(*) FROM ONLY {}", table.sql());
    let count: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// The content of a table, as `pg_dump` writes it.
async fn content(
    connection: &mut PgConnection,
    table: &Qualified,
    columns: &str,
) -> Result<RowDigest, sqlx::Error> {
    let columns = if columns.is_empty() { String::new() } else { format!(" ({columns})") };
    let sql = format!("COPY {}{columns} TO STDOUT", table.sql());
    let mut stream = connection.copy_out_raw(&sql).await?;
    let mut digest = RowDigest::default();
    let mut partial = Partial::default();
    while let Some(bytes) = stream.try_next().await? {
        let mut rest = &bytes[..];
        while let Some(end) = memchr(b'\n', rest) {
            let (row, after) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
            if partial.is_empty() {
                digest.row(row);
            } else {
                let mut whole = std::mem::take(&mut partial);
                whole.take(row);
                digest.finished(&whole);
            }
            rest = after;
        }
        partial.take(rest);
    }
    Ok(digest)
}

/// Where each sequence stands, as `pg_dump` writes it.
async fn positions(
    connection: &mut PgConnection,
    sequences: &BTreeSet<Qualified>,
) -> Result<BTreeMap<Qualified, String>, sqlx::Error> {
    let mut positions = BTreeMap::new();
    for sequence in sequences {
        let sql = format!("SELECT last_value, is_called FROM {}", sequence.sql());
        let (last, called): (i64, bool) =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(&mut *connection).await?;
        positions.insert(sequence.clone(), format!("{last}, {called}"));
    }
    Ok(positions)
}

/// The large objects: id and digest of each, one per line.
pub(super) async fn large_objects(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT oid::text || ' ' || md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid",
    )
    .persistent(false)
    .fetch_all(connection)
    .await
}

/// Digest of what is data and lies in no table.
pub(super) fn beyond_tables(positions: &BTreeMap<Qualified, String>, large_objects: &[String]) -> Sha256 {
    let mut text = String::new();
    for (sequence, position) in positions {
        text.push_str(&format!("sequence {sequence} {position}\n"));
    }
    for object in large_objects {
        text.push_str(&format!("large object {object}\n"));
    }
    Sha256::of(text.as_bytes())
}

/// What another server must have for a dump of this database to be restored there.
pub(super) async fn needs(connection: &mut PgConnection) -> Result<RestoreNeeds, sqlx::Error> {
    let (_, number) = connect::version(connection).await?;
    let (encoding, collate, ctype): (String, String, String) = sqlx::query_as(
        "SELECT pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text FROM pg_database
         WHERE datname = current_database()",
    )
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    let extensions: Vec<(String, String)> = sqlx::query_as(
        "SELECT extname::text, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1",
    )
    .persistent(false)
    .fetch_all(&mut *connection)
    .await?;
    let roles: Vec<String> =
        // The first superuser is pinned: what it owns is not recorded as a dependency.
        sqlx::query_scalar(
            "SELECT rolname::text FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND (oid = 10 OR oid IN (
                SELECT refobjid FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid OR
                    (d.classid = 'pg_database'::regclass AND d.objid = b.oid)
                WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass)) ORDER BY 1",
        )
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?;
    let icu_locale = match number {
        150_000.. => icu_locale(connection, number).await?,
        _ => None,
    };
    Ok(RestoreNeeds {
        server_major: number / 10_000,
        series: None,
        encoding,
        collate,
        ctype,
        icu_locale,
        roles,
        extensions: extensions.into_iter().map(|(name, version)| Extension { name, version }).collect(),
    })
}

async fn icu_locale(connection: &mut PgConnection, number: u32) -> Result<Option<String>, sqlx::Error> {
    let column = if number >= 170_000 { "datlocale" } else { "daticulocale" };
    let sql = format!(
        "SELECT CASE WHEN datlocprovider = 'i' THEN {column}::text END FROM pg_database WHERE datname = current_database()"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).persistent(false).fetch_one(connection).await
}

/// `CREATE DATABASE` like the one that was dumped.
pub(super) fn create_database(name: &str, needs: &RestoreNeeds) -> String {
    let icu = match &needs.icu_locale {
        Some(locale) => format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale)),
        None => String::new(),
    };
    format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{icu}",
        quote(name),
        literal(&needs.encoding),
        literal(&needs.collate),
        literal(&needs.ctype)
    )
}
