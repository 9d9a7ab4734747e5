//! What a restore proves. Pure.

use crate::read_back::Restored;
use kit_contract::Reason;
use kit_contract::body::{DatabaseBackup, Proof, TableRows};
use kit_database::Inspection;
use kit_database::gunzip::Read;

/// The reason of a step whose weakest backup reached this level.
pub(crate) const fn reason(proof: Proof) -> Reason {
    match proof {
        Proof::Full => Reason::VerifiedFull,
        Proof::Schema => Reason::VerifiedSchema,
        Proof::Remote => Reason::VerifiedRemote,
        Proof::Stream => Reason::VerifiedStream,
        Proof::External => Reason::ExternalBackup,
        Proof::None => Reason::BackupMismatch,
    }
}

/// How what came back differs from what was dumped and stored; empty if it does not.
pub(crate) fn differences(stored: &Read, source: &Inspection, restored: &Restored) -> Vec<String> {
    let mut found = digests(stored, &restored.read);
    found.extend(kit_database::compare(source, &restored.inspection).iter().map(ToString::to_string));
    found
}

/// How what came back differs from what the metadata of an earlier run promises.
pub(crate) fn broken_promises(promised: &DatabaseBackup, restored: &Restored) -> Vec<String> {
    let mut found = digests(&kit_backup::promised(promised), &restored.read);
    if let Err(text) = &restored.inspection.integrity {
        found.push(format!("the restored database is damaged: {text}"));
    }
    if restored.inspection.schema_sha256 != promised.schema_sha256 {
        found.push("the schemas differ".to_owned());
    }
    let tables = restored.inspection.table_rows();
    if tables != promised.tables {
        let text = |tables: &[TableRows]| {
            let rows: u64 = tables.iter().map(|table| table.rows).sum();
            format!("{rows} rows in {} tables", tables.len())
        };
        found.push(format!("{} came back, not the {} promised", text(&tables), text(&promised.tables)));
    }
    found
}

/// How two readings of the same object differ.
pub(crate) fn digests(expected: &Read, found: &Read) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.sha256 != found.sha256 || expected.size_bytes != found.size_bytes {
        differences.push(format!(
            "the store gave back {} bytes with SHA-256 {}…, not the {} bytes with {}… that were stored",
            found.size_bytes,
            found.sha256.short(),
            expected.size_bytes,
            expected.sha256.short()
        ));
    }
    if expected.uncompressed_bytes != found.uncompressed_bytes {
        differences.push(format!(
            "{} bytes came out of the decompression, not the {} that went into the compression",
            found.uncompressed_bytes, expected.uncompressed_bytes
        ));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Sha256;
    use kit_database::TableState;

    fn read() -> Read {
        Read { sha256: Sha256::of(b"packed"), size_bytes: 6, uncompressed_bytes: 5 }
    }

    fn inspection() -> Inspection {
        let content_sha256 = Some(Sha256::of(b"rows"));
        Inspection {
            integrity: Ok(()),
            foreign_keys_violated: Ok(0),
            schema_sha256: Sha256::of(b"schema"),
            tables: vec![TableState { table: "orders".to_owned(), rows: 2, content_sha256 }],
            beyond_tables_sha256: None,
            content_method: None,
        }
    }

    fn restored() -> Restored {
        Restored { read: read(), inspection: inspection(), assertions: Vec::new() }
    }

    fn promised() -> DatabaseBackup {
        DatabaseBackup {
            database: "main".parse().unwrap(),
            engine: kit_contract::body::Engine::Sqlite,
            engine_version: "3".to_owned(),
            location: "file:store/a".to_owned(),
            key: "a".to_owned(),
            metadata_key: "a.json".to_owned(),
            sha256: read().sha256,
            size_bytes: 6,
            uncompressed_bytes: 5,
            tables: inspection().table_rows(),
            schema_sha256: inspection().schema_sha256,
            proof: Proof::Full,
            snapshot_at: jiff::Timestamp::UNIX_EPOCH,
            verified_at: jiff::Timestamp::UNIX_EPOCH,
            adopted: false,
            details: Default::default(),
        }
    }

    #[test]
    fn equal_is_proof() {
        assert_eq!(differences(&read(), &inspection(), &restored()), [""; 0]);
        assert_eq!(broken_promises(&promised(), &restored()), [""; 0]);
    }

    #[test]
    fn every_single_difference_is_enough() {
        let changes: [fn(&mut Restored); 6] = [
            |restored| restored.read.sha256 = Sha256::of(b"other"),
            |restored| restored.read.size_bytes += 1,
            |restored| restored.read.uncompressed_bytes -= 1,
            |restored| restored.inspection.integrity = Err("row 3 missing".to_owned()),
            |restored| restored.inspection.schema_sha256 = Sha256::of(b"other"),
            |restored| restored.inspection.tables[0].rows = 1,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut restored = restored();
            change(&mut restored);
            assert_eq!(differences(&read(), &inspection(), &restored).len(), 1, "change {index}");
            assert_eq!(broken_promises(&promised(), &restored).len(), 1, "change {index}");
        }
        let mut other_rows = restored();
        other_rows.inspection.tables[0].content_sha256 = Some(Sha256::of(b"other rows"));
        assert_eq!(differences(&read(), &inspection(), &other_rows).len(), 1, "the content counts");
    }

    #[test]
    fn nothing_proved_is_never_a_go() {
        for proof in [Proof::Stream, Proof::Remote, Proof::Schema, Proof::Full] {
            assert_eq!(reason(proof).exit_code(), 0);
        }
        assert_ne!(reason(Proof::None).exit_code(), 0);
    }
}
