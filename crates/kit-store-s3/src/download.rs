//! Reading an object, also a long one over a connection that breaks.

use crate::fault::Fault;
use crate::store::{S3Store, garbled};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use futures_util::stream;
use kit_store::{ByteReader, Key, StoreError, Version};
use tokio_util::io::StreamReader;

/// How often in a row a download goes on without having got a single byte further.
const BREAKS: u32 = 4;

/// An object that is being read.
pub(crate) struct Download {
    client: Client,
    bucket: String,
    object: String,
    /// What was announced when the download began.
    pub(crate) size_bytes: u64,
    /// The version that it is of; a part of another one is never mixed in.
    pub(crate) version: Version,
    body: Option<ByteStream>,
    position: u64,
    breaks: u32,
}

/// Asks for an object; `None` only if the bucket was asked and has none. What is `checked` is compared
/// with the checksum that it was stored with.
pub(crate) async fn start(
    store: &S3Store,
    key: &Key,
    checked: Option<ChecksumMode>,
) -> Result<Option<Download>, StoreError> {
    let object = store.address.object(key.as_str());
    let request = store.client.get_object().bucket(&store.address.bucket).key(&object);
    let failed = |fault| store.failed("read", key.as_str(), fault);
    let answer = match request.set_checksum_mode(checked).send().await.map_err(Fault::of) {
        Ok(answer) => answer,
        // Its answer has a body, so a missing bucket has a code of its own.
        Err(Fault::NoObject) => return Ok(None),
        Err(fault) => return Err(failed(fault)),
    };
    let GetObjectOutput { content_length, e_tag, body, .. } = answer;
    let (Some(size), Some(tag)) = (content_length, e_tag) else {
        return Err(failed(garbled("no length or no ETag")));
    };
    Ok(Some(Download {
        client: store.client.clone(),
        bucket: store.address.bucket.clone(),
        object,
        size_bytes: u64::try_from(size).unwrap_or_default(),
        version: Version::new(tag),
        body: Some(body),
        position: 0,
        breaks: 0,
    }))
}

impl Download {
    /// All of it.
    pub(crate) async fn read_all(mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size_bytes).unwrap_or_default());
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// As a reader, which fails rather than end early.
    pub(crate) fn into_reader(self) -> ByteReader {
        let chunks = stream::try_unfold(self, |mut download| async move {
            let chunk = download.next().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(chunk.map(|chunk| (chunk, download)))
        });
        Box::new(StreamReader::new(Box::pin(chunks)))
    }

    /// The next bytes; `None` at the end. A connection that breaks is made anew from where it broke.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None if self.position >= self.size_bytes => return Ok(None),
                None => {
                    let body = self.go_on().await?;
                    self.body.insert(body)
                }
            };
            let fault = match body.next().await {
                Some(Ok(chunk)) if !chunk.is_empty() => {
                    self.position += chunk.len() as u64;
                    self.breaks = 0;
                    return Ok(Some(chunk));
                }
                Some(Ok(_)) => continue,
                None if self.position == self.size_bytes => return Ok(None),
                None => garbled("it ended early"),
                Some(Err(error)) => Fault::Connection(error.into()),
            };
            self.body = None;
            self.breaks += 1;
            // At the end nothing can be asked for again: the break is the checksum that does not fit.
            if self.breaks >= BREAKS || self.position >= self.size_bytes {
                return Err(fault);
            }
        }
    }

    async fn go_on(&self) -> Result<ByteStream, Fault> {
        let request = self.client.get_object().bucket(&self.bucket).key(&self.object);
        let request = request.range(format!("bytes={}-", self.position)).if_match(self.version.as_str());
        let answer = request.send().await.map_err(Fault::of)?;
        let expected = format!("bytes {}-", self.position);
        match answer.content_range {
            Some(range) if range.starts_with(&expected) => Ok(answer.body),
            _ => Err(garbled("it sent another part than was asked for")),
        }
    }
}
