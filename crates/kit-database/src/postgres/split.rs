//! Takes a plain dump of `pg_dump` apart while it streams: what comes before the rows, the rows, what stands between
//! them, and what comes after. Pure.
//!
//! `pg_dump` writes all of the schema that rows need before the first row, and indexes, constraints and triggers after
//! the last, and announces every entry with a comment, as [`scan`](super::scan) has it.

use bytes::{Buf as _, BytesMut};
use memchr::{memchr, memrchr};

/// The line behind the last row.
const END_OF_ROWS: &[u8] = b"\\.\n";

/// Where something of a dump belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The schema that rows need.
    Before,
    /// A COPY statement.
    Copy,
    /// Whole rows of it.
    Rows,
    /// The end of its rows.
    EndOfRows,
    /// Positions of sequences, contents of large objects.
    Between,
    /// Indexes, constraints, triggers, rights.
    After,
}

/// Reads a dump piece by piece.
#[derive(Default)]
pub(super) struct Splitter {
    /// What was read and not yet given out.
    read: BytesMut,
    /// So much of its beginning has no line end.
    searched: usize,
    /// A COPY statement that goes over several lines.
    statement: BytesMut,
    rows: bool,
    announced_rows: bool,
    /// The line before was `--`, with which every comment of `pg_dump` begins.
    after_dashes: bool,
    /// Outside of all entries: among the settings of a `pg_dump`, or behind its closing line.
    around: bool,
    place: Place,
    /// Settings that every session needs: all that stands before the first entry.
    prelude: Vec<u8>,
    prelude_is_whole: bool,
    /// Where things are put that are made from here on; the last of each holds.
    defaults: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Among,
    After,
}

impl Splitter {
    /// Where the next bytes are to be put, behind those that are there. Whoever reads into it saves a copy of everything.
    pub(super) const fn read(&mut self) -> &mut BytesMut {
        &mut self.read
    }

    /// Gives what was read, as far as it is complete, in order.
    pub(super) fn take(&mut self, out: &mut Vec<(Part, BytesMut)>) {
        let mut read = std::mem::take(&mut self.read);
        while !read.is_empty() {
            let goes_on =
                if self.rows { self.take_rows(&mut read, out) } else { self.take_line(&mut read, out) };
            if !goes_on {
                break;
            }
        }
        self.read = read;
    }

    /// What every session begins with.
    pub(super) fn prelude(&self) -> &[u8] {
        &self.prelude
    }

    /// What a session for [`Part::After`] needs besides.
    pub(super) fn defaults(&self) -> &[u8] {
        &self.defaults
    }

    /// Whole rows up to the end of the block, or as many as there are. True: there may be more in what was read.
    fn take_rows(&mut self, read: &mut BytesMut, out: &mut Vec<(Part, BytesMut)>) -> bool {
        let unknown = read.get(self.searched..).unwrap_or_default();
        let end = match read.strip_prefix(END_OF_ROWS) {
            Some(_) => Some(0),
            None => memchr::memmem::find(unknown, b"\n\\.\n").map(|at| self.searched + at + 1),
        };
        // The end may just be coming in: the last line waits.
        let whole = end.unwrap_or_else(|| memrchr(b'\n', unknown).map_or(0, |at| self.searched + at + 1));
        if whole > 0 {
            out.push((Part::Rows, read.split_to(whole)));
        }
        self.searched = if end.is_some() { 0 } else { read.len() };
        if end.is_none() {
            return false;
        }
        self.rows = false;
        out.push((Part::EndOfRows, read.split_to(END_OF_ROWS.len())));
        true
    }

    /// The next line, if it is whole. True: there may be more in what was read.
    fn take_line(&mut self, read: &mut BytesMut, out: &mut Vec<(Part, BytesMut)>) -> bool {
        let unknown = read.get(self.searched..).unwrap_or_default();
        let Some(end) = memchr(b'\n', unknown).map(|at| self.searched + at) else {
            self.searched = read.len();
            return false;
        };
        self.searched = 0;
        self.line(read.get(..=end).unwrap_or_default(), out);
        read.advance(end + 1);
        true
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<(Part, BytesMut)>) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if self.announced_rows && (!self.statement.is_empty() || text.starts_with(b"COPY ")) {
            // Only rows themselves show that everything before them has come: a text in the schema may hold what looks
            // like the comment.
            if self.place == Place::Before {
                self.place = Place::Among;
            }
            self.statement.extend_from_slice(line);
            if text.ends_with(b" FROM stdin;") {
                self.rows = true;
                self.announced_rows = false;
                out.push((Part::Copy, std::mem::take(&mut self.statement)));
            }
            return;
        }
        let framed = std::mem::replace(&mut self.after_dashes, text == b"--");
        if framed && (text.starts_with(b"-- Name: ") || text.starts_with(b"-- Data for Name: ")) {
            self.around = false;
            self.entry(text);
        } else if framed && text.starts_with(b"-- PostgreSQL database dump") {
            self.around = true;
        } else if self.restricts_again(text) {
            return;
        } else if !text.is_empty() && text != b"--" {
            self.announced_rows = false;
        }
        if !self.prelude_is_whole {
            self.prelude.extend_from_slice(line);
        }
        let default = [&b"SET default_tablespace = "[..], b"SET default_table_access_method = "];
        if self.place == Place::Before && default.iter().any(|start| text.starts_with(start)) {
            self.defaults.extend_from_slice(line);
        }
        let part = match self.place {
            Place::Before => Part::Before,
            Place::Among => Part::Between,
            Place::After => Part::After,
        };
        match out.last_mut() {
            Some((last, text)) if *last == part => text.extend_from_slice(line),
            _ => out.push((part, line.into())),
        }
    }

    /// `pg_dump` forbids psql's own commands from its first line to its last, under a random word. Every session of ours
    /// is under that of the first `pg_dump` for good; where a dump was made by two, it must not hear of the second's.
    fn restricts_again(&self, text: &[u8]) -> bool {
        let marks = [&b"\\restrict "[..], b"\\unrestrict "];
        self.around && self.place != Place::Before && marks.iter().any(|mark| text.starts_with(mark))
    }

    fn entry(&mut self, comment: &[u8]) {
        self.prelude_is_whole = true;
        let has = |needle: &[u8]| memchr::memmem::find(comment, needle).is_some();
        let is_data = comment.starts_with(b"-- Data for Name: ");
        self.announced_rows = is_data && has(b"; Type: TABLE DATA; ");
        if self.place == Place::Among && !is_data && !has(b"; Type: SEQUENCE SET; ") {
            self.place = Place::After;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\nSET client_encoding = 'UTF8';\n\n--\n\
        -- Name: f(); Type: FUNCTION; Schema: public; Owner: admin\n--\n\nCREATE FUNCTION f() AS $$\nCOPY a (b) FROM stdin;\n\
        --\n-- Data for Name: a; Type: TABLE DATA; Schema: x\n--\nSELECT 1;\n$$;\n\nSET default_tablespace = '';\n--\n-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: admin\n--\n\n\
        COPY public.\"a\nb\" (b) FROM stdin;\n1\n\\\\.\n2\n\\.\n\n\n--\n\
        -- Data for Name: e; Type: TABLE DATA; Schema: public; Owner: admin\n--\n\nCOPY public.e (b) FROM stdin;\n\\.\n\n--\n\
        -- Name: s; Type: SEQUENCE SET; Schema: public; Owner: admin\n--\n\nSELECT pg_catalog.setval('public.s', 2, true);\n\n\
        --\n-- Name: a a_pkey; Type: CONSTRAINT; Schema: public; Owner: admin\n--\n\nALTER TABLE a ADD PRIMARY KEY (b);\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n";

    fn split(piece: usize) -> (Vec<(Part, String)>, Splitter) {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        for piece in DUMP.as_bytes().chunks(piece) {
            splitter.read().extend_from_slice(piece);
            splitter.take(&mut out);
        }
        let mut joined: Vec<(Part, String)> = Vec::new();
        for (part, bytes) in out {
            let text = String::from_utf8(bytes.into()).unwrap();
            match joined.last_mut() {
                Some((last, before)) if *last == part => before.push_str(&text),
                _ => joined.push((part, text)),
            }
        }
        (joined, splitter)
    }

    #[test]
    fn every_byte_has_its_part_however_it_comes() {
        let whole = split(DUMP.len()).0;
        let parts: Vec<Part> = whole.iter().map(|(part, _)| *part).collect();
        use Part::{After, Before, Between, Copy, EndOfRows, Rows};
        assert_eq!(
            parts,
            [Before, Copy, Rows, EndOfRows, Between, Copy, EndOfRows, Between, After],
            "{whole:?}"
        );
        assert_eq!(whole[2].1, "1\n\\\\.\n2\n", "a row that looks like the end is none");
        assert!(whole[0].1.contains("SELECT 1;\n$$;"), "a body is no statement");
        assert!(whole[7].1.contains("setval") && whole[8].1.contains("ADD PRIMARY KEY"));
        // Sessions stay under the restriction with which each of them begins.
        let expected = DUMP.strip_suffix("\\unrestrict x\n").unwrap();
        assert_eq!(whole.iter().map(|(_, text)| text.as_str()).collect::<String>(), expected);
        for piece in [1, 2, 3, 7, 64] {
            let (found, splitter) = split(piece);
            assert_eq!(found, whole, "{piece}");
            assert!(splitter.prelude().ends_with(b"SET client_encoding = 'UTF8';\n\n--\n"));
            assert_eq!(splitter.defaults(), b"SET default_tablespace = '';\n");
        }
    }
}
