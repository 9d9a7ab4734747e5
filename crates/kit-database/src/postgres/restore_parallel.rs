//! A dump into an empty database by several sessions: one `psql` makes what the rows need, several connections load rows
//! side by side, several make indexes, a `psql` makes the rest. Rows of one table are dealt out in whole lines, so that a
//! single large table gains, too, and little is held but what is on its way. A table whose rows are judged by functions is
//! filled when those before it are full, and those behind it wait for it: a function may ask other tables.
//!
//! What is small is not worth other sessions: the `psql` that is there loads it, and makes the indexes of a small database.
//!
//! There is no transaction around it: what is restored into must be thrown away after an error.

use super::address::Address;
use super::after::{Entries, Step};
use super::clients::Clients;
use super::connect::Doing;
use super::ident::Qualified;
use super::restore::{PIECE_BYTES, unreadable};
use super::scan::{Scanner, UNKNOWN_TABLE};
use super::sessions::{Sessions, Stopped};
use super::split::{Part, Splitter};
use crate::DatabaseError;
use crate::schema_file::Nowhere;
use bytes::BytesMut;
use kit_core::{Context, Rows};
use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Rows of a table, and of all of them, that one session loads, in bytes. A table that others load costs the end of the
/// `psql`, and about 40 ms of the protocol (the end of a COPY waits for an acknowledgement of what came before it).
const SMALL_BYTES: usize = 1 << 20;

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
        sessions: Sessions::new(cx, address, clients, doing),
        jobs: usize::from(jobs.get()),
        splitter: Splitter::default(),
        at: At::Before,
        copy: Arc::from(""),
        table: None,
        held: Vec::new(),
        held_bytes: 0,
        is_large: false,
        large: BTreeSet::new(),
        judged: BTreeSet::new(),
        all_bytes: 0,
        after: Entries::of(&[]),
        at_once: Vec::new(),
        remarks: Vec::new(),
    };
    restore.sessions.start(&[]);
    let mut scanner = Scanner::new(Nowhere).only_counting().telling(rows);
    let ended = cx.cancel.unless(restore.all(reader, &mut scanner)).await;
    let Some(ended) = ended else { return Err(doing.cancelled(cx)) };
    let Err(stopped) = ended else { return Ok(()) };
    // None of them may take this for the end.
    let first = restore.sessions.fail(matches!(stopped, Stopped::Gone)).await;
    match stopped {
        Stopped::Incomplete(problem) => Err(DatabaseError::Truncated { database, problem }),
        Stopped::Read(source) => Err(unreadable(source, doing)),
        Stopped::Opened(error) => Err(error),
        Stopped::Session(failed) => Err(failed.judge(doing)),
        // It says itself why it is gone.
        Stopped::Gone => Err(first.map_or_else(|| doing.cancelled(cx), |failed| failed.judge(doing))),
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
    /// Its table.
    table: Option<Qualified>,
    /// Rows of a table that may turn out to be small.
    held: Vec<BytesMut>,
    held_bytes: usize,
    /// The rows that come go to the connections.
    is_large: bool,
    /// The COPYs whose rows went to the connections: a dump of ours has a large table in pieces, among those of others.
    large: BTreeSet<Arc<str>>,
    /// Tables whose rows are judged by functions. Not known before there are connections.
    judged: BTreeSet<Qualified>,
    /// Rows of all tables.
    all_bytes: u64,
    /// What comes after the rows.
    after: Entries,
    /// Indexes that are to be made next, side by side.
    at_once: Vec<String>,
    /// What is said about them.
    remarks: Vec<u8>,
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
            None => {
                self.end_after().await?;
                self.sessions.end().await
            }
        }
    }

    async fn pour(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        scanner: &mut Scanner<Nowhere>,
    ) -> Result<(), Stopped> {
        let mut parts = Vec::new();
        loop {
            let read = self.splitter.read();
            let before = read.len();
            read.reserve(PIECE_BYTES);
            if reader.read_buf(read).await.map_err(Stopped::Read)? == 0 {
                return Ok(());
            }
            scanner.take(read.get(before..).unwrap_or_default());
            self.splitter.take(&mut parts);
            for (part, bytes) in parts.drain(..) {
                self.one(part, bytes).await?;
            }
        }
    }

    async fn one(&mut self, part: Part, bytes: BytesMut) -> Result<(), Stopped> {
        if self.at == At::Before && part != Part::Before {
            self.at = At::Among;
        }
        if self.at == At::Among && part == Part::After {
            if !self.is_small() {
                self.sessions.end().await?;
            }
            self.after = Entries::of(self.splitter.prelude());
            self.at = At::After;
        }
        match part {
            Part::After if !self.is_small() => self.after(&bytes).await,
            // What should not be there any more is restored all the same, one after the other.
            _ if self.at == At::After => {
                self.end_after().await?;
                self.in_order(bytes.into()).await
            }
            // No `psql`: none is in the middle of a statement, either.
            Part::Between if !self.sessions.has_program() && says_nothing(&bytes) => Ok(()),
            Part::Before | Part::Between | Part::After => self.in_order(bytes.into()).await,
            Part::Copy => self.copy(bytes).await,
            Part::Rows => self.rows(bytes).await,
            Part::EndOfRows => self.end_of_rows().await,
        }
    }

    const fn is_small(&self) -> bool {
        self.all_bytes <= SMALL_BYTES as u64
    }

    async fn copy(&mut self, statement: BytesMut) -> Result<(), Stopped> {
        // More of the same table may come.
        if self.copy.as_bytes() == &statement[..] {
            return Ok(());
        }
        let unknown = || Stopped::Incomplete(UNKNOWN_TABLE.to_owned());
        let statement = String::from_utf8(statement.into()).map_err(|_| unknown())?;
        let table = statement.strip_prefix("COPY ").and_then(Qualified::parse).ok_or_else(unknown)?.0;
        let was_judged = self.is_judged();
        self.copy = statement.into();
        self.table = Some(table);
        if was_judged || self.is_judged() {
            self.sessions.end_rows().await?;
        }
        self.is_large = self.large.contains(&self.copy);
        if self.is_large && !self.judged.is_empty() {
            // What the `psql` fills may be judged.
            self.sessions.end_program().await?;
        }
        Ok(())
    }

    fn is_judged(&self) -> bool {
        self.table.as_ref().is_some_and(|table| self.judged.contains(table))
    }

    async fn rows(&mut self, rows: BytesMut) -> Result<(), Stopped> {
        self.all_bytes += rows.len() as u64;
        if self.is_large {
            return self.sessions.load(Arc::clone(&self.copy), rows).await;
        }
        self.held_bytes += rows.len();
        self.held.push(rows);
        if self.held_bytes <= SMALL_BYTES {
            return Ok(());
        }
        // The rows need all that was made before.
        self.sessions.end_program().await?;
        if !self.sessions.has_loaders() {
            self.judged = self.sessions.open(self.jobs, self.splitter.prelude()).await?;
        }
        self.is_large = true;
        self.large.insert(Arc::clone(&self.copy));
        if let Some(table) = &self.table {
            self.sessions.keep(table);
        }
        for rows in self.let_go() {
            self.sessions.load(Arc::clone(&self.copy), rows).await?;
        }
        Ok(())
    }

    async fn end_of_rows(&mut self) -> Result<(), Stopped> {
        let held = self.let_go();
        if held.is_empty() {
            return Ok(());
        }
        self.in_order(self.copy.as_bytes().to_vec()).await?;
        for rows in held {
            self.in_order(rows.into()).await?;
        }
        self.in_order(b"\\.\n".to_vec()).await
    }

    fn let_go(&mut self) -> Vec<BytesMut> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    async fn after(&mut self, lines: &[u8]) -> Result<(), Stopped> {
        let mut steps = Vec::new();
        self.after.take(lines, &mut steps);
        for step in steps {
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), Stopped> {
        match step {
            Step::AtOnce(statement) => {
                if self.at_once.is_empty() {
                    // What comes before it.
                    self.sessions.end().await?;
                }
                self.at_once.push(statement);
                Ok(())
            }
            Step::Remark(text) if !self.at_once.is_empty() => {
                self.remarks.extend(text);
                Ok(())
            }
            Step::Remark(text) | Step::InOrder(text) => {
                self.make_indexes().await?;
                self.in_order(text).await
            }
        }
    }

    /// There is no more of it, for now.
    async fn end_after(&mut self) -> Result<(), Stopped> {
        if let Some(step) = self.after.finish() {
            self.step(step).await?;
        }
        self.make_indexes().await
    }

    async fn make_indexes(&mut self) -> Result<(), Stopped> {
        if self.at_once.is_empty() {
            return Ok(());
        }
        let statements = std::mem::take(&mut self.at_once);
        self.sessions.run(statements, self.jobs, &self.settings()).await?;
        let remarks = std::mem::take(&mut self.remarks);
        if remarks.is_empty() { Ok(()) } else { self.in_order(remarks).await }
    }

    async fn in_order(&mut self, text: Vec<u8>) -> Result<(), Stopped> {
        if !self.sessions.has_program() {
            self.sessions.start(&self.settings());
        }
        self.sessions.send(text).await
    }

    /// With which a `psql` begins that is not the first.
    fn settings(&self) -> Vec<u8> {
        [self.splitter.prelude(), self.splitter.defaults(), self.after.settings()].concat()
    }
}

/// True of what stands around the rows of a table: nothing but comments and empty lines.
fn says_nothing(lines: &[u8]) -> bool {
    lines.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.starts_with(b"--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_rows_says_nothing_unless_it_is_a_statement() {
        assert!(says_nothing(
            b"\n\n--\n-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: -\n--\n\n"
        ));
        assert!(!says_nothing(
            b"\n--\n-- Name: s; Type: SEQUENCE SET\n--\n\nSELECT pg_catalog.setval('s', 1);\n"
        ));
        assert!(!says_nothing(b" "), "only what is known to say nothing does");
    }
}
