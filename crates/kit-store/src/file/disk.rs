//! The blocking half of the store in a folder.

use crate::{Key, OBJECT_LIMIT_BYTES, Version};
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_core::fs::{self, FsError};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// The file whose lock serialises compare-and-swap. No key can have this name.
const LOCK: &str = ".lock";
/// What the names of streams that have not ended begin with; the name of the object and a random part
/// follow. No key can have such a name.
const UNFINISHED: &str = ".unfinished-";
/// Length of the random part, with the dot before it.
const RANDOM_BYTES: usize = 7;

#[derive(Debug)]
pub(super) enum DiskError {
    Exists,
    Changed,
    TooLarge { size_bytes: u64 },
    Fs(FsError),
}

impl From<FsError> for DiskError {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

/// An object as it was found.
pub(super) struct Seen {
    pub(super) size_bytes: u64,
    pub(super) version: Version,
    /// Absent if it is longer than [`OBJECT_LIMIT_BYTES`].
    pub(super) bytes: Option<Vec<u8>>,
}

pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads size, content and version through one handle, so that they belong together.
    pub(super) fn look(&self, key: &Key) -> Result<Option<Seen>, FsError> {
        let Some((file, meta)) = self.open(key)? else { return Ok(None) };
        if meta.len() > OBJECT_LIMIT_BYTES {
            return Ok(Some(Seen { size_bytes: meta.len(), version: version_of_stat(&meta), bytes: None }));
        }
        let path = self.path(key);
        let mut bytes = Vec::new();
        file.take(OBJECT_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        if bytes.len() as u64 != meta.len() {
            // Files of this store are never written in place.
            return Err(failed("read", &path)(Error::other("somebody else writes it at this moment")));
        }
        let version = version_of_digest(&Sha256::of(&bytes));
        Ok(Some(Seen { size_bytes: meta.len(), version, bytes: Some(bytes) }))
    }

    /// The file behind an object, or `None` if there is no such object.
    pub(super) fn open(&self, key: &Key) -> Result<Option<(File, Metadata)>, FsError> {
        let path = self.path(key);
        let file = match OpenOptions::new().read(true).open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&self.root, &error) => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let meta = file.metadata().map_err(failed("look at", &path))?;
        Ok((!meta.is_dir()).then_some((file, meta)))
    }

    pub(super) fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, DiskError> {
        let path = self.path(key);
        self.make_folder_of(&path)?;
        fs::create_new(&path, bytes).map_err(|error| match error.source.kind() {
            ErrorKind::AlreadyExists => DiskError::Exists,
            _ => DiskError::Fs(error),
        })?;
        Ok(version_of_digest(&Sha256::of(bytes)))
    }

    pub(super) fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, DiskError> {
        let _lock = self.lock()?;
        self.compare(key, expected)?;
        fs::write_atomic(&self.path(key), bytes)?;
        Ok(version_of_digest(&Sha256::of(bytes)))
    }

    pub(super) fn delete(&self, key: &Key, expected: &Version) -> Result<(), DiskError> {
        let _lock = self.lock()?;
        self.compare(key, expected)?;
        let path = self.path(key);
        fs::remove(&path)?;
        Ok(sync(folder_of(&path))?)
    }

    /// Between this and the write nothing can change the object: creations need it to be absent, and
    /// everything else needs the lock that the caller holds.
    fn compare(&self, key: &Key, expected: &Version) -> Result<(), DiskError> {
        match self.look(key)? {
            Some(seen) if seen.version == *expected => Ok(()),
            _ => Err(DiskError::Changed),
        }
    }

    /// Waits for the lock; it ends with the returned handle, or with the process.
    fn lock(&self) -> Result<File, FsError> {
        self.make_folder(&self.root)?;
        let path = self.root.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }

    /// The keys that begin with `prefix`, sorted.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>, FsError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut keys = Vec::new();
        self.walk(folder, &|name| !name.starts_with('.'), &mut keys)?;
        keys.retain(|key| key.starts_with(prefix));
        keys.sort();
        Ok(keys)
    }

    /// Removes streams that never ended; gives the keys that they were to have, sorted.
    pub(super) fn remove_unfinished(
        &self,
        prefix: &str,
        begun_before: Timestamp,
    ) -> Result<Vec<String>, FsError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut files = Vec::new();
        self.walk(folder, &|name| name.starts_with(UNFINISHED), &mut files)?;
        let mut removed = Vec::new();
        for file in files {
            let path = self.root.join(&file);
            let Some(key) = key_of_unfinished(&file).filter(|key| key.starts_with(prefix)) else { continue };
            match std::fs::metadata(&path).and_then(|meta| meta.modified()) {
                Ok(modified) if Timestamp::try_from(modified).is_ok_and(|time| time < begun_before) => {
                    fs::remove(&path)?;
                    removed.push(key);
                }
                // Ended since the folder was listed, or too young.
                Ok(_) => {}
                Err(error) if is_absent(&self.root, &error) => {}
                Err(error) => return Err(failed("look at", &path)(error)),
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// Every file below `folder` whose name is wanted.
    fn walk(
        &self,
        folder: &str,
        wanted: &dyn Fn(&str) -> bool,
        found: &mut Vec<String>,
    ) -> Result<(), FsError> {
        let names = match fs::list(&self.root.join(folder)) {
            Ok(names) => names.unwrap_or_default(),
            Err(error) if is_absent(&self.root, &error.source) => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names {
            let key = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let path = self.root.join(&key);
            match std::fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.walk(&key, wanted, found)?,
                Ok(_) if wanted(&name) => found.push(key),
                Ok(_) => {}
                // Removed since the folder was listed.
                Err(error) if is_absent(&self.root, &error) => {}
                Err(error) => return Err(failed("look at", &path)(error)),
            }
        }
        Ok(())
    }

    /// A file next to the place of an object that must not exist yet. Readable by its owner alone:
    /// what comes as a stream is a copy of a database.
    pub(super) fn temporary(&self, key: &Key) -> Result<(File, TempPath), DiskError> {
        let path = self.path(key);
        if self.open(key)?.is_some() {
            return Err(DiskError::Exists);
        }
        self.make_folder_of(&path)?;
        let folder = folder_of(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new()
            .prefix(&format!("{UNFINISHED}{name}."))
            .rand_bytes(RANDOM_BYTES - 1)
            .tempfile_in(folder)
            .map_err(failed("create a file in", folder))?;
        Ok(file.into_parts())
    }

    /// Gives a complete file its final name, and says which version it would have as a long object.
    pub(super) fn publish(&self, key: &Key, temporary: TempPath) -> Result<Version, DiskError> {
        let path = self.path(key);
        let meta = std::fs::metadata(&temporary).map_err(failed("look at", &temporary))?;
        temporary.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            ErrorKind::AlreadyExists => DiskError::Exists,
            _ => DiskError::Fs(failed("create", &path)(error.error)),
        })?;
        sync(folder_of(&path))?;
        Ok(version_of_stat(&meta))
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn make_folder_of(&self, path: &Path) -> Result<(), FsError> {
        self.make_folder(folder_of(path))
    }

    /// Makes a folder and those above it so that they survive a power cut: each is synced into the one
    /// that holds it.
    fn make_folder(&self, folder: &Path) -> Result<(), FsError> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = folder_of(folder);
        if above != folder {
            self.make_folder(above)?;
        }
        fs::create_folder(folder)?;
        sync(above)
    }
}

/// `a/.unfinished-b.gz.x1y2z3` was to become `a/b.gz`.
fn key_of_unfinished(file: &str) -> Option<String> {
    let (folder, name) = match file.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), file),
    };
    let rest = name.strip_prefix(UNFINISHED)?;
    let name = rest.get(..rest.len().checked_sub(RANDOM_BYTES)?)?;
    Some(format!("{folder}{name}"))
}

pub(super) fn version_of_digest(digest: &Sha256) -> Version {
    Version::new(format!("sha256-{digest}"))
}

fn version_of_stat(meta: &Metadata) -> Version {
    Version::new(format!("stat-{}-{}.{:09}-{}", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
}

/// An object cannot have another below it, so such a key is absent. A store that itself lies below a
/// file could not be asked.
fn is_absent(root: &Path, error: &Error) -> bool {
    match error.kind() {
        ErrorKind::NotFound => true,
        ErrorKind::NotADirectory => root.is_dir(),
        _ => false,
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(Error) -> FsError + use<'a> {
    move |source| FsError { action, path: path.to_owned(), source }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn sync(folder: &Path) -> Result<(), FsError> {
    OpenOptions::new()
        .read(true)
        .open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", folder))
}
