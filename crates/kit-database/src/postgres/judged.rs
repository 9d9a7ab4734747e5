//! Tables whose rows have to come back after those of others.

use super::ident::Qualified;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;

/// Tables whose rows are judged by a function or an operator of somebody's own as they are restored: in a check of the
/// table or, where a column is of a domain, of any domain, or in a generated column. It may ask other tables, of which
/// nobody knows, and has come back so far in the order in which `pg_dump` writes all of them. So that one keeps them.
pub(super) async fn judged_by_functions(
    connection: &mut PgConnection,
) -> Result<BTreeSet<Qualified>, sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "WITH by_function AS (
            SELECT classid, objid FROM pg_depend
            WHERE refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
         ), checks AS (
            SELECT k.conrelid, k.contypid FROM pg_constraint k JOIN by_function f ON f.objid = k.oid
            WHERE f.classid = 'pg_constraint'::regclass AND k.contype = 'c'
         ), judged AS (
            SELECT conrelid AS oid FROM checks WHERE conrelid <> 0
            UNION SELECT d.adrelid FROM pg_attrdef d JOIN by_function f ON f.objid = d.oid
                JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE f.classid = 'pg_attrdef'::regclass AND a.attgenerated <> ''
            UNION SELECT a.attrelid FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                WHERE t.typtype = 'd' AND NOT a.attisdropped AND EXISTS (SELECT FROM checks WHERE contypid <> 0)
         )
         SELECT n.nspname::text, c.relname::text
         FROM judged JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace",
    )
    .persistent(false)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(schema, name)| Qualified { schema, name }).collect())
}
