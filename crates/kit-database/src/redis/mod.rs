//! Redis: a dump is the snapshot of the whole server, as a replica gets it; one of its numbered databases is restored,
//! into an empty one of the same server, which `SWAPDB` then exchanges for the live one.

mod address;
mod assertions;
mod beside;
mod connect;
mod dump;
mod info;
mod load;
mod rdb;
mod resp;
mod scratch;
mod server;
mod swap;
mod sync;
#[cfg(test)]
mod tests;

use crate::{
    Beside, Database, DatabaseError, Depth, Dump, Inspection, MigrationOutcome, MigrationSet,
    MigrationStatus, OpenOptions, Scratch, ServerInfo, Swapped,
};
use address::Address;
use async_trait::async_trait;
use beside::Restored;
use connect::Doing;
use kit_contract::body::{AssertionResult, Engine, RestoreNeeds, TableRows};
use kit_core::Context;
use rdb::Nobody;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncRead;

/// A numbered database of a Redis server.
#[derive(Clone, Debug)]
pub(crate) struct RedisDatabase {
    address: Address,
    /// The database of a dump that is restored; the live one's number, but for scratch servers.
    wanted: u64,
    options: OpenOptions,
    notes: Arc<Mutex<BTreeMap<String, Note>>>,
}

/// What is known of a restore of this run, by its id.
#[derive(Clone, Debug)]
struct Note {
    restored: Arc<Restored>,
    other_functions: bool,
}

impl RedisDatabase {
    /// Parses the whole URL. The error is a fragment about it that never repeats it.
    pub(crate) fn parse(url: &str, options: OpenOptions, cx: &Context) -> Result<Self, String> {
        let address = Address::parse(url)?.through(&options.via, cx)?;
        if let Some(password) = &address.password {
            cx.redactor.learn(password.expose());
        }
        Ok(Self { wanted: address.number, address, options, notes: Arc::default() })
    }

    /// The same, for another database of a dump.
    fn restoring(self, wanted: u64) -> Self {
        Self { wanted, ..self }
    }

    const fn reading<'a>(&self, database: &'a str) -> Doing<'a> {
        Doing { action: "read", database, unfinished: "the database was examined" }
    }

    fn notes<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Note>) -> T) -> T {
        work(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, id: &str, restored: Restored) {
        let note = Note { restored: Arc::new(restored), other_functions: false };
        self.notes(|notes| notes.insert(id.to_owned(), note));
    }

    fn remembered(&self, id: &str) -> Option<Arc<Restored>> {
        self.notes(|notes| notes.get(id).map(|note| Arc::clone(&note.restored)))
    }

    fn note_other_functions(&self, id: &str) {
        self.notes(|notes| notes.get_mut(id).into_iter().for_each(|note| note.other_functions = true));
    }

    fn has_other_functions(&self, id: &str) -> bool {
        self.notes(|notes| notes.get(id).is_some_and(|note| note.other_functions))
    }
}

fn no_migrations() -> DatabaseError {
    let problem =
        "a Redis database has no schema that could be migrated: leave `migrations` out of its entry";
    DatabaseError::Refused { problem: problem.to_owned() }
}

#[async_trait]
impl Database for RedisDatabase {
    fn engine(&self) -> Engine {
        Engine::Redis
    }

    fn display(&self) -> String {
        self.address.display()
    }

    fn extension(&self) -> &'static str {
        "rdb"
    }

    async fn ping(&self, cx: &Context, limit: Duration) -> Result<ServerInfo, DatabaseError> {
        let display = self.display();
        let doing = Doing { action: "reach", ..self.reading(&display) };
        let ask = async {
            let mut connection = connect::open(&self.address, cx, doing).await?;
            doing.run(cx, connection.info()).await
        };
        let answer = cx.clock.timeout(limit, ask).await.map_err(|elapsed| DatabaseError::NoAnswer {
            database: self.display(),
            limit_ms: elapsed.limit.as_millis(),
        })?;
        match answer?.version() {
            "" => Err(doing.because("it does not say which version of Redis it is")),
            version => Ok(ServerInfo { version: version.to_owned() }),
        }
    }

    async fn inventory(&self, cx: &Context) -> Result<Vec<TableRows>, DatabaseError> {
        Ok(self.inspect(cx, Depth::Rows).await?.table_rows())
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let display = self.display();
        let doing = self.reading(&display);
        let mut connection = connect::open(&self.address, cx, doing).await?;
        let number = self.address.number;
        if depth == Depth::Rows {
            let keys = doing.run(cx, connection.keys()).await?;
            return Ok(dump::counted(number, keys));
        }
        let info = doing.run(cx, connection.info()).await?;
        let content = sync::begin(connection, cx, doing).await?.look(cx, Nobody, doing).await?;
        Ok(dump::inspection(number, &content.keys(number).all(), Some(dump::method_of(info.series()))))
    }

    async fn can_be_dumped(&self, cx: &Context) -> Result<(), DatabaseError> {
        dump::can_begin(self, cx).await
    }

    async fn begin_dump(&self, cx: &Context, _: &Path) -> Result<Box<dyn Dump>, DatabaseError> {
        Ok(Box::new(dump::begin(self, cx).await?))
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
        _: Depth,
    ) -> Result<Inspection, DatabaseError> {
        // Keys cannot even be counted without their times.
        beside::inspect(self, cx, beside).await
    }

    async fn assertions_beside(
        &self,
        cx: &Context,
        beside: &Beside,
    ) -> Result<Vec<AssertionResult>, DatabaseError> {
        let asked = assertions::Asked(self.address.with_number(beside::number(beside)?));
        crate::assertions::check(cx, &asked, &self.options.assertions).await
    }

    async fn finish_beside(&self, cx: &Context, beside: &Beside) -> Result<Beside, DatabaseError> {
        beside::finish(self, cx, beside).await
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
        let problem =
            "a Redis database is exchanged for the restored one in an instant (SWAPDB) and never overwritten";
        Err(DatabaseError::Refused { problem: problem.to_owned() })
    }

    async fn discard(&self, cx: &Context, beside: &Beside) -> Result<(), DatabaseError> {
        beside::discard(self, cx, beside).await
    }

    async fn migration_status(
        &self,
        _: &Context,
        _: &MigrationSet,
    ) -> Result<MigrationStatus, DatabaseError> {
        Err(no_migrations())
    }

    async fn apply_migration(
        &self,
        _: &Context,
        _: &MigrationSet,
        _: i64,
    ) -> Result<MigrationOutcome, DatabaseError> {
        Err(no_migrations())
    }
}
