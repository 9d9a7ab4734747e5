use super::*;

const NOW_MS: u64 = 1_763_712_000_000;

/// Two databases, a key that goes, one with marks of how it is used, a function, a module's value and its notes.
fn snapshot() -> Vec<u8> {
    let mut bytes = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xf5\x08#!lua ..".to_vec();
    bytes.extend_from_slice(b"\xf7\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x01\x05\x03abc\x00");
    bytes.extend_from_slice(b"\xfe\x00\xfb\x03\x01\x00\x01a\x011\xfc");
    bytes.extend_from_slice(&(NOW_MS + 5000).to_le_bytes());
    bytes.extend_from_slice(b"\xf8\x05\x00\x01b\xc0\x02\xf9\x07\x02\x01c\x01\x01x");
    bytes.extend_from_slice(
        b"\xfe\x03\xfb\x01\x00\x07\x01m\x05\x02\x07\x04\0\0\0\0\0\0\0\0\x03\0\0\0\0\x01\x09\x00",
    );
    bytes.push(END);
    bytes
}

fn with_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = bytes::sum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn look(bytes: &[u8]) -> Result<Content, Bad> {
    read(bytes, NOW_MS, &mut Nobody)
}

#[test]
fn everything_is_counted_where_it_belongs() {
    let whole = with_sum(snapshot());
    let content = look(&whole).unwrap();
    let rows = |database| content.keys(database).all().rows();
    assert_eq!((rows(0), rows(1), rows(3), content.functions.rows()), (3, 0, 1, 1));
    assert_eq!((content.bytes, content.has_sum, content.modules.len()), (whole.len() as u64, true, 2));
    let others = content.others(0);
    assert!(others.contains("keys of db3: 1 (") && others.contains("functions: 1 ("), "{others}");
}

#[test]
fn one_that_is_cut_or_changed_anywhere_is_none() {
    let whole = with_sum(snapshot());
    for length in 0..whole.len() {
        assert!(matches!(look(&whole[..length]), Err(Bad::Ended)), "{length}");
    }
    for at in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(look(&changed).is_err(), "bit {at}");
    }
    assert!(matches!(look(&[&whole[..], b"\n"].concat()), Err(Bad::Wrong(_))));
    // Without a sum, the end is still an end.
    let unchecked = [snapshot(), vec![0; 8]].concat();
    assert!(!look(&unchecked).unwrap().has_sum);
    for length in 0..unchecked.len() {
        assert!(matches!(look(&unchecked[..length]), Err(Bad::Ended)), "{length}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    for (bytes, says) in [
        (&b"REDIS0012\xff"[..], "version 12, and 10 to 11 are known"),
        (b"REDIS0010\xf4\x00", "a part of the kind 244"),
        (b"REDIS0010\x19\x01a\x00", "a value of the kind 25"),
    ] {
        match look(bytes) {
            Err(Bad::Unknown(text)) => assert!(text.contains(says), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(look(b"PGDMP0010"), Err(Bad::Wrong(_))));
    assert!(matches!(look(b"REDISabcd"), Err(Bad::Wrong(_))));
}

struct Collect(Vec<Entry>);

impl Visit for Collect {
    fn wants(&self, database: u64) -> bool {
        database == 0
    }

    fn entry(&mut self, version: u32, entry: Entry) -> std::io::Result<()> {
        assert_eq!(version, 10);
        self.0.push(entry);
        Ok(())
    }

    fn ignores(&self, _: u64, key: &[u8]) -> bool {
        key == b"a"
    }
}

#[test]
fn entries_are_given_as_the_server_takes_them() {
    let mut visit = Collect(Vec::new());
    let content = read(&with_sum(snapshot())[..], NOW_MS, &mut visit).unwrap();
    assert_eq!(content.keys(0).all().rows(), 2, "one does not count");
    let found: Vec<_> =
        visit.0.iter().map(|entry| (entry.key.as_slice(), entry.expires, entry.value.as_slice())).collect();
    let expected: [(&[u8], _, &[u8]); 3] = [
        (b"a", None, b"\x00\x011"),
        (b"b", Some(NOW_MS + 5000), b"\x00\xc0\x02"),
        (b"c", None, b"\x02\x01\x01x"),
    ];
    assert_eq!(found, expected);
    // As `DUMP` of a server of 7.0 gives the text "10".
    let mut value = b"\x00\xc0\x0a".to_vec();
    seal(10, &mut value);
    assert_eq!(value.len(), 3 + 2 + 8);
    assert_eq!(&value[3..5], b"\x0a\x00");
}
