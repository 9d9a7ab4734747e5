//! The content of all tables, read by several connections side by side in one snapshot.
//!
//! A digest of rows does not depend on their order, so that even one large table can be read in pieces.

use super::address::Address;
use super::connect::Doing;
use super::copy_out::{CopyOut, Heard};
use super::ident::Qualified;
use super::inspect::Names;
use super::parallel::{self, Sizes, Statement, Statements};
use crate::rows::{Partial, RowDigest};
use crate::{DatabaseError, EngineError};
use kit_core::Context;
use memchr::memchr;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// By how many connections it is read, and in which pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) jobs: NonZeroU8,
    pub(super) sizes: Sizes,
}

type Queue = Arc<Mutex<Statements>>;
type Digests = BTreeMap<Qualified, RowDigest>;

/// Digests of the rows of all tables, in the snapshot that `connection` has begun.
pub(super) async fn digests(
    (connection, address): (&mut PgConnection, &Address),
    cx: &Context,
    doing: Doing<'_>,
    names: &Names,
    reading: Reading,
) -> Result<Digests, DatabaseError> {
    let statements = doing.run(cx, parallel::statements(connection, names, reading.sizes)).await?;
    let mut digests: Digests =
        names.tables.keys().map(|table| (table.clone(), RowDigest::default())).collect();
    let snapshot = doing.run(cx, parallel::export(connection)).await?;
    let queue = Arc::new(Mutex::new(statements));
    // Ended with all of its tasks when it is dropped.
    let mut readers = JoinSet::new();
    for _ in 0..reading.jobs.get() {
        match CopyOut::open(address, (&snapshot, &[]), cx, doing).await {
            Ok(connection) => readers.spawn(read(connection, Arc::clone(&queue))),
            Err(error) if readers.is_empty() || cx.cancel.is_cancelled() => return Err(error),
            // The server or the role may have no more of them to give; one does it all, too.
            Err(_) => break,
        };
    }
    loop {
        let Some(ended) = cx.cancel.unless(readers.join_next()).await else {
            return Err(doing.cancelled(cx));
        };
        let Some(ended) = ended else { return Ok(digests) };
        let found = ended.map_err(|error| doing.bug(&error))?;
        for (table, digest) in found.map_err(|error| doing.said(error))? {
            digests.entry(table).or_default().join(&digest);
        }
    }
}

/// Reads until nothing is left.
async fn read(mut connection: CopyOut, queue: Queue) -> Result<Digests, EngineError> {
    let mut digests = Digests::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(Statement { table, sql }) = next else { break };
        let digest = rows(&mut connection, &sql).await?;
        digests.entry(table).or_default().join(&digest);
    }
    connection.close().await;
    Ok(digests)
}

/// Of the rows that a `COPY … TO STDOUT` gives, as `pg_dump` writes them.
async fn rows(connection: &mut CopyOut, sql: &str) -> Result<RowDigest, EngineError> {
    let mut portions = connection.rows(sql).await?;
    let mut digest = RowDigest::default();
    let mut partial = Partial::default();
    while let Heard::Portion(bytes) = portions.next().await? {
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
