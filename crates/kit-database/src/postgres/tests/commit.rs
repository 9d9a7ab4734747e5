//! Restored in place, and the connection breaks, or the step is stopped, just when COMMIT was sent.

use super::{Place, PostgresDatabase, needs};
use crate::{Database as _, DatabaseError, DumpReport, OpenOptions};
use kit_contract::Reason;
use kit_core::{Cause, StepError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// How `psql` sends COMMIT (postgresql.org/docs/current/protocol-message-formats.html, Query).
const COMMIT: &[u8] = b"Q\0\0\0\x0cCOMMIT;\0";

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection breaks before it comes to the server.
    NeverSent,
    /// The server does it, and the connection breaks before anybody hears of that.
    NeverAnswered,
    /// The same, and nobody is let through any more.
    NeverAgain,
    /// The answer does not come, and the connection stays until it is cut.
    Silence,
}

/// What stands between a client and a server.
#[derive(Debug)]
struct Proxy {
    port: u16,
    state: Arc<State>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    server: u16,
    committing: Notify,
    cut: Notify,
    came: Notify,
    shut: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    async fn start(fault: Fault, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            fault,
            server,
            committing: Notify::new(),
            cut: Notify::new(),
            came: Notify::new(),
            shut: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                shared.came.notify_one();
                tokio::spawn(Arc::clone(&shared).lead(client));
            }
        });
        Self { port, state, _accepting: AbortOnDropHandle::new(accepting) }
    }
}

impl State {
    async fn lead(self: Arc<Self>, client: TcpStream) {
        if self.shut.load(Ordering::SeqCst) {
            return;
        }
        let server = TcpStream::connect(("127.0.0.1", self.server)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let committed = AtomicBool::new(false);
        tokio::select! {
            () = self.to_server(&mut from_client, &mut to_server, &committed) => {}
            () = self.to_client(&mut from_server, &mut to_client, &committed) => {}
            () = self.cut.notified() => {}
        }
    }

    async fn to_server(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        committed: &AtomicBool,
    ) {
        let mut piece = [0; 65536];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            // psql waits for the answer to all before it, so that it comes alone.
            if piece[..count].ends_with(COMMIT) {
                if self.fault == Fault::NeverSent {
                    return;
                }
                committed.store(true, Ordering::SeqCst);
            }
            if to.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    }

    async fn to_client(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        committed: &AtomicBool,
    ) {
        let mut piece = [0; 65536];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            if committed.load(Ordering::SeqCst) {
                self.shut.store(self.fault == Fault::NeverAgain, Ordering::SeqCst);
                self.committing.notify_one();
                if self.fault == Fault::Silence {
                    std::future::pending::<()>().await;
                }
                return;
            }
            if to.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    }
}

/// A database, its dump, and what was changed since.
struct Shop {
    place: Place,
    dump: Vec<u8>,
    report: DumpReport,
}

impl Shop {
    async fn new() -> Self {
        let place = Place::with("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 3)");
        let (dump, report) = place.dump().await;
        place.server.sql("shop", "DELETE FROM t");
        Self { place, dump, report }
    }

    fn port(&self) -> u16 {
        let url = self.place.server.url("shop");
        url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap()
    }

    async fn restore(&self, proxy: &Proxy) -> Result<(), DatabaseError> {
        let url = self.place.server.url("shop");
        let url = url.replace(&format!(":{}/", self.port()), &format!(":{}/", proxy.port));
        let database = PostgresDatabase::parse(&url, OpenOptions::default(), &self.place.cx).unwrap();
        let needs = Some(needs(&self.report));
        database.restore_in_place(&self.place.cx, &mut &self.dump[..], needs).await.map(drop)
    }

    fn rows(&self) -> String {
        self.place.server.sql("shop", "SELECT count(*) FROM t")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_asked_what_became_of_a_commit_whose_answer_never_came() {
    let shop = Shop::new().await;
    let proxy = Proxy::start(Fault::NeverSent, shop.port()).await;
    let error = shop.restore(&proxy).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DatabaseUnreachable, "{error}");
    assert_eq!(shop.rows(), "0", "it holds what it held");

    let proxy = Proxy::start(Fault::NeverAnswered, shop.port()).await;
    shop.restore(&proxy).await.unwrap();
    assert_eq!(shop.rows(), "3", "it was done");

    // Told to stop while the answer is awaited.
    shop.place.server.sql("shop", "DELETE FROM t");
    let proxy = Proxy::start(Fault::Silence, shop.port()).await;
    let stop = async {
        proxy.state.committing.notified().await;
        shop.place.cx.cancel.cancel(Cause::Terminated);
    };
    let (restored, ()) = tokio::join!(shop.restore(&proxy), stop);
    restored.unwrap();
    assert_eq!(shop.rows(), "3", "it was done all the same");
}

/// The step is told to stop, so that nobody waits long for a server that nobody reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_server_cannot_be_asked_nothing_is_claimed_and_a_human_is_told_how_to_ask() {
    let shop = Shop::new().await;
    let proxy = Proxy::start(Fault::NeverAgain, shop.port()).await;
    let stop = async {
        proxy.state.committing.notified().await;
        shop.place.cx.cancel.cancel(Cause::Terminated);
    };
    let (restored, ()) = tokio::join!(shop.restore(&proxy), stop);
    let error = restored.unwrap_err();
    assert_eq!(error.reason(), Reason::LeftChanged);
    let text = StepError::from(error).chain();
    let question = text.split("SELECT ").nth(1).and_then(|rest| rest.split(" says").next()).unwrap();
    assert_eq!(shop.place.server.sql("shop", &format!("SELECT {question}")), "committed", "{text}");
}

/// COMMIT waits for a standby that does not exist. Until it is settled, nobody says that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_still_going_on_is_waited_for() {
    let shop = Shop::new().await;
    let sql = |sql: &str| shop.place.server.sql("postgres", sql);
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    let proxy = Proxy::start(Fault::Silence, shop.port()).await;
    let hold_and_release = async {
        let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while sql(waiting).is_empty() {
            shop.place.cx.clock.sleep(Duration::from_millis(20)).await;
        }
        let before = proxy.state.connections.load(Ordering::SeqCst);
        proxy.state.cut.notify_one();
        while proxy.state.connections.load(Ordering::SeqCst) < before + 2 {
            proxy.state.came.notified().await;
        }
        assert_ne!(sql(waiting), "", "it was asked about, and was still going on");
        sql("ALTER SYSTEM RESET synchronous_standby_names");
        sql("SELECT pg_reload_conf()");
    };
    let (restored, ()) = tokio::join!(shop.restore(&proxy), hold_and_release);
    restored.unwrap();
    assert_eq!(shop.rows(), "3");
}
