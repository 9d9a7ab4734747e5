//! What a database holds, and how two of them differ. Pure.

use kit_contract::Sha256;
use kit_contract::body::{ContentDigests, TableRows};
use std::collections::BTreeMap;

/// How thoroughly a database is examined. Integrity and foreign keys are checked at every depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Schema and rows per table.
    Rows,
    /// These, and a digest of every table's content.
    Content,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// The table, as the engine names it.
    pub table: String,
    /// Its number of rows.
    pub rows: u64,
    /// Digest of its rows in order of their key, with types; only at [`Depth::Content`].
    pub content_sha256: Option<Sha256>,
}

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The engine's own check of the structure; what it complained of, on one line.
    pub integrity: Result<(), String>,
    /// How many rows violate a foreign key, or why that could not be checked. Violations are part of
    /// the data where the engine tolerates them; they must come back as they were.
    pub foreign_keys_violated: Result<u64, String>,
    /// Digest of the schema in normal form.
    pub schema_sha256: Sha256,
    /// The tables, sorted by name.
    pub tables: Vec<TableState>,
    /// Digest of what is data and lies in no table: positions of sequences, large objects. Only at
    /// [`Depth::Content`], and only where the engine has such things.
    pub beyond_tables_sha256: Option<Sha256>,
    /// How the digests of the content were made; only at [`Depth::Content`]. It changes with everything that could
    /// give equal rows another digest.
    pub content_method: Option<String>,
}

impl Inspection {
    /// Rows per table, as artifacts hold them.
    pub fn table_rows(&self) -> Vec<TableRows> {
        self.tables.iter().map(|state| TableRows { table: state.table.clone(), rows: state.rows }).collect()
    }

    /// Digests of the content, as artifacts hold them; `None` unless every table was examined at
    /// [`Depth::Content`].
    pub fn content_digests(&self) -> Option<ContentDigests> {
        let digest = |state: &TableState| Some((state.table.clone(), state.content_sha256.clone()?));
        Some(ContentDigests {
            method: self.content_method.clone()?,
            tables: self.tables.iter().map(digest).collect::<Option<_>>()?,
            beyond_tables: self.beyond_tables_sha256.clone(),
        })
    }

    /// Rows of all tables.
    pub fn row_count(&self) -> u64 {
        self.tables.iter().map(|state| state.rows).sum()
    }
}

/// One way in which a restored database is not the one that was dumped. `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The source is damaged; a faithful copy of it is worth nothing either.
    #[error("the source is damaged: {0}")]
    SourceDamaged(String),
    /// The restored database is damaged.
    #[error("the restored database is damaged: {0}")]
    RestoredDamaged(String),
    /// The schemas differ.
    #[error("the schemas differ")]
    Schema,
    /// A table did not come back.
    #[error("table {0:?} is missing in the restored database")]
    TableMissing(String),
    /// A table came out of nowhere.
    #[error("table {0:?} is only in the restored database")]
    TableUnexpected(String),
    /// The numbers of rows differ.
    #[error("table {table:?} has {restored} rows instead of {source_rows}")]
    Rows {
        /// The table.
        table: String,
        /// Rows that were dumped.
        source_rows: u64,
        /// Rows that came back.
        restored: u64,
    },
    /// As many rows, but other ones.
    #[error("table {0:?} has other content than was dumped")]
    Content(String),
    /// The content was examined on one side only, so nothing is known.
    #[error("the content of table {0:?} was examined on one side only")]
    ContentUnknown(String),
    /// Sequences stand elsewhere, or large objects differ.
    #[error("sequences stand elsewhere than in the source, or large objects differ")]
    BeyondTables,
    /// Foreign keys are violated differently.
    #[error("foreign keys: {restored} in the restored database instead of {source_state}")]
    ForeignKeys {
        /// What was found in the source.
        source_state: String,
        /// What was found in the restored database.
        restored: String,
    },
}

/// How the restored database differs from the source; empty if it does not. Content is compared where
/// both sides were examined at [`Depth::Content`].
pub fn compare(source: &Inspection, restored: &Inspection) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Err(text) = &source.integrity {
        found.push(Difference::SourceDamaged(text.clone()));
    }
    if let Err(text) = &restored.integrity {
        found.push(Difference::RestoredDamaged(text.clone()));
    }
    if source.schema_sha256 != restored.schema_sha256 {
        found.push(Difference::Schema);
    }
    compare_tables(source, restored, &mut found);
    // At different depths there is nothing to compare; the tables say so then.
    if let (Some(one), Some(two)) = (&source.beyond_tables_sha256, &restored.beyond_tables_sha256)
        && one != two
    {
        found.push(Difference::BeyondTables);
    }
    if source.foreign_keys_violated != restored.foreign_keys_violated {
        found.push(Difference::ForeignKeys {
            source_state: foreign_keys(&source.foreign_keys_violated),
            restored: foreign_keys(&restored.foreign_keys_violated),
        });
    }
    found
}

fn compare_tables(source: &Inspection, restored: &Inspection, found: &mut Vec<Difference>) {
    let mut back: BTreeMap<&str, &TableState> =
        restored.tables.iter().map(|state| (state.table.as_str(), state)).collect();
    for state in &source.tables {
        let table = state.table.clone();
        let Some(other) = back.remove(state.table.as_str()) else {
            found.push(Difference::TableMissing(table));
            continue;
        };
        if state.rows != other.rows {
            found.push(Difference::Rows { table, source_rows: state.rows, restored: other.rows });
            continue;
        }
        match (&state.content_sha256, &other.content_sha256) {
            (Some(one), Some(two)) if one != two => found.push(Difference::Content(table)),
            (Some(_), None) | (None, Some(_)) => found.push(Difference::ContentUnknown(table)),
            _ => {}
        }
    }
    found.extend(back.into_keys().map(|table| Difference::TableUnexpected(table.to_owned())));
}

fn foreign_keys(state: &Result<u64, String>) -> String {
    match state {
        Ok(count) => format!("{count} rows that violate one"),
        Err(text) => format!("not checked ({text})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Option<Sha256> {
        Some(Sha256::of(text.as_bytes()))
    }

    fn inspection(tables: &[(&str, u64, Option<Sha256>)]) -> Inspection {
        Inspection {
            integrity: Ok(()),
            foreign_keys_violated: Ok(0),
            schema_sha256: Sha256::of(b"schema"),
            tables: tables
                .iter()
                .map(|(table, rows, content)| TableState {
                    table: (*table).to_owned(),
                    rows: *rows,
                    content_sha256: content.clone(),
                })
                .collect(),
            beyond_tables_sha256: digest("42, true"),
            content_method: None,
        }
    }

    #[test]
    fn equal_is_equal() {
        let one = inspection(&[("a", 2, digest("x")), ("b", 0, digest(""))]);
        assert_eq!(compare(&one, &one.clone()), []);
        let counted = inspection(&[("a", 2, None)]);
        assert_eq!(compare(&counted, &counted.clone()), []);
    }

    #[test]
    fn every_difference_is_found_and_readable() {
        let source =
            inspection(&[("a", 2, digest("x")), ("b", 1, None), ("c", 84, None), ("d", 1, digest("d"))]);
        let mut restored =
            inspection(&[("a", 2, digest("y")), ("c", 83, None), ("d", 1, None), ("e", 0, None)]);
        restored.schema_sha256 = Sha256::of(b"other");
        restored.integrity = Err("row 3 missing from index i".to_owned());
        restored.foreign_keys_violated = Ok(1);
        restored.beyond_tables_sha256 = digest("1, false");
        let texts: Vec<String> = compare(&source, &restored).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "the restored database is damaged: row 3 missing from index i",
                "the schemas differ",
                "table \"a\" has other content than was dumped",
                "table \"b\" is missing in the restored database",
                "table \"c\" has 83 rows instead of 84",
                "the content of table \"d\" was examined on one side only",
                "table \"e\" is only in the restored database",
                "sequences stand elsewhere than in the source, or large objects differ",
                "foreign keys: 1 rows that violate one in the restored database instead of 0 rows that violate one",
            ]
        );
    }

    #[test]
    fn damage_on_both_sides_is_never_equal() {
        let mut one = inspection(&[]);
        one.integrity = Err("bad".to_owned());
        assert_eq!(compare(&one, &one.clone()).len(), 2);
    }
}
