//! A dump into an empty database by several sessions: one makes what the rows need, several load rows side by side,
//! one makes the rest. Rows of one table are dealt out in whole lines, so that a single large table gains, too, and
//! nothing is held but what is on its way.
//!
//! There is no transaction around it: what is restored into must be thrown away after an error.

use super::address::Address;
use super::clients::Clients;
use super::connect::Doing;
use super::restore::{AHEAD, PIECE_BYTES, judge, psql};
use super::scan::Scanner;
use super::split::{Part, Splitter};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use crate::schema_file::Nowhere;
use kit_core::{Context, Rows};
use kit_exec::{ExecError, Output};
use std::num::NonZeroU8;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::Sender;
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
        sessions: Sessions { cx, address, clients, tasks: JoinSet::new(), senders: Vec::new() },
        jobs: usize::from(jobs.get()),
        splitter: Splitter::default(),
        at: At::Before,
        next: 0,
        copying: Vec::new(),
        copy: Vec::new(),
    };
    restore.sessions.start(&[]);
    let mut scanner = Scanner::new(Nowhere).telling(rows);
    let poured = restore.pour(reader, &mut scanner).await;
    let ended = match poured {
        Ok(()) if scanner.incomplete().is_none() => restore.sessions.end().await.map_err(Stopped::Program),
        Ok(()) => Err(Stopped::Incomplete(scanner.incomplete().unwrap_or_default())),
        Err(stopped) => Err(stopped),
    };
    let Err(stopped) = ended else { return Ok(()) };
    // None of them may take this for the end.
    let first = restore.sessions.fail().await;
    match stopped {
        Stopped::Incomplete(problem) => Err(DatabaseError::Truncated { database, problem }),
        Stopped::Read(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            let problem = format!("the stream broke off: {source}");
            Err(DatabaseError::Truncated { database, problem })
        }
        Stopped::Read(source) => Err(DatabaseError::Transfer { action: "read", database, source }),
        Stopped::Program(error @ ExecError::Cancelled { .. }) => Err(error.into()),
        Stopped::Program(error) => Err(judge(&error, doing)),
        // It says itself why it is gone.
        Stopped::Gone => Err(match first {
            Some(error @ ExecError::Cancelled { .. }) => error.into(),
            Some(error) => judge(&error, doing),
            None => doing.cancelled(cx),
        }),
    }
}

enum Stopped {
    Read(std::io::Error),
    Incomplete(String),
    Program(ExecError),
    /// A session takes nothing any more.
    Gone,
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
    /// Whose turn it is.
    next: usize,
    /// Which sessions have begun the COPY that is going on.
    copying: Vec<bool>,
    copy: Vec<u8>,
}

impl Restore<'_> {
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
            self.sessions.end().await.map_err(Stopped::Program)?;
            // One more, for what stands between them.
            for _ in 0..=self.jobs {
                self.sessions.start(self.splitter.prelude());
            }
            self.copying = vec![false; self.jobs];
            self.at = At::Among;
        }
        if self.at == At::Among && part == Part::After {
            self.sessions.end().await.map_err(Stopped::Program)?;
            self.sessions.start(&[self.splitter.prelude(), self.splitter.defaults()].concat());
            self.at = At::After;
        }
        match part {
            // What should not be there any more is restored all the same, one after the other.
            _ if self.at == At::After => self.sessions.send(0, bytes).await,
            Part::Before | Part::After => self.sessions.send(0, bytes).await,
            Part::Between => self.sessions.send(self.jobs, bytes).await,
            Part::Copy => {
                self.copy = bytes;
                Ok(())
            }
            Part::Rows => {
                let turn = self.next;
                self.next = (turn + 1) % self.jobs;
                let Some(begun) = self.copying.get_mut(turn) else { return Err(Stopped::Gone) };
                if !std::mem::replace(begun, true) {
                    self.sessions.send(turn, self.copy.clone()).await?;
                }
                self.sessions.send(turn, bytes).await
            }
            Part::EndOfRows => {
                for turn in 0..self.jobs {
                    if self.copying.get_mut(turn).is_some_and(std::mem::take) {
                        self.sessions.send(turn, bytes.clone()).await?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The sessions of one stage.
struct Sessions<'a> {
    cx: &'a Context,
    address: &'a Address,
    clients: &'a Clients,
    tasks: JoinSet<Result<Output, ExecError>>,
    senders: Vec<Sender<Piece>>,
}

impl Sessions<'_> {
    /// Starts one more.
    fn start(&mut self, prelude: &[u8]) {
        let (sender, pieces) = Pieces::channel(AHEAD);
        // There is room: nothing was sent yet.
        let _ = sender.try_send(Piece::Bytes(prelude.to_vec()));
        let command = psql(self.address, self.clients, pieces);
        let cx = self.cx.clone();
        self.tasks.spawn(async move { command.run(&cx).await });
        self.senders.push(sender);
    }

    async fn send(&self, index: usize, bytes: Vec<u8>) -> Result<(), Stopped> {
        match self.senders.get(index) {
            Some(sender) => sender.send(Piece::Bytes(bytes)).await.map_err(|_| Stopped::Gone),
            None => Err(Stopped::Gone),
        }
    }

    /// Tells all of them that this was all, and waits for them.
    async fn end(&mut self) -> Result<(), ExecError> {
        for sender in self.senders.drain(..) {
            // Who is gone says why below.
            let _ = sender.send(Piece::End).await;
        }
        while let Some(ended) = self.tasks.join_next().await {
            // A task that is aborted or panics ends the whole.
            if let Ok(ended) = ended {
                ended?;
            }
        }
        Ok(())
    }

    /// Ends all of them without an end; gives the first that had failed by itself.
    async fn fail(&mut self) -> Option<ExecError> {
        let mut first = None;
        // Whoever is gone already knows better than those that are sent away now.
        while let Some(Ok(ended)) = self.tasks.try_join_next() {
            first = first.or(ended.err());
        }
        if first.is_none() {
            let gone = self.senders.iter().any(Sender::is_closed);
            if gone && let Some(Ok(ended)) = self.tasks.join_next().await {
                first = ended.err();
            }
        }
        for sender in self.senders.drain(..) {
            let _ = sender.try_send(Piece::Failed);
        }
        while self.tasks.join_next().await.is_some() {}
        first
    }
}
