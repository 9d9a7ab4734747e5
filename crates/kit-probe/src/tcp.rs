//! Whether anybody listens.

use crate::{NoAnswer, NoAnswerKind, classify::of_io, text::one_line};
use kit_core::Context;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// What a connection attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TcpOutcome {
    /// Somebody listens at this address. The connection was closed at once, nothing was sent.
    Connected(SocketAddr),
    /// No connection came about. Never healthy.
    NoAnswer(NoAnswer),
    /// The step was cancelled; nothing is known.
    Cancelled,
}

/// Connects to `host`, a name or an address, and closes again. Every address of a name is tried, one
/// after the other, within one `timeout`.
pub async fn tcp_connect(cx: &Context, host: &str, port: u16, timeout: Duration) -> TcpOutcome {
    let started = cx.clock.elapsed();
    let none = |kind: NoAnswerKind, message: &str| {
        let after_ms = cx.clock.elapsed().saturating_sub(started).as_secs_f64() * 1000.0;
        let message = one_line(&cx.redactor.redact(message));
        TcpOutcome::NoAnswer(NoAnswer { kind, message, status: None, after_ms })
    };
    match cx.cancel.unless(cx.clock.timeout(timeout, connect(host, port))).await {
        None => TcpOutcome::Cancelled,
        Some(Err(elapsed)) => {
            none(NoAnswerKind::Timeout, &format!("no connection within {} ms", elapsed.limit.as_millis()))
        }
        Some(Ok(Ok(address))) => TcpOutcome::Connected(address),
        Some(Ok(Err((kind, error)))) => none(kind, &format!("{}: {error}", kind.meaning())),
    }
}

async fn connect(host: &str, port: u16) -> Result<SocketAddr, (NoAnswerKind, io::Error)> {
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let addresses =
        tokio::net::lookup_host((host, port)).await.map_err(|error| (NoAnswerKind::Dns, error))?;
    let mut last = (NoAnswerKind::Dns, io::Error::other("the name has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(address),
            Err(error) => last = (of_io(error.kind(), true, false).unwrap_or(NoAnswerKind::Other), error),
        }
    }
    Err(last)
}
