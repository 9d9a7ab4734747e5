//! What comes back of a stored backup if it is what its metadata says.

use kit_contract::body::{BundleBackup, DatabaseBackup};
use kit_database::gunzip::Read;

/// Of a database.
pub fn promised(backup: &DatabaseBackup) -> Read {
    Read {
        sha256: backup.sha256.clone(),
        size_bytes: backup.size_bytes,
        uncompressed_bytes: backup.uncompressed_bytes,
    }
}

/// Of a bundle of files.
pub fn promised_bundle(backup: &BundleBackup) -> Read {
    Read {
        sha256: backup.sha256.clone(),
        size_bytes: backup.size_bytes,
        uncompressed_bytes: backup.uncompressed_bytes,
    }
}
