//! Lines out of bytes, without ever holding more than one line of limited length.

use std::collections::VecDeque;

/// Longest line that is kept of what only goes to the log.
pub(crate) const LOG_LINE_BYTES: usize = 64 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    limit_bytes: usize,
    /// The line under way was longer than the limit; its rest is dropped.
    overlong: bool,
}

impl Splitter {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { line: Vec::new(), limit_bytes, overlong: false }
    }

    /// Takes the next bytes. `on_line` gets each finished line, decoded lossily, without its line
    /// break, and whether it was longer than the limit: it then holds the beginning.
    pub(crate) fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(&str, bool)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = self.limit_bytes - self.line.len();
            self.overlong |= text.len() > room;
            self.line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ends {
                self.flush(&mut on_line);
            }
        }
    }

    /// Gives the last line, if it had no line break.
    pub(crate) fn finish(&mut self, mut on_line: impl FnMut(&str, bool)) {
        if !self.line.is_empty() {
            self.flush(&mut on_line);
        }
    }

    /// True if the line under way is already longer than the limit.
    pub(crate) fn is_overlong(&self) -> bool {
        self.overlong
    }

    fn flush(&mut self, on_line: &mut impl FnMut(&str, bool)) {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        on_line(&String::from_utf8_lossy(line), self.overlong);
        self.line.clear();
        self.overlong = false;
    }
}

/// The last lines of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    const LINES: usize = 20;

    pub(crate) fn push(&mut self, line: String) {
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let mut splitter = Splitter::new(5);
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, |line, overlong| lines.push((line.to_owned(), overlong)));
        }
        splitter.finish(|line, overlong| lines.push((line.to_owned(), overlong)));
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        type Case<'a> = (&'a [u8], &'a [(&'a str, bool)]);
        let table: [Case<'_>; 7] = [
            (b"", &[]),
            (b"a\nb", &[("a", false), ("b", false)]),
            (b"a\r\n\nb\n", &[("a", false), ("", false), ("b", false)]),
            (b"12345\n", &[("12345", false)]),
            (b"123456\n7\n", &[("12345", true), ("7", false)]),
            (b"1234567890", &[("12345", true)]),
            (b"a\xffb\n", &[("a\u{fffd}b", false)]),
        ];
        for (bytes, wanted) in table {
            let wanted: Vec<_> = wanted.iter().map(|(line, cut)| ((*line).to_owned(), *cut)).collect();
            assert_eq!(split(&[bytes]), wanted, "{bytes:?} at once");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(split(&single), wanted, "{bytes:?} one by one");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut splitter = Splitter::new(100);
        for _ in 0..1000 {
            splitter.push(&[b'x'; 1000], |_, _| {});
        }
        assert!(splitter.is_overlong(), "known before the line ends");
        assert!(splitter.line.capacity() <= 200, "{}", splitter.line.capacity());
    }

    #[test]
    fn the_tail_keeps_the_newest() {
        let mut tail = Tail::default();
        for number in 0..25 {
            tail.push(number.to_string());
        }
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "5", "24"));
    }
}
