//! The directory format: dumped by several connections into a scratch folder, then stored as one tar.

use super::super::connect::Doing;
use super::super::dump::{Examined, ReadAlong, Start};
use super::{AHEAD, PIECE_BYTES, Reading, check, read_along, what_was_read};
use crate::DatabaseError;
use crate::pieces::{Piece, Pieces};
use crate::schema_file::SchemaFile;
use async_trait::async_trait;
use kit_core::Context;
use kit_core::fs::FsError;
use kit_exec::{Stdin, Stdout};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use tokio::io::AsyncRead;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

/// More connections than that hardly help, and each takes one from the application.
const MOST_JOBS: usize = 4;

/// How many connections dump at once.
fn jobs() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, MOST_JOBS)
}

/// A dump in the directory format.
pub(in super::super) struct Directory {
    pieces: Pieces,
    /// Gives the number of bytes.
    packing: JoinHandle<std::io::Result<u64>>,
    reading: Reading,
    /// What was dumped; gone with this.
    _folder: tempfile::TempDir,
}

pub(in super::super) async fn directory(
    start: Start<'_>,
    cx: &Context,
    schema: SchemaFile,
    doing: Doing<'_>,
) -> Result<Directory, DatabaseError> {
    check(&start)?;
    let scratch = start.scratch;
    let jobs = start.database.options.dump_jobs.filter(|jobs| *jobs > 0).map_or_else(jobs, usize::from);
    let mut builder = tempfile::Builder::new();
    let failed = |source| FsError { action: "make a folder in", path: scratch.to_owned(), source };
    let folder = builder.prefix("pg-dump-").tempdir_in(scratch).map_err(failed)?;
    let dumped = folder.path().join("dump");
    start
        .pg_dump()
        .args(["--format=directory", "--compress=0"])
        .arg(format!("--jobs={jobs}"))
        .arg(format!("--file={}", dumped.display()))
        .writes(folder.path())
        .stdout(Stdout::Capture { limit_bytes: 1 << 16 })
        .quiet_stderr()
        .run(cx)
        .await
        .map_err(|error| doing.not_made(error))?;
    let pg_restore = start.clients.command("pg_restore").arg("--format=directory");
    let reading =
        read_along(cx, pg_restore.arg(&dumped).reads(&dumped), Stdin::Empty, start.scanner(schema))?;
    let (sender, pieces) = Pieces::channel(AHEAD);
    let packing = tokio::task::spawn_blocking(move || pack(&dumped, sender));
    Ok(Directory { pieces, packing, reading, _folder: folder })
}

/// Writes the files of a folder as one tar, in the order of their names.
#[allow(clippy::disallowed_methods, reason = "errors go to whoever reads the tar, who knows the database")]
fn pack(folder: &Path, to: Sender<Piece>) -> std::io::Result<u64> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    names.sort();
    let channel = Channel { to, bytes: 0 };
    let mut tar = tar::Builder::new(std::io::BufWriter::with_capacity(PIECE_BYTES, channel));
    for name in names {
        let file = std::fs::File::open(folder.join(&name))?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(0o600);
        tar.append_data(&mut header, &name, file)?;
    }
    let channel = tar.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    // Whoever does not take it any more has not read it to its end.
    let _ = channel.to.blocking_send(Piece::End);
    Ok(channel.bytes)
}

/// Sends what is written to it.
struct Channel {
    to: Sender<Piece>,
    bytes: u64,
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.to.blocking_send(Piece::Bytes(bytes.to_vec()));
        sent.map_err(|_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "nobody reads it any more"))?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ReadAlong for Directory {
    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        &mut self.pieces
    }

    async fn finish(self: Box<Self>, _cx: &Context, doing: Doing<'_>) -> Result<Examined, DatabaseError> {
        if !self.pieces.was_read_whole() {
            return Err(doing.truncated("it was not read to its end".to_owned()));
        }
        let bytes = match self.packing.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(doing.truncated(format!("its tar could not be made: {error}"))),
            Err(_) => return Err(doing.truncated("making its tar ended in a bug".to_owned())),
        };
        let (content, schema) = what_was_read(self.reading, doing).await?;
        Ok(Examined { bytes, content, schema, counted: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::unpack::unpack;
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn tar_of(files: &[(&str, usize)]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        for (name, size) in files {
            kit_core::fs::create_new(&folder.path().join(name), &vec![7_u8; *size]).unwrap();
        }
        let (sender, mut pieces) = Pieces::channel(AHEAD);
        let path = folder.path().to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&path, sender));
        let mut tar = Vec::new();
        pieces.read_to_end(&mut tar).await.unwrap();
        assert_eq!(packing.await.unwrap().unwrap(), tar.len() as u64);
        tar
    }

    #[tokio::test]
    async fn a_folder_goes_through_a_tar_and_no_part_of_it_is_taken_for_the_whole() {
        let files = [("1.dat", 0), ("2.dat", 1), ("3.dat", 512), ("4.dat", 700_000), ("toc.dat", 5)];
        let tar = tar_of(&files).await;
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        unpack(&mut &tar[..], &whole).await.unwrap();
        for (name, size) in files {
            assert_eq!(std::fs::metadata(whole.join(name)).unwrap().len(), size as u64);
        }
        for at in [0, 1, 511, 512, 1024, tar.len() / 2, tar.len() - 1025, tar.len() - 1024, tar.len() - 1] {
            let cut = folder.path().join(at.to_string());
            let error = unpack(&mut &tar[..at], &cut).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{at} of {}: {error}", tar.len());
        }
    }

    #[tokio::test]
    async fn a_tar_that_is_none_of_ours_is_not_unpacked() {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        let mut link = tar::Builder::new(Vec::new());
        link.append_link(&mut header, "toc.dat", "/etc/passwd").unwrap();
        let mut below = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        below.append_data(&mut header, "a/toc.dat", &b"x"[..]).unwrap();
        for tar in [link.into_inner().unwrap(), below.into_inner().unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            let error = unpack(&mut &tar[..], &folder.path().join("x")).await.unwrap_err();
            assert!(error.to_string().contains("is no file of a dump"), "{error}");
        }
    }
}
