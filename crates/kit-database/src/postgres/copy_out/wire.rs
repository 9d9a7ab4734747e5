//! The server's side of `COPY … TO STDOUT` ([PostgreSQL, "COPY Operations"]), read from any stream that waits.
//!
//! [PostgreSQL, "COPY Operations"]: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY

use super::PORTION_BYTES;
use crate::EngineError;
use bytes::BytesMut;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// What is read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Less than this at once is not worth being woken for.
const ENOUGH_BYTES: usize = 64 * 1024;
const SHORTEST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// The kind of a message, and its length.
const HEADER_BYTES: usize = 5;
/// Nothing but rows is longer.
const MOST_BYTES: usize = 1 << 20;

const COPY_DATA: u8 = b'd';
const IN_TRANSACTION: u8 = b'T';

/// A connection that has signed in.
pub(super) struct Wire<S> {
    stream: S,
    buffer: Box<[u8]>,
    /// What was read and not yet used.
    from: usize,
    to: usize,
    wait: fn(Duration),
    /// How long to wait before more is read.
    pause: Duration,
}

impl<S: Read + Write> Wire<S> {
    pub(super) fn new(stream: S, wait: fn(Duration)) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            from: 0,
            to: 0,
            wait,
            pause: Duration::ZERO,
        }
    }

    /// Runs the statement, hands its rows on in portions, and says how many they were. `None`: nobody takes them any more.
    ///
    /// An end counts only if the server has said it, and as many rows have come as it says that it has sent: in this
    /// direction a message is always one row.
    pub(super) fn copy_out(
        &mut self,
        sql: &str,
        mut take: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<Option<u64>, EngineError> {
        let mut query = BytesMut::new();
        frontend::query(sql, &mut query)?;
        self.stream.write_all(&query)?;
        self.pause = Duration::ZERO;
        let (mut rows, mut is_done, mut said) = (0_u64, false, None::<u64>);
        let mut portion = Vec::with_capacity(PORTION_BYTES);
        loop {
            let (kind, length) = self.header()?;
            if kind == COPY_DATA && !is_done {
                rows += 1;
                let mut left = length;
                while left > 0 {
                    let bytes = self.some(left.min(PORTION_BYTES - portion.len()))?;
                    portion.extend_from_slice(bytes);
                    left -= bytes.len();
                    if portion.len() == PORTION_BYTES
                        && !take(std::mem::replace(&mut portion, Vec::with_capacity(PORTION_BYTES)))
                    {
                        return Ok(None);
                    }
                }
                continue;
            }
            match self.message(kind, length)? {
                Message::CopyDone => is_done = true,
                Message::CommandComplete(body) => {
                    said = body.tag()?.strip_prefix("COPY ").and_then(|count| count.parse().ok());
                }
                // Outside of it, rows would be those of any moment.
                Message::ReadyForQuery(body) if body.status() == IN_TRANSACTION => break,
                Message::ErrorResponse(body) => return Err(refused(&body)),
                Message::CopyOutResponse(_)
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_)
                | Message::NotificationResponse(_) => {}
                _ => return Err(unexpected(kind)),
            }
        }
        match said {
            Some(said) if is_done && said == rows => {
                Ok((portion.is_empty() || take(portion)).then_some(said))
            }
            Some(said) if is_done => {
                Err(broken(&format!("the server says that it has sent {said} rows, and {rows} came")))
            }
            _ => Err(broken("the server did not say that these were all rows")),
        }
    }

    /// Ends the session; who does not hear it, sees it.
    pub(super) fn say_good_bye(&mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = self.stream.write_all(&message);
    }

    /// The kind of the next message, and how much follows.
    fn header(&mut self) -> Result<(u8, usize), EngineError> {
        loop {
            let read = self.buffer.get(self.from..self.to).unwrap_or_default();
            let Some([kind, length @ ..]) = read.first_chunk::<HEADER_BYTES>() else {
                self.fill()?;
                continue;
            };
            let (kind, length) = (*kind, u32::from_be_bytes(*length) as usize);
            self.from += HEADER_BYTES;
            // It counts itself, and not the kind.
            return match length.checked_sub(HEADER_BYTES - 1) {
                Some(length) => Ok((kind, length)),
                None => Err(unexpected(kind)),
            };
        }
    }

    /// The next bytes: at least one, and at most so many.
    fn some(&mut self, most: usize) -> Result<&[u8], EngineError> {
        if self.from == self.to {
            self.fill()?;
        }
        let from = self.from;
        self.from += most.min(self.to - from);
        Ok(self.buffer.get(from..self.from).unwrap_or_default())
    }

    /// A message that is no row.
    fn message(&mut self, kind: u8, length: usize) -> Result<Message, EngineError> {
        if length > MOST_BYTES {
            return Err(unexpected(kind));
        }
        let mut whole = BytesMut::with_capacity(HEADER_BYTES + length);
        whole.extend_from_slice(&[kind]);
        whole.extend_from_slice(&((length + HEADER_BYTES - 1) as u32).to_be_bytes());
        while whole.len() < HEADER_BYTES + length {
            let missing = HEADER_BYTES + length - whole.len();
            whole.extend_from_slice(self.some(missing)?);
        }
        Message::parse(&mut whole)?.ok_or_else(|| unexpected(kind))
    }

    /// Reads more, after a pause if the last time brought little: the server sends 8 KiB at a time, and whoever waits
    /// for each is woken for each.
    fn fill(&mut self) -> Result<(), EngineError> {
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if !self.pause.is_zero() {
            (self.wait)(self.pause);
        }
        let room = self.buffer.get_mut(self.to..).unwrap_or_default();
        let count = loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if count == 0 {
            return Err(broken("the server has closed the connection"));
        }
        self.pause = pause(self.pause, count);
        self.to += count;
        Ok(())
    }
}

/// How long to wait after so many bytes, which came after such a pause: about as long as it takes until there is
/// enough. A Unix socket holds some 100 KiB, so that a server that has much hardly waits for us. Pure.
fn pause(last: Duration, bytes: usize) -> Duration {
    if bytes >= ENOUGH_BYTES {
        return Duration::ZERO;
    }
    let times = (ENOUGH_BYTES / bytes.max(1)).clamp(1, 4) as u32;
    (last.max(SHORTEST_PAUSE) * times).min(LONGEST_PAUSE)
}

fn broken(problem: &str) -> EngineError {
    EngineError { text: problem.into(), code: None }
}

fn unexpected(kind: u8) -> EngineError {
    broken(&format!("the server sent a message of kind {:?} that does not belong here", char::from(kind)))
}

/// What the server says ([PostgreSQL, "Error and Notice Message Fields"]).
///
/// [PostgreSQL, "Error and Notice Message Fields"]: https://www.postgresql.org/docs/current/protocol-error-fields.html
fn refused(body: &ErrorResponseBody) -> EngineError {
    let mut error = broken("the server refused without a word");
    let mut fields = body.fields();
    while let Ok(Some(field)) = fallible_iterator::FallibleIterator::next(&mut fields) {
        let text = kit_core::sanitise(&String::from_utf8_lossy(field.value_bytes()));
        match field.type_() {
            b'M' => error.text = text.into(),
            b'C' => error.code = Some(text.into()),
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Gives what was written down for it, in pieces of such a size, and then nothing.
    struct Script {
        gives: VecDeque<u8>,
        piece: usize,
        heard: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
            let count = room.len().min(self.piece).min(self.gives.len());
            for (to, from) in room.iter_mut().zip(self.gives.drain(..count)) {
                *to = from;
            }
            Ok(count)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.heard.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    fn copied(rows: &[&[u8]], end: &[Vec<u8>]) -> Vec<u8> {
        let rows = rows.iter().flat_map(|row| message(COPY_DATA, row));
        message(b'H', &[0, 0, 1, 0, 0]).into_iter().chain(rows).chain(end.concat()).collect()
    }

    fn end(rows: usize) -> Vec<Vec<u8>> {
        let tag = format!("COPY {rows}\0");
        vec![message(b'c', b""), message(b'C', tag.as_bytes()), message(b'Z', b"T")]
    }

    fn run(gives: &[u8], piece: usize) -> Result<(u64, Vec<Vec<u8>>), EngineError> {
        let mut wire =
            Wire::new(Script { gives: gives.iter().copied().collect(), piece, heard: Vec::new() }, |_| {});
        let mut portions = Vec::new();
        let told = wire.copy_out("COPY t TO STDOUT", |portion| {
            portions.push(portion);
            true
        })?;
        assert!(wire.stream.gives.is_empty(), "all of it was read");
        assert_eq!(wire.stream.heard, message(b'Q', b"COPY t TO STDOUT\0"));
        Ok((told.unwrap(), portions))
    }

    #[test]
    fn rows_come_back_however_they_are_cut() {
        let large = [vec![b'x'; PORTION_BYTES * 2 + 7], b"\n".to_vec()].concat();
        let notice = message(b'N', b"SNOTICE\0\0");
        let rows: [&[u8]; 4] = [b"one\n", b"\n", &large, b"two\tthree\n"];
        let gives = copied(&rows, &[vec![notice], end(4)].concat());
        for piece in [1, 5, 4096, usize::MAX] {
            let (told, portions) = run(&gives, piece).unwrap();
            assert_eq!(told, 4, "{piece}");
            assert!(portions.concat() == rows.concat(), "{piece}");
            assert!(portions.iter().all(|portion| portion.len() <= PORTION_BYTES), "{piece}");
        }
        assert_eq!(run(&copied(&[], &end(0)), 3).unwrap(), (0, Vec::new()));
    }

    #[test]
    fn only_an_end_that_was_said_and_is_true_is_one() {
        let rows: [&[u8]; 2] = [b"one\n", b"two\n"];
        let [done, tag, ready] = end(2).try_into().unwrap();
        for (what, end, problem) in [
            ("fewer rows than it says", end(3), "says that it has sent 3 rows, and 2 came"),
            ("more rows than it says", end(1), "says that it has sent 1 rows, and 2 came"),
            ("no end of rows", vec![tag.clone(), ready.clone()], "did not say that these were all"),
            ("no count", vec![done.clone(), ready.clone()], "did not say that these were all"),
            ("another count", vec![done.clone(), message(b'C', b"SELECT 2\0"), ready], "did not say"),
            (
                "no transaction any more",
                vec![done.clone(), tag.clone(), message(b'Z', b"I")],
                "kind 'Z' that does not belong here",
            ),
            ("it closes", vec![done.clone(), tag.clone()], "closed the connection"),
            ("rows after their end", vec![done, message(COPY_DATA, b"x"), tag], "does not belong here"),
            ("an impossible length", vec![vec![COPY_DATA, 0, 0, 0, 3]], "does not belong here"),
            ("a long one that is no row", vec![vec![b'N', 0x7f, 0, 0, 0]], "does not belong here"),
            ("an unknown one", vec![message(b'?', b"")], "unknown message tag"),
        ] {
            let error = run(&copied(&rows, &end), 7).unwrap_err();
            assert!(error.text.contains(problem), "{what}: {error:?}");
        }
        let whole = copied(&rows, &self::end(2));
        for cut in 0..whole.len() {
            assert!(run(&whole[..cut], 4096).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_the_server_says_is_the_error() {
        let body = b"SERROR\0VERROR\0C42501\0Mpermission denied\x1b[2J for table t\0\0";
        let error = run(&copied(&[b"one\n"], &[message(b'E', body)]), 11).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("42501"));
        assert!(error.text.starts_with("permission denied") && !error.text.contains('\x1b'), "{error:?}");
    }

    #[test]
    fn it_waits_longer_the_less_comes_and_never_long() {
        let micros = |last: u64, bytes| pause(Duration::from_micros(last), bytes).as_micros();
        assert_eq!(micros(0, ENOUGH_BYTES), 0);
        assert_eq!(micros(1000, ENOUGH_BYTES), 0, "there is as much as can be read");
        assert_eq!(micros(0, 1), 400);
        assert_eq!(micros(100, ENOUGH_BYTES / 2), 200);
        assert_eq!(micros(200, ENOUGH_BYTES - 1), 200, "it was nearly enough");
        assert_eq!(micros(400, 1), 1000);
    }

    #[test]
    fn the_first_rows_are_not_waited_for() {
        static PAUSES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let row = vec![b'x'; ENOUGH_BYTES];
        let gives = copied(&[&row, &row, &row, &row], &end(4));
        for (piece, expected) in [(usize::MAX, 0), (ENOUGH_BYTES, 0), (ENOUGH_BYTES / 2, 8)] {
            PAUSES.store(0, std::sync::atomic::Ordering::SeqCst);
            let stream = Script { gives: gives.iter().copied().collect(), piece, heard: Vec::new() };
            let mut wire = Wire::new(stream, |_| {
                PAUSES.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
            assert_eq!(wire.copy_out("", |_| true).unwrap(), Some(4));
            assert_eq!(PAUSES.load(std::sync::atomic::Ordering::SeqCst), expected, "{piece}");
        }
    }
}
