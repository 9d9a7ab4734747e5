//! What a PostgreSQL database holds: tables, schema, positions of sequences, large objects, and the content
//! as `COPY` gives it, which is also how `pg_dump` reads it.

use super::address::Address;
use super::connect::{self, Doing, Session};
use super::content::{self, Reading};
use super::ident::{Qualified, literal, quote};
use crate::{DatabaseError, Depth, Inspection, TableState};
use futures_util::TryStreamExt as _;
use kit_contract::Sha256;
use kit_contract::body::{Extension, RestoreNeeds, TableRows};
use kit_core::Context;
use sha2::Digest as _;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

const SCHEMA: &str = include_str!("schema.sql");
/// Of the digests of content, which are those of the lines of `COPY`: to be changed with them, since the metadata of
/// backups holds them.
const CONTENT_METHOD: &str = "postgres/2";
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

/// Examines a database in one snapshot.
pub(super) async fn inspect(
    address: &Address,
    cx: &Context,
    doing: Doing<'_>,
    (depth, reading): (Depth, Reading),
) -> Result<Inspection, DatabaseError> {
    let mut connection = connect::open(address, Session::Reading, cx, doing).await?;
    let found = async {
        begin_snapshot(&mut connection).await?;
        let names = names(&mut connection).await?;
        Ok((schema(&mut connection).await?, names))
    };
    let (schema_sha256, names) = doing.run(cx, found).await?;
    let inspected = match depth {
        Depth::Rows => {
            let counted = doing.run(cx, counted(&mut connection, &names)).await?;
            let tables = counted.into_iter().map(|TableRows { table, rows }| TableState {
                table,
                rows,
                content_sha256: None,
            });
            inspection(schema_sha256, tables.collect(), None)
        }
        Depth::Content => {
            let digests = content::digests((&mut connection, address), cx, doing, &names, reading).await?;
            let beyond = doing.run(cx, beyond(&mut connection, &names)).await?;
            let tables = digests.iter().map(|(table, digest)| TableState {
                table: table.to_string(),
                rows: digest.rows(),
                content_sha256: Some(digest.sha256()),
            });
            inspection(schema_sha256, tables.collect(), Some(beyond))
        }
    };
    connect::close(connection).await;
    Ok(inspected)
}

/// What is data and lies in no table.
async fn beyond(connection: &mut PgConnection, names: &Names) -> Result<Sha256, sqlx::Error> {
    let positions = positions(connection, &names.sequences).await?;
    Ok(beyond_tables(&positions, &large_objects(connection).await?))
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
    let mut counted = counted(connection, &names).await?;
    connect::execute(connection, "COMMIT".to_owned()).await?;
    counted.sort_by(|one, two| one.table.cmp(&two.table));
    Ok(counted)
}

async fn counted(connection: &mut PgConnection, names: &Names) -> Result<Vec<TableRows>, sqlx::Error> {
    let mut counted = Vec::new();
    for table in names.tables.keys() {
        counted.push(TableRows { table: table.to_string(), rows: count(connection, table).await? });
    }
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

/// Digest of the large objects: the id and the content of each. Of one, the server gives away no more than a gigabyte at
/// once, and there may be millions of them: nobody has a whole one, nor all of them, in memory.
pub(super) async fn large_objects(connection: &mut PgConnection) -> Result<Sha256, sqlx::Error> {
    // `OFFSET 0`: what a function in FROM gives goes through a temporary file of the server's.
    let sql = "SELECT oid::text || ' ' || (
            SELECT CASE WHEN length(first) < 16777216 THEN md5(first) ELSE (
                WITH RECURSIVE part (number, digest, bytes) AS (
                    SELECT 0::bigint, md5(first), length(first)
                    UNION ALL
                    SELECT number + 1, md5(next), length(next)
                    FROM part,
                        LATERAL (SELECT lo_get(oid, (number + 1) * 16777216, 16777216) AS next OFFSET 0) AS n
                    WHERE bytes = 16777216)
                SELECT string_agg(digest, ' ' ORDER BY number) FROM part) END
            FROM (SELECT lo_get(oid, 0, 16777216) AS first OFFSET 0) AS f)
        FROM pg_largeobject_metadata ORDER BY oid";
    let mut objects = sqlx::query_scalar(sql).persistent(false).fetch(connection);
    let mut hasher = sha2::Sha256::new();
    while let Some(object) = objects.try_next().await? {
        let object: String = object;
        hasher.update(object);
        hasher.update("\n");
    }
    Ok(Sha256::from_raw(&hasher.finalize()))
}

/// Digest of what is data and lies in no table.
pub(super) fn beyond_tables(positions: &BTreeMap<Qualified, String>, large_objects: &Sha256) -> Sha256 {
    let mut text = String::new();
    for (sequence, position) in positions {
        text.push_str(&format!("sequence {sequence} {position}\n"));
    }
    text.push_str(&format!("large objects {large_objects}\n"));
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
        longest_statement_bytes: None,
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
