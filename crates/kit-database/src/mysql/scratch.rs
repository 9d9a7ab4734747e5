//! Where a restore is tried: a server of our own, one that was named, or beside the source.

use super::address::Address;
use super::clients::{self, series};
use super::connect::{self, Doing, Session};
use super::ident::quote;
use super::quiet::Events;
use super::server::{self, OwnServer};
use super::{MysqlDatabase, assertions, dump, inspect, restore};
use crate::{
    DatabaseError, Depth, Inspection, OpenOptions, Scratch, ScratchPlace, TableState, Tools, throwaway,
};
use async_trait::async_trait;
use kit_contract::body::{AssertionResult, RestoreNeeds};
use kit_core::Context;
use sqlx::mysql::MySqlConnection;
use std::path::Path;
use tokio::io::AsyncRead;

const UNFINISHED: &str = "the restore was tried";

/// A restored database.
#[derive(Debug)]
struct MysqlScratch {
    server: Server,
    name: String,
    options: OpenOptions,
}

/// The server that holds it.
#[derive(Debug)]
enum Server {
    Own(throwaway::Server),
    /// Somebody else's: reached through this database, and tidied up after use.
    Other(Address),
}

impl Server {
    fn address(&self, database: &str) -> Address {
        match self {
            Self::Own(own) => server::address(own, database),
            Self::Other(address) => address.with_database(database),
        }
    }

    /// Any database to talk to the server through.
    fn maintenance(&self) -> Address {
        match self {
            Self::Own(own) => server::address(own, "mysql"),
            Self::Other(address) => address.clone(),
        }
    }

    /// Ours runs no events; others may.
    const fn events(&self) -> Events {
        match self {
            Self::Own(_) => Events::AsTheyAre,
            Self::Other(_) => Events::Asleep,
        }
    }
}

#[async_trait]
impl Scratch for MysqlScratch {
    fn display(&self) -> String {
        match &self.server {
            Server::Own(_) => "a MariaDB server of its own".to_owned(),
            Server::Other(_) => self.server.address(&self.name).place(),
        }
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let doing = Doing { action: "read", database: "the restored database", unfinished: UNFINISHED };
        examine(
            &self.server.address(&self.name),
            self.options.tools.as_ref(),
            self.server.events(),
            cx,
            depth,
            doing,
        )
        .await
    }

    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError> {
        let asked = assertions::Asked(self.server.address(&self.name));
        crate::assertions::check(cx, &asked, &self.options.assertions).await
    }

    async fn close(self: Box<Self>, cx: &Context) -> Result<(), DatabaseError> {
        match self.server {
            Server::Own(server) => {
                server.close().await;
                Ok(())
            }
            Server::Other(address) => drop_database(&address, &self.name, cx).await,
        }
    }
}

/// Examines a database: definitions and rows through a connection, content through the dump program.
pub(super) async fn examine(
    address: &Address,
    tools: Option<&Tools>,
    events: Events,
    cx: &Context,
    depth: Depth,
    doing: Doing<'_>,
) -> Result<Inspection, DatabaseError> {
    let mut connection = connect::open(address, Session::Reading, cx, doing).await?;
    let found = async {
        inspect::begin_snapshot(&mut connection).await?;
        let server = connect::server(&mut connection).await?;
        let names = inspect::names(&mut connection, &address.database).await?;
        let lines = inspect::schema_lines(&mut connection, &names).await?;
        let mut tables = Vec::new();
        if depth == Depth::Rows {
            for table in &names.tables {
                let rows = inspect::count(&mut connection, table).await?;
                tables.push(TableState { table: table.clone(), rows, content_sha256: None });
            }
        }
        Ok((server, inspect::schema_sha256(&lines), tables))
    };
    let (server, schema_sha256, tables) = doing.run(cx, found).await?;
    connect::close(connection).await;
    if depth == Depth::Rows {
        return Ok(inspect::inspection(schema_sha256, tables, None));
    }
    let clients = clients::find(cx, tools, server.product).await?;
    let mut content = dump::content(address, &clients, cx, doing).await?;
    if events == Events::Asleep {
        inspect::wake(&mut content);
    }
    let beyond = inspect::beyond_tables(&content);
    Ok(inspect::inspection(
        schema_sha256,
        inspect::states(&content),
        Some((beyond, clients.content_method())),
    ))
}

/// Removes a database of ours, also when the step is cancelled.
pub(super) async fn drop_database(address: &Address, name: &str, cx: &Context) -> Result<(), DatabaseError> {
    let shown = address.with_database(name).place();
    let doing = Doing { action: "remove", database: &shown, unfinished: "a scratch database was removed" };
    let cx = Context { cancel: kit_core::Cancel::default(), ..cx.clone() };
    let mut connection = connect::open(address, Session::Reading, &cx, doing).await?;
    let sql = format!("DROP DATABASE IF EXISTS {}", quote(name));
    let dropped = connect::execute(&mut connection, sql).await.map_err(|error| doing.failed(error));
    connect::close(connection).await;
    dropped
}

pub(super) async fn restore(
    database: &MysqlDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    scratch: &Path,
) -> Result<Box<dyn Scratch>, DatabaseError> {
    let (Some(needs), Some(wanted)) = (needs, needs.and_then(|needs| needs.series.as_deref())) else {
        return Err(DatabaseError::Unavailable {
            what: "the backup does not say what it needs; a newer version made it".to_owned(),
        });
    };
    let server = match &database.options.scratch {
        ScratchPlace::Auto => {
            let programs = OwnServer::find(cx, database.options.tools.as_ref(), wanted).await?;
            Server::Own(throwaway::Server::start(cx, &programs, scratch).await?)
        }
        ScratchPlace::Beside => Server::Other(database.address.clone()),
        ScratchPlace::Server(url) => {
            let address = Address::parse(url.expose())
                .map_err(|problem| DatabaseError::Url { input: "scratch_url".to_owned(), problem })?;
            Server::Other(address)
        }
    };
    let name: String = database.address.database.chars().take(40).collect();
    let name = format!("{name}_deploy_kit_scratch");
    let place = MysqlScratch { server, name, options: database.options.clone() };
    match fill(database, cx, reader, needs, &place).await {
        Ok(()) => Ok(Box::new(place)),
        Err(error) => {
            // The first error is the one to report.
            if let Err(left) = Box::new(place).close(cx).await {
                cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
            }
            Err(error)
        }
    }
}

async fn fill(
    database: &MysqlDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: &RestoreNeeds,
    place: &MysqlScratch,
) -> Result<(), DatabaseError> {
    let shown = place.display();
    let doing = Doing { action: "use", database: &shown, unfinished: UNFINISHED };
    let mut connection = connect::open(&place.server.maintenance(), Session::Reading, cx, doing).await?;
    let server = prepare(&mut connection, cx, doing, needs, &place.name).await?;
    connect::close(connection).await;
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    let doing = Doing { action: "restore into", database: "the scratch database", unfinished: UNFINISHED };
    let address = place.server.address(&place.name);
    let from = (reader, &database.options.rows);
    restore::run(cx, &address, &clients, from, place.server.events(), doing).await
}

/// Makes an empty database that can take the dump, or says what is missing.
pub(super) async fn prepare(
    connection: &mut MySqlConnection,
    cx: &Context,
    doing: Doing<'_>,
    needs: &RestoreNeeds,
    name: &str,
) -> Result<connect::Server, DatabaseError> {
    let server = check_fits(connection, cx, doing, needs).await?;
    make_empty(connection, cx, doing, needs, name).await?;
    Ok(server)
}

/// Whether the server is of the series of the dump, and takes its longest statement.
pub(super) async fn check_fits(
    connection: &mut MySqlConnection,
    cx: &Context,
    doing: Doing<'_>,
    needs: &RestoreNeeds,
) -> Result<connect::Server, DatabaseError> {
    let server = doing.run(cx, connect::server(connection)).await?;
    let found = series(server.product, &server.version);
    if needs.series.as_deref() != Some(found.as_str()) {
        return Err(DatabaseError::Unavailable {
            what: format!(
                "{} is {found}, and the backup is of {}: another version proves nothing about it",
                doing.database,
                needs.series.as_deref().unwrap_or("an unknown version")
            ),
        });
    }
    let Some(longest) = needs.longest_statement_bytes else { return Ok(server) };
    let limit = doing.run(cx, connect::longest_packet(connection)).await?;
    // A packet has a few bytes more than its statement.
    let needed = longest + (1 << 10);
    if needed > limit {
        let mib = needed.div_ceil(1 << 20);
        return Err(DatabaseError::Unavailable {
            what: format!(
                "{} takes statements of up to {limit} bytes (max_allowed_packet), and the backup has one of {longest}: \
                 it needs SET GLOBAL max_allowed_packet = {mib} * 1024 * 1024 before (1024 MiB is the most that a server \
                 can take)",
                doing.database
            ),
        });
    }
    Ok(server)
}

/// Makes an empty database, also if there is one of this name.
pub(super) async fn make_empty(
    connection: &mut MySqlConnection,
    cx: &Context,
    doing: Doing<'_>,
    needs: &RestoreNeeds,
    name: &str,
) -> Result<(), DatabaseError> {
    doing.run(cx, connect::execute(connection, format!("DROP DATABASE IF EXISTS {}", quote(name)))).await?;
    let create = format!(
        "CREATE DATABASE {} CHARACTER SET {} COLLATE {}",
        quote(name),
        quote(&needs.encoding),
        quote(&needs.collate)
    );
    connect::execute(connection, create).await.map_err(|error| DatabaseError::Unavailable {
        what: format!(
            "{} cannot hold a database like it: {}",
            doing.database,
            crate::EngineError::from(error)
        ),
    })
}
