//! A throw-away server, from the server programs that are installed here.

use super::address::Address;
use super::clients::Clients;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use crate::throwaway::{Recipe, Server, User};
use async_trait::async_trait;
use kit_contract::Sha256;
use kit_contract::body::RestoreNeeds;
use kit_core::Context;
use kit_exec::{Command, EnvPolicy, ExecError, Stdin, Stdout};
use std::path::Path;

/// Its first user.
const USER: &str = "deploy_kit_scratch";
/// To be changed with the way in which the data folder is made.
const RECIPE: u32 = 2;
/// The only database it has, made like the one that was dumped, so that the dump goes there: each costs three hundred
/// files.
pub(super) const DATABASE: &str = "template0";
/// Leaves that one alone; a line is a statement.
const SHRINK: &str = "\
UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'
UPDATE pg_database SET datistemplate = false WHERE datname = 'template1'
DROP DATABASE template1
DROP DATABASE postgres
";
/// Nothing here has to outlive anything.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "autovacuum=off",
    "shared_buffers=64MB",
    "maintenance_work_mem=128MB",
    "max_connections=20",
    // A dump is restored in one transaction, which locks everything that it makes until its end: some 130 000 locks.
    "max_locks_per_transaction=4096",
    "logging_collector=off",
    "log_min_messages=fatal",
];

/// A server of these programs, whose database can hold a dump with these needs.
pub(super) struct Cluster<'a>(pub(super) Clients, pub(super) &'a RestoreNeeds);

/// How `initdb` is told of them.
fn locale(needs: &RestoreNeeds) -> Vec<String> {
    let mut args = vec![
        "--locale=C".to_owned(),
        format!("--encoding={}", needs.encoding),
        format!("--lc-collate={}", needs.collate),
        format!("--lc-ctype={}", needs.ctype),
    ];
    if let Some(icu) = &needs.icu_locale {
        args.extend(["--locale-provider=icu".to_owned(), format!("--icu-locale={icu}")]);
    }
    args
}

/// Its database.
pub(super) fn address(server: &Server) -> Address {
    on_socket(server.socket_folder(), DATABASE)
}

fn on_socket(folder: &Path, database: &str) -> Address {
    Address::on_socket(&folder.display().to_string(), USER, database)
}

#[async_trait]
impl Recipe for Cluster<'_> {
    const PREFIX: &'static str = "pg-";
    const USERS: &'static [&'static str] = &["postgres", "nobody"];

    fn template(&self) -> Option<String> {
        // Two builds of one version may differ.
        let depends = [vec![self.0.program("postgres").identity()], locale(self.1)].concat().join("\n");
        Some(format!("postgres-{}-{}-{RECIPE}", self.0.version, Sha256::of(depends.as_bytes()).short()))
    }

    async fn make(&self, cx: &Context, user: &User, data: &Path, folder: &Path) -> Result<(), ExecError> {
        user.command(cx, &self.0.program("initdb"), "INT")
            .arg(format!("--pgdata={}", data.display()))
            .arg(format!("--username={USER}"))
            .args(["--auth=trust", "--no-sync", "--no-instructions"])
            .args(locale(self.1))
            // In MiB. It grows as the restore asks; until then there is less to write.
            .arg("--wal-segsize=1")
            .writes(folder)
            .current_folder(folder)
            .inherit_env(EnvPolicy::Minimal)
            .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
            .quiet_stderr()
            .run(cx)
            .await?;
        user.command(cx, &self.0.program("postgres"), "INT")
            .arg("--single")
            .arg("-D")
            .arg(data)
            .args(["-c", "fsync=off", "-c", "log_min_messages=fatal", DATABASE])
            .writes(folder)
            .current_folder(folder)
            .inherit_env(EnvPolicy::Minimal)
            .stdin(Stdin::Bytes(SHRINK.as_bytes().to_vec()))
            .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
            .quiet_stderr()
            .run(cx)
            .await?;
        Ok(())
    }

    fn command(&self, cx: &Context, user: &User, data: &Path, socket_folder: &Path) -> Command {
        let mut postgres = user
            .command(cx, &self.0.program("postgres"), "INT")
            .arg("-D")
            .arg(data)
            .arg("-k")
            .arg(socket_folder)
            .writes(data)
            .writes(socket_folder)
            .current_folder(data)
            .inherit_env(EnvPolicy::Minimal)
            .quiet_stderr();
        for setting in SETTINGS {
            postgres = postgres.arg("-c").arg(*setting);
        }
        postgres
    }

    async fn ask(&self, cx: &Context, socket_folder: &Path) -> Result<(), DatabaseError> {
        let doing =
            Doing { action: "start", database: "the scratch server", unfinished: "the restore was tried" };
        let address = on_socket(socket_folder, DATABASE);
        connect::close(connect::open(&address, Session::Reading, cx, doing).await?).await;
        Ok(())
    }
}
