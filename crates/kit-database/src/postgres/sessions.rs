//! The sessions of a restore by several: `psql` for what is to be done in order, connections of ours for what can be
//! done side by side.

use super::address::Address;
use super::clients::Clients;
use super::connect::Doing;
use super::loader::{self, Order};
use super::restore::{AHEAD, OPTIONS, judge, judge_answer, psql};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use bytes::BytesMut;
use kit_core::Context;
use kit_exec::ExecError;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Each statement is a transaction here, and a small database would take most of its time to wait for the disk after each
/// of them. Nothing is lost by that: what comes last, under a connection that does wait, makes all of it durable (a
/// restore beside the live database is renamed), and what was not renamed counts for nothing.
const NOT_WAITING: &str = "-c synchronous_commit=off";

/// Why a restore by several sessions ends early.
pub(super) enum Stopped {
    Read(std::io::Error),
    Incomplete(String),
    /// No connection came about.
    Opened(DatabaseError),
    Session(Failed),
    /// A session takes nothing any more.
    Gone,
}

/// Why a session failed.
pub(super) enum Failed {
    Program(ExecError),
    Connection(sqlx::Error),
    /// A mistake of ours.
    Bug(tokio::task::JoinError),
}

impl Failed {
    pub(super) fn judge(self, doing: Doing<'_>) -> DatabaseError {
        match self {
            Self::Program(error) if error.is_unheard() => error.into(),
            Self::Program(error) => judge(&error, doing),
            Self::Connection(error) => judge_answer(error, doing),
            Self::Bug(error) => doing.bug(&error),
        }
    }
}

/// The sessions of one stage: one `psql`, and among the rows several connections of ours.
pub(super) struct Sessions<'a> {
    cx: &'a Context,
    address: &'a Address,
    clients: &'a Clients,
    doing: Doing<'a>,
    tasks: JoinSet<Result<(), Failed>>,
    program: Option<Program>,
    loaders: Vec<Loader>,
}

/// A `psql`.
struct Program {
    pieces: Sender<Piece>,
    task: tokio::task::Id,
}

struct Loader {
    orders: Sender<Order>,
    /// It has rows of the table that is being filled.
    has_rows: bool,
}

impl<'a> Sessions<'a> {
    /// None yet.
    pub(super) fn new(cx: &'a Context, address: &'a Address, clients: &'a Clients, doing: Doing<'a>) -> Self {
        Self { cx, address, clients, doing, tasks: JoinSet::new(), program: None, loaders: Vec::new() }
    }

    /// True if there is a `psql`.
    pub(super) const fn has_program(&self) -> bool {
        self.program.is_some()
    }

    /// Starts a `psql`.
    pub(super) fn start(&mut self, prelude: &[u8]) {
        let (sender, pieces) = Pieces::channel(AHEAD);
        // There is room: nothing was sent yet.
        let _ = sender.try_send(Piece::Bytes(prelude.to_vec()));
        let command =
            psql(self.address, self.clients, pieces).env("PGOPTIONS", format!("{OPTIONS} {NOT_WAITING}"));
        let cx = self.cx.clone();
        let task = self.tasks.spawn(async move { command.run(&cx).await.map(drop).map_err(Failed::Program) });
        self.program = Some(Program { pieces: sender, task: task.id() });
    }

    /// Opens connections for rows, if there are none.
    pub(super) async fn open(&mut self, jobs: usize, prelude: &[u8]) -> Result<(), Stopped> {
        if !self.loaders.is_empty() {
            return Ok(());
        }
        for _ in 0..jobs {
            let Some(connection) = self.connection(prelude, self.loaders.is_empty()).await? else { break };
            let (orders, given) = channel(AHEAD);
            self.tasks
                .spawn(async move { loader::load(connection, given).await.map_err(Failed::Connection) });
            self.loaders.push(Loader { orders, has_rows: false });
        }
        Ok(())
    }

    /// Runs statements that need nothing of each other side by side, to their end.
    pub(super) async fn run(
        &mut self,
        statements: Vec<String>,
        jobs: usize,
        prelude: &[u8],
    ) -> Result<(), Stopped> {
        let jobs = jobs.min(statements.len());
        let queue = loader::Queue::new(std::sync::Mutex::new(statements.into()));
        for _ in 0..jobs {
            let Some(connection) = self.connection(prelude, self.tasks.is_empty()).await? else { break };
            let queue = Arc::clone(&queue);
            self.tasks.spawn(async move { loader::run(connection, queue).await.map_err(Failed::Connection) });
        }
        self.end().await
    }

    /// One more. Unless it is the first, it may fail: the server or the role may have no more of them to give, and one
    /// does it all, too.
    async fn connection(&self, prelude: &[u8], is_first: bool) -> Result<Option<PgConnection>, Stopped> {
        match loader::open(self.address, prelude, self.cx, self.doing).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_first || self.cx.cancel.is_cancelled() => Err(Stopped::Opened(error)),
            Err(_) => Ok(None),
        }
    }

    /// To the `psql`.
    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<(), Stopped> {
        match &self.program {
            Some(program) => program.pieces.send(Piece::Bytes(bytes)).await.map_err(|_| Stopped::Gone),
            None => Err(Stopped::Gone),
        }
    }

    /// To the first connection that has room, so that what is small is loaded by one.
    pub(super) async fn load(&mut self, statement: Arc<str>, rows: BytesMut) -> Result<(), Stopped> {
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
    pub(super) async fn end_table(&mut self) -> Result<(), Stopped> {
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

    /// Tells the `psql`, if there is one, that this was all, and waits for it. The connections stay.
    pub(super) async fn end_program(&mut self) -> Result<(), Stopped> {
        let Some(program) = self.program.take() else { return Ok(()) };
        // Who is gone says why below.
        let _ = program.pieces.send(Piece::End).await;
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (task, ended) = ended.map_err(|error| Stopped::Session(Failed::Bug(error)))?;
            ended.map_err(Stopped::Session)?;
            if task == program.task {
                break;
            }
        }
        Ok(())
    }

    /// Tells all of them that this was all, and waits for them.
    pub(super) async fn end(&mut self) -> Result<(), Stopped> {
        self.end_table().await?;
        self.loaders.clear();
        if let Some(program) = self.program.take() {
            // Who is gone says why below.
            let _ = program.pieces.send(Piece::End).await;
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(Failed::Bug).flatten().map_err(Stopped::Session)?;
        }
        Ok(())
    }

    /// Ends all of them without an end; gives the first that had failed by itself. `is_one_gone`: one is ending by
    /// itself, which takes a moment longer than what it says last.
    pub(super) async fn fail(&mut self, is_one_gone: bool) -> Option<Failed> {
        let mut first = None;
        // Whoever is gone already knows better than those that are sent away now.
        while let Some(ended) = self.tasks.try_join_next() {
            first = first.or(ended.map_err(Failed::Bug).flatten().err());
        }
        if first.is_none() {
            let gone = is_one_gone
                || self.program.as_ref().is_some_and(|program| program.pieces.is_closed())
                || self.loaders.iter().any(|loader| loader.orders.is_closed());
            if gone && let Some(ended) = self.tasks.join_next().await {
                first = ended.map_err(Failed::Bug).flatten().err();
            }
        }
        self.loaders.clear();
        if let Some(program) = self.program.take() {
            let _ = program.pieces.try_send(Piece::Failed);
        }
        let gone = async { while self.tasks.join_next().await.is_some() {} };
        // What is left then is ended when it is dropped.
        let _ = self.cx.cancel.unless(gone).await;
        first
    }
}
