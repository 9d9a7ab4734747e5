//! Reads along in a dump of `mariadb-dump` or `mysqldump`: is it whole, how many rows does each table have,
//! what code does it bring, and what of it is not rows? Pure, and fast: one pass, nothing held but a line
//! that is not finished.
//!
//! Statements are told from text that only looks like them by the comment that the program writes before
//! the rows of a table, and by `DELIMITER`, between two of which only bodies of triggers, events and routines
//! stand. Rows are told by their parentheses; a string in them has no line end, and its quotes are escaped.

use super::ident::identifier;
use crate::rows::{Partial, RowDigest};
use crate::schema_file::Keep;
use kit_core::Rows;
use memchr::{memchr, memchr2};
use std::collections::BTreeMap;

/// What a dump holds, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The tables that have a section of rows.
    pub(super) tables: BTreeMap<String, RowDigest>,
    /// Data that lies in no table: where `AUTO_INCREMENT` and sequences stand, which events run.
    pub(super) beyond: Vec<String>,
    /// Views by the name of their final definition.
    pub(super) views: Vec<String>,
    /// How many triggers, events and routines it creates.
    pub(super) code: Code,
    /// How many bytes were read.
    pub(super) bytes: u64,
    /// The longest `INSERT`.
    pub(super) longest_insert_bytes: u64,
    problem: Option<String>,
}

/// Triggers, events, routines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) triggers: u64,
    pub(super) events: u64,
    pub(super) routines: u64,
}

/// Where in the dump we are.
#[derive(Debug)]
enum At {
    Text,
    /// Between two `DELIMITER`s.
    Body,
    /// In an `INSERT`, up to its first row.
    Insert,
    Rows(Row),
}

/// Where among rows.
#[derive(Debug)]
enum Row {
    Between,
    Inside { quoted: bool, escaped: bool },
}

/// Reads a dump piece by piece.
pub(super) struct Scanner<K> {
    content: Content,
    schema: K,
    /// The line that is not finished.
    line: Vec<u8>,
    at: At,
    /// The table whose rows come, and what was read of them.
    rows: Option<(String, RowDigest)>,
    partial: Partial,
    /// The table whose definition stands here.
    defining: Option<String>,
    /// The line before was `--`, with which every comment of the program begins.
    after_dashes: bool,
    trailer: bool,
    /// Where the `INSERT` begins that is being read.
    insert_from: u64,
    /// Rows of tables that are over.
    rows_before: u64,
    /// Who is told how many rows have passed.
    told: Option<Rows>,
}

const TRAILER: &[u8] = b"-- Dump completed";
const MISSING: &str = "the line is missing with which the dump program says that it is complete";

impl<K: Keep> Scanner<K> {
    pub(super) fn new(schema: K) -> Self {
        Self {
            content: Content::default(),
            schema,
            line: Vec::new(),
            at: At::Text,
            rows: None,
            partial: Partial::default(),
            defining: None,
            after_dashes: false,
            trailer: false,
            insert_from: 0,
            rows_before: 0,
            told: None,
        }
    }

    /// The same, and somebody is told how many rows have passed.
    pub(super) fn telling(self, rows: Rows) -> Self {
        Self { told: Some(rows), ..self }
    }

    /// The next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        self.content.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Text | At::Body => self.take_line(bytes),
                At::Insert => self.take_insert(bytes),
                At::Rows(_) => self.take_rows(bytes),
            };
        }
        if let Some(told) = &self.told {
            told.passed(self.rows_before + self.rows.as_ref().map_or(0, |(_, digest)| digest.rows()));
        }
    }

    /// What was found, and the kept schema, after the end. The error says why the dump is not whole.
    pub(super) fn finish(mut self) -> Result<(Content, K), String> {
        // The last line may have no end.
        if !self.line.is_empty() && self.incomplete().is_none() {
            let line = std::mem::take(&mut self.line);
            self.text(&line);
        }
        match self.incomplete() {
            Some(problem) => Err(problem),
            None => Ok((self.content, self.schema)),
        }
    }

    /// Why the dump would not be whole if it ended here.
    pub(super) fn incomplete(&self) -> Option<String> {
        let unfinished = match (&self.at, &self.rows) {
            (At::Text, None) => None,
            (_, Some((table, _))) => Some(format!("it ends among the rows of table {table:?}")),
            _ => Some("it ends in the middle of a statement".to_owned()),
        };
        // Without its date it is the last line, and has no end.
        let is_trailer = self.trailer && self.line.is_empty() || self.line.starts_with(TRAILER);
        unfinished
            .or_else(|| (!is_trailer).then(|| MISSING.to_owned()))
            .or_else(|| self.content.problem.clone())
    }

    /// Bytes that were read.
    pub(super) const fn bytes(&self) -> u64 {
        self.content.bytes
    }

    fn problem(&mut self, text: String) {
        self.content.problem.get_or_insert(text);
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        // An INSERT may be one line of megabytes: its rows are not collected.
        const INSERT: &[u8] = b"INSERT INTO `";
        if self.rows.is_some() && self.line.len() + bytes.len() >= INSERT.len() {
            let missing = INSERT.len().saturating_sub(self.line.len());
            let mut head = self.line.clone();
            head.extend_from_slice(bytes.get(..missing).unwrap_or_default());
            if head.starts_with(INSERT) {
                self.at = At::Insert;
                self.insert_from = self.content.bytes - (self.line.len() + bytes.len()) as u64;
                return bytes;
            }
        }
        let Some(end) = memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            return &[];
        };
        let (head, rest) = bytes.split_at(end + 1);
        let mut line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.text(head);
        } else {
            line.extend_from_slice(head);
            self.text(&line);
        }
        rest
    }

    /// One line outside of rows, with its line end.
    fn text(&mut self, line: &[u8]) {
        let kept = line;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if matches!(self.at, At::Body) {
            self.schema.keep(kept);
            self.body(line);
            return;
        }
        self.schema.keep(kept);
        let framed = std::mem::replace(&mut self.after_dashes, line == b"--");
        if line.starts_with(TRAILER) {
            self.trailer = true;
        } else if !line.is_empty() {
            // It is the last line that says anything.
            self.trailer = false;
        }
        if line == b"DELIMITER ;;" {
            self.at = At::Body;
        } else if let Some(comment) = line.strip_prefix(b"-- ").filter(|_| framed) {
            self.announced(comment);
        } else if line == b"UNLOCK TABLES;" {
            self.end_of_table();
        } else if line.starts_with(b") ENGINE=") {
            self.table_options(line);
        } else if line.starts_with(b"DO SETVAL(") || line.starts_with(b"SELECT SETVAL(") {
            self.content.beyond.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    /// `Dumping data for table `orders``, `Final view structure for view `v``
    fn announced(&mut self, comment: &[u8]) {
        let Ok(comment) = std::str::from_utf8(comment) else { return };
        let name = |prefix: &str| Some(identifier(comment.strip_prefix(prefix)?)?.0);
        self.defining = name("Table structure for table ");
        if let Some(table) = name("Dumping data for table ") {
            self.end_of_table();
            self.rows = Some((table, RowDigest::default()));
        } else if let Some(view) = name("Final view structure for view ") {
            self.content.views.push(view);
        }
    }

    fn end_of_table(&mut self) {
        let Some((table, digest)) = self.rows.take() else { return };
        self.rows_before += digest.rows();
        if self.content.tables.contains_key(&table) {
            self.problem(format!("the rows of table {table:?} stand there twice"));
        }
        self.content.tables.insert(table, digest);
    }

    /// `) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4`
    fn table_options(&mut self, line: &[u8]) {
        let Some(table) = self.defining.take() else { return };
        let mut words = line.split(|byte| *byte == b' ').skip(2);
        if let Some(number) = words.next().and_then(|word| word.strip_prefix(b"AUTO_INCREMENT=")) {
            let number = String::from_utf8_lossy(number);
            self.content.beyond.push(format!("table {table:?} continues with {number}"));
        }
    }

    /// A line between two `DELIMITER`s.
    fn body(&mut self, line: &[u8]) {
        if line == b"DELIMITER ;" {
            self.at = At::Text;
        } else if line.starts_with(b"/*!50003 CREATE*/ ") && has(line, b" TRIGGER ") {
            self.content.code.triggers += 1;
        } else if line.starts_with(b"/*!50106 CREATE*/ ") && has(line, b" EVENT ") {
            self.content.code.events += 1;
            let running = event_status(line).map_or("in an unknown way", |(_, status)| status);
            self.content.beyond.push(format!("event {}: {running}", event_name(line)));
        } else if line.starts_with(b"CREATE ") && is_routine(line) {
            self.content.code.routines += 1;
        }
    }

    /// From `INSERT INTO` to the first parenthesis of a row. Only this much of it is collected.
    fn take_insert<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.line.len();
        let room = HEAD_BYTES.saturating_sub(before).min(bytes.len()).min(HEAD_STEP_BYTES);
        self.line.extend_from_slice(bytes.get(..room).unwrap_or_default());
        let head = insert_head(&self.line);
        match head {
            Some(Some(length)) => {
                let taken = length.saturating_sub(before);
                let table = std::str::from_utf8(self.line.get(12..).unwrap_or_default())
                    .ok()
                    .or_else(|| valid_prefix(self.line.get(12..).unwrap_or_default()))
                    .and_then(identifier)
                    .map(|(table, _)| table);
                if table.as_ref() != self.rows.as_ref().map(|(table, _)| table) {
                    self.problem("it holds rows of another table than it says".to_owned());
                }
                self.line.clear();
                self.at = At::Rows(Row::Between);
                bytes.get(taken..).unwrap_or_default()
            }
            Some(None) if self.line.len() < HEAD_BYTES => bytes.get(room..).unwrap_or_default(),
            _ => {
                self.problem("it holds an INSERT that cannot be made out".to_owned());
                self.line.clear();
                self.at = At::Rows(Row::Between);
                bytes.get(room..).unwrap_or_default()
            }
        }
    }

    fn take_rows<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (At::Rows(row), Some((_, digest))) = (&mut self.at, &mut self.rows) else {
            self.at = At::Text;
            return bytes;
        };
        let mut begin = 0;
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            match row {
                Row::Between => match byte {
                    b'(' => {
                        begin = index;
                        *row = Row::Inside { quoted: false, escaped: false };
                        index += 1;
                    }
                    b';' => {
                        self.at = At::Text;
                        let end = self.content.bytes - (bytes.len() - index - 1) as u64;
                        let longest = &mut self.content.longest_insert_bytes;
                        *longest = (*longest).max(end - self.insert_from);
                        // Its line end belongs to it.
                        let rest = bytes.get(index + 1..).unwrap_or_default();
                        return rest.strip_prefix(b"\n").unwrap_or(rest);
                    }
                    _ => index += 1,
                },
                Row::Inside { quoted: false, .. } => {
                    let Some(found) = bytes.get(index..).and_then(|rest| memchr2(b'\'', b')', rest)) else {
                        break;
                    };
                    index += found;
                    if bytes.get(index) == Some(&b'\'') {
                        *row = Row::Inside { quoted: true, escaped: false };
                        index += 1;
                        continue;
                    }
                    index += 1;
                    let whole = bytes.get(begin..index).unwrap_or_default();
                    if self.partial.is_empty() {
                        digest.row(whole);
                    } else {
                        let mut partial = std::mem::take(&mut self.partial);
                        partial.take(whole);
                        digest.finished(&partial);
                    }
                    *row = Row::Between;
                }
                Row::Inside { quoted: true, escaped: true } => {
                    *row = Row::Inside { quoted: true, escaped: false };
                    index += 1;
                }
                Row::Inside { quoted: true, .. } => {
                    let Some(found) = bytes.get(index..).and_then(|rest| memchr2(b'\'', b'\\', rest)) else {
                        break;
                    };
                    index += found;
                    *row = match bytes.get(index) {
                        Some(b'\\') => Row::Inside { quoted: true, escaped: true },
                        _ => Row::Inside { quoted: false, escaped: false },
                    };
                    index += 1;
                }
            }
        }
        if matches!(row, Row::Inside { .. }) {
            self.partial.take(bytes.get(begin..).unwrap_or_default());
        }
        &[]
    }
}

/// A name has at most 64 characters, a table at most 4096 columns; the head of an `INSERT` names them.
const HEAD_BYTES: usize = 1 << 20;
/// Most heads are short; this much is looked at first.
const HEAD_STEP_BYTES: usize = 4096;

/// How long the head of an `INSERT` is, up to and with `VALUES`. `Some(None)`: it goes on; `None`: it is none.
fn insert_head(line: &[u8]) -> Option<Option<usize>> {
    let mut at = b"INSERT INTO ".len();
    let mut quoted = false;
    let mut depth = 0_u32;
    while let Some(byte) = line.get(at) {
        match byte {
            b'`' => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b'V' if depth == 0 => {
                let rest = line.get(at..).unwrap_or_default();
                if rest.starts_with(b"VALUES") {
                    return Some(Some(at + b"VALUES".len()));
                }
                return if b"VALUES".starts_with(rest) { Some(None) } else { None };
            }
            b' ' | b',' => {}
            _ => return None,
        }
        at += 1;
    }
    Some(None)
}

fn valid_prefix(bytes: &[u8]) -> Option<&str> {
    let error = std::str::from_utf8(bytes).err()?;
    std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
}

fn has(line: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(line, needle).is_some()
}

/// A line that begins a routine: `CREATE DEFINER=`a`@`b` FUNCTION `f`(…`, also `PACKAGE`s of MariaDB, whose
/// names are quoted as Oracle does it.
fn is_routine(line: &[u8]) -> bool {
    [&b" FUNCTION "[..], b" PROCEDURE ", b" PACKAGE ", b" PACKAGE BODY "].iter().any(|kind| {
        let name = memchr::memmem::find(line, kind).and_then(|at| line.get(at + kind.len()));
        matches!(name, Some(b'`' | b'"'))
    })
}

/// How an event is switched, and where the word stands. The server writes these definitions itself, and what
/// a user may have written (the comment, the body) comes after it.
pub(super) fn event_status(line: &[u8]) -> Option<(usize, &'static str)> {
    const MARK: &[u8] = b" PRESERVE ";
    let at = memchr::memmem::find(line, b" ON COMPLETION ")?;
    let mark = memchr::memmem::find(line.get(at..)?, MARK)?;
    let word = at + mark + MARK.len();
    let rest = line.get(word..)?;
    // MySQL calls replicas so since 8.2.
    ["DISABLE ON SLAVE", "DISABLE ON REPLICA", "DISABLE", "ENABLE"]
        .into_iter()
        .find(|status| rest.starts_with(status.as_bytes()))
        .map(|status| (word, status))
}

fn event_name(line: &[u8]) -> String {
    let name = memchr::memmem::find(line, b" EVENT `")
        .and_then(|at| line.get(at + b" EVENT ".len()..))
        .map(String::from_utf8_lossy)
        .and_then(|text| Some(identifier(&text)?.0));
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests;
