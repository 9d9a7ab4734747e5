//! What Redis keeps in one string: lists of elements (listpack.c) and of numbers (intset.c).

use super::bytes::Bad;

/// The elements of a listpack; numbers as text, which is what they are to everybody else.
pub(super) fn listpack(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Bad> {
    elements(bytes).ok_or_else(|| Bad::wrong("a list in it is damaged"))
}

/// The total length in four bytes, the number of elements in two, the elements, 0xff.
fn elements(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let total = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    if usize::try_from(total).ok()? != bytes.len() {
        return None;
    }
    let count = u16::from_le_bytes(bytes.get(4..6)?.try_into().ok()?);
    let (mut at, mut found) = (6, Vec::new());
    while *bytes.get(at)? != 0xff {
        let (element, length) = element(bytes.get(at..)?)?;
        found.push(element);
        at += length + length_of_back(length);
    }
    // 65535: so many or more.
    let known = usize::from(count) == found.len() || count == u16::MAX;
    (at + 1 == bytes.len() && known).then_some(found)
}

/// An element and how many bytes it has, without the length behind it by which it is read backwards.
fn element(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = *bytes.first()?;
    let number = |number: i64, length: usize| Some((number.to_string().into_bytes(), length));
    let text = |head: usize, length: usize| {
        Some((bytes.get(head..head.checked_add(length)?)?.to_vec(), head + length))
    };
    let byte = |at: usize| bytes.get(at).copied();
    match first {
        0..=0x7f => number(i64::from(first), 1),
        0x80..=0xbf => text(1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let unsigned = i64::from(first & 0x1f) << 8 | i64::from(byte(1)?);
            number(if unsigned >= 1 << 12 { unsigned - (1 << 13) } else { unsigned }, 2)
        }
        0xe0..=0xef => text(2, usize::from(first & 0x0f) << 8 | usize::from(byte(1)?)),
        0xf0 => text(5, usize::try_from(u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?)).ok()?),
        0xf1 => number(i64::from(i16::from_le_bytes(bytes.get(1..3)?.try_into().ok()?)), 3),
        0xf2 => number(i64::from(i32::from_le_bytes([0, byte(1)?, byte(2)?, byte(3)?]) >> 8), 4),
        0xf3 => number(i64::from(i32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?)), 5),
        0xf4 => number(i64::from_le_bytes(bytes.get(1..9)?.try_into().ok()?), 9),
        _ => None,
    }
}

/// How many bytes the length takes that stands behind an element of this many.
const fn length_of_back(length: usize) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        0x20_0000..=0xfff_ffff => 4,
        _ => 5,
    }
}

/// The members of a set of numbers, as text.
pub(super) fn intset(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Bad> {
    numbers(bytes).ok_or_else(|| Bad::wrong("a set of numbers in it is damaged"))
}

fn numbers(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (width, count) = (usize::try_from(number(0)?).ok()?, usize::try_from(number(4)?).ok()?);
    let body = bytes.get(8..)?;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width)? != body.len() {
        return None;
    }
    let text = |chunk: &[u8]| {
        let number = match width {
            2 => i64::from(i16::from_le_bytes(chunk.try_into().ok()?)),
            4 => i64::from(i32::from_le_bytes(chunk.try_into().ok()?)),
            _ => i64::from_le_bytes(chunk.try_into().ok()?),
        };
        Some(number.to_string().into_bytes())
    };
    body.chunks(width).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(elements: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; 6];
        bytes[4] = u8::try_from(elements.len()).unwrap();
        for element in elements {
            bytes.extend_from_slice(element);
            let back = length_of_back(element.len());
            bytes.extend(vec![0; back]);
        }
        bytes.push(0xff);
        let total = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes[..4].copy_from_slice(&total);
        bytes
    }

    #[test]
    fn elements_in_every_way_of_writing() {
        let long = [&[0xe1, 0x00][..], &[b'x'; 256]].concat();
        let longest = [&[0xf0, 0, 0x10, 0, 0][..], &[b'y'; 4096]].concat();
        let packed = pack(&[
            b"\x05",
            b"\x83abc",
            b"\xdf\xff",
            b"\xc1\x00",
            b"\xf1\x00\x80",
            b"\xf2\xff\xff\xff",
            b"\xf3\x00\x00\x00\x80",
            b"\xf4\xff\xff\xff\xff\xff\xff\xff\x7f",
            &long,
            &longest,
            b"\x80",
        ]);
        let texts: Vec<String> =
            listpack(&packed).unwrap().into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
        let (long, longest) = ("x".repeat(256), "y".repeat(4096));
        let expected = [
            "5",
            "abc",
            "-1",
            "256",
            "-32768",
            "-1",
            "-2147483648",
            "9223372036854775807",
            &long,
            &longest,
            "",
        ];
        assert_eq!(texts, expected);
        for length in 0..packed.len() {
            assert!(listpack(&packed[..length]).is_err(), "{length}");
        }
        assert_eq!(listpack(&pack(&[])).unwrap(), [[0_u8; 0]; 0]);
    }

    #[test]
    fn sets_of_numbers() {
        let set = |width: u32, count: u32, body: &[u8]| {
            intset(&[&width.to_le_bytes()[..], &count.to_le_bytes(), body].concat())
        };
        assert_eq!(set(2, 2, &[0xff, 0xff, 1, 0]).unwrap(), [b"-1".to_vec(), b"1".to_vec()]);
        assert_eq!(set(4, 1, &[0, 0, 1, 0]).unwrap(), [b"65536".to_vec()]);
        assert_eq!(set(8, 1, &[0xff; 8]).unwrap(), [b"-1".to_vec()]);
        for (width, count, body) in
            [(2, 2, &[0; 3][..]), (3, 1, &[0; 3]), (8, u32::MAX, &[0; 8]), (2, 1, &[])]
        {
            assert!(set(width, count, body).is_err());
        }
    }
}
