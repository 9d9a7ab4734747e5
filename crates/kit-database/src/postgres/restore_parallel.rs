//! A dump into an empty database by several sessions: one makes what the rows need, several load rows side by side,
//! one makes the rest. Rows of one table are dealt out in whole lines, so that a single large table gains, too, and
//! nothing is held but what is on its way. Tables are filled one after the other, in the order of the dump, since what
//! checks a row may ask other tables.
//!
//! There is no transaction around it: what is restored into must be thrown away after an error.

use super::address::Address;
use super::clients::Clients;
use super::connect::Doing;
use super::loader::{self, Order};
use super::restore::{AHEAD, PIECE_BYTES, judge, judge_answer, psql, unreadable};
use super::scan::{Scanner, UNKNOWN_TABLE};
use super::split::{Part, Splitter};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use crate::schema_file::Nowhere;
use kit_core::{Context, Rows};
use kit_exec::ExecError;
use std::num::NonZeroU8;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Restores into `address`, which must be empty, with so many sessions for the rows.
pub(super) async fn run(
    cx: &Context,
    address: &Address,
    clients: &Clients,
    (reader, (jobs, rows)): (&mut (dyn AsyncRead + Send + Unpin), (NonZeroU8, Rows)),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let database = doing.database.to_owned();
    let mut restore = Restore {
        sessions: Sessions {
            cx,
            address,
            clients,
            doing,
            tasks: JoinSet::new(),
            programs: Vec::new(),
            loaders: Vec::new(),
        },
        jobs: usize::from(jobs.get()),
        splitter: Splitter::default(),
        at: At::Before,
        copy: Arc::from(""),
    };
    restore.sessions.start(&[]);
    let mut scanner = Scanner::new(Nowhere).telling(rows);
    let ended = cx.cancel.unless(restore.all(reader, &mut scanner)).await;
    let Some(ended) = ended else { return Err(doing.cancelled(cx)) };
    let Err(stopped) = ended else { return Ok(()) };
    // None of them may take this for the end.
    let first = restore.sessions.fail().await;
    match stopped {
        Stopped::Incomplete(problem) => Err(DatabaseError::Truncated { database, problem }),
        Stopped::Read(source) => Err(unreadable(source, doing)),
        Stopped::Opened(error) => Err(error),
        Stopped::Session(failed) => Err(failed.judge(doing)),
        // It says itself why it is gone.
        Stopped::Gone => Err(first.map_or_else(|| doing.cancelled(cx), |failed| failed.judge(doing))),
    }
}

enum Stopped {
    Read(std::io::Error),
    Incomplete(String),
    /// No connection came about.
    Opened(DatabaseError),
    Session(Failed),
    /// A session takes nothing any more.
    Gone,
}

/// Why a session failed.
enum Failed {
    Program(ExecError),
    Connection(sqlx::Error),
    /// A mistake of ours.
    Bug(tokio::task::JoinError),
}

impl Failed {
    fn judge(self, doing: Doing<'_>) -> DatabaseError {
        match self {
            Self::Program(error @ ExecError::Cancelled { .. }) => error.into(),
            Self::Program(error) => judge(&error, doing),
            Self::Connection(error) => judge_answer(error, doing),
            Self::Bug(error) => doing.bug(&error),
        }
    }
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Before,
    Among,
    After,
}

struct Restore<'a> {
    sessions: Sessions<'a>,
    jobs: usize,
    splitter: Splitter,
    at: At,
    /// The COPY whose rows come.
    copy: Arc<str>,
}

impl Restore<'_> {
    async fn all(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        scanner: &mut Scanner<Nowhere>,
    ) -> Result<(), Stopped> {
        self.pour(reader, scanner).await?;
        match scanner.incomplete() {
            Some(problem) => Err(Stopped::Incomplete(problem)),
            None => self.sessions.end().await,
        }
    }

    async fn pour(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        scanner: &mut Scanner<Nowhere>,
    ) -> Result<(), Stopped> {
        let mut piece = vec![0_u8; PIECE_BYTES];
        let mut parts = Vec::new();
        loop {
            let count = reader.read(&mut piece).await.map_err(Stopped::Read)?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            scanner.take(bytes);
            self.splitter.take(bytes, &mut parts);
            for (part, bytes) in parts.drain(..) {
                self.one(part, bytes).await?;
            }
        }
    }

    async fn one(&mut self, part: Part, bytes: Vec<u8>) -> Result<(), Stopped> {
        if self.at == At::Before && part != Part::Before {
            // The rows need all of it.
            self.sessions.end().await?;
            // For what stands between them.
            self.sessions.start(self.splitter.prelude());
            self.sessions.open(self.jobs, self.splitter.prelude()).await?;
            self.at = At::Among;
        }
        if self.at == At::Among && part == Part::After {
            self.sessions.end().await?;
            self.sessions.start(&[self.splitter.prelude(), self.splitter.defaults()].concat());
            self.at = At::After;
        }
        match part {
            // What should not be there any more is restored all the same, one after the other.
            _ if self.at == At::After => self.sessions.send(bytes).await,
            Part::Before | Part::Between | Part::After => self.sessions.send(bytes).await,
            Part::Copy => self.copy(bytes).await,
            Part::Rows => self.sessions.load(Arc::clone(&self.copy), bytes).await,
            // More of the same table may come.
            Part::EndOfRows => Ok(()),
        }
    }

    async fn copy(&mut self, statement: Vec<u8>) -> Result<(), Stopped> {
        if self.copy.as_bytes() == statement {
            return Ok(());
        }
        self.sessions.end_table().await?;
        let Ok(statement) = String::from_utf8(statement) else {
            return Err(Stopped::Incomplete(UNKNOWN_TABLE.to_owned()));
        };
        self.copy = statement.into();
        Ok(())
    }
}

/// The sessions of one stage: one `psql`, and among the rows several connections of ours.
struct Sessions<'a> {
    cx: &'a Context,
    address: &'a Address,
    clients: &'a Clients,
    doing: Doing<'a>,
    tasks: JoinSet<Result<(), Failed>>,
    programs: Vec<Sender<Piece>>,
    loaders: Vec<Loader>,
}

struct Loader {
    orders: Sender<Order>,
    /// It has rows of the table that is being filled.
    has_rows: bool,
}

impl Sessions<'_> {
    /// Starts a `psql`.
    fn start(&mut self, prelude: &[u8]) {
        let (sender, pieces) = Pieces::channel(AHEAD);
        // There is room: nothing was sent yet.
        let _ = sender.try_send(Piece::Bytes(prelude.to_vec()));
        let command = psql(self.address, self.clients, pieces);
        let cx = self.cx.clone();
        self.tasks.spawn(async move { command.run(&cx).await.map(drop).map_err(Failed::Program) });
        self.programs.push(sender);
    }

    /// Opens connections for rows.
    async fn open(&mut self, jobs: usize, prelude: &[u8]) -> Result<(), Stopped> {
        for _ in 0..jobs {
            match loader::open(self.address, prelude, self.cx, self.doing).await {
                Ok(connection) => {
                    let (orders, given) = channel(AHEAD);
                    self.tasks.spawn(async move {
                        loader::load(connection, given).await.map_err(Failed::Connection)
                    });
                    self.loaders.push(Loader { orders, has_rows: false });
                }
                Err(error) if self.loaders.is_empty() || self.cx.cancel.is_cancelled() => {
                    return Err(Stopped::Opened(error));
                }
                // The server or the role may have no more of them to give; one does it all, too.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// To the `psql`.
    async fn send(&self, bytes: Vec<u8>) -> Result<(), Stopped> {
        match self.programs.first() {
            Some(sender) => sender.send(Piece::Bytes(bytes)).await.map_err(|_| Stopped::Gone),
            None => Err(Stopped::Gone),
        }
    }

    /// To the first connection that has room, so that what is small is loaded by one.
    async fn load(&mut self, statement: Arc<str>, rows: Vec<u8>) -> Result<(), Stopped> {
        let mut order = Order::Rows(statement, rows);
        for loader in &mut self.loaders {
            match loader.orders.try_send(order) {
                Ok(()) => {
                    loader.has_rows = true;
                    return Ok(());
                }
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Closed(_)) => return Err(Stopped::Gone),
            }
        }
        let waiting = self.loaders.iter().map(|loader| Box::pin(loader.orders.reserve()));
        let (free, index, _) = futures_util::future::select_all(waiting).await;
        free.map_err(|_| Stopped::Gone)?.send(order);
        if let Some(loader) = self.loaders.get_mut(index) {
            loader.has_rows = true;
        }
        Ok(())
    }

    /// Waits until the server has all rows of the table that is being filled.
    async fn end_table(&mut self) -> Result<(), Stopped> {
        let mut ended = Vec::new();
        for loader in self.loaders.iter_mut().filter(|loader| loader.has_rows) {
            loader.has_rows = false;
            let (told, heard) = oneshot::channel();
            loader.orders.send(Order::End(told)).await.map_err(|_| Stopped::Gone)?;
            ended.push(heard);
        }
        for heard in ended {
            heard.await.map_err(|_| Stopped::Gone)?;
        }
        Ok(())
    }

    /// Tells all of them that this was all, and waits for them.
    async fn end(&mut self) -> Result<(), Stopped> {
        self.end_table().await?;
        self.loaders.clear();
        for sender in self.programs.drain(..) {
            // Who is gone says why below.
            let _ = sender.send(Piece::End).await;
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(Failed::Bug).flatten().map_err(Stopped::Session)?;
        }
        Ok(())
    }

    /// Ends all of them without an end; gives the first that had failed by itself.
    async fn fail(&mut self) -> Option<Failed> {
        let mut first = None;
        // Whoever is gone already knows better than those that are sent away now.
        while let Some(ended) = self.tasks.try_join_next() {
            first = first.or(ended.map_err(Failed::Bug).flatten().err());
        }
        if first.is_none() {
            let gone = self.programs.iter().any(Sender::is_closed)
                || self.loaders.iter().any(|loader| loader.orders.is_closed());
            if gone && let Some(ended) = self.tasks.join_next().await {
                first = ended.map_err(Failed::Bug).flatten().err();
            }
        }
        self.loaders.clear();
        for sender in self.programs.drain(..) {
            let _ = sender.try_send(Piece::Failed);
        }
        let gone = async { while self.tasks.join_next().await.is_some() {} };
        // What is left then is ended when it is dropped.
        let _ = self.cx.cancel.unless(gone).await;
        first
    }
}
