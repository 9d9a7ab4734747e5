//! Real servers, one per test.

mod archive;
mod assertions;
mod commit;
mod content;
mod copy_out;
mod faults;
mod migrate;
mod parallel;
mod restore_parallel;
mod swap;
mod via;

use super::PostgresDatabase;
use crate::{Database, DatabaseError, Depth, DumpReport, Inspection, OpenOptions};
use kit_contract::body::RestoreNeeds;
use kit_core::{Clock, Context, Env};
use kit_testing::postgres::Server;
use std::io::Write as _;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;

/// A server, and a folder for scratch copies.
pub(super) struct Place {
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
    pub(super) cx: Context,
}

impl Place {
    pub(super) fn new() -> Self {
        Self::on(Server::start())
    }

    pub(super) fn on(server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = kit_testing::cache().display().to_string();
        let env = Env::from([("PATH", std::env!("PATH")), ("DEPLOY_KIT_CACHE", cache.as_str())]);
        // Children live in real time.
        let cx = Context { clock: Clock::system(), ..Context::for_test(env).0 };
        Self { server, folder, cx }
    }

    /// With a database `shop` that this SQL fills.
    pub(super) fn with(sql: &str) -> Self {
        let place = Self::new();
        place.server.sql("postgres", "CREATE DATABASE shop");
        place.server.sql("shop", sql);
        place
    }

    pub(super) fn database(&self, name: &str) -> PostgresDatabase {
        self.database_with(name, OpenOptions::default())
    }

    pub(super) fn database_with(&self, name: &str, options: OpenOptions) -> PostgresDatabase {
        PostgresDatabase::parse(&self.server.url(name), options, &self.cx).unwrap()
    }

    /// Dumps `shop`.
    pub(super) async fn dump(&self) -> (Vec<u8>, DumpReport) {
        self.try_dump(&self.database("shop")).await.unwrap()
    }

    pub(super) async fn try_dump(
        &self,
        database: &PostgresDatabase,
    ) -> Result<(Vec<u8>, DumpReport), DatabaseError> {
        let mut dump = database.begin_dump(&self.cx, self.folder.path()).await?;
        let mut bytes = Vec::new();
        dump.reader().read_to_end(&mut bytes).await.unwrap();
        Ok((bytes, dump.finish(&self.cx).await?))
    }

    /// Restores into a scratch place and examines what came.
    pub(super) async fn restored(
        &self,
        dump: &[u8],
        needs: &RestoreNeeds,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError> {
        self.restored_by(&self.database("shop"), dump, needs, depth).await
    }

    pub(super) async fn restored_by(
        &self,
        database: &PostgresDatabase,
        dump: &[u8],
        needs: &RestoreNeeds,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError> {
        let mut reader = dump;
        let scratch =
            database.restore_scratch(&self.cx, &mut reader, Some(needs), self.folder.path()).await?;
        let inspected = scratch.inspect(&self.cx, depth).await;
        scratch.close(&self.cx).await?;
        inspected
    }

    /// As a user without us would do it, into a new database.
    pub(super) fn restore_by_hand(&self, dump: &[u8], name: &str) {
        self.server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        let mut psql = self.server.command("psql", name);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut psql = psql.spawn().unwrap();
        psql.stdin.take().unwrap().write_all(dump).unwrap();
        assert!(psql.wait().unwrap().success());
    }

    /// What is left in the folder for scratch copies.
    pub(super) fn left(&self) -> Vec<String> {
        kit_core::fs::list(self.folder.path()).unwrap().unwrap()
    }
}

pub(super) fn needs(report: &DumpReport) -> &RestoreNeeds {
    report.details.needs.as_ref().unwrap()
}
