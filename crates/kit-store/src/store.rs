//! What a store can do.

use crate::{Key, StoreError};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::Sha256;
use sha2::Digest as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest object that is read or written as a whole, in bytes (16 MiB). Longer ones go through
/// [`Store::create_stream`] and [`Store::read_stream`].
pub const OBJECT_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// Names the content of an object at some time; only the store that gave it can read it. Writes that
/// expect a version are refused once the object has another one. Equal contents may have equal versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// A version as a store writes it, for example an ETag.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// The version that this content is.
    pub version: Version,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its version.
    pub version: Version,
}

/// What was written as a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// How many bytes.
    pub size_bytes: u64,
    /// Their digest, taken on the way.
    pub sha256: Sha256,
    /// The version of the new object.
    pub version: Version,
}

/// The content of an object as it comes.
pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;

/// What is remarkable about how a store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// True if the configuration asks for something that this store cannot do.
    pub refuses: bool,
    /// What was seen.
    pub what: String,
    /// What a person can do about it.
    pub hint: String,
}

/// Keeps objects.
///
/// Every method fails with [`StoreError::Unreachable`] if the store could not be asked or did not
/// answer. A write that failed so may have happened all the same: whoever tries again must be able to
/// recognise his own write.
#[async_trait]
pub trait Store: Send + Sync {
    /// The object, or `None` if there is none.
    ///
    /// # Errors
    /// If the store could not be asked, or the object is longer than [`OBJECT_LIMIT_BYTES`].
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// Size and version of the object, or `None` if there is none.
    ///
    /// # Errors
    /// If the store could not be asked.
    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError>;

    /// Writes an object that does not exist yet, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if it exists; else why it could not be written.
    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, StoreError>;

    /// Writes over an object, if it still has the version `expected`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if it has another version or is gone; else why it could not be written.
    async fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, StoreError>;

    /// Removes an object, if it still has the version `expected`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] if it has another version or is gone; else why it could not be removed.
    async fn delete(&self, key: &Key, expected: &Version) -> Result<(), StoreError>;

    /// The keys that begin with `prefix`, sorted by byte. Names that somebody else put there are
    /// listed as they are, even if they are no valid keys.
    ///
    /// # Errors
    /// If the store could not be asked: a listing is whole or an error.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Writes an object that does not exist yet from a reader, whole or not at all: nothing stands
    /// under the key until the reader has ended well and everything is stored.
    ///
    /// To call it off, let the reader fail: what was stored so far is then removed before this returns.
    /// A future that is dropped, or a process that is killed, may leave pieces behind that cost space
    /// but are no object; see [`Store::remove_unfinished`].
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if it exists, [`StoreError::Source`] if `reader` failed; else why
    /// it could not be written.
    async fn create_stream(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Uploaded, StoreError>;

    /// The content of an object of any size, or `None` if there is none.
    ///
    /// # Errors
    /// If the store could not be asked.
    async fn read_stream(&self, key: &Key) -> Result<Option<ByteReader>, StoreError>;

    /// False if there is no such place, as a folder that is not there: nothing was ever stored in it, or
    /// it is somewhere else. A store that answers every question about a missing place with an error
    /// need not say more.
    ///
    /// # Errors
    /// If that could not be found out.
    async fn is_there(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Removes what streams left behind that never ended: of keys that begin with `prefix`, begun before
    /// this time. Gives the keys, sorted.
    ///
    /// A stream that still runs would be removed as well: name a key that is nobody else's, or a time
    /// before which no running one can have begun. A store that leaves nothing behind has nothing to do.
    ///
    /// # Errors
    /// If the store could not be asked.
    async fn remove_unfinished(
        &self,
        prefix: &str,
        begun_before: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let _ = (prefix, begun_before);
        Ok(Vec::new())
    }

    /// What is remarkable about how the store is set up. Reads only.
    ///
    /// # Errors
    /// If the store could not be asked.
    async fn examine(&self) -> Result<Vec<Remark>, StoreError> {
        Ok(Vec::new())
    }

    /// The store's address, without credentials.
    fn describe(&self) -> String;
}

/// For whoever wants to know what happened: a store that is not there holds no answer, and that is not
/// the same as an empty one.
///
/// # Errors
/// [`StoreError::NotThere`], or why that could not be found out.
pub async fn must_be_there(store: &dyn Store) -> Result<(), StoreError> {
    if store.is_there().await? { Ok(()) } else { Err(StoreError::NotThere { address: store.describe() }) }
}

/// The digest of an object of any size, read through once; `None` if there is none.
///
/// # Errors
/// If the store could not be asked, or the object could not be read to its end.
pub async fn digest_of(store: &dyn Store, key: &Key) -> Result<Option<Sha256>, StoreError> {
    let Some(mut reader) = store.read_stream(key).await? else { return Ok(None) };
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0_u8; 256 * 1024];
    loop {
        let count = reader
            .read(&mut chunk)
            .await
            .map_err(|error| StoreError::unreachable("read", key.as_str(), store.describe(), error))?;
        match chunk.get(..count) {
            Some(read) if !read.is_empty() => hasher.update(read),
            _ => return Ok(Some(Sha256::from_raw(&hasher.finalize()))),
        }
    }
}

/// Refuses contents that [`Store::get`] could not read again.
///
/// # Errors
/// [`StoreError::TooLarge`].
pub fn check_size(key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    let size_bytes = bytes.len() as u64;
    if size_bytes <= OBJECT_LIMIT_BYTES {
        return Ok(());
    }
    Err(StoreError::TooLarge { key: key.clone(), size_bytes })
}
