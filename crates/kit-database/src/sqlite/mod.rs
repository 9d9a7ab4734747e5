//! SQLite: a database is a file, a dump is a consistent copy of it.

mod assertions;
mod connect;
mod dump;
mod exchange;
mod inspect;
mod migrate;
mod restore;
mod swap;
mod url;

#[cfg(test)]
mod tests;

use crate::{
    Beside, Database, DatabaseError, Depth, Dump, Inspection, MigrationOutcome, MigrationSet,
    MigrationStatus, Scratch, ServerInfo, Swapped,
};
use async_trait::async_trait;
use connect::{Access, Doing};
use exchange::FileMoves;
use kit_contract::body::{AssertionResult, Engine, RestoreNeeds, TableRows};
use kit_contract::config::Assertion;
use kit_core::Context;
use restore::SIDE_FILES;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncRead;

/// How long others may hold the database before we give up.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the name of a restored file says: it is not all there, or was not compared.
const UNFINISHED: &str = "unfinished";
/// It is, and was.
const FINISHED: &str = "restore";

/// One SQLite file.
#[derive(Clone, Debug)]
pub(crate) struct SqliteDatabase {
    /// Absolute, symbolic links resolved: a swap must replace the file, not a link to it.
    path: PathBuf,
    /// False if the URL says `mode=ro`.
    writable: bool,
    patience: Duration,
    moves: FileMoves,
    questions: Vec<Assertion>,
}

impl SqliteDatabase {
    /// Fails unless there is a file.
    pub(crate) fn must_exist(&self) -> Result<(), DatabaseError> {
        let path = self.path.display().to_string();
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => Ok(()),
            Ok(_) => Err(DatabaseError::Refused { problem: format!("{path} is not a file") }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(DatabaseError::Missing { path })
            }
            Err(source) => {
                Err(kit_core::fs::FsError { action: "look at", path: self.path.clone(), source }.into())
            }
        }
    }

    /// How to look at the live database.
    const fn reading(&self) -> Access {
        if self.writable { Access::Shared } else { Access::ReadOnly }
    }

    /// A name in the same folder: `<name>.<what>-<id>`.
    fn sibling(&self, what: &str, id: &str) -> Result<PathBuf, DatabaseError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || id.len() > 80 || !id.bytes().all(fits) {
            let problem = format!("{id:?} is not an id: lower-case letters, digits and hyphens, at most 80");
            return Err(DatabaseError::Refused { problem });
        }
        Ok(with_suffix(&self.path, &format!(".{what}-{id}")))
    }

    /// What else is unfinished beside the live database.
    fn left(&self, path: &Path) -> Result<Vec<String>, DatabaseError> {
        let start = with_suffix(&self.path, &format!(".{UNFINISHED}-"));
        let (Some(folder), Some(start)) = (path.parent(), start.file_name().and_then(OsStr::to_str)) else {
            return Ok(Vec::new());
        };
        let is_left = |name: &String| {
            name.strip_prefix(start).is_some_and(|id| !SIDE_FILES.iter().any(|side| id.ends_with(side)))
        };
        let paths = kit_core::fs::list(folder)?.unwrap_or_default().into_iter().filter(is_left);
        let paths = paths.map(|name| folder.join(name)).filter(|other| other != path);
        Ok(paths.map(|path| path.display().to_string()).collect())
    }

    /// The file of `beside`, which must be one that we would have made.
    fn beside_path(&self, beside: &Beside) -> Result<PathBuf, DatabaseError> {
        for what in [UNFINISHED, FINISHED] {
            let path = self.sibling(what, &beside.id)?;
            if path.as_os_str() == beside.name.as_str() {
                return Ok(path);
            }
        }
        Err(DatabaseError::Refused {
            problem: format!("{} was not restored beside {}", beside.name, self.display()),
        })
    }
}

/// A path as text, for people and journals.
fn text(path: &Path) -> Result<String, DatabaseError> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(DatabaseError::Refused { problem: format!("{} is not UTF-8", path.display()) }),
    }
}

/// `path` with something appended to its last component.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[async_trait]
impl Database for SqliteDatabase {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn display(&self) -> String {
        format!("SQLite {}", self.path.display())
    }

    fn extension(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self, cx: &Context, limit: Duration) -> Result<ServerInfo, DatabaseError> {
        self.must_exist()?;
        let doing = Doing { action: "read", database: &self.display(), waited: self.patience };
        let ask = async {
            let mut connection = connect::open(&self.path, self.reading(), self.patience, Some(&cx.cancel))
                .await
                .map_err(|error| doing.failed(error, cx))?;
            let asked = inspect::version(&mut connection).await.map_err(|error| doing.failed(error, cx));
            connect::close(connection).await;
            asked
        };
        let answer = cx.clock.timeout(limit, ask).await.map_err(|elapsed| DatabaseError::NoAnswer {
            database: self.display(),
            limit_ms: elapsed.limit.as_millis(),
        })?;
        Ok(ServerInfo { version: answer? })
    }

    async fn inventory(&self, cx: &Context) -> Result<Vec<TableRows>, DatabaseError> {
        self.must_exist()?;
        let doing = Doing { action: "read", database: &self.display(), waited: self.patience };
        let mut connection = connect::open(&self.path, self.reading(), self.patience, Some(&cx.cancel))
            .await
            .map_err(|error| doing.failed(error, cx))?;
        let counted = inspect::count(&mut connection).await.map_err(|error| doing.failed(error, cx));
        connect::close(connection).await;
        counted
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        self.must_exist()?;
        let doing = Doing { action: "read", database: &self.display(), waited: self.patience };
        inspect::inspect_file(&self.path, self.reading(), depth, cx, doing).await
    }

    async fn can_be_dumped(&self, _cx: &Context) -> Result<(), DatabaseError> {
        // Whoever can open it can copy it.
        self.must_exist()
    }

    async fn begin_dump(&self, cx: &Context, scratch: &Path) -> Result<Box<dyn Dump>, DatabaseError> {
        self.must_exist()?;
        Ok(Box::new(dump::begin(self, cx, scratch).await?))
    }

    async fn restore_scratch(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        _needs: Option<&RestoreNeeds>,
        scratch: &Path,
    ) -> Result<Box<dyn Scratch>, DatabaseError> {
        Ok(Box::new(restore::into_scratch(cx, reader, scratch, self).await?))
    }

    async fn restore_beside(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        _needs: Option<&RestoreNeeds>,
        id: &str,
    ) -> Result<Beside, DatabaseError> {
        let path = self.sibling(UNFINISHED, id)?;
        let name = text(&path)?;
        crate::sibling::say_left(cx, self.left(&path));
        // Of an earlier run, whose end was not heard.
        restore::remove_with_side_files(&self.sibling(FINISHED, id)?)?;
        restore::beside(cx, reader, &path, &self.display()).await?;
        Ok(Beside { name, id: id.to_owned() })
    }

    async fn inspect_beside(
        &self,
        cx: &Context,
        beside: &Beside,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError> {
        let path = self.beside_path(beside)?;
        let doing = Doing { action: "read", database: &beside.name, waited: self.patience };
        inspect::inspect_file(&path, Access::Immutable, depth, cx, doing).await
    }

    async fn assertions_beside(
        &self,
        cx: &Context,
        beside: &Beside,
    ) -> Result<Vec<AssertionResult>, DatabaseError> {
        let asked = assertions::Asked(self.beside_path(beside)?);
        crate::assertions::check(cx, &asked, &self.questions).await
    }

    async fn finish_beside(&self, _cx: &Context, beside: &Beside) -> Result<Beside, DatabaseError> {
        let path = self.sibling(FINISHED, &beside.id)?;
        let name = text(&path)?;
        kit_core::fs::rename(&self.beside_path(beside)?, &path)?;
        Ok(Beside { name, id: beside.id.clone() })
    }

    async fn swap(&self, cx: &Context, beside: &Beside) -> Result<Swapped, DatabaseError> {
        swap::swap(self, cx, beside).await
    }

    async fn restore_in_place(
        &self,
        _: &Context,
        _: &mut (dyn AsyncRead + Send + Unpin),
        _: Option<&RestoreNeeds>,
    ) -> Result<Beside, DatabaseError> {
        let problem = "a SQLite database is a file, which is exchanged by a rename and never overwritten";
        Err(DatabaseError::Refused { problem: problem.to_owned() })
    }

    async fn discard(&self, _cx: &Context, beside: &Beside) -> Result<(), DatabaseError> {
        for what in [UNFINISHED, FINISHED] {
            restore::remove_with_side_files(&self.sibling(what, &beside.id)?)?;
        }
        Ok(())
    }

    async fn migration_status(
        &self,
        cx: &Context,
        set: &MigrationSet,
    ) -> Result<MigrationStatus, DatabaseError> {
        self.must_exist()?;
        migrate::status(self, cx, set).await
    }

    async fn apply_migration(
        &self,
        cx: &Context,
        set: &MigrationSet,
        version: i64,
    ) -> Result<MigrationOutcome, DatabaseError> {
        self.must_exist()?;
        migrate::apply(self, cx, set, version).await
    }
}
