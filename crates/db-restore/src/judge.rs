//! Did the right thing come back? Pure.

use kit_contract::body::{DatabaseBackup, TableRows};
use kit_database::Inspection;
use kit_database::gunzip::Read;

/// How the bytes that came differ from those that the metadata vouches for.
pub(crate) fn other_bytes(promised: &DatabaseBackup, read: &Read) -> Option<String> {
    let same = read.sha256 == promised.sha256
        && read.size_bytes == promised.size_bytes
        && read.uncompressed_sha256 == promised.uncompressed_sha256
        && read.uncompressed_bytes == promised.uncompressed_bytes;
    (!same).then(|| {
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
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Sha256;
    use kit_contract::body::{Engine, Proof};
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
            uncompressed_sha256: Sha256::of(b"plain"),
            tables: vec![TableRows { table: "orders".to_owned(), rows: 2 }],
            schema_sha256: Sha256::of(b"schema"),
            proof: Proof::Full,
            snapshot_at: jiff::Timestamp::UNIX_EPOCH,
            verified_at: jiff::Timestamp::UNIX_EPOCH,
            adopted: false,
            details: Default::default(),
        }
    }

    fn read() -> Read {
        Read {
            sha256: Sha256::of(b"packed"),
            size_bytes: 6,
            uncompressed_sha256: Sha256::of(b"plain"),
            uncompressed_bytes: 5,
        }
    }

    fn restored() -> Inspection {
        Inspection {
            integrity: Ok(()),
            foreign_keys_violated: Ok(0),
            schema_sha256: Sha256::of(b"schema"),
            tables: vec![TableState { table: "orders".to_owned(), rows: 2, content_sha256: None }],
            beyond_tables_sha256: None,
        }
    }

    #[test]
    fn every_difference_counts() {
        assert_eq!(other_bytes(&promised(), &read()), None);
        for changed in [
            Read { sha256: Sha256::of(b"x"), ..read() },
            Read { size_bytes: 7, ..read() },
            Read { uncompressed_sha256: Sha256::of(b"x"), ..read() },
            Read { uncompressed_bytes: 4, ..read() },
        ] {
            assert!(other_bytes(&promised(), &changed).is_some(), "{changed:?}");
        }
        assert_eq!(other_content(&promised(), &restored()), [""; 0]);
        type Change = fn(&mut Inspection);
        let changes: [(Change, &str); 4] = [
            (|found| found.integrity = Err("page 3".to_owned()), "it is damaged: page 3"),
            (|found| found.schema_sha256 = Sha256::of(b"x"), "its schema is another one"),
            (|found| found.tables[0].rows = 1, "table \"orders\" has 1 rows instead of 2"),
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
}
