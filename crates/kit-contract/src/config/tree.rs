//! A TOML document as a tree in which every value knows where it stands, and overlays on it.
//!
//! Ordinary deserialisation loses positions as soon as an overlay is merged into the document; here
//! a merged value keeps the position of the line that it came from, so that an error names that line.

use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Line and column, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Position,
}

/// A TOML value. Dates are kept as text: nothing in the configuration is a date.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(BTreeMap<String, Entry>),
}

/// A key of a table, where the key stands, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key_at: Position,
    pub(super) node: Node,
}

/// Parses `text`; the error is a message and where it is.
pub(super) fn parse(text: &str) -> Result<Node, (String, Position)> {
    let lines = Lines::new(text);
    let document = DeTable::parse(text).map_err(|error| {
        let at = lines.position(error.span().map_or(0, |span| span.start));
        (error.message().to_owned(), at)
    })?;
    let at = lines.position(0);
    Ok(Node { value: table(document.get_ref(), &lines)?, at })
}

/// Lays `overlay` over `base`: tables are merged key by key, everything else is replaced whole.
pub(super) fn merge(base: &mut Node, overlay: Node) {
    match (&mut base.value, overlay) {
        (Value::Table(base), Node { value: Value::Table(overlay), .. }) => {
            for (key, entry) in overlay {
                match base.get_mut(&key) {
                    Some(existing) => merge(&mut existing.node, entry.node),
                    None => {
                        base.insert(key, entry);
                    }
                }
            }
        }
        (_, overlay) => *base = overlay,
    }
}

fn table(table: &DeTable<'_>, lines: &Lines<'_>) -> Result<Value, (String, Position)> {
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let key_at = lines.position(key.span().start);
        let at = lines.position(value.span().start);
        let node = Node { value: convert(value.get_ref(), at, lines)?, at };
        entries.insert(key.get_ref().to_string(), Entry { key_at, node });
    }
    Ok(Value::Table(entries))
}

fn convert(value: &DeValue<'_>, at: Position, lines: &Lines<'_>) -> Result<Value, (String, Position)> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| (format!("integer {number} is too large"), at))?,
        ),
        DeValue::Float(number) => {
            Value::Float(number.as_str().parse().map_err(|_| (format!("{number} is not a number"), at))?)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(items) => {
            let mut nodes = Vec::new();
            for item in items {
                let at = lines.position(item.span().start);
                nodes.push(Node { value: convert(item.get_ref(), at, lines)?, at });
            }
            Value::Array(nodes)
        }
        DeValue::Table(inner) => table(inner, lines)?,
    })
}

/// Turns byte offsets into positions.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1));
        Self { text, starts: starts.collect() }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(1, |before| before.chars().count() + 1);
        Position { line, column }
    }
}
