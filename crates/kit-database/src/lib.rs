//! Databases behind one trait, chosen by the scheme of their URL.
//!
//! A [`Database`] can be asked, dumped consistently, restored into a scratch place or beside the live
//! one, swapped, and migrated. What a dump holds and what came back from it are both described by an
//! [`Inspection`]; [`compare`] is the pure function that says how the two differ.
//!
//! Built in: SQLite, PostgreSQL, MariaDB and MySQL, Redis.
#![warn(missing_docs)]

pub mod assertions;
#[cfg(test)]
mod container_tests;
mod database;
mod decode;
mod error;
pub mod gunzip;
mod inspection;
mod large_writes;
pub mod members;
mod migration;
mod mysql;
mod open;
pub mod pieces;
mod postgres;
mod redis;
mod rows;
mod schema_file;
mod sibling;
mod sqlite;
mod throwaway;
mod tools;
mod via;

pub use database::{Beside, Database, Dump, DumpReport, SchemaScript, Scratch, ServerInfo, Swapped};
pub use error::{DatabaseError, EngineError};
pub use inspection::{Depth, Difference, Inspection, TableState, compare};
pub use migration::{
    Drift, DriftKind, MigrationFile, MigrationOutcome, MigrationSet, MigrationStatus, RecordedMigration,
};
pub use open::{OpenOptions, ScratchPlace, open, open_for_restore};
pub use tools::{Tools, ToolsImage};
