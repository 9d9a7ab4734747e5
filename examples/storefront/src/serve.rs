//! Listening, announcing it, and ending cleanly.

use crate::error::{Context, Result};
use axum::Router;
use axum::serve::ListenerExt;
use std::future::IntoFuture;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long requests in flight may take to end after a signal.
const GRACE: Duration = Duration::from_secs(3);

/// What a server says once it can be asked; `storefront-ctl start` waits for it.
pub(crate) const LISTENING: &str = "listening on ";

/// What the router says before that.
pub(crate) const ADMIN: &str = "admin on ";

/// Becomes true at the first SIGTERM or SIGINT.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Call before announcing: from then on a signal ends the program cleanly.
    pub(crate) fn on_signals() -> Result<Self> {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            sender.send_replace(true);
        });
        Ok(Self(receiver))
    }

    async fn wait(mut self) {
        // The sender is gone only after it has sent.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Binds the address; port 0 takes a free one.
pub(crate) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.context(format!("listen on {address}"))?;
    let address = listener.local_addr().context("ask for the own address")?;
    Ok((listener, address))
}

/// One line on stdout, `<what>http://<address>`.
pub(crate) fn announce(what: &str, address: SocketAddr) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{what}http://{address}").and_then(|()| stdout.flush()).context("write to stdout")
}

/// Answers requests until a signal comes, then lets those in flight end.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: Stop) -> Result<()> {
    // Small answers in several writes must not wait for the other side's delayed acknowledgement.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.clone().wait());
    tokio::select! {
        ended = server.into_future() => ended.context("serve"),
        () = async { stop.wait().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}
