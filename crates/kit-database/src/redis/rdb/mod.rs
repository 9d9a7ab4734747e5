//! A snapshot of Redis (RDB), read from its first byte to its last: is it whole, how many keys does each database have,
//! and what is in them? Bounded in memory by the largest element of a collection, or the largest compressed string.
//!
//! The format has no reference but its source: rdb.c and rdb.h of Redis 7.0 and 7.2. A server checks the sum at the end
//! only if it loads the file; nobody else does. It is zero where the server was told not to compute one
//! (`rdbchecksum no`).

mod bytes;
mod keys;
mod packed;
mod value;

pub(super) use bytes::Bad;
pub(super) use keys::{ExpiresMs, Keys};

use crate::rows::{Partial, RowDigest};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Versions of the format that servers of 7.0 (10) and 7.2, and those of Valkey until 8.1 (11), write.
const VERSIONS: std::ops::RangeInclusive<u32> = 10..=11;

/// What stands between values (rdb.h, `RDB_OPCODE_…`).
const FUNCTION: u8 = 245;
const OF_MODULE: u8 = 247;
const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const ABOUT: u8 = 250;
const SIZES: u8 = 251;
const EXPIRES_MS: u8 = 252;
const DATABASE: u8 = 254;
const END: u8 = 255;

/// What a snapshot holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    now_ms: u64,
    pub(super) databases: BTreeMap<u64, Keys>,
    /// Libraries of functions, which belong to no database.
    pub(super) functions: RowDigest,
    /// Modules whose values are in it.
    pub(super) modules: BTreeSet<String>,
    /// How many bytes it has.
    pub(super) bytes: u64,
    /// True if it has a sum, which was checked.
    pub(super) has_sum: bool,
}

impl Content {
    /// The keys of a database.
    pub(super) fn keys(&self, database: u64) -> Keys {
        self.databases.get(&database).cloned().unwrap_or_else(|| Keys::since(self.now_ms))
    }

    /// What does not belong to one database: the others, and functions.
    pub(super) fn others(&self, database: u64) -> String {
        let one = |what: String, digest: &RowDigest| {
            format!("{what}: {} ({})", digest.rows(), digest.sha256().short())
        };
        let others = self.databases.iter().filter(|(number, _)| **number != database);
        let mut texts: Vec<String> =
            others.map(|(number, keys)| one(format!("keys of db{number}"), &keys.all())).collect();
        texts.push(one("functions".to_owned(), &self.functions));
        texts.join(", ")
    }
}

/// A key with its value, as a snapshot has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) expires: ExpiresMs,
    /// The value as `DUMP` would give it, without its end: its kind, and what follows the key.
    pub(super) value: Vec<u8>,
    /// The module it belongs to.
    pub(super) module: Option<String>,
}

/// Takes what is read.
pub(super) trait Visit {
    /// Whether keys of this database are wanted one by one.
    fn wants(&self, database: u64) -> bool;

    /// One that is wanted. An error ends the reading.
    fn entry(&mut self, version: u32, entry: Entry) -> Result<(), std::io::Error>;

    /// A key that does not count.
    fn ignores(&self, _database: u64, _key: &[u8]) -> bool {
        false
    }
}

/// For whoever wants the sums only.
pub(super) struct Nobody;

impl Visit for Nobody {
    fn wants(&self, _: u64) -> bool {
        false
    }

    fn entry(&mut self, _: u32, _: Entry) -> Result<(), std::io::Error> {
        Ok(())
    }
}

/// Reads a whole snapshot. `now_ms` is about now: see [`Keys`].
pub(super) fn read(from: impl Read, now_ms: u64, visit: &mut impl Visit) -> Result<Content, Bad> {
    let mut bytes = Bytes::new(from);
    let version = header(&mut bytes)?;
    let mut content = Content { now_ms, ..Content::default() };
    let (mut database, mut expires) = (0, None);
    loop {
        match bytes.byte()? {
            END => break,
            DATABASE => database = bytes.length()?,
            EXPIRES_MS => expires = Some(u64::from_le_bytes(bytes.array()?)),
            SIZES => {
                bytes.length()?;
                bytes.length()?;
            }
            IDLE => {
                bytes.length()?;
            }
            FREQUENCY => bytes.skip(1)?,
            ABOUT => {
                bytes.string()?;
                bytes.string()?;
            }
            FUNCTION => {
                let mut library = Partial::default();
                bytes.string_into(&mut |piece| library.take(piece))?;
                content.functions.finished(&library);
            }
            OF_MODULE => {
                // What a module keeps besides its values: its id, when it was written, and parts.
                content.modules.insert(value::name(bytes.length()?));
                bytes.length()?;
                bytes.length()?;
                value::parts(&mut bytes, &mut |_| {})?;
            }
            kind if kind > 240 => {
                return Err(Bad::Unknown(format!(
                    "it holds a part of the kind {kind}, which this version of deploy-kit does not know"
                )));
            }
            kind => {
                let place = Place { version, database, expires: expires.take() };
                let keys = content.databases.entry(database).or_insert_with(|| Keys::since(now_ms));
                content.modules.extend(entry(kind, &mut bytes, place, keys, visit)?);
            }
        }
    }
    let sum = bytes.sum();
    let promised = u64::from_le_bytes(bytes.array()?);
    content.has_sum = promised != 0;
    if content.has_sum && promised != sum {
        return Err(Bad::wrong("its checksum is not that of its bytes"));
    }
    if !bytes.is_at_end()? {
        return Err(Bad::wrong("there is more behind its end"));
    }
    content.bytes = bytes.used();
    Ok(content)
}

/// `REDIS0010`
fn header<R: Read>(bytes: &mut Bytes<R>) -> Result<u32, Bad> {
    let magic: [u8; 5] = bytes.array()?;
    if &magic != b"REDIS" {
        return Err(Bad::wrong("it does not begin like a snapshot of Redis"));
    }
    let version: [u8; 4] = bytes.array()?;
    let version = std::str::from_utf8(&version).ok().and_then(|text| text.parse().ok());
    match version {
        Some(version) if VERSIONS.contains(&version) => Ok(version),
        Some(version) => Err(Bad::Unknown(format!(
            "its format has the version {version}, and {} to {} are known",
            VERSIONS.start(),
            VERSIONS.end()
        ))),
        None => Err(Bad::wrong("it does not say the version of its format")),
    }
}

/// Where a key is.
#[derive(Clone, Copy)]
struct Place {
    version: u32,
    database: u64,
    expires: ExpiresMs,
}

fn entry<R: Read>(
    kind: u8,
    bytes: &mut Bytes<R>,
    place: Place,
    keys: &mut Keys,
    visit: &mut impl Visit,
) -> Result<Option<String>, Bad> {
    let key = bytes.string()?;
    let wanted = visit.wants(place.database);
    if wanted {
        bytes.copy();
    }
    let mut digest = Partial::default();
    digest.take(&(key.len() as u64).to_le_bytes());
    digest.take(&key);
    digest.take(&place.expires.map_or(-1, u64::cast_signed).to_le_bytes());
    let module = value::read(kind, bytes, &mut digest)?;
    if !visit.ignores(place.database, &key) {
        keys.add(&digest, place.expires);
    }
    if wanted {
        let value = [&[kind][..], &bytes.copied()].concat();
        let entry = Entry { key, expires: place.expires, value, module: module.clone() };
        visit.entry(place.version, entry).map_err(Bad::Given)?;
    }
    Ok(module)
}

/// The end of a value as `DUMP` gives it and `RESTORE` takes it: the version of the format and the sum.
pub(super) fn seal(version: u32, value: &mut Vec<u8>) {
    let version = u16::try_from(version).unwrap_or(u16::MAX);
    value.extend_from_slice(&version.to_le_bytes());
    let sum = bytes::sum(value);
    value.extend_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
pub(super) use bytes::sum as sum_of;

#[cfg(test)]
mod tests;
