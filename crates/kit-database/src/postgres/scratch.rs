//! Where a restore is tried: a cluster of our own, a server that was named, or beside the source.

use super::address::Address;
use super::clients::{self, Clients};
use super::cluster::{self, Cluster};
use super::connect::{self, Doing, Session};
use super::content::Reading;
use super::ident::quote;
use super::{PostgresDatabase, assertions, inspect, restore};
use crate::{DatabaseError, Depth, Inspection, Scratch, ScratchPlace, throwaway};
use async_trait::async_trait;
use kit_contract::body::{AssertionResult, Extension, RestoreNeeds};
use kit_contract::config::Assertion;
use kit_core::Context;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::path::Path;
use tokio::io::AsyncRead;

const UNFINISHED: &str = "the restore was tried";

/// A restored database.
#[derive(Debug)]
struct PostgresScratch {
    server: Server,
    name: String,
    questions: Vec<Assertion>,
    reading: Reading,
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
            // It has no other.
            Self::Own(server) => cluster::address(server),
            Self::Other(address) => address.with_database(database),
        }
    }

    /// Any database to talk to the server through.
    fn maintenance(&self) -> Address {
        match self {
            Self::Own(server) => cluster::address(server),
            Self::Other(address) => address.clone(),
        }
    }

    /// One of our own that fails says nothing about the user's server, nor about the backup.
    fn failed(&self, error: DatabaseError) -> DatabaseError {
        match (self, error) {
            (Self::Own(_), DatabaseError::Unreachable { source, .. }) => {
                DatabaseError::Unavailable { what: format!("the throw-away server has failed: {source}") }
            }
            (_, error) => error,
        }
    }
}

#[async_trait]
impl Scratch for PostgresScratch {
    fn display(&self) -> String {
        match &self.server {
            Server::Own(_) => "a PostgreSQL server of its own".to_owned(),
            Server::Other(_) => self.server.address(&self.name).display(),
        }
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let doing = Doing { action: "read", database: "the restored database", unfinished: UNFINISHED };
        let found =
            inspect::inspect(&self.server.address(&self.name), cx, doing, (depth, self.reading)).await;
        found.map_err(|error| self.server.failed(error))
    }

    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError> {
        let asked = assertions::Asked(self.server.address(&self.name));
        crate::assertions::check(cx, &asked, &self.questions).await
    }

    async fn close(self: Box<Self>, cx: &Context) -> Result<(), DatabaseError> {
        match self.server {
            Server::Own(server) => {
                server.close().await;
                Ok(())
            }
            Server::Other(address) => drop_databases(&address, &[self.name], cx).await,
        }
    }
}

/// Removes databases of ours, also when the step is cancelled.
pub(super) async fn drop_databases(
    address: &Address,
    names: &[String],
    cx: &Context,
) -> Result<(), DatabaseError> {
    let shown = address.with_database(names.first().map_or("", String::as_str)).display();
    let doing = Doing { action: "remove", database: &shown, unfinished: "a scratch database was removed" };
    let cx = Context { cancel: kit_core::Cancel::default(), ..cx.clone() };
    let mut connection = connect::open(address, Session::Reading, &cx, doing).await?;
    let mut dropped = Ok(());
    for name in names {
        let removed = remove(&mut connection, name).await.map_err(|error| doing.failed(error));
        dropped = dropped.and(removed);
    }
    connect::close(connection).await;
    dropped
}

/// Removes a database of ours, if there is one of this name.
pub(super) async fn remove(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    // FORCE, from 13 on, ends whatever looks into it, and what a killed step left working in it.
    let force =
        if connection.server_version_num().unwrap_or_default() >= 130_000 { " WITH (FORCE)" } else { "" };
    connect::execute(connection, format!("DROP DATABASE IF EXISTS {}{force}", quote(name))).await
}

pub(super) async fn restore(
    database: &PostgresDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    needs: Option<&RestoreNeeds>,
    scratch: &Path,
) -> Result<Box<dyn Scratch>, DatabaseError> {
    let Some(needs) = needs else {
        return Err(DatabaseError::Unavailable {
            what: "the backup does not say what it needs; a newer version made it, or a much older one"
                .to_owned(),
        });
    };
    let server = server(database, cx, needs, scratch).await?;
    let name =
        format!("{}_deploy_kit_scratch", database.address.database.chars().take(40).collect::<String>());
    let place = PostgresScratch {
        server,
        name,
        questions: database.options.assertions.clone(),
        reading: database.side_by_side(),
    };
    match fill(database, cx, reader, (needs, scratch), &place).await {
        Ok(()) => Ok(Box::new(place)),
        Err(error) => {
            let error = place.server.failed(error);
            // The first error is the one to report.
            if let Err(left) = Box::new(place).close(cx).await {
                cx.out.say(&format!("warning: {}", kit_core::StepError::from(left).chain()));
            }
            Err(error)
        }
    }
}

async fn server(
    database: &PostgresDatabase,
    cx: &Context,
    needs: &RestoreNeeds,
    scratch: &Path,
) -> Result<Server, DatabaseError> {
    match &database.options.scratch {
        ScratchPlace::Auto => {
            let tools = database.options.tools.as_ref();
            let Some(programs) = clients::find_server(cx, tools, needs.server_major).await? else {
                return Err(DatabaseError::Unavailable {
                    what: format!(
                        "the server programs of PostgreSQL {} are not installed here, and no scratch server was \
                         named",
                        needs.server_major
                    ),
                });
            };
            Ok(Server::Own(throwaway::Server::start(cx, &Cluster(programs, needs), scratch).await?))
        }
        ScratchPlace::Beside => Ok(Server::Other(database.address.clone())),
        ScratchPlace::Server(url) => {
            let address = Address::parse(url.expose())
                .map_err(|problem| DatabaseError::Url { input: "scratch_url".to_owned(), problem })?;
            Ok(Server::Other(address))
        }
    }
}

async fn fill(
    database: &PostgresDatabase,
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    (needs, scratch): (&RestoreNeeds, &Path),
    place: &PostgresScratch,
) -> Result<(), DatabaseError> {
    let shown = place.display();
    let doing = Doing { action: "use", database: &shown, unfinished: UNFINISHED };
    let mut connection = connect::open(&place.server.maintenance(), Session::Reading, cx, doing).await?;
    match &place.server {
        Server::Own(_) => {
            doing.run(cx, make_roles(&mut connection, &needs.roles)).await?;
            check_fits(&mut connection, cx, doing, needs).await?;
        }
        Server::Other(_) => prepare(&mut connection, cx, doing, needs, &place.name).await?,
    }
    connect::close(connection).await;
    let clients = clients_for(database, cx, needs).await?;
    let doing = Doing { action: "restore into", database: "the scratch database", unfinished: UNFINISHED };
    let address = place.server.address(&place.name);
    let jobs = database.restore_jobs();
    let plain_jobs = match &place.server {
        // It writes no log of rows that come in the transaction that made their table (`wal_level = minimal`).
        Server::Own(_) => database.options.restore_jobs.unwrap_or(NonZeroU8::MIN),
        Server::Other(_) => jobs,
    };
    let rows = &database.options.rows;
    let into = restore::Into {
        address: &address,
        clients: &clients,
        jobs,
        plain_jobs,
        scratch: Some(scratch),
        rows,
    };
    restore::run(cx, into, reader, doing).await
}

/// The `psql` for a dump: that of the `pg_dump` that made it.
pub(super) async fn clients_for(
    database: &PostgresDatabase,
    cx: &Context,
    needs: &RestoreNeeds,
) -> Result<Clients, DatabaseError> {
    clients::find(cx, database.options.tools.as_ref(), needs.server_major).await
}

/// Makes an empty database that can take the dump, or says what is missing.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    cx: &Context,
    doing: Doing<'_>,
    needs: &RestoreNeeds,
    name: &str,
) -> Result<(), DatabaseError> {
    check_fits(connection, cx, doing, needs).await?;
    doing.run(cx, remove(connection, name)).await?;
    let made = connect::execute(connection, inspect::create_database(name, needs)).await;
    made.map_err(|error| DatabaseError::Unavailable {
        what: format!(
            "{} cannot hold a database like it: {}",
            doing.database,
            crate::EngineError::from(error)
        ),
    })
}

/// Whether the server has what the dump needs; says what is missing.
pub(super) async fn check_fits(
    connection: &mut PgConnection,
    cx: &Context,
    doing: Doing<'_>,
    needs: &RestoreNeeds,
) -> Result<(), DatabaseError> {
    let (version, number) = doing.run(cx, connect::version(connection)).await?;
    if number / 10_000 != needs.server_major {
        return Err(DatabaseError::Unavailable {
            what: format!(
                "{} is PostgreSQL {version}, and the backup is of {}: another major version proves nothing about it",
                doing.database, needs.server_major
            ),
        });
    }
    let missing = doing.run(cx, missing_extensions(connection, &needs.extensions)).await?;
    if !missing.is_empty() {
        return Err(DatabaseError::Unavailable {
            what: format!("{} lacks the extension {}", doing.database, missing.join(", ")),
        });
    }
    let missing = doing.run(cx, missing_roles(connection, &needs.roles)).await?;
    if !missing.is_empty() {
        return Err(DatabaseError::Unavailable {
            what: format!("{} lacks the role {}", doing.database, missing.join(", ")),
        });
    }
    Ok(())
}

async fn make_roles(connection: &mut PgConnection, roles: &[String]) -> Result<(), sqlx::Error> {
    for role in missing_roles(connection, roles).await? {
        connect::execute(connection, format!("CREATE ROLE {}", quote(&role))).await?;
    }
    Ok(())
}

async fn missing_roles(connection: &mut PgConnection, roles: &[String]) -> Result<Vec<String>, sqlx::Error> {
    let there: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles")
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let there: BTreeSet<String> = there.into_iter().collect();
    Ok(roles.iter().filter(|role| !there.contains(*role)).cloned().collect())
}

/// Extensions that cannot be created there at all. Another version will do: a dump does not name it.
async fn missing_extensions(
    connection: &mut PgConnection,
    extensions: &[Extension],
) -> Result<Vec<String>, sqlx::Error> {
    let there: Vec<String> = sqlx::query_scalar("SELECT name::text FROM pg_available_extensions")
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let there: BTreeSet<String> = there.into_iter().collect();
    let lacks = |extension: &&Extension| !there.contains(&extension.name);
    Ok(extensions.iter().filter(lacks).map(|one| format!("{} {}", one.name, one.version)).collect())
}
