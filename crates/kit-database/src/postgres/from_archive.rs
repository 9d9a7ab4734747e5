//! An archive into an empty database: `pg_restore`, which stops at the first error.
//!
//! It cannot be told to give the codes of errors, so that whose fault one is has to be read from what the server says.
//! A server that speaks another language is not understood, and then nothing is known about the archive.

use super::archive;
use super::connect::{Doing, program_options};
use super::restore::{self, Into};
use crate::pieces::{Piece, Pieces};
use crate::{DatabaseError, EngineError};
use kit_core::Context;
use kit_core::fs::FsError;
use kit_exec::{Command, ExecError, Stdin, Stdout};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::Sender;

/// Handed on at once, and how many of these may wait.
const PIECE_BYTES: usize = 256 * 1024;
const AHEAD: usize = 4;

fn pg_restore(into: Into<'_>) -> Command {
    let command = into
        .clients
        .command("pg_restore")
        .args(["--exit-on-error", "--no-password"])
        .arg(format!("--dbname={}", conninfo(&into.address.database)));
    into.address
        .give_to(command)
        .env("PGOPTIONS", program_options(restore::OPTIONS))
        .env("LC_ALL", "C")
        .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
        // It repeats the statement that failed, and details of errors hold rows.
        .quiet_stderr()
}

/// A name alone would be taken for more than a name if it had a `=` in it.
fn conninfo(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// One stream, in one transaction.
pub(super) async fn custom(
    cx: &Context,
    into: Into<'_>,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let (sender, pieces) = Pieces::channel(AHEAD);
    let pg_restore = pg_restore(into)
        .args(["--format=custom", "--single-transaction"])
        .stdin(Stdin::Stream(Box::new(pieces)));
    let (poured, ran) = tokio::join!(pour(reader, sender), pg_restore.run(cx));
    match (poured, ran) {
        (_, Err(error)) if error.is_unheard() => Err(error.into()),
        (Err(source), _) => Err(restore::unreadable(source, doing)),
        (Ok(()), Ok(_)) => Ok(()),
        (Ok(()), Err(error)) => Err(judge(&error, doing)),
    }
}

/// Hands everything on; to its end also if nobody takes it any more, since the digest is of all of it.
async fn pour(reader: &mut (dyn AsyncRead + Send + Unpin), to: Sender<Piece>) -> std::io::Result<()> {
    loop {
        let mut piece = vec![0_u8; PIECE_BYTES];
        let count = match reader.read(&mut piece).await {
            Ok(count) => count,
            Err(error) => {
                let _ = to.send(Piece::Failed).await;
                return Err(error);
            }
        };
        if count == 0 {
            let _ = to.send(Piece::End).await;
            return Ok(());
        }
        piece.truncate(count);
        let _ = to.send(Piece::Bytes(piece)).await;
    }
}

/// A tar, unpacked first, then by several connections.
pub(super) async fn directory(
    cx: &Context,
    into: Into<'_>,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("pg-restore-");
    let made = match into.scratch {
        Some(scratch) => builder.tempdir_in(scratch),
        None => builder.tempdir(),
    };
    let path = into.scratch.unwrap_or(std::path::Path::new("the folder for temporary files")).to_owned();
    let folder = made.map_err(|source| FsError { action: "make a folder in", path, source })?;
    let unpacked = folder.path().join("dump");
    match cx.cancel.unless(archive::unpack(reader, &unpacked)).await {
        None => return Err(doing.cancelled(cx)),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(doing.truncated(error.to_string()));
        }
        Some(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
            return Err(DatabaseError::Unavailable {
                what: format!("the dump does not fit into the folder for temporary files: {error}"),
            });
        }
        Some(unpacked) => unpacked.map_err(|source| restore::unreadable(source, doing))?,
    }
    let pg_restore = pg_restore(into).arg("--format=directory").arg(format!("--jobs={}", into.jobs));
    match pg_restore.arg(&unpacked).reads(&unpacked).run(cx).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_unheard() => Err(error.into()),
        Err(error) => Err(judge(&error, doing)),
    }
}

/// Tells an archive that cannot be restored from a place that cannot take it.
fn judge(error: &ExecError, doing: Doing<'_>) -> DatabaseError {
    let database = doing.database.to_owned();
    let stderr = error.stderr_tail();
    if let Some(said) = restore::complaint(stderr) {
        return match servers_fault(&said.text) {
            true => DatabaseError::Unavailable { what: format!("{database} says: {}", said.text) },
            false => DatabaseError::Damaged { database, source: said },
        };
    }
    let own = stderr.iter().find_map(|line| line.split_once("pg_restore: error: ").map(|(_, text)| text));
    match own {
        Some(text) if text.contains("unsupported version") => DatabaseError::Unavailable {
            what: format!("a newer version of pg_dump made the archive: {text}"),
        },
        Some(text) if archives_fault(text) => {
            DatabaseError::Damaged { database, source: EngineError { text: text.into(), code: None } }
        }
        _ => doing.said(error.into()),
    }
}

/// Messages of errors for which the codes are those of `restore::unavailable` (errcodes-appendix.html), in English.
fn servers_fault(text: &str) -> bool {
    const SIGNS: &[&str] = &[
        "No space left on device",
        "out of memory",
        "out of shared memory",
        "could not extend file",
        "could not write",
        "could not open file",
        "could not access file",
        "could not load library",
        "too many connections",
        "too many clients",
        "connection slots",
        "terminating connection",
        "canceling statement",
        "the database system is",
        "permission denied",
        "must be superuser",
        "must be owner",
    ];
    let role = text.starts_with("role ") && text.ends_with("does not exist");
    role || SIGNS.iter().any(|sign| text.contains(sign)) || restore::unavailable("", text)
}

/// What `pg_restore` says of an archive that is not whole (pg_backup_archiver.c, pg_backup_custom.c,
/// pg_backup_directory.c).
fn archives_fault(text: &str) -> bool {
    const SIGNS: &[&str] = &[
        "could not read from input file",
        "could not open input file",
        "could not find block ID",
        "found unexpected block ID",
        "unrecognized data block type",
        "did not find magic string",
        "does not appear to be a valid archive",
        "corrupt",
        "unexpected section code",
        "end of file",
        "sanity check on integer size",
        "entry ID",
        "expected format",
        "could not uncompress",
    ];
    SIGNS.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_exec::Status;

    #[test]
    fn whose_fault_it_is() {
        let judged = |lines: &[&str]| {
            let error = ExecError::Failed {
                program: "pg_restore".to_owned(),
                status: Status::Code(1),
                stderr_tail: lines.iter().map(|line| (*line).to_owned()).collect(),
            };
            let doing = Doing { action: "restore into", database: "d", unfinished: "" };
            judge(&error, doing)
        };
        let query = "pg_restore: error: could not execute query: ERROR:  ";
        for (line, expected) in [
            ("role \"ada\" does not exist", "unavailable"),
            ("extension \"postgis\" is not available", "unavailable"),
            ("could not extend file \"base/1/2\": No space left on device", "unavailable"),
            ("relation \"a\" already exists", "damaged"),
            ("duplicate key value violates unique constraint \"a\"", "damaged"),
        ] {
            let found = judged(&[&format!("{query}{line}"), "Command was: COPY a FROM stdin;"]);
            let kind = match found {
                DatabaseError::Unavailable { .. } => "unavailable",
                DatabaseError::Damaged { ref source, .. } => {
                    assert_eq!(source.to_string(), line);
                    "damaged"
                }
                _ => "unknown",
            };
            assert_eq!(kind, expected, "{line}");
        }
        let own = |text: &str| judged(&[&format!("pg_restore: error: {text}")]);
        assert!(matches!(own("could not read from input file: end of file"), DatabaseError::Damaged { .. }));
        assert!(matches!(
            own("unsupported version (1.16) in file header"),
            DatabaseError::Unavailable { .. }
        ));
        for line in
            ["connection to server at \"h\" failed", "FEHLER:  Rolle »ada« existiert nicht", "something else"]
        {
            assert!(matches!(own(line), DatabaseError::Unreachable { .. }), "{line}");
        }
    }

    #[test]
    fn a_name_is_a_name() {
        assert_eq!(conninfo("shop"), "dbname='shop'");
        assert_eq!(conninfo("a'b\\c host=evil"), "dbname='a\\'b\\\\c host=evil'");
    }
}
