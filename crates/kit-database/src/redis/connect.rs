//! Connections: bounded in time and cancellable.

use super::address::{Address, Target};
use super::info::Info;
use super::resp::{self, Reply};
use crate::{DatabaseError, EngineError};
use kit_core::{Context, Secret, sanitise};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long an answer may take. A server does one thing at a time, so that ours may wait behind somebody's.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How the server's list of connections names us.
const NAME: &str = "deploy-kit";

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to one database.
pub(super) struct Connection(BufReader<Box<dyn Stream>>);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The connection broke.
    Broken(std::io::Error),
    /// The server says no.
    Refused(String),
}

impl Failed {
    /// The code that begins a refusal: `NOPERM`, `LOADING`, `OOM`, `ERR`.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Broken(_) => "",
            Self::Refused(text) => text.split_whitespace().next().unwrap_or_default(),
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<&Failed> for EngineError {
    fn from(failed: &Failed) -> Self {
        match failed {
            Failed::Broken(error) => Self { text: sanitise(&error.to_string()).into(), code: None },
            Failed::Refused(text) => Self { text: sanitise(text).into(), code: Some(failed.code().into()) },
        }
    }
}

/// What was being done to which database, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing<'a> {
    pub(super) action: &'static str,
    pub(super) database: &'a str,
    /// What is left undone if the step is cancelled.
    pub(super) unfinished: &'static str,
}

impl Doing<'_> {
    /// The error that people see.
    pub(super) fn failed(&self, failed: &Failed) -> DatabaseError {
        self.said(EngineError::from(failed))
    }

    pub(super) fn said(&self, source: EngineError) -> DatabaseError {
        let database = self.database.to_owned();
        match self.action {
            "dump" => DatabaseError::Dump { database, source },
            action => DatabaseError::Unreachable { action, database, source },
        }
    }

    /// The same in our own words.
    pub(super) fn because(&self, text: impl Into<Box<str>>) -> DatabaseError {
        self.said(EngineError { text: text.into(), code: None })
    }

    /// The dump is not whole.
    pub(super) fn truncated(&self, problem: String) -> DatabaseError {
        DatabaseError::Truncated { database: self.database.to_owned(), problem }
    }

    /// The step was cancelled.
    pub(super) fn cancelled(&self, cx: &Context) -> DatabaseError {
        DatabaseError::Cancelled { unfinished: self.unfinished, cause: cx.cancel.cause() }
    }

    /// Runs `work` unless the step is cancelled or it takes too long.
    pub(super) async fn run<T>(
        &self,
        cx: &Context,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, DatabaseError> {
        match cx.cancel.unless(cx.clock.timeout(ANSWER_LIMIT, work)).await {
            None => Err(self.cancelled(cx)),
            Some(Ok(done)) => done.map_err(|failed| self.failed(&failed)),
            Some(Err(elapsed)) => Err(DatabaseError::NoAnswer {
                database: self.database.to_owned(),
                limit_ms: elapsed.limit.as_millis(),
            }),
        }
    }

    /// The same for what takes as long as it takes.
    pub(super) async fn run_long<T>(
        &self,
        cx: &Context,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, DatabaseError> {
        let done = cx.cancel.unless(work).await.ok_or_else(|| self.cancelled(cx))?;
        done.map_err(|failed| self.failed(&failed))
    }
}

/// Opens a connection.
pub(super) async fn open(
    address: &Address,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Connection, DatabaseError> {
    match cx.cancel.unless(cx.clock.timeout(CONNECT_LIMIT, connect(address))).await {
        None => Err(doing.cancelled(cx)),
        Some(Ok(connected)) => connected.map_err(|failed| doing.failed(&failed)),
        Some(Err(elapsed)) => Err(DatabaseError::NoAnswer {
            database: doing.database.to_owned(),
            limit_ms: elapsed.limit.as_millis(),
        }),
    }
}

async fn connect(address: &Address) -> Result<Connection, Failed> {
    let stream: Box<dyn Stream> = match address.door() {
        Target::Port(host, port) => {
            let stream = tokio::net::TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Target::Socket(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
    };
    let mut connection = Connection(BufReader::with_capacity(64 * 1024, stream));
    match (&address.user, &address.password) {
        (Some(user), password) => {
            // A user who needs none may give any; nobody becomes `default` for want of one.
            let password = password.as_ref().map(Secret::expose).unwrap_or_default();
            connection.ask(&["AUTH", user, password]).await?;
        }
        (None, Some(password)) => {
            connection.ask(&["AUTH", password.expose()]).await?;
        }
        (None, None) => {}
    }
    // A user may not be allowed to; the name is for people only.
    match connection.ask(&["CLIENT", "SETNAME", NAME]).await {
        Ok(_) | Err(Failed::Refused(_)) => {}
        Err(broken) => return Err(broken),
    }
    if address.number != 0 {
        connection.select(address.number).await?;
    }
    Ok(connection)
}

impl Connection {
    /// Asks, and waits for the answer. A refusal is an error.
    pub(super) async fn ask<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, Failed> {
        let mut bytes = Vec::new();
        resp::put(command, &mut bytes);
        self.send(&bytes).await?;
        self.answer().await
    }

    /// Sends commands, whose answers come in the same order.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<(), Failed> {
        self.0.get_mut().write_all(commands).await?;
        Ok(self.0.get_mut().flush().await?)
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> Result<Reply, Failed> {
        match resp::reply(&mut self.0).await? {
            Reply::Refusal(text) => Err(Failed::Refused(text)),
            reply => Ok(reply),
        }
    }

    /// The next line, whatever it means.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, Failed> {
        Ok(resp::line(&mut self.0).await?)
    }

    /// From here on raw bytes.
    pub(super) fn into_stream(self) -> BufReader<Box<dyn Stream>> {
        self.0
    }

    pub(super) async fn select(&mut self, number: u64) -> Result<(), Failed> {
        self.ask(&["SELECT", &number.to_string()]).await.map(drop)
    }

    /// What the server says of itself.
    pub(super) async fn info(&mut self) -> Result<Info, Failed> {
        let said = self.ask(&["INFO"]).await?;
        Ok(Info::parse(&said.text().unwrap_or_default()))
    }

    /// How many keys the selected database has.
    pub(super) async fn keys(&mut self) -> Result<u64, Failed> {
        let said = self.ask(&["DBSIZE"]).await?;
        Ok(said.number().and_then(|keys| u64::try_from(keys).ok()).unwrap_or_default())
    }
}
