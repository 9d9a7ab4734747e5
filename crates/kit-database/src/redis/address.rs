//! The URL of a Redis database: `redis://<user>:<password>@<host>:<port>/<number>`.

use crate::via::{Door, Wants, Way};
use kit_core::{Context, Secret};
use std::path::PathBuf;
use url::Url;

/// The port of Redis, and what the socket of a way is called.
const PORT: u16 = 6379;
const SOCKET: &str = "redis.sock";

/// Where a database is and as whom it is used.
#[derive(Clone, Debug)]
pub(super) struct Address {
    host: Host,
    port: u16,
    /// Absent: the user `default`.
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    /// Its number.
    pub(super) number: u64,
    /// What leads to it, if it cannot be reached directly.
    way: Option<Way>,
}

#[derive(Clone, Debug)]
enum Host {
    Name(String),
    Socket(PathBuf),
}

impl Address {
    /// Parses the whole URL. The error is a fragment about it that never repeats any of its values.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("cannot be read ({error})"))?;
        if url.scheme() == "rediss" {
            return Err(
                "asks for TLS, which deploy-kit does not speak with Redis: lead to the server by `via` (ssh, \
                 kubectl, `openssl s_client`), and write redis://"
                    .to_owned(),
            );
        }
        let decode =
            |text: &str| crate::decode::percent(text).ok_or_else(|| "is not UTF-8 once decoded".to_owned());
        let host = decode(url.host_str().unwrap_or_default())?.trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err("names no host: redis://<user>:<password>@<host>/<number>".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(
                "has parameters, and none is known; the number of the database is its path: /0".to_owned()
            );
        }
        let number = match url.path().trim_matches('/') {
            "" => 0,
            path => path.parse().map_err(|_| {
                "names a database that is no number: redis://<user>:<password>@<host>/<number>".to_owned()
            })?,
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            host: Host::Name(host),
            port: url.port().unwrap_or(PORT),
            user: some(decode(url.username())?),
            password: url.password().map(decode).transpose()?.and_then(some).map(Secret::new),
            number,
            way: None,
        })
    }

    /// The same, reached by `via`. The error is a fragment about the URL.
    pub(super) fn through(mut self, via: &[String], cx: &Context) -> Result<Self, String> {
        if let (false, Host::Name(host)) = (via.is_empty(), &self.host) {
            self.way = Some(Way::open(via, (host, self.port), Wants::Socket(SOCKET), cx)?);
        }
        Ok(self)
    }

    /// A server that listens on a Unix socket alone, and asks for no password.
    pub(super) const fn on_socket(path: PathBuf, number: u64) -> Self {
        Self { host: Host::Socket(path), port: 0, user: None, password: None, number, way: None }
    }

    /// The same server, another database.
    pub(super) fn with_number(&self, number: u64) -> Self {
        Self { number, ..self.clone() }
    }

    /// Where a connection goes.
    pub(super) fn door(&self) -> Target {
        match (self.way.as_ref().map(Way::door), &self.host) {
            (Some(Door::Socket(path)), _) | (None, Host::Socket(path)) => Target::Socket(path.clone()),
            (Some(Door::Port(port)), _) => Target::Port("127.0.0.1".to_owned(), *port),
            (None, Host::Name(host)) => Target::Port(host.clone(), self.port),
        }
    }

    /// For people.
    pub(super) fn display(&self) -> String {
        let place = match &self.host {
            Host::Name(host) => format!("{host}:{}", self.port),
            Host::Socket(path) => path.display().to_string(),
        };
        let way = self.way.as_ref().map(|way| format!(" via {}", way.program())).unwrap_or_default();
        format!("Redis db{} at {place}{way}", self.number)
    }
}

/// Where a connection goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Port(String, u16),
    Socket(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        for (url, user, password, port, number) in [
            ("redis://h", None, None, 6379, 0),
            ("redis://h/", None, None, 6379, 0),
            ("redis://:p%40ss@h:7000/3", None, Some("p@ss"), 7000, 3),
            ("redis://ada:p@[::1]/15", Some("ada"), Some("p"), 6379, 15),
        ] {
            let address = Address::parse(url).unwrap();
            let found = (address.user.as_deref(), address.password.as_ref().map(Secret::expose));
            assert_eq!((found, address.port, address.number), ((user, password), port, number), "{url}");
        }
        let address = Address::parse("redis://ada:hunter2@db.internal/1").unwrap();
        assert_eq!(address.display(), "Redis db1 at db.internal:6379");
        assert!(!format!("{address:?}").contains("hunter2"));
        assert_eq!(Address::parse("redis://[::1]").unwrap().door(), Target::Port("::1".to_owned(), 6379));
    }

    #[test]
    fn what_is_wrong_is_told_without_any_value() {
        for (url, expected) in [
            ("redis:///0", "names no host"),
            ("redis://u:hunter2@h/hunter2", "no number"),
            ("redis://u:hunter2@h/-1", "no number"),
            ("redis://u:hunter2@h/0?hunter2=1", "none is known"),
            ("rediss://u:hunter2@h/0", "asks for TLS"),
            ("redis://u:%ff@h", "is not UTF-8"),
            ("redis://u:hunter2@h:0x/0", "cannot be read"),
        ] {
            let problem = Address::parse(url).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
