//! A dump into an empty database: `psql`, which stops at the first error, fed from a stream that is read
//! along. It sees the end of its input only if the dump was whole. Archives: see `from_archive`.

use super::address::Address;
use super::archive::{self, Kind};
use super::clients::Clients;
use super::connect::{Doing, program_options};
use super::one_transaction::OneTransaction;
use super::scan::Scanner;
use super::{from_archive, restore_parallel};
use crate::pieces::{Piece, Pieces};
use crate::schema_file::Nowhere;
use crate::{DatabaseError, EngineError};
use kit_core::{Context, Rows};
use kit_exec::{Command, ExecError, Status, Stdin, Stdout};
use std::num::NonZeroU8;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

/// Handed on at once, and how many of these may wait.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
pub(super) const AHEAD: usize = 4;
/// `psql` exits with 3 if a statement failed, with 2 if the connection broke (psql(1), EXIT STATUS).
const STATEMENT_FAILED: i32 = 3;

/// Where a dump is restored, by which programs, and by how many sessions.
#[derive(Clone, Copy)]
pub(super) struct Into<'a> {
    /// A database, which must be empty.
    pub(super) address: &'a Address,
    pub(super) clients: &'a Clients,
    /// Sessions that restore an archive side by side.
    pub(super) jobs: NonZeroU8,
    /// Those of a plain dump; with 1, all of it is one transaction.
    pub(super) plain_jobs: NonZeroU8,
    /// A folder for temporary files; without this, the system's.
    pub(super) scratch: Option<&'a Path>,
    /// Where is told how many rows have passed; of a plain dump.
    pub(super) rows: &'a Rows,
}

/// `psql` against one database, fed from a stream.
pub(super) fn psql(address: &Address, clients: &Clients, pieces: Pieces) -> Command {
    let command = clients
        .command("psql")
        .args(["--no-psqlrc", "--quiet", "--no-password", "--output=/dev/null"])
        // Codes, to tell a worthless dump from a full disk.
        .args(["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose"]);
    address
        .give_to(command)
        .env("PGOPTIONS", program_options(OPTIONS))
        .stdin(Stdin::Stream(Box::new(pieces)))
        .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
        // Details and contexts of errors hold rows, which are none of the log's business.
        .quiet_stderr()
}

/// Restores a dump of any format, which says itself what it is.
pub(super) async fn run(
    cx: &Context,
    into: Into<'_>,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let head = cx.cancel.unless(archive::kind(reader)).await;
    let (kind, head) =
        head.ok_or_else(|| doing.cancelled(cx))?.map_err(|source| unreadable(source, doing))?;
    let mut reader = std::io::Cursor::new(head).chain(reader);
    match kind {
        Kind::Plain => plain(cx, into, &mut reader, doing).await,
        Kind::Custom => from_archive::custom(cx, into, &mut reader, doing).await,
        Kind::Directory => from_archive::directory(cx, into, &mut reader, doing).await,
    }
}

/// How a decompressor says that its input ended early, and every other error.
pub(super) fn unreadable(source: std::io::Error, doing: Doing<'_>) -> DatabaseError {
    if source.kind() == std::io::ErrorKind::UnexpectedEof {
        return doing.truncated(format!("the stream broke off: {source}"));
    }
    DatabaseError::Transfer { action: "read", database: doing.database.to_owned(), source }
}

/// What a restore asks of the server, whoever does it: nothing may end it but its end.
pub(super) const OPTIONS: &str = "-c client_min_messages=warning -c statement_timeout=0 -c lock_timeout=0";

async fn plain(
    cx: &Context,
    into: Into<'_>,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    if into.plain_jobs.get() > 1 {
        let how = (into.plain_jobs, into.rows.clone());
        return restore_parallel::run(cx, into.address, into.clients, (reader, how), doing).await;
    }
    let psql = |pieces| psql(into.address, into.clients, pieces);
    feed(cx, psql, (&mut BEGIN.chain(reader), End::default(), into.rows), doing).await
}

/// A transaction of ours around the dump. `psql --single-transaction` takes the end of its input for the end of the
/// script and commits what came; if we are killed, there is no COMMIT, and the server takes everything back.
pub(super) const BEGIN: &[u8] = b"BEGIN;\n";
const COMMIT: &[u8] = b"COMMIT;\n";

/// What comes between the dump and COMMIT.
#[derive(Default)]
pub(super) struct End<'a> {
    /// Is sent first.
    pub(super) question: &'a [u8],
    /// Is told when its answer was heard; before that, there is no COMMIT.
    pub(super) heard: Option<&'a Notify>,
}

/// Pours a plain dump, before which a transaction was begun, into a `psql`, and ends that, if all of it came.
pub(super) async fn feed(
    cx: &Context,
    psql: impl FnOnce(Pieces) -> Command,
    (reader, end, rows): (&mut (dyn AsyncRead + Send + Unpin), End<'_>, &Rows),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let (sender, pieces) = Pieces::channel(AHEAD);
    let psql = psql(pieces);
    let (poured, ran) = tokio::join!(pour((reader, end, rows), sender), psql.run(cx));
    match (poured, ran) {
        (_, Err(error)) if error.is_unheard() => Err(error.into()),
        (Err(Poured::Incomplete(problem)), _) => Err(doing.truncated(problem)),
        (Err(Poured::Read(source)), _) => Err(unreadable(source, doing)),
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) => Err(judge(&error, doing)),
    }
}

enum Poured {
    Read(std::io::Error),
    Incomplete(String),
}

async fn pour(
    (reader, end, rows): (&mut (dyn AsyncRead + Send + Unpin), End<'_>, &Rows),
    to: Sender<Piece>,
) -> Result<(), Poured> {
    let mut scanner = Scanner::new(Nowhere).only_counting().telling(rows.clone()).finding_transactions();
    let mut one = OneTransaction::default();
    loop {
        let mut piece = vec![0_u8; PIECE_BYTES];
        let count = match reader.read(&mut piece).await {
            Ok(count) => count,
            Err(error) => {
                // Nobody who listens may take this for the end; nobody who is gone needs to know.
                let _ = to.send(Piece::Failed).await;
                return Err(Poured::Read(error));
            }
        };
        if count == 0 {
            break;
        }
        piece.truncate(count);
        scanner.take(&piece);
        let known = one.take(piece, &mut scanner);
        if to.send(Piece::Bytes(known)).await.is_err() {
            // psql is gone and says why.
            return Ok(());
        }
    }
    if let Some(problem) = scanner.incomplete() {
        let _ = to.send(Piece::Failed).await;
        return Err(Poured::Incomplete(problem));
    }
    let _ = to.send(Piece::Bytes(end.question.to_vec())).await;
    if let Some(heard) = end.heard {
        tokio::select! {
            () = heard.notified() => {}
            // psql is gone and says why.
            () = to.closed() => return Ok(()),
        }
    }
    let _ = to.send(Piece::Bytes(COMMIT.to_vec())).await;
    let _ = to.send(Piece::End).await;
    Ok(())
}

/// What the server complained of, without details.
pub(super) fn complaint(stderr: &[String]) -> Option<EngineError> {
    stderr.iter().find_map(|line| {
        let (_, said) =
            ["ERROR:  ", "FATAL:  ", "PANIC:  "].iter().find_map(|level| line.split_once(level))?;
        let (code, text) = said.split_once(": ").filter(|(code, _)| code.len() == 5).unwrap_or(("", said));
        let code = (!code.is_empty()).then(|| code.into());
        Some(EngineError { text: text.trim().into(), code })
    })
}

/// Tells a dump that cannot be restored from a place that cannot take it.
pub(super) fn judge(error: &ExecError, doing: Doing<'_>) -> DatabaseError {
    let database = doing.database.to_owned();
    let Some(said) = complaint(error.stderr_tail()) else { return doing.said(error.into()) };
    let code = said.code.clone().unwrap_or_default();
    match (error, unavailable(&code, &said.text)) {
        (_, true) => DatabaseError::Unavailable { what: format!("{database} says: {}", said.text) },
        (ExecError::Failed { status: Status::Code(STATEMENT_FAILED), .. }, false) => {
            DatabaseError::Damaged { database, source: said }
        }
        _ => doing.said(said),
    }
}

/// The same of what the server told a connection of ours.
pub(super) fn judge_answer(error: sqlx::Error, doing: Doing<'_>) -> DatabaseError {
    let is_answer = matches!(error, sqlx::Error::Database(_));
    let said = EngineError::from(error);
    let database = doing.database.to_owned();
    match unavailable(said.code.as_deref().unwrap_or_default(), &said.text) {
        true if is_answer => DatabaseError::Unavailable { what: format!("{database} says: {}", said.text) },
        false if is_answer => DatabaseError::Damaged { database, source: said },
        _ => doing.said(said),
    }
}

/// True if a failure is that of the server, not of the dump. Pure; codes are those of
/// postgresql.org/docs/current/errcodes-appendix.html.
pub(super) fn unavailable(code: &str, text: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    match class {
        // Insufficient resources, operator intervention, system error, configuration, connection.
        "53" | "57" | "58" | "F0" | "08" => true,
        _ => {
            let missing = text.contains("is not available") && text.contains("extension");
            let role = code == "42704" && text.starts_with("role ");
            let library = text.contains("must be preloaded") || text.contains("shared_preload_libraries");
            // Insufficient privilege.
            code == "42501" || missing || role || library
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is() {
        for (code, text, expected) in [
            ("53100", "could not extend file: No space left on device", true),
            ("57P01", "terminating connection due to administrator command", true),
            ("58P01", "could not access file \"$libdir/postgis-3\"", true),
            ("0A000", "extension \"postgis\" is not available", true),
            ("42704", "role \"ada\" does not exist", true),
            ("XX000", "extension \"timescaledb\" must be preloaded", true),
            ("42704", "type \"mood\" does not exist", false),
            ("42501", "permission denied to create extension \"hstore\"", true),
            ("42601", "syntax error at or near \"CREAT\"", false),
            ("23505", "could not create unique index", false),
            ("22P02", "invalid input syntax for type integer", false),
        ] {
            assert_eq!(unavailable(code, text), expected, "{code} {text}");
        }
    }

    #[test]
    fn a_complaint_is_told_without_its_details() {
        let stderr = [
            "psql:<stdin>:45: WARNING:  01000: something",
            "psql:<stdin>:61: ERROR:  23505: duplicate key value violates unique constraint \"a\"",
            "DETAIL:  Key (email)=(ada@example.com) already exists.",
            "CONTEXT:  COPY users, line 3",
        ]
        .map(str::to_owned);
        let said = complaint(&stderr).unwrap();
        assert_eq!(said.to_string(), "duplicate key value violates unique constraint \"a\"");
        assert_eq!(said.code.as_deref(), Some("23505"));
        assert!(complaint(&["psql: error: connection refused".to_owned()]).is_none());
    }
}
