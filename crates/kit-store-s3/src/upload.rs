//! Writing a stream: several parts at once, bounded memory, and an object only if all of it arrived.
//!
//! The protocol is S3's multipart upload (API Reference: `CreateMultipartUpload`, `UploadPart`,
//! `CompleteMultipartUpload`). Nothing is visible under the key until the last request, which is
//! conditional. However this ends, the upload is ended, too; what a killed process leaves is found by
//! `unfinished`.

use crate::fault::Fault;
use crate::parts;
use crate::store::{S3Store, WRITE, garbled};
use crate::unfinished;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockRetention, ObjectLockRetentionMode,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use kit_contract::Sha256;
use kit_store::{Key, Store as _, StoreError, Uploaded};
use sha2::Digest as _;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::{JoinError, JoinSet};

/// The slowest line on which a part is not given up: 64 KiB a second.
const SLOWEST_BYTES_PER_SECOND: usize = 64 * 1024;
/// What a part may take beside its transfer.
const PART_LIMIT: Duration = Duration::from_secs(30);
/// Putting many parts together takes S3 minutes.
const COMPLETE_LIMIT: Duration = Duration::from_secs(10 * 60);
/// How long ending a failed upload may hold up the error.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

type Reader<'a> = &'a mut (dyn AsyncRead + Send + Unpin);
type Sent = Result<(CompletedPart, usize), Fault>;

/// Writes an object that does not exist yet.
pub(crate) async fn create(store: &S3Store, key: &Key, reader: Reader<'_>) -> Result<Uploaded, StoreError> {
    let mut source = Source { reader, hasher: sha2::Sha256::new(), size_bytes: 0 };
    let first_size = parts::size_bytes(1).unwrap_or_default();
    let mut first = BytesMut::with_capacity(first_size);
    while first.len() < first_size && source.read(key, &mut first, first_size).await? {}
    if first.len() < first_size {
        let version = store.create(key, &first).await?;
        return Ok(source.uploaded(version));
    }
    // Whoever finds the object there learns it now, and not after a hundred gigabytes.
    if store.look(key).await?.is_some() {
        return Err(StoreError::AlreadyExists { key: key.clone() });
    }
    let upload = Upload::begin(store, key).await?;
    let done = match upload.send(&mut source, first.freeze()).await {
        Ok(parts) => upload.complete(parts, source.size_bytes).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(version) => {
            upload.over();
            Ok(source.uploaded(version))
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// What is to be written, counted and digested as it comes.
struct Source<'a> {
    reader: Reader<'a>,
    hasher: sha2::Sha256,
    size_bytes: u64,
}

impl Source<'_> {
    /// Reads more into a part, never beyond its size; false at the end. May be dropped while it waits.
    async fn read(&mut self, key: &Key, part: &mut BytesMut, size: usize) -> Result<bool, StoreError> {
        let before = part.len();
        let mut room = part.limit(size.saturating_sub(before));
        let count = self
            .reader
            .read_buf(&mut room)
            .await
            .map_err(|source| StoreError::Source { key: key.clone(), source })?;
        self.hasher.update(part.get(before..).unwrap_or_default());
        self.size_bytes += count as u64;
        Ok(count > 0)
    }

    fn uploaded(self, version: kit_store::Version) -> Uploaded {
        let sha256 = Sha256::from_raw(&self.hasher.finalize());
        Uploaded { size_bytes: self.size_bytes, sha256, version }
    }
}

/// An upload that was begun. If it is dropped unless [`Upload::over`], a task tries to end it.
struct Upload<'a> {
    store: &'a S3Store,
    key: &'a Key,
    object: String,
    id: String,
    write: String,
    guard: Guard,
}

impl<'a> Upload<'a> {
    async fn begin(store: &'a S3Store, key: &'a Key) -> Result<Self, StoreError> {
        let write = store.new_write(key)?;
        let object = store.address.object(key.as_str());
        let marks = store.marks(key);
        let request = store
            .client
            .create_multipart_upload()
            .bucket(&store.address.bucket)
            .key(&object)
            .metadata(WRITE, &write)
            .content_type(marks.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_server_side_encryption(marks.encryption.clone())
            .set_ssekms_key_id(marks.kms_key.clone())
            .set_storage_class(marks.storage_class.clone())
            .set_tagging(marks.tags.clone())
            .set_object_lock_mode(marks.lock_mode())
            .set_object_lock_retain_until_date(marks.lock_until());
        let answer = request.send().await.map_err(|error| store.sdk_failed("write", key.as_str(), error))?;
        let id =
            answer.upload_id.ok_or_else(|| store.failed("write", key.as_str(), garbled("no upload id")))?;
        let guard = Guard::new(store, &object, &id);
        Ok(Self { store, key, object, id, write, guard })
    }

    /// Sends part after part, several at once, while the next one is read.
    async fn send(&self, source: &mut Source<'_>, first: Bytes) -> Result<Vec<CompletedPart>, StoreError> {
        let mut sending = Sending { tasks: JoinSet::new(), in_flight: 0, done: Vec::new() };
        let failed = |fault| self.store.failed("write", self.key.as_str(), fault);
        let mut part = first;
        for number in 1..=parts::MOST_PARTS {
            while !parts::may_send(part.len(), sending.in_flight) {
                sending.one_ended().await.map_err(failed)?;
            }
            sending.in_flight += part.len();
            sending.tasks.spawn(self.part(number, part));
            let Some(size) = parts::size_bytes(number + 1) else { break };
            let mut next = BytesMut::with_capacity(size);
            while next.len() < size {
                tokio::select! {
                    biased;
                    ended = sending.one_ended(), if !sending.tasks.is_empty() => ended.map_err(failed)?,
                    read = source.read(self.key, &mut next, size) => if !read? { break },
                }
            }
            if next.is_empty() {
                while !sending.tasks.is_empty() {
                    sending.one_ended().await.map_err(failed)?;
                }
                sending.done.sort_unstable_by_key(|part| part.part_number);
                return Ok(sending.done);
            }
            part = next.freeze();
        }
        Err(failed(garbled("the stream is longer than the longest object")))
    }

    /// Sends one part. Its bytes stay in memory until they are stored: they may have to be sent again.
    fn part(&self, number: i32, bytes: Bytes) -> impl Future<Output = Sent> + Send + use<> {
        let size = bytes.len();
        let seconds = u64::try_from(size / SLOWEST_BYTES_PER_SECOND).unwrap_or(u64::MAX);
        let limit = PART_LIMIT.saturating_add(Duration::from_secs(seconds));
        let request = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.address.bucket)
            .key(&self.object)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(with_limit(limit));
        // TLS and the checksum already say that it arrived whole; signing would digest it once more.
        let request = if self.store.encrypted { request.disable_payload_signing() } else { request };
        async move {
            let done = request.send().await.map_err(Fault::of)?;
            let part = CompletedPart::builder()
                .part_number(number)
                .set_e_tag(done.e_tag)
                .set_checksum_crc32(done.checksum_crc32)
                .build();
            Ok((part, size))
        }
    }

    /// Makes the parts an object, unless there is one by now, and looks whether it is what was sent.
    async fn complete(
        &self,
        parts: Vec<CompletedPart>,
        size_bytes: u64,
    ) -> Result<kit_store::Version, StoreError> {
        let failed = |fault| self.store.failed("write", self.key.as_str(), fault);
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.address.bucket)
            .key(&self.object)
            .upload_id(&self.id)
            .if_none_match("*")
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(with_limit(COMPLETE_LIMIT));
        let answer = request.send().await.map_err(Fault::of);
        let answer = match answer {
            Err(fault) if !fault.may_have_happened() => return Err(failed(fault)),
            answer => answer,
        };
        // Whatever the answer, what counts is what is there.
        let seen = match (self.store.look(self.key).await, answer) {
            (Ok(Some(seen)), _) if seen.write.as_deref() == Some(&self.write) => seen,
            (Ok(Some(_)), Err(Fault::Condition | Fault::Conflict)) => {
                return Err(StoreError::AlreadyExists { key: self.key.clone() });
            }
            (_, Err(fault)) => return Err(failed(fault)),
            (Ok(_), Ok(_)) => return Err(failed(garbled("the object is not there, or not ours"))),
            (Err(error), Ok(_)) => return Err(error),
        };
        if seen.meta.size_bytes != size_bytes {
            return Err(failed(garbled("the object has another length than what was sent")));
        }
        self.lock(&seen).await?;
        Ok(seen.meta.version)
    }

    /// Some servers forget the lock that an upload was begun with; an unlocked backup is not what was
    /// asked for.
    async fn lock(&self, seen: &crate::store::Seen) -> Result<(), StoreError> {
        let marks = self.store.marks(self.key);
        let (Some((mode, until)), Some(date)) = (&marks.lock, marks.lock_until()) else { return Ok(()) };
        // The clock went on since the upload was begun.
        let enough = until.checked_sub(jiff::SignedDuration::from_hours(24)).unwrap_or(*until);
        if seen.locked_until.is_some_and(|locked| locked >= enough) {
            return Ok(());
        }
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::from(mode.as_str()))
            .retain_until_date(date)
            .build();
        let request = self.store.client.put_object_retention().bucket(&self.store.address.bucket);
        let request = request.key(&self.object).set_version_id(seen.version_id.clone()).retention(retention);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| self.store.sdk_failed("lock", self.key.as_str(), error))
    }

    /// Nothing is left to end.
    fn over(mut self) {
        self.guard.armed = false;
    }

    /// Ends the upload. If that fails, the next run finds it.
    async fn abort(mut self) {
        self.guard.armed = false;
        let work = unfinished::abort(&self.store.client, &self.store.address.bucket, &self.object, &self.id);
        let ended = self.store.clock.timeout(ABORT_LIMIT, work).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("an unfinished upload of {} could not be ended; the next run will", self.key);
        }
    }
}

fn with_limit(limit: Duration) -> Builder {
    Builder::new().timeout_config(TimeoutConfig::builder().operation_attempt_timeout(limit).build())
}

/// The parts that are on their way.
struct Sending {
    tasks: JoinSet<Sent>,
    in_flight: usize,
    done: Vec<CompletedPart>,
}

impl Sending {
    /// Waits until one has ended; fails with the first that failed.
    async fn one_ended(&mut self) -> Result<(), Fault> {
        let Some(ended) = self.tasks.join_next().await else { return Ok(()) };
        let (part, size) = ended.map_err(|error: JoinError| Fault::Garbled(error.into()))??;
        self.in_flight = self.in_flight.saturating_sub(size);
        self.done.push(part);
        Ok(())
    }
}

/// Ends an upload whose future was dropped.
struct Guard {
    armed: bool,
    client: aws_sdk_s3::Client,
    bucket: String,
    object: String,
    id: String,
}

impl Guard {
    fn new(store: &S3Store, object: &str, id: &str) -> Self {
        Self {
            armed: true,
            client: store.client.clone(),
            bucket: store.address.bucket.clone(),
            object: object.to_owned(),
            id: id.to_owned(),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // Without a runtime nothing can be sent; the next run finds it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, bucket) = (self.client.clone(), std::mem::take(&mut self.bucket));
        let (object, id) = (std::mem::take(&mut self.object), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            let _ = unfinished::abort(&client, &bucket, &object, &id).await;
        });
    }
}
