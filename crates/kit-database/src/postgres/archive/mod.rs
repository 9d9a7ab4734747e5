//! The archive formats of `pg_dump`: `custom`, one stream, and `directory`, a folder that is stored as one tar.
//!
//! Neither says of itself that it is complete: what counts is that `pg_dump` exited with 0. So that not everything
//! hangs on that, `pg_restore` reads along and writes the archive as SQL, which is examined as a plain dump is: to its
//! closing line, row by row.

mod custom;
mod directory;
mod kind;
mod unpack;

pub(super) use custom::custom;
pub(super) use directory::directory;
pub(super) use kind::{Kind, kind};
pub(super) use unpack::unpack;

use super::connect::Doing;
use super::dump::Start;
use super::header;
use super::scan::Scanner;
use crate::DatabaseError;
use crate::schema_file::SchemaFile;
use kit_core::Context;
use kit_exec::{Command, EnvPolicy, ExecError, Stdin};
use tokio::io::AsyncReadExt as _;
use tokio_util::task::AbortOnDropHandle;

/// Handed on at once, and how many of these may wait.
const PIECE_BYTES: usize = 256 * 1024;
const AHEAD: usize = 4;

/// `pg_restore` of 17 and later sets what an older server refuses, and nobody can leave it out of an archive.
fn check(start: &Start<'_>) -> Result<(), DatabaseError> {
    if !header::may_differ(start.clients.major, start.major) {
        return Ok(());
    }
    Err(DatabaseError::Tool {
        problem: format!(
            "the server is PostgreSQL {0}, and the client programs here are {1}: pg_restore of {1} sets what {0} does \
             not know (transaction_timeout), so an archive could not be restored; install those of {0}, or use format \
             = \"plain\"",
            start.major, start.clients.major
        ),
    })
}

/// A `pg_restore` that writes an archive as SQL, and what of it was examined.
type Reading = AbortOnDropHandle<Result<Scanner<SchemaFile>, ExecError>>;

fn read_along(
    cx: &Context,
    pg_restore: Command,
    stdin: Stdin,
    mut scanner: Scanner<SchemaFile>,
) -> Result<Reading, DatabaseError> {
    let mut running = pg_restore
        .arg("--file=-")
        .inherit_env(EnvPolicy::Minimal)
        .env("LC_ALL", "C")
        .stdin(stdin)
        .quiet_stderr()
        .spawn_reading(cx)?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let mut piece = vec![0_u8; PIECE_BYTES];
        // What cannot be read any more is told by the end.
        while let Ok(count) = running.read(&mut piece).await {
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            scanner.take(bytes);
        }
        running.finish().await?;
        Ok(scanner)
    })))
}

/// What was read along, if that was all of it.
async fn what_was_read(
    reading: Reading,
    doing: Doing<'_>,
) -> Result<(super::scan::Content, SchemaFile), DatabaseError> {
    let read = match reading.await {
        Ok(read) => read,
        Err(_) => return Err(doing.truncated("reading along ended in a bug".to_owned())),
    };
    let scanner = read.map_err(|error| match error {
        error if error.is_unheard() => error.into(),
        error => doing.truncated(format!(
            "pg_restore cannot read what pg_dump wrote: {}",
            crate::EngineError::from(&error)
        )),
    })?;
    scanner.finish().map_err(|problem| doing.truncated(problem))
}
