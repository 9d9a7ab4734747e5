//! Reads along in a plain dump of `pg_dump`: is it whole, how many rows does each table have, and what of
//! it is schema? Pure, and fast: one pass, nothing held but a line that is not finished.
//!
//! `pg_dump` closes the COPY block before it dies, so a dump that broke off looks whole to `gzip` and to
//! `psql`. What shows it is the trailer, which is written last, and the number of rows.
//!
//! Statements are told from text that only looks like them (a line inside a function's body) by the comment
//! that `pg_dump` writes before every entry: `-- Data for Name: …; Type: TABLE DATA; …`.

use super::ident::Qualified;
use crate::rows::{Partial, RowDigest};
use crate::schema_file::Keep;
use kit_core::Rows;
use memchr::memchr;
use std::collections::BTreeMap;
use std::ops::Range;

const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";
pub(super) const UNKNOWN_TABLE: &str = "it holds a COPY block whose table cannot be made out";
const END_OF_ROWS: &[u8] = b"\\.";

/// What a dump holds, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The tables that have a COPY block, or several.
    pub(super) tables: BTreeMap<Qualified, RowDigest>,
    /// The positions that sequences are set to, as `last value, was it used`.
    pub(super) sequences: BTreeMap<Qualified, String>,
    /// How many bytes were read.
    pub(super) bytes: u64,
    /// A COPY block that cannot be understood.
    pub(super) problem: Option<String>,
}

/// What the last comment announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Other,
    Rows,
    Position,
    LargeObjects,
}

/// Reads a dump piece by piece.
pub(super) struct Scanner<K> {
    content: Content,
    schema: K,
    /// The line that is not finished.
    line: Vec<u8>,
    /// A statement that goes over several lines: names may hold line ends.
    statement: Vec<u8>,
    entry: Entry,
    /// Inside a COPY block: its table and the row that is not finished.
    rows: Option<(Qualified, RowDigest, Partial)>,
    /// The line before was `--`, with which every comment of `pg_dump` begins.
    after_dashes: bool,
    trailer: bool,
    /// Rows of tables that are over.
    rows_before: u64,
    /// Who is told how many rows have passed.
    told: Option<Rows>,
    /// Where lines stand that begin or end a transaction; `None`: nobody asks.
    transactions: Option<Vec<Range<u64>>>,
    /// Rows are counted, and not digested.
    only_counts: bool,
}

impl<K: Keep> Scanner<K> {
    pub(super) fn new(schema: K) -> Self {
        Self {
            content: Content::default(),
            schema,
            line: Vec::new(),
            statement: Vec::new(),
            entry: Entry::Other,
            rows: None,
            after_dashes: false,
            trailer: false,
            rows_before: 0,
            told: None,
            transactions: None,
            only_counts: false,
        }
    }

    /// The same, and rows are only counted: whoever restores compares what has arrived, not what was sent. Of use without
    /// [`finish`](Self::finish), which gives digests.
    pub(super) fn only_counting(self) -> Self {
        Self { only_counts: true, ..self }
    }

    /// The same, and lines are found that begin or end a transaction.
    pub(super) fn finding_transactions(self) -> Self {
        Self { transactions: Some(Vec::new()), ..self }
    }

    /// Where in the dump those lines stand, without their line ends, that were found since this was last asked.
    pub(super) fn take_transactions(&mut self) -> Vec<Range<u64>> {
        self.transactions.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many of the last bytes belong to a line of which nobody knows yet what it is.
    pub(super) const fn unfinished_bytes(&self) -> usize {
        self.line.len()
    }

    /// The same, and somebody is told how many rows have passed.
    pub(super) fn telling(self, rows: Rows) -> Self {
        Self { told: Some(rows), ..self }
    }

    /// The next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        self.content.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = if self.rows.is_some() { self.take_rows(bytes) } else { self.take_text(bytes) };
        }
        if let Some(told) = &self.told {
            told.passed(self.rows_before + self.rows.as_ref().map_or(0, |(_, digest, _)| digest.rows()));
        }
    }

    /// What was found, and the kept schema, after the end. The error says why the dump is not whole.
    pub(super) fn finish(self) -> Result<(Content, K), String> {
        if let Some((table, ..)) = self.rows {
            return Err(format!("it ends among the rows of table {table}"));
        }
        if !self.trailer || !self.line.is_empty() {
            return Err("the line is missing with which pg_dump says that it is complete".to_owned());
        }
        if let Some(problem) = self.content.problem {
            return Err(problem);
        }
        Ok((self.content, self.schema))
    }

    /// Why the dump would not be whole if it ended here.
    pub(super) fn incomplete(&self) -> Option<String> {
        match (&self.rows, self.trailer && self.line.is_empty()) {
            (Some((table, ..)), _) => Some(format!("it ends among the rows of table {table}")),
            (None, false) => {
                Some("the line is missing with which pg_dump says that it is complete".to_owned())
            }
            (None, true) => self.content.problem.clone(),
        }
    }

    /// Bytes that were read.
    pub(super) const fn bytes(&self) -> u64 {
        self.content.bytes
    }

    fn take_rows<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        let Some((_, digest, partial)) = &mut self.rows else { return bytes };
        while let Some(end) = memchr(b'\n', bytes) {
            let (row, rest) =
                (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default());
            bytes = rest;
            if partial.is_empty() {
                if row == END_OF_ROWS {
                    self.end_of_rows();
                    return bytes;
                }
                if self.only_counts {
                    digest.counted();
                } else {
                    digest.row(row);
                }
                continue;
            }
            let mut whole = std::mem::take(partial);
            whole.take(row);
            if whole.is(END_OF_ROWS) {
                self.end_of_rows();
                return bytes;
            }
            digest.finished(&whole);
        }
        partial.take(bytes);
        &[]
    }

    fn end_of_rows(&mut self) {
        self.schema.keep(b"\\.\n");
        // Rows may come in several blocks. One that stands there twice is found by the number of rows.
        if let Some((table, digest, _)) = self.rows.take() {
            self.rows_before += digest.rows();
            self.content.tables.entry(table).or_default().join(&digest);
        }
    }

    fn problem(&mut self, text: String) {
        self.content.problem.get_or_insert(text);
    }

    fn take_text<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            return &[];
        };
        let (head, rest) = bytes.split_at(end + 1);
        let mut begun = std::mem::take(&mut self.line);
        let line = if begun.is_empty() {
            head
        } else {
            begun.extend_from_slice(head);
            &begun
        };
        self.transaction(line, rest.len());
        self.line(line);
        rest
    }

    /// Finds what begins or ends the transaction around large objects; so many bytes came with the line that stand
    /// behind it.
    fn transaction(&mut self, line: &[u8], behind: usize) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if self.entry != Entry::LargeObjects || !matches!(text, b"BEGIN;" | b"COMMIT;") {
            return;
        }
        if let Some(found) = &mut self.transactions {
            let end = self.content.bytes - behind as u64 - 1;
            found.push(end - text.len() as u64..end);
        }
    }

    /// One line outside of rows, with its line end.
    fn line(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if self.entry == Entry::LargeObjects && text.starts_with(b"SELECT pg_catalog.lowrite(") {
            return;
        }
        self.schema.keep(line);
        let framed = std::mem::replace(&mut self.after_dashes, text == b"--");
        if text == TRAILER && framed {
            self.trailer = true;
        } else if !(text.is_empty() || text == b"--" || text.starts_with(b"\\unrestrict ")) {
            // It is the last line that says anything.
            self.trailer = false;
        }
        if !self.statement.is_empty() {
            self.statement(text);
        } else if text.starts_with(b"-- ") {
            if let Some(entry) = announced(text) {
                self.entry = entry;
            }
        } else if self.entry == Entry::Rows && text.starts_with(b"COPY ") {
            self.statement(text);
        } else if self.entry == Entry::Position && text.starts_with(b"SELECT pg_catalog.setval(") {
            self.position(text);
        } else if !text.is_empty() && text != b"--" && matches!(self.entry, Entry::Rows | Entry::Position) {
            self.entry = Entry::Other;
        }
    }

    /// One more line of a COPY statement, up to `FROM stdin;`.
    fn statement(&mut self, text: &[u8]) {
        if !self.statement.is_empty() {
            self.statement.push(b'\n');
        }
        self.statement.extend_from_slice(text);
        if !text.ends_with(b" FROM stdin;") {
            return;
        }
        let statement = std::mem::take(&mut self.statement);
        let table = std::str::from_utf8(&statement)
            .ok()
            .and_then(|statement| statement.strip_prefix("COPY "))
            .and_then(Qualified::parse);
        self.entry = Entry::Other;
        match table {
            Some((table, _)) => self.rows = Some((table, RowDigest::default(), Partial::default())),
            None => {
                self.problem(UNKNOWN_TABLE.to_owned());
                let unknown = Qualified { schema: String::new(), name: String::new() };
                self.rows = Some((unknown, RowDigest::default(), Partial::default()));
            }
        }
    }

    /// `SELECT pg_catalog.setval('public.orders_id_seq', 42, true);`
    fn position(&mut self, text: &[u8]) {
        self.entry = Entry::Other;
        let parsed = std::str::from_utf8(text).ok().and_then(|text| {
            let text = text.strip_prefix("SELECT pg_catalog.setval(")?.strip_suffix(");")?;
            let (name, position) = text.trim_start_matches('E').strip_prefix('\'')?.rsplit_once("', ")?;
            let name = name.replace("''", "'").replace("\\\\", "\\");
            Some((Qualified::parse(&name)?.0, position.to_owned()))
        });
        match parsed {
            Some((sequence, position)) => {
                self.content.sequences.insert(sequence, position);
            }
            None => self.problem("it sets a sequence whose name cannot be made out".to_owned()),
        }
    }
}

/// What a comment before an entry says; `None` if it is no such comment.
fn announced(comment: &[u8]) -> Option<Entry> {
    let has = |needle: &[u8]| memchr::memmem::find(comment, needle).is_some();
    if comment.starts_with(b"-- Data for Name: ") {
        if has(b"; Type: TABLE DATA; ") {
            return Some(Entry::Rows);
        }
        // `BLOBS` up to 16, `BLOBS` with other names from 17 on.
        return Some(if has(b"; Type: BLOBS; ") { Entry::LargeObjects } else { Entry::Other });
    }
    if comment.starts_with(b"-- Name: ") {
        return Some(if has(b"; Type: SEQUENCE SET; ") { Entry::Position } else { Entry::Other });
    }
    None
}

#[cfg(test)]
mod tests;
