use super::{AssertionResult, ExternalBackup};
use crate::{ArtifactKind, Body, Name, Sha256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// SQLite, a file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB or MySQL.
    Mysql,
    /// Redis or Valkey.
    Redis,
    /// Written by a newer version.
    #[serde(other)]
    Unknown,
}

/// How far a backup was proved, weakest first. Each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Nothing was proved.
    None,
    /// Another tool made the backup and vouches for it; nothing was proved here.
    External,
    /// Checked while it was written: the producer succeeded, the end was seen, compression inflates.
    Stream,
    /// Read back from the store and compared by digest.
    Remote,
    /// Its schema was restored into a scratch database and compared.
    Schema,
    /// All of it was restored into a scratch database; integrity, rows and content were compared.
    Full,
}

impl Proof {
    /// The word used in `deploy.toml` and artifacts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::External => "external",
            Self::Stream => "stream",
            Self::Remote => "remote",
            Self::Schema => "schema",
            Self::Full => "full",
        }
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableRows {
    /// The table, as the engine names it.
    pub table: String,
    /// Its number of rows in the backup.
    pub rows: u64,
}

/// An extension of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version in the database that was backed up.
    pub version: String,
}

/// What a server must have for a backup to be restored there. Known for all engines but SQLite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreNeeds {
    /// Major version of the server that was backed up.
    pub server_major: u32,
    /// Product and first two numbers of the version, `MariaDB 10.11`, where the major version does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Encoding of the database.
    pub encoding: String,
    /// Its collation.
    pub collate: String,
    /// Its character classes.
    pub ctype: String,
    /// Its locale, if ICU provides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_locale: Option<String>,
    /// Roles of the server, some of which own things or have rights.
    pub roles: Vec<String>,
    /// Extensions of the database.
    pub extensions: Vec<Extension>,
    /// The longest statement that fills a table, in bytes: MariaDB and MySQL have a limit, `max_allowed_packet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_statement_bytes: Option<u64>,
}

/// Digests of the rows of a backup, which are compared after a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentDigests {
    /// How they were made. Only those that were made in the same way can be compared.
    pub method: String,
    /// Of each table's rows, in whatever order they are.
    pub tables: BTreeMap<String, Sha256>,
    /// Of what is data and lies in no table: positions of sequences, large objects, events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond_tables: Option<Sha256>,
}

/// How a backup was encrypted before it left the machine that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientEncryption {
    /// The format: `age`.
    pub method: String,
    /// The public keys for which it was encrypted; whoever has the private key of one of them can open it.
    pub recipients: Vec<String>,
}

/// What else is known of a backup. All of it is optional: other engines and older versions do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackupDetails {
    /// The program that dumped, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// How it was dumped, if there is a choice: `plain`, `custom` or `directory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Where the database's log stood when the content was fixed: LSN, or binary log and position, or GTID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_position: Option<String>,
    /// A named restore point that was written into the log just before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_point: Option<String>,
    /// The version of the object in the store that was proved, as the store calls it. Another one is
    /// compared by its digest before anybody relies on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_version: Option<String>,
    /// How it was encrypted before it was stored; absent: it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<ClientEncryption>,
    /// Why no higher level of proof was reached, if one was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_limit: Option<String>,
    /// Digests of what is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentDigests>,
    /// What a server must have to take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<RestoreNeeds>,
    /// Size in percent of the newest earlier backup of this database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent_of_previous: Option<u64>,
    /// What came of the user's assertions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionResult>,
    /// How long dumping and storing took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump_ms: Option<u64>,
    /// How long proving took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_ms: Option<u64>,
}

impl BackupDetails {
    /// True if nothing else is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The backup of one database. Also the metadata object in the store, which is written last: without
/// it there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseBackup {
    /// The database, as `deploy.toml` names it.
    pub database: Name,
    /// Its engine.
    pub engine: Engine,
    /// Version of the server or library that made the copy.
    pub engine_version: String,
    /// Where the backup lies: the store's address without credentials, and the key.
    pub location: String,
    /// Key of the backup in the store.
    pub key: String,
    /// Key of the metadata in the store.
    pub metadata_key: String,
    /// Digest of the object as it is stored: compressed, and encrypted where `details.encryption` says so.
    pub sha256: Sha256,
    /// Size of the object as it is stored.
    pub size_bytes: u64,
    /// Size before compression and encryption.
    pub uncompressed_bytes: u64,
    /// Rows per table, sorted by name.
    pub tables: Vec<TableRows>,
    /// Digest of the schema in normal form.
    pub schema_sha256: Sha256,
    /// The level of proof reached.
    pub proof: Proof,
    /// When the content was fixed: everything committed before is in it, nothing after.
    pub snapshot_at: Timestamp,
    /// When the backup was complete and proved.
    pub verified_at: Timestamp,
    /// True if an earlier run of this deployment made it, and this run proved it again.
    #[serde(default)]
    pub adopted: bool,
    /// What else is known.
    #[serde(default, skip_serializing_if = "BackupDetails::is_empty")]
    pub details: BackupDetails,
}

/// Tells the metadata of a bundle from that of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BundleKind {
    /// The only one.
    Bundle,
}

/// The backup of files: a tar archive in gzip, encrypted where the configuration says so. Also the metadata object in
/// the store, which is written last. It names none of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleBackup {
    /// `bundle`.
    pub kind: BundleKind,
    /// Where it lies: the store's address without credentials, and the key.
    pub location: String,
    /// Its key in the store.
    pub key: String,
    /// Key of the metadata in the store.
    pub metadata_key: String,
    /// Digest of the object as it is stored.
    pub sha256: Sha256,
    /// Size of the object as it is stored.
    pub size_bytes: u64,
    /// Size of the archive before compression and encryption.
    pub uncompressed_bytes: u64,
    /// How many files are in it.
    pub files: u64,
    /// How it was encrypted before it was stored; absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<ClientEncryption>,
    /// When the files were read.
    pub snapshot_at: Timestamp,
    /// When it was read back from the store, opened, and compared.
    pub verified_at: Timestamp,
    /// True if an earlier run of this deployment made it, and this run compared it again.
    #[serde(default)]
    pub adopted: bool,
}

/// The newest backup of a database that an earlier deployment made, or had made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierBackup {
    /// The database.
    pub database: Name,
    /// Where the backup lies.
    pub location: String,
    /// Everything committed after this moment is not in it.
    pub snapshot_at: Timestamp,
    /// How far it was proved.
    pub proof: Proof,
}

/// Backups and the level of proof reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// One per database, in the order of `deploy.toml`.
    pub databases: Vec<DatabaseBackup>,
    /// Where none was made, because no migration is pending: what a restore would bring back instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<EarlierBackup>,
    /// Those that another tool made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalBackup>,
    /// That of the files (`backup.bundle`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleBackup>,
}

impl Backup {
    /// The weakest level of proof over all databases; `none` if there is no database.
    pub fn weakest_proof(&self) -> Proof {
        let external = self.external.iter().map(|_| Proof::External);
        self.databases.iter().map(|backup| backup.proof).chain(external).min().unwrap_or(Proof::None)
    }
}

impl Body for Backup {
    const KIND: ArtifactKind = ArtifactKind::Backup;
}
