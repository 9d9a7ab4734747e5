//! Did the right thing come back? Pure.

use kit_contract::body::{DatabaseBackup, TableRows};
use kit_contract::{Name, Reason};
use kit_core::StepError;
use kit_database::assertions::Unmet;
use kit_database::gunzip::Read;
use kit_database::{DatabaseError, Inspection};

/// How the bytes that came differ from those that the metadata vouches for.
pub(crate) fn other_bytes(promised: &DatabaseBackup, read: &Read) -> Option<String> {
    (*read != kit_backup::promised(promised)).then(|| {
        format!(
            "its SHA-256 is {}… ({} bytes), not {}… ({} bytes)",
            read.sha256.short(),
            read.size_bytes,
            promised.sha256.short(),
            promised.size_bytes
        )
    })
}

/// How what was restored differs from what the metadata says was backed up.
pub(crate) fn other_content(promised: &DatabaseBackup, restored: &Inspection) -> Vec<String> {
    let mut found = Vec::new();
    if let Err(text) = &restored.integrity {
        found.push(format!("it is damaged: {text}"));
    }
    if restored.schema_sha256 != promised.schema_sha256 {
        found.push("its schema is another one".to_owned());
    }
    let tables = restored.table_rows();
    for expected in &promised.tables {
        match tables.iter().find(|table| table.table == expected.table) {
            Some(table) if table.rows == expected.rows => {}
            Some(table) => {
                found.push(format!(
                    "table {:?} has {} rows instead of {}",
                    table.table, table.rows, expected.rows
                ));
            }
            None => found.push(format!("table {:?} is missing", expected.table)),
        }
    }
    let unexpected = |table: &&TableRows| !promised.tables.iter().any(|known| known.table == table.table);
    found.extend(
        tables.iter().filter(unexpected).map(|table| format!("table {:?} is not of the backup", table.table)),
    );
    found.extend(other_rows(promised, restored));
    found
}

/// The user's assertions keep this from going on.
pub(crate) fn not_holding(database: &Name, unmet: Unmet) -> StepError {
    match unmet {
        Unmet::Failed(text) => StepError::new(
            Reason::AssertionFailed,
            format!("{database} came back as it was backed up; {text}"),
        ),
        Unmet::Unavailable(what) => DatabaseError::Unavailable { what: format!("{database}: {what}") }.into(),
    }
}

/// Why the content cannot be compared; `None` if it can.
pub(crate) fn not_comparable(promised: &DatabaseBackup, restored: &Inspection) -> Option<String> {
    let Some(digests) = &promised.details.content else {
        return Some("the backup has no digests of its content".to_owned());
    };
    match &restored.content_method {
        Some(method) if *method == digests.method => None,
        method => Some(format!(
            "its digests were made by the method {:?}, and here they are made by {:?}",
            digests.method,
            method.as_deref().unwrap_or("none")
        )),
    }
}

/// How the content of the tables differs, if it can be compared.
fn other_rows(promised: &DatabaseBackup, restored: &Inspection) -> Vec<String> {
    let Some(digests) =
        promised.details.content.as_ref().filter(|_| not_comparable(promised, restored).is_none())
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for table in &restored.tables {
        let as_many = promised.tables.iter().any(|one| one.table == table.table && one.rows == table.rows);
        // What is missing, or not of the backup, is said elsewhere.
        if as_many && digests.tables.get(&table.table) != table.content_sha256.as_ref() {
            found.push(format!("table {:?} has other content", table.table));
        }
    }
    if digests.beyond_tables != restored.beyond_tables_sha256 {
        found.push("sequences stand elsewhere, or large objects or events differ".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Sha256;
    use kit_contract::body::{BackupDetails, Engine, Proof};
    use kit_database::TableState;

    fn promised() -> DatabaseBackup {
        DatabaseBackup {
            database: "main".parse().unwrap(),
            engine: Engine::Sqlite,
            engine_version: "3".to_owned(),
            location: "file:store/a".to_owned(),
            key: "a".to_owned(),
            metadata_key: "a.json".to_owned(),
            sha256: Sha256::of(b"packed"),
            size_bytes: 6,
            uncompressed_bytes: 5,
            tables: vec![TableRows { table: "orders".to_owned(), rows: 2 }],
            schema_sha256: Sha256::of(b"schema"),
            proof: Proof::Full,
            snapshot_at: jiff::Timestamp::UNIX_EPOCH,
            verified_at: jiff::Timestamp::UNIX_EPOCH,
            adopted: false,
            details: BackupDetails { content: restored().content_digests(), ..Default::default() },
        }
    }

    fn read() -> Read {
        Read { sha256: Sha256::of(b"packed"), size_bytes: 6, uncompressed_bytes: 5 }
    }

    fn restored() -> Inspection {
        Inspection {
            integrity: Ok(()),
            foreign_keys_violated: Ok(0),
            schema_sha256: Sha256::of(b"schema"),
            tables: vec![TableState {
                table: "orders".to_owned(),
                rows: 2,
                content_sha256: Some(Sha256::of(b"rows")),
            }],
            beyond_tables_sha256: Some(Sha256::of(b"sequences")),
            content_method: Some("engine/1".to_owned()),
        }
    }

    #[test]
    fn every_difference_counts() {
        assert_eq!(other_bytes(&promised(), &read()), None);
        for changed in [
            Read { sha256: Sha256::of(b"x"), ..read() },
            Read { size_bytes: 7, ..read() },
            Read { uncompressed_bytes: 4, ..read() },
        ] {
            assert!(other_bytes(&promised(), &changed).is_some(), "{changed:?}");
        }
        assert_eq!(other_content(&promised(), &restored()), [""; 0]);
        type Change = fn(&mut Inspection);
        let changes: [(Change, &str); 7] = [
            (|found| found.integrity = Err("page 3".to_owned()), "it is damaged: page 3"),
            (|found| found.schema_sha256 = Sha256::of(b"x"), "its schema is another one"),
            (|found| found.tables[0].rows = 1, "table \"orders\" has 1 rows instead of 2"),
            (
                |found| found.tables[0].content_sha256 = Some(Sha256::of(b"x")),
                "table \"orders\" has other content",
            ),
            (|found| found.tables[0].content_sha256 = None, "table \"orders\" has other content"),
            (
                |found| found.beyond_tables_sha256 = None,
                "sequences stand elsewhere, or large objects or events differ",
            ),
            (|found| found.tables.clear(), "table \"orders\" is missing"),
        ];
        for (change, expected) in changes {
            let mut found = restored();
            change(&mut found);
            assert_eq!(other_content(&promised(), &found), [expected]);
        }
        let mut more = restored();
        more.tables.push(TableState { table: "x".to_owned(), rows: 0, content_sha256: None });
        assert_eq!(other_content(&promised(), &more), ["table \"x\" is not of the backup"]);
    }

    #[test]
    fn content_is_compared_only_by_the_same_method_and_else_that_is_said() {
        assert_eq!(not_comparable(&promised(), &restored()), None);
        let mut older = promised();
        older.details.content = None;
        let mut other = restored();
        other.content_method = Some("engine/2".to_owned());
        other.tables[0].content_sha256 = Some(Sha256::of(b"the same rows in other words"));
        let counted = Inspection { content_method: None, ..restored() };
        for (promised, restored, says) in [
            (&older, &restored(), "the backup has no digests of its content"),
            (&promised(), &other, "\"engine/1\", and here they are made by \"engine/2\""),
            (&promised(), &counted, "\"none\""),
        ] {
            assert_eq!(other_content(promised, restored), [""; 0]);
            assert!(not_comparable(promised, restored).unwrap().contains(says));
        }
    }
}
