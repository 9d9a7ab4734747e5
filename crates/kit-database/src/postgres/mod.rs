//! PostgreSQL: dumped by `pg_dump`, restored by `psql`, examined and migrated through sqlx.

mod address;
mod after;
mod archive;
mod assertions;
mod beside;
mod clients;
mod cluster;
mod connect;
mod content;
mod copy_out;
mod dump;
mod from_archive;
mod header;
mod ident;
mod in_place;
mod inspect;
mod judged;
mod keeper;
mod loader;
mod migrate;
mod one_transaction;
mod parallel;
mod reader;
mod restore;
mod restore_parallel;
mod scan;
mod scratch;
mod sessions;
mod split;
mod swap;
#[cfg(test)]
mod tests;

use crate::{
    Beside, Database, DatabaseError, Depth, Dump, Inspection, MigrationOutcome, MigrationSet,
    MigrationStatus, OpenOptions, Scratch, ServerInfo, Swapped,
};
use address::Address;
use async_trait::async_trait;
use connect::{Doing, Session};
use content::Reading;
use kit_contract::body::{AssertionResult, Engine, RestoreNeeds, TableRows};
use kit_contract::config::DumpFormat;
use kit_core::Context;
use std::num::{NonZero, NonZeroU8};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncRead;

/// Connections that restore, or read for a comparison, side by side, unless more are asked for.
const MOST_SESSIONS: usize = 4;
/// How the server's lists of connections name us.
const APPLICATION: &str = "deploy-kit";

/// A database of a PostgreSQL server.
#[derive(Clone, Debug)]
pub(crate) struct PostgresDatabase {
    address: Address,
    options: OpenOptions,
    dump_sizes: parallel::Sizes,
}

impl PostgresDatabase {
    /// Parses the whole URL. The error is a fragment about it that never repeats it.
    pub(crate) fn parse(url: &str, options: OpenOptions, cx: &Context) -> Result<Self, String> {
        let address = Address::parse(url)?.through(&options.via, cx)?;
        if let Some(password) = &address.password {
            cx.redactor.learn(password.expose());
        }
        Ok(Self { address, options, dump_sizes: parallel::Sizes::default() })
    }

    /// How content is read for a comparison: by no fewer than there are cores, since reading changes nothing.
    fn side_by_side(&self) -> Reading {
        Reading { jobs: self.restore_jobs().max(as_many_as_cores()), sizes: self.dump_sizes }
    }

    /// Sessions that restore.
    fn restore_jobs(&self) -> NonZeroU8 {
        self.options.restore_jobs.unwrap_or_else(as_many_as_cores)
    }

    const fn reading<'a>(&self, database: &'a str) -> Doing<'a> {
        Doing { action: "read", database, unfinished: "the database was examined" }
    }
}

fn as_many_as_cores() -> NonZeroU8 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_SESSIONS);
    u8::try_from(cores).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MIN)
}

#[async_trait]
impl Database for PostgresDatabase {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn display(&self) -> String {
        self.address.display()
    }

    fn extension(&self) -> &'static str {
        match self.options.format {
            DumpFormat::Plain => "sql",
            DumpFormat::Custom => "dump",
            DumpFormat::Directory => "tar",
        }
    }

    async fn ping(&self, cx: &Context, limit: Duration) -> Result<ServerInfo, DatabaseError> {
        let display = self.display();
        let doing = Doing { action: "reach", ..self.reading(&display) };
        let ask = async {
            let mut connection = connect::open(&self.address, Session::Reading, cx, doing).await?;
            let version = doing.run(cx, connect::version(&mut connection)).await;
            connect::close(connection).await;
            version
        };
        let answer = cx.clock.timeout(limit, ask).await.map_err(|elapsed| DatabaseError::NoAnswer {
            database: self.display(),
            limit_ms: elapsed.limit.as_millis(),
        })?;
        Ok(ServerInfo { version: answer?.0 })
    }

    async fn inventory(&self, cx: &Context) -> Result<Vec<TableRows>, DatabaseError> {
        let display = self.display();
        let doing = self.reading(&display);
        let mut connection = connect::open(&self.address, Session::Reading, cx, doing).await?;
        let counted = doing.run(cx, inspect::inventory(&mut connection)).await;
        connect::close(connection).await;
        counted
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let display = self.display();
        inspect::inspect(&self.address, cx, self.reading(&display), (depth, self.side_by_side())).await
    }

    async fn can_be_dumped(&self, cx: &Context) -> Result<(), DatabaseError> {
        dump::can_begin(self, cx).await
    }

    async fn begin_dump(&self, cx: &Context, scratch: &Path) -> Result<Box<dyn Dump>, DatabaseError> {
        Ok(Box::new(dump::begin(self, cx, scratch).await?))
    }

    async fn restore_scratch(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
        scratch: &Path,
    ) -> Result<Box<dyn Scratch>, DatabaseError> {
        scratch::restore(self, cx, reader, needs, scratch).await
    }

    async fn restore_beside(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
        id: &str,
    ) -> Result<Beside, DatabaseError> {
        beside::restore(self, cx, reader, needs, id).await
    }

    async fn inspect_beside(
        &self,
        cx: &Context,
        beside: &Beside,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError> {
        let restored = Self { address: self.address.with_database(&beside.name), ..self.clone() };
        restored.inspect(cx, depth).await
    }

    async fn assertions_beside(
        &self,
        cx: &Context,
        beside: &Beside,
    ) -> Result<Vec<AssertionResult>, DatabaseError> {
        let address = self.address.with_database(&beside.name);
        crate::assertions::check(cx, &assertions::Asked(address), &self.options.assertions).await
    }

    async fn finish_beside(&self, cx: &Context, beside: &Beside) -> Result<Beside, DatabaseError> {
        swap::finish(self, cx, beside).await
    }

    async fn swap(&self, cx: &Context, beside: &Beside) -> Result<Swapped, DatabaseError> {
        swap::swap(self, cx, beside).await
    }

    async fn restore_in_place(
        &self,
        cx: &Context,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        needs: Option<&RestoreNeeds>,
    ) -> Result<Beside, DatabaseError> {
        in_place::restore(self, cx, reader, needs).await?;
        Ok(Beside { name: self.address.database.clone(), id: String::new() })
    }

    async fn discard(&self, cx: &Context, beside: &Beside) -> Result<(), DatabaseError> {
        beside::discard(self, cx, beside).await
    }

    async fn migration_status(
        &self,
        cx: &Context,
        set: &MigrationSet,
    ) -> Result<MigrationStatus, DatabaseError> {
        migrate::status(self, cx, set).await
    }

    async fn apply_migration(
        &self,
        cx: &Context,
        set: &MigrationSet,
        version: i64,
    ) -> Result<MigrationOutcome, DatabaseError> {
        migrate::apply(self, cx, set, version).await
    }
}
