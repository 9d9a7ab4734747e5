//! Real files in temporary folders.

mod assertions;
mod content;
mod dump;
mod migrate;
mod swap;

use super::SqliteDatabase;
use super::exchange::FileMoves;
use crate::{Database, DatabaseError, Depth, Inspection};
use kit_core::{Context, Env};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// A folder with one database.
pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) cx: Context,
}

impl Place {
    pub(super) async fn with(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("shop.db");
        let place = Self { folder, path, cx: Context::for_test(Env::default()).0 };
        place.sql(sql).await;
        place
    }

    /// A short patience: what is busy in these tests stays busy.
    pub(super) fn database(&self) -> SqliteDatabase {
        SqliteDatabase {
            path: self.path.clone(),
            writable: true,
            patience: Duration::from_millis(50),
            moves: FileMoves::default(),
            questions: Vec::new(),
        }
    }

    pub(super) async fn sql(&self, sql: &str) {
        run(&self.path, sql).await;
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        number(&self.path, sql).await
    }

    pub(super) async fn dump(&self) -> Vec<u8> {
        let mut dump = self.database().begin_dump(&self.cx, &self.scratch()).await.unwrap();
        let mut bytes = Vec::new();
        dump.reader().read_to_end(&mut bytes).await.unwrap();
        dump.finish(&self.cx).await.unwrap();
        bytes
    }

    pub(super) async fn restored(&self, dump: &[u8], depth: Depth) -> Result<Inspection, DatabaseError> {
        let mut reader = dump;
        let scratch = self.database().restore_scratch(&self.cx, &mut reader, None, &self.scratch()).await?;
        scratch.inspect(&self.cx, depth).await
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// Names in the folder, without the scratch folder.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = kit_core::fs::list(self.folder.path()).unwrap().unwrap();
        names.retain(|name| name != "scratch");
        names
    }
}

pub(super) async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(30))
        .connect()
        .await
        .unwrap()
}

pub(super) async fn run(path: &Path, sql: &str) {
    let mut connection = connect(path).await;
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

pub(super) async fn number(path: &Path, sql: &str) -> i64 {
    let mut connection = connect(path).await;
    let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}
