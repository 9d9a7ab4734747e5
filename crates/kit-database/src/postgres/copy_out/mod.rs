//! The rows that `COPY … TO STDOUT` gives, in large portions, from a connection in the snapshot of another one.
//!
//! An unencrypted connection is read by a thread of ours: sqlx asks the system for 8 KiB at a time, is woken for nearly
//! every one of them, and hands on row by row, which cost 2.9 of the 20.7 CPU-seconds of a dump of 1 GB by two of them.
//! Encrypted ones stay sqlx's, so that certificates are checked in one place.

mod plain;
mod wire;

use super::address::Address;
use super::connect::{self, Doing, Session};
use super::ident::Qualified;
use super::parallel::{self, Snapshot};
use crate::{DatabaseError, EngineError};
use bytes::Bytes;
use futures_util::stream::{BoxStream, Fuse};
use futures_util::{StreamExt as _, TryStreamExt as _};
use kit_core::Context;
use plain::Plain;
use sqlx::postgres::PgConnection;

/// Rows come in portions of about this size, which end anywhere.
pub(super) const PORTION_BYTES: usize = 256 * 1024;

/// A connection in a snapshot.
pub(super) enum CopyOut {
    Plain(Plain),
    Sqlx(Box<PgConnection>),
}

impl CopyOut {
    /// Opens one in the snapshot that another connection has exported, and still holds. These tables it locks for itself
    /// against everybody who does not only change rows.
    pub(super) async fn open(
        address: &Address,
        (snapshot, tables): (&Snapshot, &[Qualified]),
        cx: &Context,
        doing: Doing<'_>,
    ) -> Result<Self, DatabaseError> {
        let joining = parallel::join(&snapshot.name, tables);
        // Where that one is encrypted, a server need not hear of another one that asks and goes away.
        if !snapshot.is_encrypted
            && let Some(plain) = Plain::open(address, &joining, cx, doing).await?
        {
            return Ok(Self::Plain(plain));
        }
        let mut connection = connect::open(address, Session::Reading, cx, doing).await?;
        doing.run(cx, connect::execute(&mut connection, joining)).await?;
        Ok(Self::Sqlx(Box::new(connection)))
    }

    /// Begins a statement. After an error, or before its rows have ended, nothing else can be begun.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Rows<'_>, EngineError> {
        Ok(match self {
            Self::Plain(plain) => {
                plain.begin(sql)?;
                Rows::Plain(plain)
            }
            Self::Sqlx(connection) => Rows::Sqlx(connection.copy_out_raw(sql).await?.fuse()),
        })
    }

    /// The server's own count comes with the end of rows.
    pub(super) const fn counts(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Says good-bye.
    pub(super) async fn close(self) {
        match self {
            // It does when it ends.
            Self::Plain(_) => {}
            Self::Sqlx(connection) => connect::close(*connection).await,
        }
    }
}

/// What a statement gives.
pub(super) enum Heard {
    Portion(Bytes),
    /// The server has said that these were all rows, and how many; sqlx keeps the number to itself.
    End(Option<u64>),
}

/// The rows of one statement.
pub(super) enum Rows<'a> {
    Plain(&'a mut Plain),
    Sqlx(Fuse<BoxStream<'a, Result<Bytes, sqlx::Error>>>),
}

impl Rows<'_> {
    /// The next portion, or the end.
    pub(super) async fn next(&mut self) -> Result<Heard, EngineError> {
        let stream = match self {
            Self::Plain(plain) => return plain.next().await,
            Self::Sqlx(stream) => stream,
        };
        let mut portion = Vec::new();
        while portion.len() < PORTION_BYTES
            && let Some(row) = stream.try_next().await?
        {
            // A row may have a gigabyte, and twice that is too much.
            if portion.is_empty() && row.len() >= PORTION_BYTES {
                return Ok(Heard::Portion(row));
            }
            portion.extend_from_slice(&row);
        }
        Ok(if portion.is_empty() { Heard::End(None) } else { Heard::Portion(portion.into()) })
    }
}
