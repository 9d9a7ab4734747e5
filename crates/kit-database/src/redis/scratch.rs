//! Where a restore is tried: a server of our own, one that was named, or beside the source.

use super::address::Address;
use super::connect::{self, Doing};
use super::rdb::{Content, Nobody};
use super::server::{self, Loading, Program};
use super::sync::{self, judge};
use super::{RedisDatabase, assertions, beside, dump, load};
use crate::{
    Beside, Database as _, DatabaseError, Depth, Inspection, OpenOptions, Scratch, ScratchPlace, throwaway,
};
use async_trait::async_trait;
use kit_contract::body::{AssertionResult, RestoreNeeds};
use kit_contract::config::Assertion;
use kit_core::Context;
use kit_core::fs::FsError;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

const UNFINISHED: &str = "the restore was tried";
const PIECE_BYTES: usize = 256 * 1024;
/// What redis.conf has.
const DATABASES: u64 = 16;
/// Under which restores are tried on a server that is somebody else's.
const ID: &str = "scratch";

/// A snapshot that a server of ours has loaded, all of it.
struct OwnScratch {
    server: throwaway::Server,
    /// Where it saves what it holds.
    saved: PathBuf,
    /// What was in the snapshot.
    dumped: Content,
    number: u64,
    method: String,
    questions: Vec<Assertion>,
}

/// One database, in an empty one of another server, or of the source's.
struct SpareScratch {
    database: RedisDatabase,
    beside: Beside,
}

pub(super) async fn restore(
    database: &RedisDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    scratch: &Path,
) -> Result<Box<dyn Scratch>, DatabaseError> {
    let database = match &database.options.scratch {
        ScratchPlace::Auto => return own(database, cx, reader, needs, scratch).await,
        ScratchPlace::Beside => database.clone(),
        ScratchPlace::Server(url) => {
            let refuse = |problem| DatabaseError::Url { input: "scratch_url".to_owned(), problem };
            let options = OpenOptions { via: Vec::new(), ..database.options.clone() };
            let other = RedisDatabase::parse(url.expose(), options, cx).map_err(refuse)?;
            // Of the dump, the database that the source's URL names.
            other.restoring(database.address.number)
        }
    };
    let beside = beside::restore(&database, cx, reader, needs, ID).await?;
    Ok(Box::new(SpareScratch { database, beside }))
}

async fn own(
    database: &RedisDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    scratch: &Path,
) -> Result<Box<dyn Scratch>, DatabaseError> {
    let wanted = beside::series_of(needs)?;
    let display = database.address.display();
    let doing = Doing { action: "restore", database: &display, unfinished: UNFINISHED };
    let program = Program::find(cx, database.options.tools.as_ref(), wanted).await?;
    let method = dump::method_of(program.series);
    kit_core::fs::create_folder(scratch)?;
    let named = |source| FsError { action: "make a file in", path: scratch.to_owned(), source };
    let new = |name: &str| tempfile::Builder::new().prefix(name).tempfile_in(scratch).map_err(named);
    let (snapshot, log) = (new("snapshot-")?, new("log-")?);
    let dumped = receive(cx, reader, snapshot.path(), doing).await?;
    let databases = dumped.databases.keys().last().map_or(DATABASES, |last| (last + 1).max(DATABASES));
    // The server takes the file, and its name goes with that.
    let snapshot = snapshot.into_temp_path();
    let loading = Loading::new(program, snapshot.to_path_buf(), log.path().to_owned(), databases);
    let (server, saved) = loading.start(cx, scratch).await?;
    // There is room for it once, not twice.
    kit_core::fs::remove(&saved)?;
    let number = database.address.number;
    let questions = database.options.assertions.clone();
    Ok(Box::new(OwnScratch { server, saved, dumped, number, method, questions }))
}

/// Writes the snapshot to a file, and reads along.
async fn receive(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    path: &Path,
    doing: Doing<'_>,
) -> Result<Content, DatabaseError> {
    let write =
        |source| DatabaseError::Transfer { action: "write", database: doing.database.to_owned(), source };
    let mut file = tokio::fs::OpenOptions::new().write(true).open(path).await.map_err(write)?;
    let (to_scanner, scanning) = sync::scan(cx, Nobody);
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = cx.cancel.unless(reader.read(&mut piece)).await.ok_or_else(|| doing.cancelled(cx))?;
        let count = read.map_err(|source| load::unreadable(source, doing))?;
        if count == 0 {
            break;
        }
        piece.truncate(count);
        file.write_all(&piece).await.map_err(write)?;
        if to_scanner.send(piece).await.is_err() {
            // It has seen enough, and says of what.
            break;
        }
    }
    file.flush().await.map_err(write)?;
    drop(to_scanner);
    let (read, _) = scanning.await.map_err(|error| doing.because(error.to_string()))?;
    read.map_err(|bad| judge(bad, doing))
}

impl OwnScratch {
    fn address(&self) -> Address {
        server::address(&self.server, self.number)
    }
}

#[async_trait]
impl Scratch for OwnScratch {
    fn display(&self) -> String {
        "a Redis server of its own".to_owned()
    }

    /// What the server holds, by what it saves; also of what is not this database's, which is compared here.
    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let doing = Doing { action: "read", database: "the restored database", unfinished: UNFINISHED };
        let mut connection = connect::open(&self.address(), cx, doing).await?;
        if depth == Depth::Rows {
            let keys = doing.run(cx, connection.keys()).await?;
            return Ok(dump::counted(self.number, keys));
        }
        doing.run_long(cx, connection.ask(&["SAVE"])).await?;
        let mut file = tokio::fs::File::open(&self.saved).await.map_err(|source| {
            DatabaseError::Transfer { action: "read", database: doing.database.to_owned(), source }
        })?;
        let (to_scanner, scanning) = sync::scan(cx, Nobody);
        load::feed(&mut file, to_scanner, cx, doing).await?;
        let (read, _) = scanning.await.map_err(|error| doing.because(error.to_string()))?;
        let content = read.map_err(|bad| judge(bad, doing))?;
        kit_core::fs::remove(&self.saved)?;
        let mut found =
            dump::inspection(self.number, &content.keys(self.number).all(), Some(self.method.clone()));
        let (expected, others) = (self.dumped.others(self.number), content.others(self.number));
        if expected != others {
            found.integrity = Err(format!("the snapshot holds {expected}, and what came back {others}"));
        }
        Ok(found)
    }

    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError> {
        crate::assertions::check(cx, &assertions::Asked(self.address()), &self.questions).await
    }

    async fn close(self: Box<Self>, _: &Context) -> Result<(), DatabaseError> {
        self.server.close().await;
        Ok(())
    }
}

#[async_trait]
impl Scratch for SpareScratch {
    fn display(&self) -> String {
        format!("{} beside {}", self.beside.name, self.database.display())
    }

    async fn inspect(&self, cx: &Context, _: Depth) -> Result<Inspection, DatabaseError> {
        beside::inspect(&self.database, cx, &self.beside).await
    }

    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError> {
        self.database.assertions_beside(cx, &self.beside).await
    }

    async fn close(self: Box<Self>, cx: &Context) -> Result<(), DatabaseError> {
        beside::discard(&self.database, cx, &self.beside).await
    }
}
