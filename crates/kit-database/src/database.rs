//! What a database engine must be able to do.

use crate::{DatabaseError, Depth, Inspection, MigrationOutcome, MigrationSet, MigrationStatus};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::body::{AssertionResult, BackupDetails, Engine, RestoreNeeds, TableRows};
use kit_core::Context;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncRead;

/// What answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Version of the server, or of the library where there is no server.
    pub version: String,
}

/// What a finished dump holds.
#[derive(Debug)]
pub struct DumpReport {
    /// The content, at [`Depth::Content`].
    pub inspection: Inspection,
    /// How many bytes the reader gave.
    pub uncompressed_bytes: u64,
    /// The dump without its rows, where the engine can tell the two apart: restored by
    /// [`Database::restore_scratch`], it proves the schema in a fraction of the time.
    pub schema_script: Option<SchemaScript>,
    /// What else is known.
    pub details: BackupDetails,
}

/// A dump without its rows, in a file that has no name, so that it is gone with the process.
#[derive(Debug)]
pub struct SchemaScript(pub(crate) std::fs::File);

impl SchemaScript {
    /// Its text, from the beginning.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn reader(&self) -> std::io::Result<tokio::fs::File> {
        let mut file = self.0.try_clone()?;
        std::io::Seek::rewind(&mut file)?;
        Ok(tokio::fs::File::from_std(file))
    }
}

/// A restored database that stands beside the live one and waits for [`Database::finish_beside`] or, finished, for
/// [`Database::swap`].
///
/// Plain data, so that a journal can hold it and a later run can go on or clean up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// What the engine calls it: a path, or the name of a database.
    pub name: String,
    /// The id it was restored under; the database that gives way is kept under the same id.
    pub id: String,
}

/// What a swap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// Where the database that was live before is kept; `None` if there was none.
    pub kept: Option<String>,
    /// What a person should know although the swap succeeded.
    pub warnings: Vec<String>,
}

/// One database of one engine.
#[async_trait]
pub trait Database: Send + Sync + std::fmt::Debug {
    /// Its engine.
    fn engine(&self) -> Engine;

    /// The database as people may see it; never a credential.
    fn display(&self) -> String;

    /// Extension of its dumps in the store, without compression: `sqlite`, `sql`, `dump`, `tar`.
    fn extension(&self) -> &'static str;

    /// Asks whether it is there and answers.
    ///
    /// # Errors
    /// If it does not answer within `limit`, or is no database of this engine.
    async fn ping(&self, cx: &Context, limit: Duration) -> Result<ServerInfo, DatabaseError>;

    /// Tables and their rows as they are now, read-only, in one snapshot, sorted by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    async fn inventory(&self, cx: &Context) -> Result<Vec<TableRows>, DatabaseError>;

    /// Examines the live database, read-only, in one snapshot.
    ///
    /// # Errors
    /// If the database cannot be read at all; damage that was found is part of the answer.
    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError>;

    /// Asks whether a dump could be made: programs that fit the server, the right to read everything. Copies nothing.
    ///
    /// # Errors
    /// What [`Database::begin_dump`] would fail with before it copies anything.
    async fn can_be_dumped(&self, cx: &Context) -> Result<(), DatabaseError>;

    /// Fixes a snapshot and begins to dump it. `scratch` is a folder for temporary files, which are
    /// gone when the dump is dropped.
    ///
    /// # Errors
    /// If the database cannot be read or the scratch folder cannot hold what the engine needs there.
    async fn begin_dump(&self, cx: &Context, scratch: &Path) -> Result<Box<dyn Dump>, DatabaseError>;

    /// Restores a dump into a scratch database, which [`Scratch::close`] removes. `needs` is what the dump
    /// asks of a server, as its metadata has it.
    ///
    /// # Errors
    /// [`DatabaseError::Truncated`] if the dump is not whole, [`DatabaseError::Damaged`] if it cannot be
    /// restored, [`DatabaseError::Unavailable`] if the scratch place cannot take it, which says nothing about
    /// the dump; else why it was not tried.
    async fn restore_scratch(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
        scratch: &Path,
    ) -> Result<Box<dyn Scratch>, DatabaseError>;

    /// Restores a dump beside the live database, which is not touched. What an earlier run left under
    /// the same `id` (lower-case letters, digits, hyphens) is replaced.
    ///
    /// What it gives is unfinished, and anybody can see that: by its name (PostgreSQL, SQLite), by an empty database
    /// beside it (MariaDB, MySQL), by a key in it (Redis). So whatever a killed step leaves is never taken for whole.
    ///
    /// # Errors
    /// Like [`Database::restore_scratch`]; nothing is left beside the live database then.
    async fn restore_beside(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
        id: &str,
    ) -> Result<Beside, DatabaseError>;

    /// Examines what was restored beside the live database.
    ///
    /// # Errors
    /// If it cannot be read at all.
    async fn inspect_beside(
        &self,
        cx: &Context,
        beside: &Beside,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError>;

    /// Asks what was restored beside the live database the user's own questions (`OpenOptions::assertions`). It can
    /// change nothing there.
    ///
    /// # Errors
    /// If the step was cancelled; what could not be asked is part of the answer.
    async fn assertions_beside(
        &self,
        cx: &Context,
        beside: &Beside,
    ) -> Result<Vec<AssertionResult>, DatabaseError>;

    /// Says of what was restored beside the live database that all of it is there, and right: to be called once it was
    /// compared. Only then [`Database::swap`] takes it. It may have another name from then on.
    ///
    /// # Errors
    /// If that cannot be said; then nobody knows whether it was, and it is to be discarded.
    async fn finish_beside(&self, cx: &Context, beside: &Beside) -> Result<Beside, DatabaseError>;

    /// Puts the restored database in the place of the live one, which is kept under another name. A
    /// swap that died half-way is finished by the next one.
    ///
    /// Programs that use the database must be stopped first. SQLite shows its idle users only in WAL
    /// mode; others would go on with the file that is kept. PostgreSQL ends the connections of others.
    ///
    /// # Errors
    /// [`DatabaseError::Busy`] if somebody uses the live database; any error but
    /// [`DatabaseError::Stuck`] means that the live database is where it was.
    async fn swap(&self, cx: &Context, beside: &Beside) -> Result<Swapped, DatabaseError>;

    /// Replaces everything that the live database holds by a dump, where it stands. What it held is lost. Gives
    /// the live database, for [`Database::assertions_beside`].
    ///
    /// # Errors
    /// [`DatabaseError::Stuck`] if what it held is gone and the dump is not all there. Any other error means that it
    /// holds what it held.
    async fn restore_in_place(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
    ) -> Result<Beside, DatabaseError>;

    /// Removes what was restored beside the live database, finished or not; nothing there is fine.
    ///
    /// # Errors
    /// If it cannot be removed.
    async fn discard(&self, cx: &Context, beside: &Beside) -> Result<(), DatabaseError>;

    /// Compares the migrations of a folder with those that the database records, read-only.
    ///
    /// # Errors
    /// If the database cannot be read.
    async fn migration_status(
        &self,
        cx: &Context,
        set: &MigrationSet,
    ) -> Result<MigrationStatus, DatabaseError>;

    /// Applies one migration, together with its row in the bookkeeping table, and reads that row back.
    /// One that another run applied in the meantime is fine.
    ///
    /// # Errors
    /// [`DatabaseError::MigrationFailed`] means that the database is as it was before;
    /// [`DatabaseError::MigrationPartial`] that it may not be.
    async fn apply_migration(
        &self,
        cx: &Context,
        set: &MigrationSet,
        version: i64,
    ) -> Result<MigrationOutcome, DatabaseError>;
}

/// A dump in progress: read it to its end, then [`Dump::finish`] says whether that was all of it.
#[async_trait]
pub trait Dump: Send {
    /// When the content was fixed. Everything committed before this moment is in the dump.
    fn snapshot_at(&self) -> Timestamp;

    /// Version of the server or library that makes it.
    fn engine_version(&self) -> &str;

    /// Size of the dump if it is known before it was read, in bytes.
    fn size_hint_bytes(&self) -> Option<u64>;

    /// The bytes of the dump.
    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin);

    /// To be called after the reader's end: proves that the dump was whole.
    ///
    /// # Errors
    /// [`DatabaseError::Truncated`] if it was not read to its end or its producer did not finish.
    async fn finish(self: Box<Self>, cx: &Context) -> Result<DumpReport, DatabaseError>;
}

/// A database restored for examination only.
#[async_trait]
pub trait Scratch: Send + Sync {
    /// Where it is, for people.
    fn display(&self) -> String;

    /// Examines it.
    ///
    /// # Errors
    /// If it cannot be read at all; damage that was found is part of the answer.
    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError>;

    /// Asks it the user's own questions (`OpenOptions::assertions`).
    ///
    /// # Errors
    /// If the step was cancelled; what could not be asked is part of the answer.
    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError>;

    /// Removes it. Dropping it does so too, as far as that is possible without waiting.
    ///
    /// # Errors
    /// If something stays behind; the message names it.
    async fn close(self: Box<Self>, cx: &Context) -> Result<(), DatabaseError>;
}
