//! The sessions of a restore by several: `psql` for what is to be done in order, connections of ours for what can be
//! done side by side.

use super::address::Address;
use super::clients::Clients;
use super::connect::{Doing, program_options};
use super::ident::Qualified;
use super::judged::judged_by_functions;
use super::keeper;
use super::loader::{self, Order, Rows};
use super::restore::{AHEAD, OPTIONS, judge, judge_answer, psql};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use bytes::BytesMut;
use kit_core::Context;
use kit_exec::ExecError;
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

/// Each statement is a transaction here, and a small database would take most of its time to wait for the disk after each
/// of them. Nothing is lost by that: what comes last, under a connection that does wait, makes all of it durable (a
/// restore beside the live database is renamed), and what was not renamed counts for nothing.
const NOT_WAITING: &str = "-c synchronous_commit=off";

/// What may wait for all connections together: a row may have a gigabyte, of which one is enough.
const ROOM_BYTES: usize = 16 << 20;

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
    /// For the rows that wait for them.
    room: Arc<Semaphore>,
    /// The tables that are to be kept from autovacuum, if there is a connection for that.
    keeping: Option<UnboundedSender<Qualified>>,
}

/// A `psql`.
struct Program {
    pieces: Sender<Piece>,
    task: tokio::task::Id,
}

struct Loader {
    orders: Sender<Order>,
    /// The COPY of the rows that it got last, unless its end was heard.
    copy: Option<Arc<str>>,
}

impl<'a> Sessions<'a> {
    /// None yet.
    pub(super) fn new(cx: &'a Context, address: &'a Address, clients: &'a Clients, doing: Doing<'a>) -> Self {
        let (tasks, program, loaders, keeping) = (JoinSet::new(), None, Vec::new(), None);
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        Self { cx, address, clients, doing, tasks, program, loaders, room, keeping }
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
        let command = psql(self.address, self.clients, pieces)
            .env("PGOPTIONS", program_options(&format!("{OPTIONS} {NOT_WAITING}")));
        let cx = self.cx.clone();
        let task = self.tasks.spawn(async move { command.run(&cx).await.map(drop).map_err(Failed::Program) });
        self.program = Some(Program { pieces: sender, task: task.id() });
    }

    /// True if there are connections for rows.
    pub(super) const fn has_loaders(&self) -> bool {
        !self.loaders.is_empty()
    }

    /// Opens connections for rows. Gives the tables whose rows are judged by functions.
    pub(super) async fn open(&mut self, jobs: usize, prelude: &[u8]) -> Result<BTreeSet<Qualified>, Stopped> {
        let mut judged = BTreeSet::new();
        for _ in 0..jobs {
            let is_first = self.loaders.is_empty();
            let Some(mut connection) = self.connection(prelude, is_first).await? else { break };
            if is_first {
                let asked = self.doing.run(self.cx, judged_by_functions(&mut connection)).await;
                judged = asked.map_err(Stopped::Opened)?;
            }
            let (orders, given) = channel(AHEAD);
            self.tasks
                .spawn(async move { loader::load(connection, given).await.map_err(Failed::Connection) });
            self.loaders.push(Loader { orders, copy: None });
        }
        if let Some(connection) = self.connection(prelude, false).await? {
            let (sender, tables) = unbounded_channel();
            self.tasks.spawn(async move {
                keeper::keep(connection, tables).await;
                Ok(())
            });
            self.keeping = Some(sender);
        }
        Ok(judged)
    }

    /// Keeps autovacuum away from a table until all rows are there.
    pub(super) fn keep(&self, table: &Qualified) {
        if let Some(keeping) = &self.keeping {
            let _ = keeping.send(table.clone());
        }
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

    /// To a connection that has room: the first that has rows of the same COPY, so that what is small is loaded by one,
    /// else the first that has nothing to do, else any.
    pub(super) async fn load(&mut self, statement: Arc<str>, rows: BytesMut) -> Result<(), Stopped> {
        let needed = u32::try_from(rows.len().min(ROOM_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(needed).await.map_err(|_| Stopped::Gone)?;
        let mut order = Order::Rows(Arc::clone(&statement), Rows { bytes: rows, room });
        let mut preferred: Vec<&mut Loader> = self.loaders.iter_mut().collect();
        // Stable.
        preferred.sort_by_key(|loader| match &loader.copy {
            Some(copy) if *copy == statement => 0,
            None => 1,
            Some(_) => 2,
        });
        for loader in &mut preferred {
            match loader.orders.try_send(order) {
                Ok(()) => {
                    loader.copy = Some(statement);
                    return Ok(());
                }
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Closed(_)) => return Err(Stopped::Gone),
            }
        }
        let waiting = preferred.iter().map(|loader| Box::pin(loader.orders.reserve()));
        let (free, index, _) = futures_util::future::select_all(waiting).await;
        free.map_err(|_| Stopped::Gone)?.send(order);
        if let Some(loader) = preferred.get_mut(index) {
            loader.copy = Some(statement);
        }
        Ok(())
    }

    /// Waits until the server has all rows that the connections got.
    pub(super) async fn end_rows(&mut self) -> Result<(), Stopped> {
        let mut ended = Vec::new();
        for loader in &mut self.loaders {
            if loader.copy.take().is_none() {
                continue;
            }
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
        self.end_rows().await?;
        self.loaders.clear();
        self.keeping = None;
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
        self.keeping = None;
        if let Some(program) = self.program.take() {
            let _ = program.pieces.try_send(Piece::Failed);
        }
        let gone = async { while self.tasks.join_next().await.is_some() {} };
        // What is left then is ended when it is dropped.
        let _ = self.cx.cancel.unless(gone).await;
        first
    }
}
