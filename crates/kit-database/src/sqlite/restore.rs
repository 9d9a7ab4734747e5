//! Brings a dump back: into a scratch folder, or beside the live database.

use super::connect::{Access, Doing};
use super::dump::scratch_folder;
use super::inspect::{self, NO_WAIT};
use super::{SqliteDatabase, assertions, with_suffix};
use crate::{Database as _, DatabaseError, Depth, Inspection, Scratch};
use async_trait::async_trait;
use kit_contract::body::AssertionResult;
use kit_contract::config::Assertion;
use kit_core::Context;
use kit_core::fs::FsError;
use std::path::{Path, PathBuf};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// Files that SQLite keeps beside a database (sqlite.org/tempfiles.html). One of another database
/// under the right name would be taken for its own and destroy it.
pub(super) const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Moved at once.
const PIECE_BYTES: usize = 256 * 1024;
/// Length of SQLite's header (sqlite.org/fileformat.html, section 1.3).
const HEADER_BYTES: usize = 100;

struct SqliteScratch {
    path: PathBuf,
    folder: tempfile::TempDir,
    questions: Vec<Assertion>,
}

#[async_trait]
impl Scratch for SqliteScratch {
    fn display(&self) -> String {
        format!("SQLite {}", self.path.display())
    }

    async fn inspect(&self, cx: &Context, depth: Depth) -> Result<Inspection, DatabaseError> {
        let doing = Doing { action: "read", database: "the restored database", waited: NO_WAIT };
        inspect::inspect_file(&self.path, Access::Immutable, depth, cx, doing).await
    }

    async fn assertions(&self, cx: &Context) -> Result<Vec<AssertionResult>, DatabaseError> {
        crate::assertions::check(cx, &assertions::Asked(self.path.clone()), &self.questions).await
    }

    async fn close(self: Box<Self>, _cx: &Context) -> Result<(), DatabaseError> {
        let path = self.folder.path().to_owned();
        self.folder.close().map_err(|source| FsError { action: "remove", path, source }.into())
    }
}

pub(super) async fn into_scratch(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    scratch: &Path,
    database: &SqliteDatabase,
) -> Result<impl Scratch + use<>, DatabaseError> {
    let folder = scratch_folder(scratch)?;
    let path = folder.path().join("restored.sqlite");
    receive(cx, reader, &path, &database.display()).await?;
    Ok(SqliteScratch { path, folder, questions: database.questions.clone() })
}

/// Restores into `path`; after an error nothing is left there.
pub(super) async fn beside(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    path: &Path,
    display: &str,
) -> Result<(), DatabaseError> {
    remove_with_side_files(path)?;
    let received = receive(cx, reader, path, display).await;
    if received.is_err() {
        // The first error is the one to report; what stays is replaced by the next run.
        let _ = remove_with_side_files(path);
    }
    received
}

pub(super) fn remove_with_side_files(path: &Path) -> Result<(), DatabaseError> {
    for suffix in SIDE_FILES {
        kit_core::fs::remove(&with_suffix(path, suffix))?;
    }
    Ok(kit_core::fs::remove(path)?)
}

/// Writes the stream to a new, private file and checks that it is a whole database.
async fn receive(
    cx: &Context,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    path: &Path,
    display: &str,
) -> Result<(), DatabaseError> {
    let failed = |action, source: std::io::Error| DatabaseError::Transfer {
        action,
        database: display.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await
        .map_err(|error| failed("write", error))?;
    let copied = cx.cancel.unless(copy(reader, &mut file)).await;
    let Some(copied) = copied else {
        return Err(DatabaseError::Cancelled {
            unfinished: "the dump was restored",
            cause: cx.cancel.cause(),
        });
    };
    let (header, size_bytes) = copied.map_err(|error| match error {
        // How a decompressor says that its input ended early.
        Moved::Read(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated(display, format!("the stream broke off: {source}"))
        }
        Moved::Read(source) => failed("read", source),
        Moved::Write(source) => failed("write", source),
    })?;
    check_whole(&header, size_bytes).map_err(|problem| truncated(display, problem))?;
    file.sync_all().await.map_err(|error| failed("write", error))
}

fn truncated(display: &str, problem: String) -> DatabaseError {
    DatabaseError::Truncated { database: display.to_owned(), problem }
}

enum Moved {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// Gives the first bytes and the length.
async fn copy(reader: &mut (dyn AsyncRead + Send + Unpin), file: &mut File) -> Result<(Vec<u8>, u64), Moved> {
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let mut size_bytes = 0_u64;
    loop {
        let read = reader.read(&mut piece).await.map_err(Moved::Read)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        header.extend(bytes.iter().take(HEADER_BYTES - header.len()));
        size_bytes += bytes.len() as u64;
        file.write_all(bytes).await.map_err(Moved::Write)?;
    }
    file.flush().await.map_err(Moved::Write)?;
    Ok((header, size_bytes))
}

/// Compares the length with what the header says. Pure.
///
/// `VACUUM INTO` always fills in the size in pages; a database without it was not made by us.
fn check_whole(header: &[u8], size_bytes: u64) -> Result<(), String> {
    if header.len() < HEADER_BYTES {
        return Err(format!("it has {size_bytes} bytes, less than the header of a SQLite database"));
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err("it does not begin like a SQLite database".to_owned());
    }
    let page_bytes = match number(header, 16, 2) {
        1 => 65_536,
        bytes => bytes,
    };
    let pages = number(header, 28, 4);
    let expected = page_bytes * pages;
    if expected == size_bytes {
        return Ok(());
    }
    Err(format!(
        "it has {size_bytes} bytes, but its header speaks of {pages} pages of {page_bytes} bytes, {expected} in all"
    ))
}

/// A big-endian number inside the header.
fn number(header: &[u8], at: usize, length: usize) -> u64 {
    header.iter().skip(at).take(length).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::check_whole;

    #[test]
    fn a_header_tells_the_length() {
        let mut header = vec![0_u8; 100];
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[16..18].copy_from_slice(&4096_u16.to_be_bytes());
        header[28..32].copy_from_slice(&3_u32.to_be_bytes());
        assert_eq!(check_whole(&header, 12_288), Ok(()));
        assert!(check_whole(&header, 12_287).unwrap_err().contains("12288 in all"));
        assert!(check_whole(&header, 16_384).is_err(), "longer is not whole either");
        header[16..18].copy_from_slice(&1_u16.to_be_bytes());
        assert_eq!(check_whole(&header, 3 * 65_536), Ok(()));
        assert!(check_whole(&header[..99], 99).is_err());
        assert!(check_whole(&[b'x'; 100], 100).is_err());
        assert!(check_whole(b"", 0).is_err());
    }
}
