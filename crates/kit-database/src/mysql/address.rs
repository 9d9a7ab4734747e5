//! The URL of a MariaDB or MySQL database, and how both of its users get it: sqlx as options, the programs
//! as arguments, but for the password, which reaches them by environment alone.

use super::clients::{Clients, Product};
use crate::via::{Door, Wants, Way};
use kit_core::{Context, Secret};
use kit_exec::Command;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use std::path::{Path, PathBuf};
use url::Url;

/// The port of MariaDB and MySQL.
const PORT: u16 = 3306;
/// Parameters that application frameworks put into their URLs; they mean nothing to us.
const IGNORED: &[&str] = &[
    "charset",
    "collation",
    "connection_limit",
    "connect_timeout",
    "pool_timeout",
    "pool",
    "socket_timeout",
    "statement-cache-capacity",
    "parseTime",
    "loc",
    "reconnect",
    "encoding",
    "serverVersion",
];
const KNOWN: &str = "socket, ssl-mode, ssl-ca, ssl-cert, ssl-key";

/// Where a database is and as whom it is used.
#[derive(Clone, Debug)]
pub(super) struct Address {
    host: String,
    port: u16,
    /// The file of a Unix socket; wins over the host.
    socket: Option<PathBuf>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    tls: Tls,
    /// What leads to it, if it cannot be reached directly.
    way: Option<Way>,
}

#[derive(Clone, Debug, Default)]
struct Tls {
    mode: Mode,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// As `--ssl-mode` of MySQL's programs has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    Disabled,
    #[default]
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

const MODES: &[(&str, Mode)] = &[
    ("DISABLED", Mode::Disabled),
    ("PREFERRED", Mode::Preferred),
    ("REQUIRED", Mode::Required),
    ("VERIFY_CA", Mode::VerifyCa),
    ("VERIFY_IDENTITY", Mode::VerifyIdentity),
];

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        MODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, mode)| *mode)
    }

    fn name(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("PREFERRED", |(name, _)| name)
    }

    const fn of_sqlx(self) -> MySqlSslMode {
        match self {
            Self::Disabled => MySqlSslMode::Disabled,
            Self::Preferred => MySqlSslMode::Preferred,
            Self::Required => MySqlSslMode::Required,
            Self::VerifyCa => MySqlSslMode::VerifyCa,
            Self::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        }
    }
}

impl Address {
    /// Parses the whole URL. The error is a fragment about it that never repeats any of its values.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("cannot be read ({error})"))?;
        let decode =
            |text: &str| crate::decode::percent(text).ok_or_else(|| "is not UTF-8 once decoded".to_owned());
        let mut address = Self {
            host: decode(url.host_str().unwrap_or_default())?.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(PORT),
            socket: None,
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?.map(Secret::new),
            database: decode(url.path().trim_start_matches('/'))?,
            tls: Tls::default(),
            way: None,
        };
        for (name, value) in url.query_pairs() {
            address.parameter(&name, value.into_owned())?;
        }
        if address.host.is_empty() && address.socket.is_none() {
            return Err("names no host; for a Unix socket give its file as ?socket=/run/mysqld/mysqld.sock"
                .to_owned());
        }
        if address.user.is_empty() {
            return Err("names no user: mariadb://<user>@<host>/<database>".to_owned());
        }
        if address.database.is_empty() {
            return Err("names no database: mariadb://<user>@<host>/<database>".to_owned());
        }
        Ok(address)
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "socket" => self.socket = Some(value.into()),
            "ssl-mode" | "sslmode" => {
                self.tls.mode = Mode::parse(&value).ok_or(
                    "has a parameter `ssl-mode` that is none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, \
                     VERIFY_IDENTITY",
                )?;
            }
            "ssl-ca" | "sslca" => self.tls.ca = Some(value.into()),
            "ssl-cert" | "sslcert" => self.tls.cert = Some(value.into()),
            "ssl-key" | "sslkey" => self.tls.key = Some(value.into()),
            _ if IGNORED.contains(&name) => {}
            _ => return Err(format!("has a parameter that is not known; known are {KNOWN}")),
        }
        Ok(())
    }

    /// The same, reached by `via`. The error is a fragment about the URL.
    pub(super) fn through(mut self, via: &[String], cx: &Context) -> Result<Self, String> {
        if via.is_empty() {
            return Ok(self);
        }
        let wants = match self.tls.mode {
            Mode::VerifyIdentity => {
                return Err(
                    "asks for ssl-mode=VERIFY_IDENTITY, and the server's name cannot be checked through \
                            `via`: use VERIFY_CA"
                        .to_owned(),
                );
            }
            Mode::Required | Mode::VerifyCa => Wants::Port,
            Mode::Disabled | Mode::Preferred => Wants::Socket("my.sock"),
        };
        self.way = Some(Way::open(via, (&self.host, self.port), wants, cx)?);
        Ok(self)
    }

    /// Where the clients go: a socket, or host and port.
    fn door(&self) -> (Option<&Path>, &str, u16) {
        match self.way.as_ref().map(Way::door) {
            None => (self.socket.as_deref(), &self.host, self.port),
            Some(Door::Port(port)) => (None, "127.0.0.1", *port),
            Some(Door::Socket(path)) => (Some(path), "localhost", PORT),
        }
    }

    /// The same server, another database.
    pub(super) fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// A server that listens on a Unix socket alone, with a user who needs no password.
    pub(super) fn on_socket(socket: PathBuf, user: &str, database: &str) -> Self {
        Self {
            host: "localhost".to_owned(),
            port: PORT,
            socket: Some(socket),
            user: user.to_owned(),
            password: None,
            database: database.to_owned(),
            tls: Tls { mode: Mode::Disabled, ..Tls::default() },
            way: None,
        }
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        if let Some(way) = &self.way {
            return format!("{} at {}:{} via {}", self.database, self.host, self.port, way.program());
        }
        match &self.socket {
            Some(socket) => format!("{} at {}", self.database, socket.display()),
            None => format!("{} at {}:{}", self.database, self.host, self.port),
        }
    }

    /// For sqlx: the settings of the server, not those that sqlx would choose.
    pub(super) fn options(&self) -> MySqlConnectOptions {
        let (socket, host, port) = self.door();
        let mut options = MySqlConnectOptions::new()
            .host(host)
            .port(port)
            .username(&self.user)
            .database(&self.database)
            .charset("utf8mb4")
            .timezone(None)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .statement_cache_capacity(0)
            .ssl_mode(self.tls.mode.of_sqlx());
        if let Some(socket) = socket {
            options = options.socket(socket);
        }
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        if let Some(path) = &self.tls.ca {
            options = options.ssl_ca(path);
        }
        if let (Some(cert), Some(key)) = (&self.tls.cert, &self.tls.key) {
            options = options.ssl_client_cert(cert).ssl_client_key(key);
        }
        options
    }

    /// For one of the client programs, without the database. No file of options is read: what a machine's
    /// own `my.cnf` says must not change a dump.
    pub(super) fn command(&self, clients: &Clients, program: &str) -> Command {
        let mut command = clients
            .command(program)
            .inherit_env(kit_exec::EnvPolicy::Minimal)
            .arg("--no-defaults")
            .arg(format!("--user={}", self.user));
        let (socket, host, port) = self.door();
        command = match socket {
            Some(socket) => command
                .reads(socket.parent().unwrap_or(socket))
                .arg("--protocol=socket")
                .arg(format!("--socket={}", socket.display())),
            None => command.arg("--protocol=tcp").arg(format!("--host={host}")).arg(format!("--port={port}")),
        };
        command = command.args(self.tls_arguments(clients.product));
        for file in [&self.tls.ca, &self.tls.cert, &self.tls.key].into_iter().flatten() {
            command = command.reads(absolute(file));
        }
        let none = Secret::new(String::new());
        match &self.password {
            Some(password) => command.env_secret("MYSQL_PWD", password),
            None => command.env("MYSQL_PWD", none.expose()),
        }
    }

    fn tls_arguments(&self, product: Product) -> Vec<String> {
        let mode = self.tls.mode;
        let mut arguments: Vec<String> = match product {
            Product::Mysql => vec![format!("--ssl-mode={}", mode.name())],
            // Before 11.4 they verify nothing unless told to, from then on everything.
            Product::MariaDb => match mode {
                Mode::Disabled => vec!["--skip-ssl".to_owned()],
                Mode::Preferred => vec!["--skip-ssl-verify-server-cert".to_owned()],
                Mode::Required => vec!["--ssl".to_owned(), "--skip-ssl-verify-server-cert".to_owned()],
                Mode::VerifyCa | Mode::VerifyIdentity => {
                    vec!["--ssl".to_owned(), "--ssl-verify-server-cert".to_owned()]
                }
            },
        };
        let files = [("ssl-ca", &self.tls.ca), ("ssl-cert", &self.tls.cert), ("ssl-key", &self.tls.key)];
        for (name, file) in files {
            if let Some(file) = file {
                arguments.push(format!("--{name}={}", absolute(file).display()));
            }
        }
        arguments
    }
}

/// Wherever the program runs.
fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        let address =
            Address::parse("mariadb://us%40er:p%3Aw@db.example.com:3307/my%20shop?ssl-mode=REQUIRED")
                .unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example.com", 3307));
        assert_eq!((address.user.as_str(), address.database.as_str()), ("us@er", "my shop"));
        assert_eq!(address.password.as_ref().unwrap().expose(), "p:w");
        assert_eq!(address.place(), "my shop at db.example.com:3307");
        let socket = Address::parse("mysql://ada@localhost/shop?socket=/run/mysqld/mysqld.sock").unwrap();
        assert_eq!(socket.place(), "shop at /run/mysqld/mysqld.sock");
        assert_eq!(Address::parse("mysql://u@[::1]/d").unwrap().host, "::1");
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_values() {
        for (url, expected) in [
            ("mariadb://h/d", "names no user"),
            ("mariadb:///d?hunter2=1", "not known; known are socket"),
            ("mariadb:///hunter2", "names no host"),
            ("mariadb://u:hunter2@h", "names no database"),
            ("mariadb://u:hunter2@h:0x/d", "cannot be read"),
            ("mariadb://u:hunter2@h/d?ssl-mode=hunter2", "`ssl-mode` that is none of"),
            ("mariadb://u:%ff@h/d", "is not UTF-8"),
        ] {
            let problem = Address::parse(url).unwrap_err();
            assert!(problem.contains(expected), "{url}: {problem}");
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }

    #[test]
    fn no_password_is_an_argument_or_shown() {
        let address =
            Address::parse("mariadb://ada:hunter2@h/d?ssl-mode=verify_identity&ssl-ca=/ca").unwrap();
        for (product, expected) in [
            (Product::MariaDb, r#""--ssl", "--ssl-verify-server-cert", "--ssl-ca=/ca""#),
            (Product::Mysql, r#""--ssl-mode=VERIFY_IDENTITY", "--ssl-ca=/ca""#),
        ] {
            let clients = Clients::for_test(product);
            let shown = format!("{:?} {address:?}", address.command(&clients, "dump"));
            assert!(shown.contains("MYSQL_PWD") && shown.contains(expected), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
