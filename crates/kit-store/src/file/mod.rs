//! A store in a folder: for laptops, tests, and disks that persist.

mod disk;
#[cfg(test)]
mod tests;

use crate::key::check_prefix;
use crate::store::check_size;
use crate::{ByteReader, Key, Meta, OBJECT_LIMIT_BYTES, Object, Store, StoreError, Uploaded, Version};
use async_trait::async_trait;
use disk::{Disk, DiskError};
use jiff::Timestamp;
use kit_contract::Sha256;
use sha2::Digest as _;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// How much of a stream is held in memory.
const CHUNK_BYTES: usize = 256 * 1024;

/// A store in a folder.
///
/// Conditions hold between all processes of one machine: a creation never overwrites (`renameat2` with
/// `RENAME_NOREPLACE`, or a hard link), and compare-and-swap runs under an exclusive lock of the
/// operating system on `<folder>/.lock`. On a network file system they hold as far as its locks do.
/// Every write is on the disk, file and folder, before it is reported.
///
/// The version of an object of up to [`OBJECT_LIMIT_BYTES`] is its digest; that of a longer one, which
/// would take long to read, is made of size, time of modification and inode.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// The store in this folder, which is made at the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs `work` where it may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &Key,
        work: impl FnOnce(&Disk, &Key) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = Disk::new(self.root.clone());
        let owned = key.clone();
        match tokio::task::spawn_blocking(move || work(&disk, &owned)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.explain(action, key, error)),
            Err(panicked) => Err(self.cannot(action, key.as_str(), panicked)),
        }
    }

    fn explain(&self, action: &'static str, key: &Key, error: DiskError) -> StoreError {
        match error {
            DiskError::Exists => StoreError::AlreadyExists { key: key.clone() },
            DiskError::Changed => StoreError::Changed { key: key.clone() },
            DiskError::TooLarge { size_bytes } => StoreError::TooLarge { key: key.clone(), size_bytes },
            DiskError::Fs(error) => self.cannot(action, key.as_str(), error),
        }
    }

    fn cannot(
        &self,
        action: &'static str,
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::unreachable(action, what, self.describe(), source)
    }

    /// Copies the reader into a file, and counts and digests on the way.
    async fn pour(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        file: &mut tokio::fs::File,
    ) -> Result<(u64, Sha256), StoreError> {
        let mut hasher = sha2::Sha256::new();
        let mut size_bytes = 0_u64;
        let mut chunk = vec![0_u8; CHUNK_BYTES];
        loop {
            let count = reader
                .read(&mut chunk)
                .await
                .map_err(|source| StoreError::Source { key: key.clone(), source })?;
            let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else { break };
            hasher.update(read);
            size_bytes += read.len() as u64;
            file.write_all(read).await.map_err(|error| self.cannot("write", key.as_str(), error))?;
        }
        // tokio reports the failure of a write only with the next operation: both are needed.
        file.flush().await.map_err(|error| self.cannot("write", key.as_str(), error))?;
        file.sync_all().await.map_err(|error| self.cannot("write", key.as_str(), error))?;
        Ok((size_bytes, Sha256::from_raw(&hasher.finalize())))
    }
}

#[async_trait]
impl Store for FileStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.on_disk("read", key, |disk, key| {
            let Some(seen) = disk.look(key)? else { return Ok(None) };
            let Some(bytes) = seen.bytes else {
                return Err(DiskError::TooLarge { size_bytes: seen.size_bytes });
            };
            Ok(Some(Object { bytes, version: seen.version }))
        })
        .await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.on_disk("look at", key, |disk, key| {
            let seen = disk.look(key)?;
            Ok(seen.map(|seen| Meta { size_bytes: seen.size_bytes, version: seen.version }))
        })
        .await
    }

    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        let bytes = bytes.to_vec();
        self.on_disk("create", key, move |disk, key| disk.create(key, &bytes)).await
    }

    async fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        let (bytes, expected) = (bytes.to_vec(), expected.clone());
        self.on_disk("replace", key, move |disk, key| disk.replace(key, &bytes, &expected)).await
    }

    async fn delete(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        let expected = expected.clone();
        self.on_disk("delete", key, move |disk, key| disk.delete(key, &expected)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_prefix(prefix)?;
        let (disk, owned) = (Disk::new(self.root.clone()), prefix.to_owned());
        match tokio::task::spawn_blocking(move || disk.list(&owned)).await {
            Ok(Ok(keys)) => Ok(keys),
            Ok(Err(error)) => Err(self.cannot("list", prefix, error)),
            Err(panicked) => Err(self.cannot("list", prefix, panicked)),
        }
    }

    async fn create_stream(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Uploaded, StoreError> {
        // The temporary file is removed when `path` is dropped, however this ends.
        let (file, path) = self.on_disk("create", key, Disk::temporary).await?;
        let mut file = tokio::fs::File::from_std(file);
        let (size_bytes, sha256) = self.pour(key, reader, &mut file).await?;
        drop(file);
        let digest = (size_bytes <= OBJECT_LIMIT_BYTES).then(|| disk::version_of_digest(&sha256));
        let stat = self.on_disk("create", key, move |disk, key| disk.publish(key, path)).await?;
        Ok(Uploaded { size_bytes, sha256, version: digest.unwrap_or(stat) })
    }

    async fn read_stream(&self, key: &Key) -> Result<Option<ByteReader>, StoreError> {
        let file = self.on_disk("read", key, |disk, key| Ok(disk.open(key)?.map(|(file, _)| file))).await?;
        Ok(file.map(|file| Box::new(tokio::fs::File::from_std(file)) as ByteReader))
    }

    async fn is_there(&self) -> Result<bool, StoreError> {
        let exists = tokio::fs::try_exists(&self.root).await;
        exists.map_err(|error| self.cannot("look at", "the folder", error))
    }

    async fn remove_unfinished(
        &self,
        prefix: &str,
        begun_before: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        check_prefix(prefix)?;
        let (disk, owned) = (Disk::new(self.root.clone()), prefix.to_owned());
        match tokio::task::spawn_blocking(move || disk.remove_unfinished(&owned, begun_before)).await {
            Ok(Ok(keys)) => Ok(keys),
            Ok(Err(error)) => Err(self.cannot("clear", prefix, error)),
            Err(panicked) => Err(self.cannot("clear", prefix, panicked)),
        }
    }

    fn describe(&self) -> String {
        format!("file:{}", self.root.display())
    }
}
