//! A stored backup as it comes back.

use crate::Identity;
use kit_core::Progress;
use kit_database::gunzip::{ByteReader, Fault, Gunzip, tallied};

/// Opens a stored backup, where it is sealed, and inflates it. The digests of [`Gunzip::read`] are those of what the
/// store gave and of what came out.
///
/// # Errors
/// If it is sealed and its header cannot be read, or this key does not open it.
pub async fn unpack(source: ByteReader, key: Option<&Identity>, progress: Progress) -> Result<Gunzip, Fault> {
    let Some(key) = key else { return Ok(Gunzip::new(source, progress)) };
    let (source, stored) = tallied(source);
    Ok(Gunzip::of_opened(key.open(source).await?, stored, progress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recipients, Sealer};
    use flate2::{Compression, write::GzEncoder};
    use kit_contract::Sha256;
    use kit_contract::config::BackupEncryption;
    use kit_core::{Context, Env};
    use kit_database::gunzip::Read;
    use std::io::{Cursor, Write as _};
    use tokio::io::AsyncReadExt as _;

    const CHUNK: usize = 64 * 1024;

    fn recipients(identity: &Identity) -> Recipients {
        let config = BackupEncryption { recipients: identity.public_keys(), recipients_file: None };
        Recipients::new(&config, None).unwrap()
    }

    fn seal(sealer: Sealer, plain: &[u8], piece: usize) -> Vec<u8> {
        let mut sealer = sealer;
        let mut sealed: Vec<u8> = plain.chunks(piece).flat_map(|piece| sealer.seal(piece).unwrap()).collect();
        sealed.extend(sealer.finish().unwrap());
        sealed
    }

    async fn back(sealed: Vec<u8>, key: &Identity) -> Result<(Vec<u8>, Read), Fault> {
        let (cx, _) = Context::for_test(Env::default());
        let progress = Progress::new(&cx, "test".to_owned(), None);
        let mut gunzip = unpack(Box::new(Cursor::new(sealed)), Some(key), progress).await?;
        let mut plain = Vec::new();
        match gunzip.read_to_end(&mut plain).await {
            Ok(_) => Ok((plain, gunzip.read().unwrap())),
            Err(_) => Err(gunzip.fault().unwrap().clone()),
        }
    }

    /// Incompressible, so that the gzip of it has about as many bytes.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 0x5eed_u32;
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 24) as u8
        };
        (0..count).map(|_| next(&mut state)).collect()
    }

    fn pack(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(0));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn what_is_sealed_comes_back_to_each_of_its_readers_and_to_nobody_else() {
        let (owner, once) = (Identity::one_time(), Identity::one_time());
        // The gzip ends before, at and behind the end of a chunk of age.
        let around = (0..40).map(|less| noise(2 * CHUNK - less)).map(|plain| (pack(&plain), plain));
        let exact = around.clone().find(|(packed, _)| packed.len() == 2 * CHUNK).unwrap();
        let longer = around.clone().find(|(packed, _)| packed.len() == 2 * CHUNK + 1).unwrap();
        for (packed, plain) in [(pack(b""), Vec::new()), (pack(b"x"), b"x".to_vec()), exact, longer] {
            let sealer = Sealer::new(&recipients(&owner), Some(&once)).unwrap();
            let sealed = seal(sealer, &packed, 10_000);
            for key in [&owner, &once] {
                let (found, read) = back(sealed.clone(), key).await.unwrap();
                assert!(found == plain);
                let expected = Read {
                    sha256: Sha256::of(&sealed),
                    size_bytes: sealed.len() as u64,
                    uncompressed_bytes: plain.len() as u64,
                };
                assert_eq!(read, expected);
            }
            let stranger = back(sealed, &Identity::one_time()).await;
            assert!(matches!(stranger, Err(Fault::Content(text)) if text.contains("sealed for others")));
        }
    }

    #[tokio::test]
    async fn what_was_cut_or_changed_anywhere_is_content_that_is_broken_and_not_a_store_that_failed() {
        let owner = Identity::one_time();
        let packed = pack(&noise(2 * CHUNK + 100));
        let whole = seal(Sealer::new(&recipients(&owner), None).unwrap(), &packed, 50_000);
        let header = whole.len() - packed.len() - 3 * 16;
        for at in [0, 1, header / 2, header, header + CHUNK + 16, whole.len() - 16, whole.len() - 1] {
            let cut = back(whole[..at].to_vec(), &owner).await;
            assert!(matches!(cut, Err(Fault::Content(_))), "cut at {at}: {:?}", cut.map(|_| ()));
        }
        for at in (0..header).step_by(7).chain([header + 5, header + CHUNK + 20, whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let changed = back(changed, &owner).await;
            assert!(matches!(changed, Err(Fault::Content(_))), "byte {at}: {:?}", changed.map(|_| ()));
        }
        let more = back([whole.as_slice(), b"garbage"].concat(), &owner).await;
        assert!(matches!(more, Err(Fault::Content(_))));
        let unfinished = {
            let mut sealer = Sealer::new(&recipients(&owner), None).unwrap();
            sealer.seal(&packed).unwrap()
        };
        assert!(matches!(back(unfinished, &owner).await, Err(Fault::Content(_))), "its end was never given");
    }
}
