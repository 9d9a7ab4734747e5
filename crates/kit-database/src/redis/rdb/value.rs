//! Values of keys, in a form that does not depend on how Redis happens to keep them: a hash is the set of its fields
//! and values, whether they stand in one string or in a table, and in whatever order.

use super::bytes::{Bad, Bytes};
use super::packed::{intset, listpack};
use crate::rows::{Partial, RowDigest};
use std::io::Read;

/// How snapshots tell what follows a key (rdb.h, `RDB_TYPE_…`), as far as servers of 7.0 to 7.2 write them.
const STRING: u8 = 0;
const SET: u8 = 2;
const HASH: u8 = 4;
const ZSET: u8 = 5;
const MODULE: u8 = 7;
const SET_NUMBERS: u8 = 11;
const HASH_PACKED: u8 = 16;
const ZSET_PACKED: u8 = 17;
const LIST: u8 = 18;
const STREAM_7_0: u8 = 19;
const SET_PACKED: u8 = 20;
const STREAM_7_2: u8 = 21;

/// What a module is called that a value belongs to.
pub(super) type ModuleName = String;

/// Reads a value of this kind into a digest. Gives the module that it belongs to, if it does.
pub(super) fn read<R: Read>(
    kind: u8,
    bytes: &mut Bytes<R>,
    into: &mut Partial,
) -> Result<Option<ModuleName>, Bad> {
    match kind {
        STRING => {
            into.take(b"string");
            bytes.string_into(&mut |piece| into.take(piece))?;
        }
        LIST => list(bytes, into)?,
        SET | SET_NUMBERS | SET_PACKED => set(kind, bytes, into)?,
        HASH | HASH_PACKED => hash(kind, bytes, into)?,
        ZSET | ZSET_PACKED => zset(kind, bytes, into)?,
        STREAM_7_0 | STREAM_7_2 => stream(kind, bytes, into)?,
        MODULE => return module(bytes, into).map(Some),
        kind => {
            return Err(Bad::Unknown(format!(
                "it holds a value of the kind {kind}, which this version of deploy-kit does not know"
            )));
        }
    }
    Ok(None)
}

fn put(bytes: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    into.extend_from_slice(bytes);
}

/// Ends a collection whose order means nothing.
fn unordered(elements: &RowDigest, into: &mut Partial) {
    into.take(&elements.rows().to_le_bytes());
    into.take(&elements.sum().to_le_bytes());
}

/// Elements in their order.
fn list<R: Read>(bytes: &mut Bytes<R>, into: &mut Partial) -> Result<(), Bad> {
    into.take(b"list");
    for _ in 0..bytes.length()? {
        match bytes.length()? {
            // One element that is too large to stand among others.
            1 => bytes.string_into(&mut |piece| into.take(piece))?,
            2 => {
                for element in listpack(&bytes.string()?)? {
                    into.take(&(element.len() as u64).to_le_bytes());
                    into.take(&element);
                }
            }
            _ => return Err(Bad::wrong("a list in it is kept in no known way")),
        }
    }
    Ok(())
}

fn set<R: Read>(kind: u8, bytes: &mut Bytes<R>, into: &mut Partial) -> Result<(), Bad> {
    into.take(b"set");
    let mut members = RowDigest::default();
    match kind {
        SET => {
            for _ in 0..bytes.length()? {
                members.row(&bytes.string()?);
            }
        }
        SET_NUMBERS => intset(&bytes.string()?)?.iter().for_each(|member| members.row(member)),
        _ => listpack(&bytes.string()?)?.iter().for_each(|member| members.row(member)),
    }
    unordered(&members, into);
    Ok(())
}

fn hash<R: Read>(kind: u8, bytes: &mut Bytes<R>, into: &mut Partial) -> Result<(), Bad> {
    into.take(b"hash");
    let (mut fields, mut row) = (RowDigest::default(), Vec::new());
    let mut field = |name: &[u8], value: &[u8]| {
        row.clear();
        put(name, &mut row);
        put(value, &mut row);
        fields.row(&row);
    };
    if kind == HASH {
        for _ in 0..bytes.length()? {
            let (name, value) = (bytes.string()?, bytes.string()?);
            field(&name, &value);
        }
    } else {
        for pair in listpack(&bytes.string()?)?.chunks(2) {
            let [name, value] = pair else {
                return Err(Bad::wrong("a hash in it has a field without a value"));
            };
            field(name, value);
        }
    }
    unordered(&fields, into);
    Ok(())
}

/// Members and scores; the order follows from these.
fn zset<R: Read>(kind: u8, bytes: &mut Bytes<R>, into: &mut Partial) -> Result<(), Bad> {
    into.take(b"zset");
    let (mut members, mut row) = (RowDigest::default(), Vec::new());
    let mut member = |name: &[u8], score: f64| {
        row.clear();
        put(name, &mut row);
        row.extend_from_slice(&score.to_bits().to_le_bytes());
        members.row(&row);
    };
    if kind == ZSET {
        for _ in 0..bytes.length()? {
            let name = bytes.string()?;
            member(&name, f64::from_le_bytes(bytes.array()?));
        }
    } else {
        for pair in listpack(&bytes.string()?)?.chunks(2) {
            let score = pair.get(1).and_then(|score| std::str::from_utf8(score).ok()?.parse().ok());
            let (Some(name), Some(score)) = (pair.first(), score) else {
                return Err(Bad::wrong("a sorted set in it has a member without a score"));
            };
            member(name, score);
        }
    }
    unordered(&members, into);
    Ok(())
}

/// Entries, consumer groups, and what they have not acknowledged: as they are written, which is in one way only.
fn stream<R: Read>(kind: u8, bytes: &mut Bytes<R>, into: &mut Partial) -> Result<(), Bad> {
    into.take(b"stream");
    for _ in 0..bytes.length()? {
        // First id, and a listpack.
        bytes.string_into(&mut |piece| into.take(piece))?;
        bytes.string_into(&mut |piece| into.take(piece))?;
    }
    // Length, last id, first id, largest deleted id, number of entries ever added.
    lengths(8, bytes, into)?;
    let groups = lengths(1, bytes, into)?;
    for _ in 0..groups {
        bytes.string_into(&mut |piece| into.take(piece))?;
        // Last delivered id, number of entries read.
        lengths(3, bytes, into)?;
        for _ in 0..lengths(1, bytes, into)? {
            // Id, time of delivery.
            bytes.take(16 + 8, |piece| into.take(piece))?;
            lengths(1, bytes, into)?;
        }
        for _ in 0..lengths(1, bytes, into)? {
            bytes.string_into(&mut |piece| into.take(piece))?;
            // When it was seen, and since 7.2 when it was active.
            let times = if kind == STREAM_7_2 { 16 } else { 8 };
            bytes.take(times, |piece| into.take(piece))?;
            let pending = lengths(1, bytes, into)?;
            bytes.take(pending.saturating_mul(16), |piece| into.take(piece))?;
        }
    }
    Ok(())
}

/// So many lengths; gives the last one.
fn lengths<R: Read>(count: u8, bytes: &mut Bytes<R>, into: &mut Partial) -> Result<u64, Bad> {
    let mut last = 0;
    for _ in 0..count {
        last = bytes.length()?;
        into.take(&last.to_le_bytes());
    }
    Ok(last)
}

/// What a module wrote, part by part (rdb.h, `RDB_MODULE_OPCODE_…`). What it means, only the module knows.
fn module<R: Read>(bytes: &mut Bytes<R>, into: &mut Partial) -> Result<ModuleName, Bad> {
    into.take(b"module");
    let id = lengths(1, bytes, into)?;
    parts(bytes, &mut |piece| into.take(piece))?;
    Ok(name(id))
}

/// Reads over what a module wrote.
pub(super) fn parts<R: Read>(bytes: &mut Bytes<R>, each: &mut dyn FnMut(&[u8])) -> Result<(), Bad> {
    loop {
        let part = bytes.length()?;
        each(&part.to_le_bytes());
        match part {
            0 => return Ok(()),
            1 | 2 => each(&bytes.length()?.to_le_bytes()),
            3 => bytes.take(4, &mut *each)?,
            4 => bytes.take(8, &mut *each)?,
            5 => bytes.string_into(each)?,
            _ => return Err(Bad::wrong("what a module wrote in it cannot be read")),
        }
    }
}

/// Nine letters of six bits each stand above ten bits of a version (module.c, `moduleTypeNameByID`).
pub(super) fn name(id: u64) -> ModuleName {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter =
        |place: u64| LETTERS.get((id >> (10 + 6 * place)) as usize & 63).copied().map_or('?', char::from);
    (0..9).rev().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(kind: u8, bytes: &[u8]) -> crate::rows::RowDigest {
        let (mut partial, mut rows) = (Partial::default(), RowDigest::default());
        let mut bytes = Bytes::new(bytes);
        read(kind, &mut bytes, &mut partial).unwrap();
        assert!(bytes.is_at_end().unwrap());
        rows.finished(&partial);
        rows
    }

    #[test]
    fn one_value_in_several_ways_of_keeping_it() {
        // {1, 2} as numbers, as strings in either order.
        let set = digest(SET, b"\x02\x011\x012");
        assert_eq!(set.sum(), digest(SET, b"\x02\xc0\x02\xc0\x01").sum());
        assert_eq!(
            set.sum(),
            digest(SET_NUMBERS, b"\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00").sum()
        );
        assert_eq!(set.sum(), digest(SET_PACKED, b"\x0b\x0b\x00\x00\x00\x02\x00\x01\x01\x02\x01\xff").sum());
        assert_ne!(set.sum(), digest(SET, b"\x02\x011\x013").sum());
        // a=1, b=2.
        let hash = digest(HASH, b"\x02\x01b\x012\x01a\x011");
        let packed = b"\x11\x11\x00\x00\x00\x04\x00\x81a\x02\x01\x01\x81b\x02\x02\x01\xff";
        assert_eq!(hash.sum(), digest(HASH_PACKED, packed).sum());
        assert_ne!(hash.sum(), digest(HASH, b"\x02\x01b\x011\x01a\x012").sum());
        assert_ne!(hash.sum(), digest(SET, b"\x04\x01b\x012\x01a\x011").sum());
        // a with the score 1.5.
        let zset = digest(ZSET, b"\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x3f");
        let packed = b"\x0f\x0f\x00\x00\x00\x02\x00\x81a\x02\x831.5\x04\xff";
        assert_eq!(zset.sum(), digest(ZSET_PACKED, packed).sum());
        // A list has an order.
        let list = digest(LIST, b"\x02\x01\x011\x02\x09\x09\x00\x00\x00\x01\x00\x02\x01\xff");
        assert_eq!(
            list.sum(),
            digest(LIST, b"\x01\x02\x0b\x0b\x00\x00\x00\x02\x00\x01\x01\x02\x01\xff").sum()
        );
        assert_ne!(
            list.sum(),
            digest(LIST, b"\x01\x02\x0b\x0b\x00\x00\x00\x02\x00\x02\x01\x01\x01\xff").sum()
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for kind in [1, 3, 6, 9, 10, 12, 13, 14, 15, 22, 24, 25, 99] {
            let mut partial = Partial::default();
            let found = read(kind, &mut Bytes::new(&b"\x00"[..]), &mut partial);
            assert!(matches!(found, Err(Bad::Unknown(_))), "{kind}");
        }
    }
}
