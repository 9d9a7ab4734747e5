//! What a dump is, by its first bytes.

use std::io::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A tar says so within its first block.
const HEAD_BYTES: u64 = 512;

/// What a dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Plain,
    Custom,
    Directory,
}

/// Reads the first bytes, and gives them back with what they say.
pub(in super::super) async fn kind(reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<(Kind, Vec<u8>)> {
    let mut head = Vec::new();
    reader.take(HEAD_BYTES).read_to_end(&mut head).await?;
    Ok((of(&head), head))
}

/// The magic of `pg_dump` (pg_backup_archiver.c), and that of POSIX tar.
fn of(head: &[u8]) -> Kind {
    if head.starts_with(b"PGDMP") {
        return Kind::Custom;
    }
    match head.get(257..262) {
        Some(b"ustar") => Kind::Directory,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dump_says_what_it_is() {
        let mut tar = vec![0_u8; 2000];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, expected) in [
            (&b"--\n-- PostgreSQL database dump\n--\n"[..], Kind::Plain),
            (b"", Kind::Plain),
            (b"PGDMP\x01\x0e\x00", Kind::Custom),
            (&tar, Kind::Directory),
            (&tar[..261], Kind::Plain),
        ] {
            let mut reader = bytes;
            let (found, head) = kind(&mut reader).await.unwrap();
            assert_eq!((found, head.len() + reader.len()), (expected, bytes.len()));
        }
    }
}
