use super::*;
use proptest::prelude::*;
use std::io::Read as _;

/// Through both libraries that inflate backups, of which one is the stricter.
fn comes_back(encoder: &mut Encoder, plain: &[u8]) -> usize {
    let mut room = vec![0; plain.len() + plain.len() / 8 + 1024];
    let deflated_bytes = encoder.deflate(plain, &mut room).unwrap();
    let deflated = &room[..deflated_bytes];
    let mut back = vec![0; plain.len()];
    let count = libdeflater::Decompressor::new().deflate_decompress(deflated, &mut back).unwrap();
    assert!(count == plain.len() && back == plain, "libdeflate gives something else");
    back.clear();
    let mut strict = flate2::bufread::DeflateDecoder::new(deflated);
    strict.read_to_end(&mut back).unwrap();
    assert!(back == plain, "zlib gives something else");
    assert_eq!(strict.total_in(), deflated_bytes as u64, "something follows its end");
    deflated_bytes
}

/// Numbers that look random, the same every time (G. Marsaglia, *Xorshift RNGs*, 2003).
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| {
        let mut next = state ^ state << 13;
        next ^= next >> 7;
        Some(next ^ next << 17)
    })
}

fn rows(count: usize) -> Vec<u8> {
    let row = |(n, digits): (usize, u64)| {
        format!("{n}\tuser{n}@example.org\t{}\t2026-01-{:02}\tactive\n", digits % 1_000_000, n % 28 + 1)
    };
    (0..count).zip(noise(7)).map(row).collect::<String>().into_bytes()
}

#[test]
fn what_is_deflated_comes_back() {
    let mut encoder = Encoder::new();
    let noisy: Vec<u8> = noise(1).map(|n| (n >> 32) as u8).take(200_000).collect();
    for length in
        (0..70).chain([255, 256, 257, 258, 259, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 200_000])
    {
        comes_back(&mut encoder, &vec![b'x'; length]);
        comes_back(&mut encoder, &noisy[..length]);
        comes_back(&mut encoder, &rows(length / 30 + 1)[..length]);
    }
    for period in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 256, 257, 258, 259, 4096, 32_767, 32_768, 32_769]
    {
        let plain: Vec<u8> = noisy.iter().take(period).copied().cycle().take(100_000).collect();
        comes_back(&mut encoder, &plain);
    }
    // Counts that grow as the Fibonacci numbers do make the deepest of all trees.
    let (mut deep, mut count, mut next) = (Vec::new(), 1, 1);
    for symbol in 0..26_u8 {
        deep.extend(std::iter::repeat_n(symbol, count));
        (count, next) = (next, count + next);
    }
    let shuffled: Vec<u8> = noise(3).take(300_000).map(|n| deep[n as usize % deep.len()]).collect();
    comes_back(&mut encoder, &shuffled);
}

#[test]
fn rows_get_as_small_as_others_make_them() {
    let plain = rows(20_000);
    let bytes = comes_back(&mut Encoder::new(), &plain);
    let mut room = vec![0; plain.len()];
    let level = libdeflater::CompressionLvl::new(1).unwrap();
    let theirs = libdeflater::Compressor::new(level).deflate_compress(&plain, &mut room).unwrap();
    assert!(bytes * 100 <= theirs * 105, "{bytes} {theirs}");
}

#[test]
fn the_same_bytes_come_out_the_same_whatever_was_before() {
    let mut used = Encoder::new();
    let plain = rows(3000);
    let (mut one, mut other) = (vec![0; plain.len()], vec![0; plain.len()]);
    used.deflate(&plain[1000..], &mut one).unwrap();
    let count = used.deflate(&plain, &mut one).unwrap();
    assert_eq!(Encoder::new().deflate(&plain, &mut other), Some(count));
    assert_eq!(one[..count], other[..count]);
}

#[test]
fn too_little_room_is_said_and_never_written_beyond() {
    let plain: Vec<u8> = noise(5).map(|n| (n >> 32) as u8).take(100_000).collect();
    let mut encoder = Encoder::new();
    assert_eq!(encoder.deflate(&plain, &mut vec![0; plain.len()]), None, "noise does not get smaller");
    let plain = rows(500);
    let needed = comes_back(&mut encoder, &plain);
    for room in 0..needed + 20 {
        let made = encoder.deflate(&plain, &mut vec![0; room]);
        assert!(made.is_none() || (made == Some(needed) && room >= needed), "{room} {made:?}");
    }
    assert_eq!(encoder.deflate(&plain, &mut vec![0; needed + 20]), Some(needed));
}

proptest! {
    #[test]
    fn whatever_it_is_it_comes_back(
        pieces in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..40), 1_usize..40, 0_u8..3),
            0..200,
        ),
    ) {
        let plain: Vec<u8> = pieces
            .iter()
            .flat_map(|(piece, times, kind)| match kind {
                0 => piece.clone(),
                1 => piece.repeat(*times),
                _ => piece.iter().map(|byte| byte % 4).collect(),
            })
            .collect();
        comes_back(&mut Encoder::new(), &plain);
    }
}
