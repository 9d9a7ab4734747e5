//! MariaDB and MySQL: dumped by `mariadb-dump` or `mysqldump`, restored by `mariadb` or `mysql`, examined and
//! migrated through sqlx.

mod address;
mod assertions;
mod beside;
mod clients;
mod connect;
mod dump;
mod ident;
mod in_place;
mod inspect;
mod migrate;
mod quiet;
mod restore;
mod rights;
mod scan;
mod scratch;
mod server;
mod statements;
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
use kit_contract::body::{AssertionResult, Engine, RestoreNeeds, TableRows};
use kit_core::Context;
use quiet::Events;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncRead;

/// A database of a MariaDB or MySQL server.
#[derive(Clone, Debug)]
pub(crate) struct MysqlDatabase {
    address: Address,
    /// As the scheme of the URL calls it.
    product: &'static str,
    options: OpenOptions,
}

impl MysqlDatabase {
    /// Parses the whole URL. The error is a fragment about it that never repeats it.
    pub(crate) fn parse(url: &str, options: OpenOptions, cx: &Context) -> Result<Self, String> {
        let address = Address::parse(url)?.through(&options.via, cx)?;
        if let Some(password) = &address.password {
            cx.redactor.learn(password.expose());
        }
        let product = if url.starts_with("mariadb") { "MariaDB" } else { "MySQL" };
        Ok(Self { address, product, options })
    }

    fn display_name(&self) -> String {
        format!("{} {}", self.product, self.address.place())
    }

    const fn reading<'a>(&self, database: &'a str) -> Doing<'a> {
        Doing { action: "read", database, unfinished: "the database was examined" }
    }
}

#[async_trait]
impl Database for MysqlDatabase {
    fn engine(&self) -> Engine {
        Engine::Mysql
    }

    fn display(&self) -> String {
        self.display_name()
    }

    fn extension(&self) -> &'static str {
        "sql"
    }

    async fn ping(&self, cx: &Context, limit: Duration) -> Result<ServerInfo, DatabaseError> {
        let display = self.display();
        let doing = Doing { action: "reach", ..self.reading(&display) };
        let ask = async {
            let mut connection = connect::open(&self.address, Session::Reading, cx, doing).await?;
            let version = doing.run(cx, connect::server(&mut connection)).await;
            connect::close(connection).await;
            version
        };
        let answer = cx.clock.timeout(limit, ask).await.map_err(|elapsed| DatabaseError::NoAnswer {
            database: self.display(),
            limit_ms: elapsed.limit.as_millis(),
        })?;
        Ok(ServerInfo { version: answer?.version })
    }

    async fn inventory(&self, cx: &Context) -> Result<Vec<TableRows>, DatabaseError> {
        let display = self.display();
        let doing = self.reading(&display);
        let mut connection = connect::open(&self.address, Session::Reading, cx, doing).await?;
        let counted = doing.run(cx, inspect::inventory(&mut connection, &self.address.database)).await;
        connect::close(connection).await;
        counted
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let display = self.display();
        let tools = self.options.tools.as_ref();
        scratch::examine(&self.address, tools, Events::AsTheyAre, cx, depth, self.reading(&display)).await
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
        let address = self.address.with_database(&beside.name);
        let tools = self.options.tools.as_ref();
        scratch::examine(&address, tools, Events::Asleep, cx, depth, self.reading(&beside.name)).await
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
        beside::finish(self, cx, beside).await
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
