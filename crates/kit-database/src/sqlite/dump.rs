//! A dump: `VACUUM INTO` a scratch file, then read that file.
//!
//! `VACUUM INTO` copies inside one read transaction: it sees one committed state while writers go on
//! (sqlite.org/lang_vacuum.html), and it keeps row ids, which full-text indexes may refer to.

use super::SqliteDatabase;
use super::connect::{self, Access, Doing};
use super::inspect::{self, NO_WAIT};
use crate::{DatabaseError, Depth, Dump, DumpReport, EngineError};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::body::BackupDetails;
use kit_core::Context;
use kit_core::fs::FsError;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// Read from disk at once.
const READ_BYTES: usize = 1024 * 1024;

pub(super) struct SqliteDump {
    display: String,
    version: String,
    snapshot_at: Timestamp,
    copy: PathBuf,
    size_bytes: u64,
    reader: CountingReader,
    /// Holds the copy; last, so that the file is closed before the folder goes.
    _folder: tempfile::TempDir,
}

/// Counts what was read and remembers whether the end was seen.
struct CountingReader {
    file: File,
    read_bytes: u64,
    ended: bool,
}

impl AsyncRead for CountingReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.file).poll_read(task, buffer))?;
        let read = buffer.filled().len() - before;
        self.read_bytes += read as u64;
        self.ended = read == 0 && room > 0;
        Poll::Ready(Ok(()))
    }
}

/// A private folder for one dump or restore.
pub(super) fn scratch_folder(scratch: &Path) -> Result<tempfile::TempDir, DatabaseError> {
    let named = |source| FsError { action: "make a folder in", path: scratch.to_owned(), source };
    let scratch = std::path::absolute(scratch).map_err(named)?;
    kit_core::fs::create_folder(&scratch)?;
    Ok(tempfile::Builder::new().prefix("database-").tempdir_in(&scratch).map_err(named)?)
}

pub(super) async fn begin(
    database: &SqliteDatabase,
    cx: &Context,
    scratch: &Path,
) -> Result<SqliteDump, DatabaseError> {
    if cx.cancel.is_cancelled() {
        return Err(DatabaseError::Cancelled {
            unfinished: "the database was dumped",
            cause: cx.cancel.cause(),
        });
    }
    let display = crate::Database::display(database);
    let folder = scratch_folder(scratch)?;
    let copy = folder.path().join("dump.sqlite");
    let Some(target) = copy.to_str() else {
        return Err(DatabaseError::Refused { problem: format!("{} is not UTF-8", copy.display()) });
    };
    let doing = Doing { action: "dump", database: &display, waited: database.patience };
    // `VACUUM INTO` cannot run where nothing may be written (`Access::Shared`).
    let access = if database.writable { Access::ReadWrite } else { Access::ReadOnly };
    let mut connection = connect::open(&database.path, access, database.patience, Some(&cx.cancel))
        .await
        .map_err(|error| doing.failed(error, cx))?;
    let version = inspect::version(&mut connection).await;
    // A little earlier than SQLite's own snapshot: never later than what the dump can vouch for.
    let snapshot_at = cx.clock.now();
    let copied = sqlx::query("VACUUM main INTO ?1").bind(target).execute(&mut connection).await;
    connect::close(connection).await;
    let version = version.map_err(|error| doing.failed(error, cx))?;
    copied.map_err(|error| doing.failed(error, cx))?;

    let transfer = |source| DatabaseError::Transfer { action: "read", database: display.clone(), source };
    let mut file = File::open(&copy).await.map_err(transfer)?;
    file.set_max_buf_size(READ_BYTES);
    let size_bytes = file.metadata().await.map_err(transfer)?.len();
    let reader = CountingReader { file, read_bytes: 0, ended: false };
    Ok(SqliteDump { display, version, snapshot_at, copy, size_bytes, reader, _folder: folder })
}

#[async_trait]
impl Dump for SqliteDump {
    fn snapshot_at(&self) -> Timestamp {
        self.snapshot_at
    }

    fn engine_version(&self) -> &str {
        &self.version
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        Some(self.size_bytes)
    }

    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        &mut self.reader
    }

    async fn finish(self: Box<Self>, cx: &Context) -> Result<DumpReport, DatabaseError> {
        let CountingReader { read_bytes, ended, .. } = self.reader;
        if !ended || read_bytes != self.size_bytes {
            let problem = format!("{read_bytes} of {} bytes were read", self.size_bytes);
            return Err(DatabaseError::Truncated { database: self.display.clone(), problem });
        }
        let display = format!("the copy of {}", self.display);
        let doing = Doing { action: "read", database: &display, waited: NO_WAIT };
        let inspection =
            inspect::inspect_file(&self.copy, Access::Immutable, Depth::Content, cx, doing).await?;
        if let Err(text) = &inspection.integrity {
            let source = EngineError { text: text.as_str().into(), code: None };
            return Err(DatabaseError::Dump { database: self.display.clone(), source });
        }
        Ok(DumpReport {
            inspection,
            uncompressed_bytes: read_bytes,
            schema_script: None,
            details: BackupDetails::default(),
        })
    }
}
