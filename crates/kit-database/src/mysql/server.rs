//! A throw-away server, from the server programs that are installed here. MariaDB's only: it can be made in a second.

use super::address::Address;
use super::clients::{self, Product, series};
use super::connect::{self, Doing, Session};
use crate::throwaway::{Recipe, Server, User, not_made};
use crate::tools::Program;
use crate::{DatabaseError, Tools, ToolsImage};
use async_trait::async_trait;
use kit_core::Context;
use kit_exec::{Command, EnvPolicy, ExecError, Stdout};
use std::path::Path;

/// Its only user, who needs no password: nobody else can reach the socket.
const USER: &str = "root";
/// To be changed with the way in which the data folder is made.
const RECIPE: u32 = 1;
/// Nothing here has to outlive anything.
const SETTINGS: &[&str] = &[
    "--skip-networking",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--event-scheduler=OFF",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=96M",
    "--max-allowed-packet=1G",
    "--debug-no-sync=1",
    "--log-warnings=0",
    "--log-bin-trust-function-creators=1",
];
/// While it is made. The log is small in what is kept, and grows at the start.
const SETTINGS_OF_MAKING: &[&str] =
    &["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--debug-no-sync=1"];

/// A server of these programs.
pub(super) struct OwnServer {
    install: Program,
    server: Program,
    /// As it says itself: `10.11.19-MariaDB-0+deb12u1`.
    version: String,
}

impl OwnServer {
    /// The programs of this series, if they are here.
    pub(super) async fn find(
        cx: &Context,
        tools: Option<&Tools>,
        wanted: &str,
    ) -> Result<Self, DatabaseError> {
        let missing = |what: String| DatabaseError::Unavailable { what };
        if !wanted.starts_with(Product::MariaDb.name()) {
            return Err(missing(format!("a throw-away server of {wanted} cannot be made")));
        }
        if let Some(Tools::Image(image)) = tools
            && let Some(own) = Self::of_image(cx, image, wanted).await?
        {
            return Ok(own);
        }
        let program = |what| clients::program(cx, tools.and_then(Tools::folder), Product::MariaDb, what);
        let (Some(install), Some(server)) = (program("install"), program("server")) else {
            return Err(missing(format!(
                "the server programs of {wanted} are not installed here, and no scratch server was named"
            )));
        };
        let (product, version) = version(cx, &server).await?;
        let found = series(product, &version);
        if found != wanted {
            return Err(missing(format!(
                "the server programs here are {found}, and the backup is of {wanted}: another version proves nothing \
                 about it"
            )));
        }
        Ok(Self { install, server, version })
    }

    /// Those of an image, if it has them and they are of this series.
    async fn of_image(cx: &Context, image: &ToolsImage, wanted: &str) -> Result<Option<Self>, DatabaseError> {
        let found = clients::program_of_image(cx, image, Product::MariaDb, "server").await?;
        let Some((server, said)) = found else { return Ok(None) };
        let (product, version) = told(&said);
        if series(product, &version) != wanted {
            return Ok(None);
        }
        // It cannot be asked for its version; where the server has its new name, so has this.
        let install = if server.name() == "mysqld" { "mysql_install_db" } else { "mariadb-install-db" };
        Ok(Some(Self { install: image.program(cx, install).await?, server, version }))
    }
}

/// One of its databases.
pub(super) fn address(server: &Server, database: &str) -> Address {
    on_socket(server.socket_folder(), database)
}

fn on_socket(folder: &Path, database: &str) -> Address {
    Address::on_socket(folder.join("my.sock"), USER, database)
}

#[async_trait]
impl Recipe for OwnServer {
    const PREFIX: &'static str = "my-";
    const USERS: &'static [&'static str] = &["mysql", "nobody"];

    fn template(&self) -> Option<String> {
        // Two builds of one version may differ, and a version may say more than a file name can hold.
        let programs =
            kit_contract::Sha256::of(format!("{} {}", self.server.identity(), self.version).as_bytes());
        Some(format!("mariadb-{}-{RECIPE}", programs.short()))
    }

    async fn make(&self, cx: &Context, user: &User, data: &Path, folder: &Path) -> Result<(), ExecError> {
        user.command(cx, &self.install, "KILL")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            // Temporary tables of servers that run side by side have the same names.
            .arg(format!("--tmpdir={}", folder.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(SETTINGS_OF_MAKING)
            .writes(folder)
            .current_folder(folder)
            .inherit_env(EnvPolicy::Minimal)
            .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
            .quiet_stderr()
            .run(cx)
            .await?;
        Ok(())
    }

    fn command(&self, cx: &Context, user: &User, data: &Path, socket_folder: &Path) -> Command {
        user.command(cx, &self.server, "KILL")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket_folder.join("my.sock").display()))
            .arg(format!("--tmpdir={}", data.display()))
            .arg(format!("--pid-file={}", data.join("pid").display()))
            .args(SETTINGS)
            .writes(data)
            .writes(socket_folder)
            .current_folder(data)
            .inherit_env(EnvPolicy::Minimal)
            .quiet_stderr()
    }

    async fn ask(&self, cx: &Context, socket_folder: &Path) -> Result<(), DatabaseError> {
        let doing =
            Doing { action: "start", database: "the scratch server", unfinished: "the restore was tried" };
        let address = on_socket(socket_folder, "mysql");
        connect::close(connect::open(&address, Session::Reading, cx, doing).await?).await;
        Ok(())
    }
}

/// `/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)`
async fn version(cx: &Context, server: &Program) -> Result<(Product, String), DatabaseError> {
    let asked = server
        .command()
        .args(["--no-defaults", "--version"])
        .inherit_env(EnvPolicy::Minimal)
        .stdout(Stdout::Capture { limit_bytes: 4096 })
        .quiet_stderr()
        .run(cx)
        .await
        .map_err(not_made)?;
    Ok(told(&asked.text()))
}

fn told(said: &str) -> (Product, String) {
    let version = said.split_whitespace().skip_while(|word| *word != "Ver").nth(1).unwrap_or_default();
    (Product::of(said), version.to_owned())
}
