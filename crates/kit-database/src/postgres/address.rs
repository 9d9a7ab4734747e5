//! The URL of a PostgreSQL database, in libpq's form, and how both of its users get it: sqlx as options,
//! `pg_dump` and `psql` as environment (postgresql.org/docs/current/libpq-envars.html), never as arguments.

use crate::via::{Door, Wants, Way};
use kit_core::{Context, Secret};
use kit_exec::Command;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::path::{Path, PathBuf};
use url::Url;

/// The port of PostgreSQL, and what its socket is called.
const PORT: u16 = 5432;
const SOCKET: &str = ".s.PGSQL.5432";
/// Parameters that application frameworks put into their URLs; they mean nothing to us.
const IGNORED: &[&str] = &[
    "schema",
    "search_path",
    "currentSchema",
    "connection_limit",
    "pool_timeout",
    "pool_size",
    "pool",
    "socket_timeout",
    "statement_cache_size",
    "application_name",
    "prepareThreshold",
];
const KNOWN: &str = "host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, connect_timeout, channel_binding";

/// Where a database is and as whom it is used.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// A name, an address, or the folder of a Unix socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    tls: Tls,
    channel_binding: Option<String>,
    /// What leads to it, if it cannot be reached directly.
    way: Option<Way>,
}

#[derive(Clone, Debug, Default)]
struct Tls {
    mode: Option<String>,
    root_cert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Where a connection goes that is not encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unencrypted {
    pub(super) at: At,
    /// Only if the server does not offer to encrypt.
    pub(super) unless_offered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The path of a Unix socket. It may lead to a server elsewhere.
    Socket(PathBuf),
    Port(String, u16),
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
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?.map(Secret::new),
            database: decode(url.path().trim_start_matches('/'))?,
            tls: Tls::default(),
            channel_binding: None,
            way: None,
        };
        for (name, value) in url.query_pairs() {
            address.parameter(&name, value.into_owned())?;
        }
        if address.host.is_empty() {
            return Err(
                "names no host; for a Unix socket give its folder as ?host=/run/postgresql".to_owned()
            );
        }
        if address.host.contains(',') {
            return Err("names several hosts; name the one whose data is to be used".to_owned());
        }
        if address.user.is_empty() {
            return Err("names no user: postgres://<user>@<host>/<database>".to_owned());
        }
        if address.database.is_empty() {
            return Err("names no database: postgres://<user>@<host>/<database>".to_owned());
        }
        Ok(address)
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "host" => self.host = value,
            "port" => self.port = value.parse().map_err(|_| "has a port that is none".to_owned())?,
            "user" => self.user = value,
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = value,
            "sslmode" | "ssl-mode" => {
                ssl_mode(&value).ok_or("has a parameter `sslmode` that is none of disable, allow, prefer, require, verify-ca, verify-full")?;
                self.tls.mode = Some(value);
            }
            "sslrootcert" => self.tls.root_cert = Some(value.into()),
            "sslcert" => self.tls.cert = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "connect_timeout" => {}
            "channel_binding" => self.channel_binding = Some(value),
            "pgbouncer" if value == "true" => {
                return Err("goes through a transaction pooler, which can share no snapshot; give the URL of the server itself".to_owned());
            }
            "pgbouncer" => {}
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
        let wants = match self.tls.mode.as_deref() {
            Some("verify-full") => {
                return Err(
                    "asks for sslmode=verify-full, and the server's name cannot be checked through `via`: \
                            use verify-ca"
                        .to_owned(),
                );
            }
            Some("require" | "verify-ca") => Wants::Port,
            _ => Wants::Socket(SOCKET),
        };
        self.way = Some(Way::open(via, (&self.host, self.port), wants, cx)?);
        Ok(self)
    }

    /// Where the clients go: the host, which may be the folder of a socket, and the port.
    fn door(&self) -> (String, u16) {
        match self.way.as_ref().map(Way::door) {
            None => (self.host.clone(), self.port),
            Some(Door::Port(port)) => ("127.0.0.1".to_owned(), *port),
            Some(Door::Socket(path)) => {
                let folder = path.parent().unwrap_or(path);
                (folder.display().to_string(), PORT)
            }
        }
    }

    /// The same server, another database.
    pub(super) fn with_database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// A server that listens on a Unix socket alone, and trusts whoever can reach it.
    pub(super) fn on_socket(folder: &str, user: &str, database: &str) -> Self {
        Self {
            host: folder.to_owned(),
            port: PORT,
            user: user.to_owned(),
            password: None,
            database: database.to_owned(),
            tls: Tls::default(),
            channel_binding: None,
            way: None,
        }
    }

    /// For people.
    pub(super) fn display(&self) -> String {
        if let Some(way) = &self.way {
            let Self { database, host, port, .. } = self;
            return format!("PostgreSQL {database} at {host}:{port} via {}", way.program());
        }
        if self.host.starts_with('/') {
            return format!("PostgreSQL {} at {}", self.database, self.host);
        }
        format!("PostgreSQL {} at {}:{}", self.database, self.host, self.port)
    }

    /// For sqlx.
    pub(super) fn options(&self) -> PgConnectOptions {
        let (host, port) = self.door();
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port)
            .username(&self.user)
            .database(&self.database)
            .ssl_mode(self.tls.mode.as_deref().and_then(ssl_mode).unwrap_or(PgSslMode::Prefer));
        if host.starts_with('/') {
            options = options.socket(&host);
        }
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        if let Some(path) = &self.tls.root_cert {
            options = options.ssl_root_cert(path);
        }
        if let (Some(cert), Some(key)) = (&self.tls.cert, &self.tls.key) {
            options = options.ssl_client_cert(cert).ssl_client_key(key);
        }
        options
    }

    /// Where an unencrypted connection goes, if there may be one: as sqlx decides it.
    pub(super) fn unencrypted(&self) -> Option<Unencrypted> {
        let (host, port) = self.door();
        let mode = self.tls.mode.as_deref().and_then(ssl_mode).unwrap_or(PgSslMode::Prefer);
        let unless_offered = match mode {
            PgSslMode::Disable | PgSslMode::Allow => false,
            PgSslMode::Prefer => true,
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => return None,
        };
        let at = match host.starts_with('/') {
            true => At::Socket(Path::new(&host).join(format!(".s.PGSQL.{port}"))),
            false => At::Port(host, port),
        };
        Some(Unencrypted { at, unless_offered })
    }

    /// For a program of PostgreSQL: everything by environment, the password too.
    pub(super) fn give_to(&self, command: Command) -> Command {
        let (host, port) = self.door();
        let command = if host.starts_with('/') { command.reads(&host) } else { command };
        let mut command = command
            .inherit_env(kit_exec::EnvPolicy::Minimal)
            .env("PGHOST", host)
            .env("PGPORT", port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", &self.database)
            .env("PGCONNECT_TIMEOUT", "30")
            .env("PGAPPNAME", super::APPLICATION)
            // Times with a zone are dumped in that of the session: the same text, whoever dumps.
            .env("PGTZ", "UTC");
        if let Some(password) = &self.password {
            command = command.env_secret("PGPASSWORD", password);
        }
        // Wherever the program runs.
        let path =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        let optional = [
            ("PGSSLMODE", self.tls.mode.clone()),
            ("PGSSLROOTCERT", self.tls.root_cert.as_ref().map(path)),
            ("PGSSLCERT", self.tls.cert.as_ref().map(path)),
            ("PGSSLKEY", self.tls.key.as_ref().map(path)),
            ("PGCHANNELBINDING", self.channel_binding.clone()),
        ];
        for (name, value) in optional {
            let Some(value) = value else { continue };
            if value.starts_with('/') {
                command = command.reads(&value);
            }
            command = command.env(name, value);
        }
        command
    }
}

fn ssl_mode(text: &str) -> Option<PgSslMode> {
    Some(match text {
        "disable" => PgSslMode::Disable,
        "allow" => PgSslMode::Allow,
        "prefer" => PgSslMode::Prefer,
        "require" => PgSslMode::Require,
        "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        let address = Address::parse(
            "postgres://us%40er:p%3Aw@db.example.com:6543/my%20shop?sslmode=verify-full&schema=public",
        )
        .unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db.example.com", 6543));
        assert_eq!((address.user.as_str(), address.database.as_str()), ("us@er", "my shop"));
        assert_eq!(address.password.as_ref().unwrap().expose(), "p:w");
        assert_eq!(address.display(), "PostgreSQL my shop at db.example.com:6543");
        let socket = Address::parse("postgresql:///shop?host=/run/postgresql&user=ada").unwrap();
        assert_eq!((socket.host.as_str(), socket.port), ("/run/postgresql", 5432));
        assert_eq!(socket.display(), "PostgreSQL shop at /run/postgresql");
        let encoded = Address::parse("postgresql://ada@%2Frun%2Fpostgresql/shop").unwrap();
        assert_eq!(encoded.host, "/run/postgresql");
        assert_eq!(Address::parse("postgres://u@[::1]/d").unwrap().host, "::1");
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_values() {
        for (url, expected) in [
            ("postgres://h/d", "names no user"),
            ("postgres:///d?user=hunter2", "names no host"),
            ("postgres://u:hunter2@h", "names no database"),
            ("postgres://u:hunter2@h:0x/d", "cannot be read"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", "`sslmode` that is none of"),
            ("postgres://u:hunter2@h/d?hunter2=1", "has a parameter that is not known"),
            ("postgres://u@h/d?port=hunter2", "a port that is none"),
            ("postgres://u:hunter2@h/d?pgbouncer=true", "transaction pooler"),
            ("postgres://u:hunter2@h/d?host=a,b", "names several hosts"),
            ("postgres://u:%ff@h/d", "is not UTF-8"),
        ] {
            let problem = Address::parse(url).unwrap_err();
            assert!(problem.contains(expected), "{url}: {problem}");
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }

    #[test]
    fn what_must_be_encrypted_never_goes_unencrypted() {
        let port = |unless_offered| Some(Unencrypted { at: At::Port("h".to_owned(), 6543), unless_offered });
        let socket = At::Socket("/run/pg/.s.PGSQL.6543".into());
        for (parameters, expected) in [
            ("", port(true)),
            ("?sslmode=prefer", port(true)),
            ("?sslmode=allow", port(false)),
            ("?sslmode=disable", port(false)),
            ("?sslmode=require", None),
            ("?sslmode=verify-ca", None),
            ("?sslmode=verify-full", None),
            ("?host=/run/pg", Some(Unencrypted { at: socket, unless_offered: true })),
            ("?host=/run/pg&sslmode=require", None),
        ] {
            let address = Address::parse(&format!("postgres://u@h:6543/d{parameters}")).unwrap();
            assert_eq!(address.unencrypted(), expected, "{parameters}");
        }
    }

    #[test]
    fn nothing_of_it_is_an_argument_and_no_password_is_shown() {
        let address = Address::parse("postgres://ada:hunter2@h/d").unwrap();
        let shown = format!("{:?} {address:?}", address.give_to(Command::new("pg_dump").arg("--snapshot=1")));
        assert!(shown.contains("PGPASSWORD") && shown.contains(r#"args: ["--snapshot=1"]"#), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
