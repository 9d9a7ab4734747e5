//! An unencrypted connection, and the thread that reads it.
//!
//! tokio-postgres signs in on a stream that is lent to it; what comes after that is ours.

use super::Heard;
use super::wire::Wire;
use crate::postgres::address::{Address, At, Unencrypted};
use crate::postgres::connect::{self, CONNECT_LIMIT, Doing, READ_LOCK, Session};
use crate::{DatabaseError, EngineError};
use bytes::BytesMut;
use futures_util::FutureExt as _;
use kit_core::Context;
use postgres_protocol::message::frontend;
use rustix::net::Shutdown;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

/// Portions that may wait for whoever wants them.
const AHEAD: usize = 2;

/// A connection whose rows a thread reads. Dropping it ends both.
pub(in super::super) struct Plain {
    statements: std::sync::mpsc::Sender<String>,
    heard: tokio::sync::mpsc::Receiver<Result<Heard, EngineError>>,
    socket: OwnedFd,
}

impl Plain {
    /// `None`: it has to be encrypted, or the server offers it.
    pub(super) async fn open(
        address: &Address,
        joining: &str,
        cx: &Context,
        doing: Doing<'_>,
    ) -> Result<Option<Self>, DatabaseError> {
        let limit = CONNECT_LIMIT + READ_LOCK;
        let Some(socket) = connect::in_time(cx, limit, doing, connected(address, joining)).await? else {
            return Ok(None);
        };
        Self::reading(socket).map(Some).map_err(|error| doing.said(error.into()))
    }

    fn reading(socket: OwnedFd) -> std::io::Result<Self> {
        let wire = Wire::new(File::from(socket.try_clone()?), wait);
        let (statements, given) = std::sync::mpsc::channel();
        let (telling, heard) = tokio::sync::mpsc::channel(AHEAD);
        std::thread::Builder::new()
            .name("copy-out".to_owned())
            .spawn(move || read(wire, &given, &telling))?;
        Ok(Self { statements, heard, socket })
    }

    pub(super) fn begin(&self, sql: &str) -> Result<(), EngineError> {
        self.statements.send(sql.to_owned()).map_err(|_| gone())
    }

    pub(super) async fn next(&mut self) -> Result<Heard, EngineError> {
        self.heard.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // Whoever waits for the server waits no more. Whoever does not can still say good-bye.
        let _ = rustix::net::shutdown(self.socket.as_fd(), Shutdown::Read);
    }
}

fn gone() -> EngineError {
    EngineError { text: "the connection has ended".into(), code: None }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which no runtime knows")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// Statement after statement, until there are no more, or nobody wants their rows.
fn read(
    mut wire: Wire<File>,
    statements: &std::sync::mpsc::Receiver<String>,
    heard: &tokio::sync::mpsc::Sender<Result<Heard, EngineError>>,
) {
    for sql in statements {
        let last = match wire
            .copy_out(&sql, |portion| heard.blocking_send(Ok(Heard::Portion(portion.into()))).is_ok())
        {
            Ok(Some(rows)) => Ok(Heard::End(Some(rows))),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let is_over = last.is_err();
        if heard.blocking_send(last).is_err() || is_over {
            return;
        }
    }
    wire.say_good_bye();
}

async fn connected(address: &Address, joining: &str) -> Result<Option<OwnedFd>, EngineError> {
    let Some(Unencrypted { at, unless_offered }) = address.unencrypted() else { return Ok(None) };
    let (has_joined, socket) = match at {
        At::Socket(path) => {
            let mut stream = UnixStream::connect(path).await?;
            (join(&mut stream, unless_offered, address, joining).await?, OwnedFd::from(stream.into_std()?))
        }
        At::Port(host, port) => {
            let mut stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            (join(&mut stream, unless_offered, address, joining).await?, OwnedFd::from(stream.into_std()?))
        }
    };
    rustix::io::ioctl_fionbio(&socket, false).map_err(std::io::Error::from)?;
    Ok(has_joined.then_some(socket))
}

/// Signs in and joins the snapshot. False: it was not, since the server offers to encrypt.
async fn join(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    unless_offered: bool,
    address: &Address,
    joining: &str,
) -> Result<bool, EngineError> {
    if unless_offered && offers_tls(stream).await? {
        return Ok(false);
    }
    let mut config = Config::new();
    config
        .user(&address.user)
        .dbname(&address.database)
        .application_name(crate::postgres::APPLICATION)
        .options(connect::as_options(Session::Reading))
        .ssl_mode(SslMode::Disable);
    if let Some(password) = &address.password {
        config.password(password.expose());
    }
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    let version = connection.parameter("server_version").unwrap_or_default();
    let major = version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok());
    let settings = Session::Reading.settings_of(major.unwrap_or_default());
    let joined = async {
        if let Some(sql) = settings {
            client.batch_execute(sql).await?;
        }
        client.batch_execute(joining).await
    };
    tokio::pin!(joined);
    tokio::select! {
        joined = &mut joined => joined?,
        // The server's last words are on their way to whoever has asked.
        ended = connection => match joined.now_or_never() {
            Some(said) => said?,
            None => ended.map_err(EngineError::from).and_then(|()| Err(gone()))?,
        },
    }
    Ok(true)
}

/// Asks for TLS ([PostgreSQL, "SSL Session Encryption"]), on a socket, too, which may lead elsewhere. Only a plain no is
/// a no.
///
/// [PostgreSQL, "SSL Session Encryption"]: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
async fn offers_tls(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<bool> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    Ok(stream.read_u8().await? != b'N')
}
