//! JSON files that are whole or absent, never half written.

use crate::error::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the file holds; `None` if there is none. A file that cannot be read or understood is an error.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).context(format!("parse {}", path.display())).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("read {}", path.display())),
    }
}

/// Replaces the file in one step. When this returns, the content has reached the disk.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let what = || format!("write {}", path.display());
    let folder = folder_of(path);
    std::fs::create_dir_all(&folder).context(what())?;
    let mut text = serde_json::to_vec_pretty(value).context(what())?;
    text.push(b'\n');
    let mut file = tempfile::NamedTempFile::new_in(&folder).context(what())?;
    file.write_all(&text).context(what())?;
    file.as_file().sync_all().context(what())?;
    file.persist(path).context(what())?;
    std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).context(what())
}

/// The folder a file is in; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
