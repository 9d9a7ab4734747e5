//! What clients and servers of Redis say to each other (RESP2, redis.io/docs/latest/develop/reference/protocol-spec).
//!
//! Our own because the snapshot comes over the same connection as raw bytes, which no client library hands out; and a
//! second client beside a library's would be most of one.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Longer answers than these are none that we asked for.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;
const LONGEST_TEXT_BYTES: u64 = 64 * 1024 * 1024;
const MOST_ELEMENTS: u64 = 100_000;
const DEEPEST: u8 = 8;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A text: of a status, or a value.
    Text(Vec<u8>),
    /// A whole number.
    Number(i64),
    /// Nothing is there.
    Nothing,
    /// Several answers.
    Several(Vec<Self>),
    /// A refusal: a code in capitals, and words.
    Refusal(String),
}

impl Reply {
    /// As text; nothing, numbers and several answers are none.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    pub(super) const fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Appends a command.
pub(super) fn put<A: AsRef<[u8]>>(command: &[A], to: &mut Vec<u8>) {
    to.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for argument in command {
        let argument = argument.as_ref();
        to.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        to.extend_from_slice(argument);
        to.extend_from_slice(b"\r\n");
    }
}

/// One line without its end. While a server makes a snapshot, it shows by empty ones that it lives.
pub(super) async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    (&mut *from).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(if line.len() as u64 == LONGEST_LINE_BYTES { strange() } else { ended() });
    }
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// One answer.
pub(super) async fn reply(from: &mut (impl AsyncBufRead + Unpin + Send)) -> Result<Reply> {
    read(from, 0).await
}

async fn read(from: &mut (impl AsyncBufRead + Unpin + Send), depth: u8) -> Result<Reply> {
    let mut line = line(from).await?;
    while line.is_empty() {
        line = self::line(from).await?;
    }
    let (kind, rest) = line.split_first().ok_or_else(strange)?;
    match kind {
        b'+' => Ok(Reply::Text(rest.to_vec())),
        b'-' => Ok(Reply::Refusal(String::from_utf8_lossy(rest).into_owned())),
        b':' => Ok(Reply::Number(number(rest)?)),
        b'$' => match number(rest)? {
            -1 => Ok(Reply::Nothing),
            length => text(from, length).await.map(Reply::Text),
        },
        b'*' => match number(rest)? {
            -1 => Ok(Reply::Nothing),
            count => several(from, count, depth).await,
        },
        _ => Err(strange()),
    }
}

async fn text(from: &mut (impl AsyncBufRead + Unpin), length: i64) -> Result<Vec<u8>> {
    let length =
        u64::try_from(length).ok().filter(|length| *length <= LONGEST_TEXT_BYTES).ok_or_else(strange)?;
    let mut text = Vec::new();
    (&mut *from).take(length + 2).read_to_end(&mut text).await?;
    if text.len() as u64 != length + 2 {
        return Err(ended());
    }
    let end = text.split_off(text.len() - 2);
    if end == b"\r\n" { Ok(text) } else { Err(strange()) }
}

async fn several(from: &mut (impl AsyncBufRead + Unpin + Send), count: i64, depth: u8) -> Result<Reply> {
    let fits = u64::try_from(count).is_ok_and(|count| count <= MOST_ELEMENTS) && depth < DEEPEST;
    if !fits {
        return Err(strange());
    }
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(Box::pin(read(from, depth + 1)).await?);
    }
    Ok(Reply::Several(replies))
}

fn number(text: &[u8]) -> Result<i64> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(strange)
}

fn strange() -> Error {
    Error::new(ErrorKind::InvalidData, "what answers does not speak the protocol of Redis")
}

fn ended() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the connection was closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8]) -> Result<Reply> {
        let mut from = text;
        reply(&mut from).await
    }

    #[tokio::test]
    async fn every_kind_of_answer() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        for (said, expected) in [
            (&b"+OK\r\n"[..], text("OK")),
            (b"\n\n+OK\r\n", text("OK")),
            (b"-NOPERM no\r\n", Reply::Refusal("NOPERM no".to_owned())),
            (b":-3\r\n", Reply::Number(-3)),
            (b"$4\r\na\r\nb\r\n", text("a\r\nb")),
            (b"$0\r\n\r\n", text("")),
            (b"$-1\r\n", Reply::Nothing),
            (b"*-1\r\n", Reply::Nothing),
            (
                b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
                Reply::Several(vec![Reply::Number(1), Reply::Several(vec![text("a")])]),
            ),
        ] {
            assert_eq!(read(said).await.unwrap(), expected);
            for length in 0..said.len() {
                let cut = read(&said[..length]).await;
                assert!(
                    cut.is_err() || said.starts_with(b"$-1") || said.starts_with(b"*-1"),
                    "{length}: {cut:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused_and_takes_no_memory() {
        let deep = b"*1\r\n".repeat(20);
        for said in [
            &b"HTTP/1.1 400\r\n"[..],
            b":x\r\n",
            b"$99999999999\r\n",
            b"$-2\r\n",
            b"*99999999\r\n",
            b"$1\r\nabc",
            &deep,
        ] {
            let error = read(said).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{}", String::from_utf8_lossy(said));
        }
    }

    #[test]
    fn arguments_may_hold_anything() {
        let mut out = Vec::new();
        put(&[&b"SET"[..], b"a\r\n", b""], &mut out);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
    }
}
