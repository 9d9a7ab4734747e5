//! How the bucket is set up. Reads only; what may not be read is said, not guessed.

use crate::fault::Fault;
use crate::store::S3Store;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, LifecycleRule, ObjectLockEnabled};
use kit_store::{Remark, StoreError};

/// What is remarkable about the bucket.
pub(crate) async fn examine(store: &S3Store) -> Result<Vec<Remark>, StoreError> {
    let mut remarks = Vec::new();
    remarks.extend(versioning(store).await?);
    remarks.extend(object_lock(store).await?);
    remarks.extend(lifecycle(store).await?);
    if !store.encrypted {
        remarks.push(note(
            "what is sent to the store is not encrypted on its way",
            "give the server a certificate and name it with https://",
        ));
    }
    Ok(remarks)
}

fn note(what: impl Into<String>, hint: &str) -> Remark {
    Remark { refuses: false, what: what.into(), hint: hint.to_owned() }
}

/// The role need not be allowed to see how a bucket is set up: then nothing is known, which is said.
fn unseen(store: &S3Store, what: &str, fault: Fault) -> Result<Option<Remark>, StoreError> {
    match fault {
        Fault::Denied(_) => Ok(Some(note(
            format!("whether the bucket has {what} may not be seen"),
            "allow preflight what docs/s3.md says, or look yourself",
        ))),
        Fault::Garbled(_) => Ok(Some(note(
            format!("whether the bucket has {what} cannot be told: the store's answer is not understood"),
            "look yourself",
        ))),
        // Servers other than AWS do not know every question.
        Fault::Server { status: 501, .. } | Fault::Refused { status: 405, .. } => Ok(None),
        fault => Err(store.failed("look at the set-up of", &store.address.bucket, fault)),
    }
}

async fn versioning(store: &S3Store) -> Result<Option<Remark>, StoreError> {
    let request = store.client.get_bucket_versioning().bucket(&store.address.bucket);
    match request.send().await.map_err(Fault::of) {
        Ok(answer) if answer.status == Some(BucketVersioningStatus::Enabled) => Ok(None),
        Ok(_) => Ok(Some(note(
            "the bucket keeps no older versions: what is overwritten or removed is gone",
            "switch versioning on, and let a lifecycle rule expire older versions",
        ))),
        Err(fault) => unseen(store, "versioning", fault),
    }
}

/// Asked only if the configuration wants objects locked.
async fn object_lock(store: &S3Store) -> Result<Option<Remark>, StoreError> {
    if store.config.object_lock.is_none() {
        return Ok(None);
    }
    let lacking = || Remark {
        refuses: true,
        what: "store.object_lock is set, but the bucket has no Object Lock".to_owned(),
        hint: "make a bucket with Object Lock, or remove store.object_lock".to_owned(),
    };
    let request = store.client.get_object_lock_configuration().bucket(&store.address.bucket);
    match request.send().await {
        Ok(answer) => {
            let enabled = answer.object_lock_configuration.and_then(|found| found.object_lock_enabled);
            Ok((enabled != Some(ObjectLockEnabled::Enabled)).then(lacking))
        }
        Err(error) if code(&error) == "ObjectLockConfigurationNotFoundError" => Ok(Some(lacking())),
        Err(error) => unseen(store, "Object Lock", Fault::of(error)),
    }
}

async fn lifecycle(store: &S3Store) -> Result<Option<Remark>, StoreError> {
    let lacking = || {
        note(
            "no lifecycle rule ends unfinished uploads: what a killed run leaves is paid for until the next \
             run removes it",
            "add a rule with AbortIncompleteMultipartUpload, for example after 7 days",
        )
    };
    let request = store.client.get_bucket_lifecycle_configuration().bucket(&store.address.bucket);
    match request.send().await {
        Ok(answer) => Ok((!answer.rules().iter().any(ends_uploads)).then(lacking)),
        Err(error) if code(&error) == "NoSuchLifecycleConfiguration" => Ok(Some(lacking())),
        Err(error) => unseen(store, "lifecycle rules", Fault::of(error)),
    }
}

fn ends_uploads(rule: &LifecycleRule) -> bool {
    rule.status == ExpirationStatus::Enabled && rule.abort_incomplete_multipart_upload.is_some()
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}
