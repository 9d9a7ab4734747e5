//! The bytes of a dump: from one `pg_dump`, or put together from several producers, and read along.

use super::connect::Doing;
use super::dump::{Examined, ReadAlong};
use super::header;
use super::ident::Qualified;
use super::parallel::Parallel;
use super::scan::Scanner;
use crate::DatabaseError;
use crate::schema_file::SchemaFile;
use async_trait::async_trait;
use kit_core::Context;
use kit_exec::Running;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The dump, scanned as it is handed out.
pub(super) struct DumpReader {
    source: Source,
    scanner: Scanner<SchemaFile>,
    /// True once the end was seen.
    ended: bool,
}

/// Who makes the bytes.
pub(super) enum Source {
    One(PgDump),
    Several(Parallel),
}

impl Source {
    /// Ends whoever still produces.
    pub(super) async fn stop(self) {
        match self {
            Self::One(dump) => dump.running.stop().await,
            Self::Several(parallel) => parallel.stop().await,
        }
    }

    /// The tables whose rows the server counts as it sends them.
    pub(super) fn tables_counted(&self) -> BTreeSet<Qualified> {
        match self {
            Self::One(_) => BTreeSet::new(),
            Self::Several(parallel) => parallel.tables_counted(),
        }
    }

    /// After the end: whether every producer ended well, and how many rows the server has counted in such tables.
    pub(super) async fn finish(
        self,
        cx: &Context,
        doing: Doing<'_>,
    ) -> Result<BTreeMap<Qualified, u64>, DatabaseError> {
        match self {
            Self::One(dump) => dump.finish(doing).await.map(|()| BTreeMap::new()),
            Self::Several(parallel) => parallel.finish(cx, doing).await,
        }
    }
}

impl DumpReader {
    pub(super) const fn new(source: Source, scanner: Scanner<SchemaFile>) -> Self {
        Self { source, scanner, ended: false }
    }
}

#[async_trait]
impl ReadAlong for DumpReader {
    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        self
    }

    async fn finish(self: Box<Self>, cx: &Context, doing: Doing<'_>) -> Result<Examined, DatabaseError> {
        let Self { source, scanner, ended } = *self;
        if !ended {
            source.stop().await;
            return Err(doing.truncated(format!("only {} bytes of it were read", scanner.bytes())));
        }
        let counted = source.finish(cx, doing).await?;
        let bytes = scanner.bytes();
        let (content, schema) = scanner.finish().map_err(|problem| doing.truncated(problem))?;
        Ok(Examined { bytes, content, schema, counted })
    }
}

impl AsyncRead for DumpReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(match &mut self.source {
            Source::One(dump) => Pin::new(dump).poll_read(task, buffer),
            Source::Several(parallel) => Pin::new(parallel).poll_read(task, buffer),
        })?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.ended = read.is_empty() && room > 0;
        self.scanner.take(read);
        Poll::Ready(Ok(()))
    }
}

/// A `pg_dump` that runs, its header fitted to the server.
pub(super) struct PgDump {
    running: Running,
    /// The header, while it is collected and while it is handed out.
    header: Header,
}

enum Header {
    /// Has to be fitted to a server of this major version.
    Collect(Vec<u8>, u32),
    HandOut(Vec<u8>, usize),
    Done,
}

impl PgDump {
    /// `strip`: the major version of a server that may not know every setting of the header.
    pub(super) const fn new(running: Running, strip: Option<u32>) -> Self {
        let header = match strip {
            Some(major) => Header::Collect(Vec::new(), major),
            None => Header::Done,
        };
        Self { running, header }
    }

    /// After the end: whether it ended well.
    pub(super) async fn finish(self, doing: Doing<'_>) -> Result<(), DatabaseError> {
        match self.running.finish().await {
            Ok(_) => Ok(()),
            Err(error) => Err(doing.not_made(error)),
        }
    }
}

impl AsyncRead for PgDump {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            match std::mem::replace(&mut self.header, Header::Done) {
                Header::Collect(mut bytes, major) => {
                    let mut piece = [0_u8; header::HEADER_BYTES];
                    let mut more = ReadBuf::new(&mut piece);
                    match Pin::new(&mut self.running).poll_read(task, &mut more) {
                        Poll::Ready(read) => read?,
                        Poll::Pending => {
                            self.header = Header::Collect(bytes, major);
                            return Poll::Pending;
                        }
                    }
                    bytes.extend_from_slice(more.filled());
                    let whole = more.filled().is_empty() || bytes.len() >= header::HEADER_BYTES;
                    self.header = match whole {
                        true => Header::HandOut(header::fit(bytes, major), 0),
                        false => Header::Collect(bytes, major),
                    };
                }
                Header::HandOut(bytes, at) => {
                    let left = bytes.get(at..).unwrap_or_default();
                    let fits = left.get(..left.len().min(buffer.remaining())).unwrap_or_default();
                    if fits.is_empty() && buffer.remaining() > 0 {
                        continue;
                    }
                    let count = fits.len();
                    buffer.put_slice(fits);
                    self.header = Header::HandOut(bytes, at + count);
                    return Poll::Ready(Ok(()));
                }
                Header::Done => return Pin::new(&mut self.running).poll_read(task, buffer),
            }
        }
    }
}
