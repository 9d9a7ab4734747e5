//! Uploads that were begun and never ended: invisible, and paid for.

use crate::fault::Fault;
use crate::store::{S3Store, garbled};
use aws_sdk_s3::Client;
use jiff::Timestamp;
use kit_store::StoreError;

/// Ends the uploads to keys that begin with `prefix`, begun before this time; gives the keys, sorted.
pub(crate) async fn remove(
    store: &S3Store,
    prefix: &str,
    begun_before: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut removed = Vec::new();
    for upload in list(store, prefix).await? {
        if upload.begun.is_none_or(|begun| begun < begun_before) {
            abort(&store.client, &store.address.bucket, &upload.object, &upload.id)
                .await
                .map_err(|fault| store.failed("clear", &upload.key, fault))?;
            removed.push(upload.key);
        }
    }
    removed.sort_unstable();
    removed.dedup();
    Ok(removed)
}

struct Upload {
    key: String,
    object: String,
    id: String,
    begun: Option<Timestamp>,
}

async fn list(store: &S3Store, prefix: &str) -> Result<Vec<Upload>, StoreError> {
    let mut uploads = Vec::new();
    let mut next: (Option<String>, Option<String>) = (None, None);
    loop {
        let request = store.client.list_multipart_uploads().bucket(&store.address.bucket);
        let request = request.prefix(store.address.object(prefix));
        let request = request.set_key_marker(next.0.clone()).set_upload_id_marker(next.1.clone());
        let page =
            request.send().await.map_err(|error| store.sdk_failed("list uploads of", prefix, error))?;
        for upload in page.uploads.unwrap_or_default() {
            let (Some(object), Some(id)) = (upload.key, upload.upload_id) else { continue };
            let Some(key) = object.strip_prefix(&store.address.prefix) else { continue };
            let begun = upload.initiated.and_then(|time| Timestamp::from_second(time.secs()).ok());
            uploads.push(Upload { key: key.to_owned(), object, id, begun });
        }
        if page.is_truncated != Some(true) {
            return Ok(uploads);
        }
        let after = (page.next_key_marker, page.next_upload_id_marker);
        if after.0.is_none() || after == next {
            let fault = garbled("it goes on, and does not say where");
            return Err(store.failed("list uploads of", prefix, fault));
        }
        next = after;
    }
}

/// Ends one upload. One that is gone already is as good.
pub(crate) async fn abort(client: &Client, bucket: &str, object: &str, id: &str) -> Result<(), Fault> {
    let request = client.abort_multipart_upload().bucket(bucket).key(object);
    match request.upload_id(id).send().await.map_err(Fault::of) {
        Ok(_) | Err(Fault::NoUpload | Fault::NoObject) => Ok(()),
        Err(fault) => Err(fault),
    }
}
