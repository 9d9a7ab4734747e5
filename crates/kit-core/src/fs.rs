//! Files. Every error names the path and what was tried; every write is whole or not at all.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct FsError {
    /// What was tried: `read`, `write`, `create`, …
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: std::io::Error,
}

impl FsError {
    fn of<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// True if it failed because nothing is there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::NotFound
    }
}

/// Reads a file of at most `limit_bytes`; longer ones are an error, never cut.
///
/// # Errors
/// If it cannot be read, or is longer.
#[allow(clippy::disallowed_methods, reason = "the one place that opens files")]
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
    let file = std::fs::File::open(path).map_err(FsError::of("read", path))?;
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(FsError::of("read", path))?;
    if bytes.len() as u64 > limit_bytes {
        let source =
            std::io::Error::other(format!("it is longer than the {limit_bytes} bytes that are allowed"));
        return Err(FsError { action: "read", path: path.to_owned(), source });
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit_bytes`.
///
/// # Errors
/// If it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit_bytes: u64) -> Result<String, FsError> {
    String::from_utf8(read(path, limit_bytes)?)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text"))
        .map_err(FsError::of("read", path))
}

/// Like [`read`], but a file that is not there is `None`: not there is not the same as unreadable.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read_if_there(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, FsError> {
    match read(path, limit_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file so that a reader sees the old content or the new, never a part, also after a crash.
///
/// # Errors
/// If it cannot be written; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let folder = parent(path);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(FsError::of("write", path))?;
    file.write_all(bytes).map_err(FsError::of("write", path))?;
    file.as_file().sync_all().map_err(FsError::of("write", path))?;
    set_readable(file.as_file()).map_err(FsError::of("write", path))?;
    file.persist(path).map_err(|error| error.error).map_err(FsError::of("write", path))?;
    sync_folder(folder)
}

/// Creates a file that must not exist yet: whole or not at all, and never over another.
///
/// # Errors
/// [`std::io::ErrorKind::AlreadyExists`] if it exists; else why it cannot be written.
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let folder = parent(path);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(FsError::of("create", path))?;
    file.write_all(bytes).map_err(FsError::of("create", path))?;
    file.as_file().sync_all().map_err(FsError::of("create", path))?;
    set_readable(file.as_file()).map_err(FsError::of("create", path))?;
    file.persist_noclobber(path).map_err(|error| error.error).map_err(FsError::of("create", path))?;
    sync_folder(folder)
}

/// Appends to a file, creating it if need be.
///
/// # Errors
/// If it cannot be written.
pub fn append(path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(FsError::of("append to", path))
}

/// Locks a file exclusively, creating it if need be; the lock ends with the returned value, also if the
/// process dies. `None` if another process holds it.
///
/// # Errors
/// If it cannot be created or locked.
pub fn try_lock(path: &Path) -> Result<Option<std::fs::File>, FsError> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let file = opened.map_err(FsError::of("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(FsError::of("lock", path)(error)),
    }
}

/// Creates a folder and those above it.
///
/// # Errors
/// If that is not possible.
#[allow(clippy::disallowed_methods, reason = "the one place that makes folders")]
pub fn create_folder(path: &Path) -> Result<(), FsError> {
    std::fs::create_dir_all(path).map_err(FsError::of("create", path))
}

/// Moves a file within its file system, over whatever has that name.
///
/// # Errors
/// If that is not possible.
#[allow(clippy::disallowed_methods, reason = "the one place that renames")]
pub fn rename(from: &Path, to: &Path) -> Result<(), FsError> {
    std::fs::rename(from, to).map_err(FsError::of("rename", from))?;
    sync_folder(parent(to))
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// If it is there and cannot be removed.
#[allow(clippy::disallowed_methods, reason = "the one place that removes files")]
pub fn remove(path: &Path) -> Result<(), FsError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FsError::of("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The names in a folder, sorted; a folder that is not there is `None`.
///
/// # Errors
/// If it is there and cannot be read.
#[allow(clippy::disallowed_methods, reason = "the one place that lists folders")]
pub fn list(path: &Path) -> Result<Option<Vec<String>>, FsError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FsError::of("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(FsError::of("list", path))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(Some(names))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Temporary files are private; artifacts are read by other jobs and users.
fn set_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// Makes a rename in `folder` survive a power cut.
#[allow(clippy::disallowed_methods, reason = "the one place that opens folders")]
fn sync_folder(folder: &Path) -> Result<(), FsError> {
    std::fs::File::open(folder).and_then(|file| file.sync_all()).map_err(FsError::of("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_whole_and_creation_is_exclusive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert_eq!(read_if_there(&path, 10).unwrap(), None);
        create_new(&path, b"one").unwrap();
        let error = create_new(&path, b"two").unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AlreadyExists);
        write_atomic(&path, b"three").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"three");
        assert!(read(&path, 4).is_err(), "longer than allowed is an error, not a cut");
        assert_eq!(list(folder.path()).unwrap().unwrap(), ["a.json"], "no temporary file stays behind");
    }

    #[test]
    fn errors_name_the_path() {
        let error = read(Path::new("/nowhere/at/all"), 1).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/at/all");
        assert!(error.is_not_found());
        assert_eq!(list(Path::new("/nowhere/at/all")).unwrap(), None);
    }
}
