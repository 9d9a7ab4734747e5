//! Objects that are read and written as a whole.

use crate::address::Address;
use crate::connect::Connection;
use crate::fault::Fault;
use crate::marks::Marks;
use crate::{download, examine, unfinished, upload};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use jiff::Timestamp;
use kit_contract::config::StoreConfig;
use kit_core::Clock;
use kit_store::{
    ByteReader, Key, Meta, OBJECT_LIMIT_BYTES, Object, Remark, Store, StoreError, Uploaded, Version,
    check_prefix, check_size,
};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::OnceCell;

/// The metadata that tells whose write it was (`x-amz-meta-deploy-kit-write`).
pub(crate) const WRITE: &str = "deploy-kit-write";
/// How often a creation is tried again that met another one under way.
const CONFLICTS: u32 = 4;
/// How long to wait before that; doubled each time.
const CONFLICT_DELAY: Duration = Duration::from_millis(100);

/// A store in a bucket.
pub(crate) struct S3Store {
    pub(crate) client: Client,
    pub(crate) address: Address,
    pub(crate) config: StoreConfig,
    pub(crate) clock: Clock,
    pub(crate) encrypted: bool,
    /// Filled once the bucket was seen: `HeadObject` cannot tell a missing bucket from a missing object.
    bucket_seen: OnceCell<()>,
}

/// An object as `HeadObject` shows it.
pub(crate) struct Seen {
    pub(crate) meta: Meta,
    /// The mark of the write that made it.
    pub(crate) write: Option<String>,
    pub(crate) version_id: Option<String>,
    pub(crate) locked_until: Option<Timestamp>,
}

/// On what a write depends.
#[derive(Clone, Copy)]
enum Condition<'a> {
    Absent,
    Version(&'a Version),
}

impl S3Store {
    pub(crate) fn new(connection: Connection, address: Address, config: StoreConfig, clock: Clock) -> Self {
        let Connection { client, encrypted } = connection;
        Self { client, address, config, clock, encrypted, bucket_seen: OnceCell::new() }
    }

    /// What to say when an object could not be asked for.
    pub(crate) fn failed(&self, action: &'static str, what: &str, fault: Fault) -> StoreError {
        let hint = fault.hint(action);
        let error = StoreError::unreachable(action, what, self.address.shown(), fault);
        match hint {
            Some(hint) => error.hinted(hint),
            None => error,
        }
    }

    /// The same for an error of the SDK.
    pub(crate) fn sdk_failed<E>(
        &self,
        action: &'static str,
        what: &str,
        error: SdkError<E, HttpResponse>,
    ) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.failed(action, what, Fault::of(error))
    }

    /// A mark for one write.
    pub(crate) fn new_write(&self, key: &Key) -> Result<String, StoreError> {
        kit_core::random_hex(16)
            .map_err(|error| self.failed("write", key.as_str(), Fault::Garbled(error.into())))
    }

    /// What a key is written with now.
    pub(crate) fn marks(&self, key: &Key) -> Marks {
        Marks::of(&self.config, key, self.clock.now())
    }

    /// Looks at an object; `None` only if the bucket was asked and has none.
    pub(crate) async fn look(&self, key: &Key) -> Result<Option<Seen>, StoreError> {
        let request = self.client.head_object().bucket(&self.address.bucket);
        match request.key(self.address.object(key.as_str())).send().await {
            Ok(head) => {
                let (Some(size), Some(tag)) = (head.content_length, head.e_tag) else {
                    return Err(self.failed("look at", key.as_str(), garbled("no length or no ETag")));
                };
                let until = head.object_lock_retain_until_date;
                Ok(Some(Seen {
                    meta: Meta {
                        size_bytes: u64::try_from(size).unwrap_or_default(),
                        version: Version::new(tag),
                    },
                    write: head.metadata.and_then(|mut metadata| metadata.remove(WRITE)),
                    version_id: head.version_id,
                    locked_until: until.and_then(|until| Timestamp::from_second(until.secs()).ok()),
                }))
            }
            Err(error) => match Fault::of(error) {
                Fault::NoObject => self.bucket_is_there("look at", key.as_str()).await.map(|()| None),
                fault => Err(self.failed("look at", key.as_str(), fault)),
            },
        }
    }

    /// Fails if the bucket is not there, or may not be listed: then "not found" would say nothing.
    async fn bucket_is_there(&self, action: &'static str, what: &str) -> Result<(), StoreError> {
        let ask = || async {
            let request = self.client.list_objects_v2().bucket(&self.address.bucket);
            let answer = request.prefix(&self.address.prefix).max_keys(1).send().await;
            answer.map(drop).map_err(|error| self.sdk_failed(action, what, error))
        };
        self.bucket_seen.get_or_try_init(ask).await.copied()
    }

    /// One conditional write.
    async fn put(&self, key: &Key, bytes: &[u8], condition: Condition<'_>) -> Result<Version, StoreError> {
        let write = self.new_write(key)?;
        let mut delay = CONFLICT_DELAY;
        for _ in 0..CONFLICTS {
            match self.put_once(key, bytes, condition, &write).await {
                Ok(Some(version)) => return Ok(version),
                Ok(None) => return self.settle(key, condition, &write, garbled("no ETag")).await,
                Err(Fault::Conflict) if matches!(condition, Condition::Absent) => {
                    // The other one may come to nothing; whoever is told "exists" must find something.
                    if let Some(seen) = self.look(key).await? {
                        return own(seen, &write)
                            .ok_or_else(|| StoreError::AlreadyExists { key: key.clone() });
                    }
                    self.clock.sleep(delay).await;
                    delay *= 2;
                }
                Err(fault) => return self.settle(key, condition, &write, fault).await,
            }
        }
        Err(self.failed("write", key.as_str(), Fault::Conflict))
    }

    async fn put_once(
        &self,
        key: &Key,
        bytes: &[u8],
        condition: Condition<'_>,
        write: &str,
    ) -> Result<Option<Version>, Fault> {
        let marks = self.marks(key);
        let request = self
            .client
            .put_object()
            .bucket(&self.address.bucket)
            .key(self.address.object(key.as_str()))
            .metadata(WRITE, write)
            .content_type(marks.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_server_side_encryption(marks.encryption.clone())
            .set_ssekms_key_id(marks.kms_key.clone())
            .set_storage_class(marks.storage_class.clone())
            .set_tagging(marks.tags.clone())
            .set_object_lock_mode(marks.lock_mode())
            .set_object_lock_retain_until_date(marks.lock_until())
            .body(ByteStream::from(bytes.to_vec()));
        let request = match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Version(version) => request.if_match(version.as_str()),
        };
        let done = request.send().await.map_err(Fault::of)?;
        Ok(done.e_tag.map(Version::new))
    }

    /// The answer was no, or none came: looks whether the write happened all the same.
    async fn settle(
        &self,
        key: &Key,
        condition: Condition<'_>,
        write: &str,
        fault: Fault,
    ) -> Result<Version, StoreError> {
        let (absent, refused) = match (condition, &fault) {
            (Condition::Absent, Fault::Condition) => (true, true),
            (Condition::Version(_), Fault::Condition | Fault::Conflict | Fault::NoObject) => (false, true),
            (Condition::Absent, _) => (true, false),
            (Condition::Version(_), _) => (false, false),
        };
        if !fault.may_have_happened() {
            return Err(self.failed("write", key.as_str(), fault));
        }
        match self.look(key).await {
            Ok(Some(seen)) if seen.write.as_deref() == Some(write) => Ok(seen.meta.version),
            Ok(_) if refused && absent => Err(StoreError::AlreadyExists { key: key.clone() }),
            Ok(_) if refused => Err(StoreError::Changed { key: key.clone() }),
            Ok(_) | Err(_) => Err(self.failed("write", key.as_str(), fault)),
        }
    }
}

/// The version, if this write made it.
fn own(seen: Seen, write: &str) -> Option<Version> {
    (seen.write.as_deref() == Some(write)).then_some(seen.meta.version)
}

/// The answer lacks something.
pub(crate) fn garbled(what: &'static str) -> Fault {
    Fault::Garbled(what.into())
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let failed = |fault| self.failed("read", key.as_str(), fault);
        let Some(found) = download::start(self, key, Some(ChecksumMode::Enabled)).await? else {
            return Ok(None);
        };
        if found.size_bytes > OBJECT_LIMIT_BYTES {
            return Err(StoreError::TooLarge { key: key.clone(), size_bytes: found.size_bytes });
        }
        let version = found.version.clone();
        let size_bytes = found.size_bytes;
        let bytes = found.read_all().await.map_err(failed)?;
        if bytes.len() as u64 != size_bytes {
            return Err(failed(garbled("fewer bytes than announced")));
        }
        Ok(Some(Object { bytes, version }))
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        Ok(self.look(key).await?.map(|seen| seen.meta))
    }

    async fn create(&self, key: &Key, bytes: &[u8]) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        self.put(key, bytes, Condition::Absent).await
    }

    async fn replace(&self, key: &Key, bytes: &[u8], expected: &Version) -> Result<Version, StoreError> {
        check_size(key, bytes)?;
        self.put(key, bytes, Condition::Version(expected)).await
    }

    async fn delete(&self, key: &Key, expected: &Version) -> Result<(), StoreError> {
        let changed = || StoreError::Changed { key: key.clone() };
        let Some(before) = self.look(key).await? else { return Err(changed()) };
        let request = self.client.delete_object().bucket(&self.address.bucket);
        let request = request.key(self.address.object(key.as_str())).if_match(expected.as_str());
        let fault = match request.send().await {
            Ok(_) => return Ok(()),
            Err(error) => Fault::of(error),
        };
        if !fault.may_have_happened() {
            return Err(self.failed("remove", key.as_str(), fault));
        }
        let refused = matches!(fault, Fault::Condition | Fault::Conflict | Fault::NoObject);
        match self.look(key).await {
            // It was there as expected and is gone: what was asked for has happened.
            Ok(None) if before.meta.version == *expected => Ok(()),
            Ok(_) if refused => Err(changed()),
            Ok(_) | Err(_) => Err(self.failed("remove", key.as_str(), fault)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        check_prefix(prefix)?;
        let mut keys = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.address.bucket);
            let request = request.prefix(self.address.object(prefix)).set_continuation_token(next.clone());
            let page = request.send().await.map_err(|error| self.sdk_failed("list", prefix, error))?;
            for object in page.contents.unwrap_or_default() {
                let name = object.key.unwrap_or_default();
                match name.strip_prefix(&self.address.prefix) {
                    Some(key) => keys.push(key.to_owned()),
                    None => return Err(self.failed("list", prefix, garbled("a name without the prefix"))),
                }
            }
            if page.is_truncated != Some(true) {
                break;
            }
            // A listing that does not move on would never end, and one that stops here is not whole.
            if page.next_continuation_token.is_none() || page.next_continuation_token == next {
                return Err(self.failed("list", prefix, garbled("it goes on, and does not say where")));
            }
            next = page.next_continuation_token;
        }
        keys.sort_unstable();
        Ok(keys)
    }

    async fn create_stream(
        &self,
        key: &Key,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Uploaded, StoreError> {
        upload::create(self, key, reader).await
    }

    async fn read_stream(&self, key: &Key) -> Result<Option<ByteReader>, StoreError> {
        Ok(download::start(self, key, None).await?.map(download::Download::into_reader))
    }

    async fn remove_unfinished(
        &self,
        prefix: &str,
        begun_before: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        check_prefix(prefix)?;
        unfinished::remove(self, prefix, begun_before).await
    }

    async fn examine(&self) -> Result<Vec<Remark>, StoreError> {
        examine::examine(self).await
    }

    fn describe(&self) -> String {
        self.address.shown()
    }
}
