//! A dump into an empty database: the client, which stops at the first error, fed from a stream that is read
//! along. It sees the end of its input only if the dump was whole.

use super::address::Address;
use super::clients::Clients;
use super::connect::Doing;
use super::quiet::{Events, Quieten};
use super::scan::Scanner;
use crate::pieces::{Piece, Pieces};
use crate::schema_file::Nowhere;
use crate::{DatabaseError, EngineError};
use kit_core::{Context, Rows};
use kit_exec::{Command, ExecError, Status, Stdin, Stdout};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc::Sender;

/// Handed on at once, and how many of these may wait.
const PIECE_BYTES: usize = 256 * 1024;
const AHEAD: usize = 4;

/// The client, told to do nothing but run SQL: `--binary-mode` takes bytes as they are and all commands of
/// its own but `DELIMITER` away.
pub(super) fn client(address: &Address, clients: &Clients) -> Command {
    address
        .command(clients, "client")
        .args(["--batch", "--silent", "--binary-mode", "--max-allowed-packet=1G"])
        .arg("--default-character-set=utf8mb4")
        .arg(format!("--database={}", address.database))
        .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
        // What it complains of holds rows, which are none of the log's business.
        .quiet_stderr()
}

/// Restores into `address`, which must be empty.
pub(super) async fn run(
    cx: &Context,
    address: &Address,
    clients: &Clients,
    (reader, rows): (&mut (dyn AsyncRead + Send + Unpin), &Rows),
    events: Events,
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let (sender, pieces) = Pieces::channel(AHEAD);
    let client = client(address, clients).stdin(Stdin::Stream(Box::new(pieces)));
    let (poured, ran) = tokio::join!(pour((reader, rows), events, sender), client.run(cx));
    let database = doing.database.to_owned();
    match (poured, ran) {
        (_, Err(error)) if error.is_unheard() => Err(error.into()),
        (Err(Poured::Incomplete(problem)), _) => Err(DatabaseError::Truncated { database, problem }),
        (Err(Poured::Read(source)), _) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            let problem = format!("the stream broke off: {source}");
            Err(DatabaseError::Truncated { database, problem })
        }
        (Err(Poured::Read(source)), _) => Err(DatabaseError::Transfer { action: "read", database, source }),
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) => Err(judge(&error, doing)),
    }
}

/// Runs SQL that the dump program wrote.
pub(super) async fn script(
    cx: &Context,
    address: &Address,
    clients: &Clients,
    sql: Vec<u8>,
    doing: Doing<'_>,
) -> Result<(), DatabaseError> {
    let ran = client(address, clients).stdin(Stdin::Bytes(sql)).run(cx).await;
    ran.map(|_| ()).map_err(|error| match error {
        error if error.is_unheard() => error.into(),
        error => judge(&error, doing),
    })
}

enum Poured {
    Read(std::io::Error),
    Incomplete(String),
}

async fn pour(
    (reader, rows): (&mut (dyn AsyncRead + Send + Unpin), &Rows),
    events: Events,
    to: Sender<Piece>,
) -> Result<(), Poured> {
    let mut scanner = Scanner::new(Nowhere).telling(rows.clone());
    let mut quieten = Quieten::new(events);
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
        piece.truncate(count);
        scanner.take(&piece);
        let is_end = piece.is_empty();
        let piece = if is_end { quieten.rest() } else { quieten.pass(piece) };
        if to.send(Piece::Bytes(piece)).await.is_err() {
            // The client is gone and says why.
            return Ok(());
        }
        if is_end {
            break;
        }
    }
    if let Some(problem) = scanner.incomplete() {
        let _ = to.send(Piece::Failed).await;
        return Err(Poured::Incomplete(problem));
    }
    let _ = to.send(Piece::End).await;
    Ok(())
}

/// What the client complained of: `ERROR 1062 (23000) at line 57: Duplicate entry 'ada' for key 'email'`,
/// without the values in it.
fn complaint(stderr: &[String]) -> Option<(u16, EngineError)> {
    stderr.iter().find_map(|line| {
        let (number, said) = line.strip_prefix("ERROR ")?.split_once(' ')?;
        let number: u16 = number.parse().ok()?;
        let text = said.split_once(": ").map_or(said, |(_, text)| text);
        Some((
            number,
            EngineError { text: without_values(number, text).into(), code: Some(number.to_string().into()) },
        ))
    })
}

/// Errors that quote rows or the statement: all of them up to the first quote is what may be told.
fn without_values(number: u16, text: &str) -> String {
    // ER_DUP_ENTRY, ER_PARSE_ERROR, ER_TRUNCATED_WRONG_VALUE, ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
    // ER_DUP_ENTRY_WITH_KEY_NAME, ER_WRONG_VALUE (mariadb.com/kb: error codes).
    const QUOTING: &[u16] = &[1062, 1064, 1292, 1366, 1411, 1525, 1586];
    match text.split_once('\'') {
        Some((before, _)) if QUOTING.contains(&number) => before.trim_end().to_owned(),
        _ => text.to_owned(),
    }
}

/// Tells a dump that cannot be restored from a place that cannot take it.
fn judge(error: &ExecError, doing: Doing<'_>) -> DatabaseError {
    let database = doing.database.to_owned();
    let Some((number, said)) = complaint(error.stderr_tail()) else {
        return doing.said(error.into());
    };
    match (error, unavailable(number)) {
        (_, true) => DatabaseError::Unavailable { what: format!("{database} says: {}", said.text) },
        (ExecError::Failed { status: Status::Code(1), .. }, false) => {
            DatabaseError::Damaged { database, source: said }
        }
        _ => doing.said(said),
    }
}

/// True if a failure is that of the server, not of the dump. Pure; numbers are those of
/// mariadb.com/kb/en/mariadb-error-code-reference.
fn unavailable(number: u16) -> bool {
    match number {
        // Files and disk: cannot create, disk full, errors of reading and writing, table full, no file.
        3 | 1004 | 1005 | 1016 | 1021 | 1024 | 1026 | 1030 | 1114 => true,
        // Memory, connections, shutdown, packets that the server does not take.
        1037..=1041 | 1053 | 1077..=1079 | 1153 | 1203 | 1205 => true,
        // Rights, and engines and plug-ins that this server lacks.
        1044 | 1045 | 1142 | 1227 | 1286 | 1290 | 1419 | 1524 => true,
        // The client's own: connection lost or refused.
        2000..=2999 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is() {
        for (number, expected) in [
            (1021, true),
            (1114, true),
            (2013, true),
            (1227, true),
            (1064, false),
            (1062, false),
            (1146, false),
        ] {
            assert_eq!(unavailable(number), expected, "{number}");
        }
    }

    #[test]
    fn a_complaint_is_told_without_values() {
        for (line, expected) in [
            (
                "ERROR 1062 (23000) at line 57: Duplicate entry 'ada@example.com' for key 'email'",
                "Duplicate entry",
            ),
            (
                "ERROR 1064 (42000) at line 3: You have an error in your SQL syntax; check the manual that corresponds \
                 to your MariaDB server version for the right syntax to use near 'INSRT INTO users VALUES (1)' at line 1",
                "You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server version \
                 for the right syntax to use near",
            ),
            (
                "ERROR 1146 (42S02) at line 9: Table 'shop.orders' doesn't exist",
                "Table 'shop.orders' doesn't exist",
            ),
            ("ERROR 2002 (HY000): Can't connect", "Can't connect"),
        ] {
            let (_, said) = complaint(&["warning".to_owned(), line.to_owned()]).unwrap();
            assert_eq!(said.to_string(), expected);
        }
        assert!(complaint(&["mariadb: unknown option".to_owned()]).is_none());
    }
}
