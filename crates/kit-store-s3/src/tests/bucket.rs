//! What objects are written with, and how a bucket is set up.

use super::{BUCKET, Bench, MIB, bytes, connected, key, shown};
use kit_contract::config::{Encryption, ObjectLock, ObjectLockMode, StorageClass, StoreConfig};
use kit_store::Store;
use kit_testing::s3::{Fault, Seen};

const LOCKED: &str = "locked";
const BACKUP: &str = "shop/production/backup-1763712000-abc1234.sql.gz";
const LOCK: &str = "shop/production/lock.json";

fn everything() -> StoreConfig {
    StoreConfig {
        encryption: Some(Encryption::Kms),
        kms_key: Some("alias/deploys".to_owned()),
        backup_storage_class: StorageClass::StandardIa,
        object_lock: Some(ObjectLock { mode: ObjectLockMode::Governance, days: 30 }),
        tags: [("team".to_owned(), "shop".to_owned())].into(),
        ..StoreConfig::default()
    }
}

#[tokio::test]
async fn objects_are_written_as_configured_and_locks_are_never_locked() {
    let bench = Bench::start();
    bench.server.make_bucket_with_lock(LOCKED);
    let store = connected(&bench.proxy.endpoint(), LOCKED, everything()).await;
    // Long ones go in parts; this server forgets the lock of those, which must be found and made good.
    for content in [bytes(9), bytes(9 * MIB)] {
        let name = key(BACKUP);
        let uploaded = store.create_stream(&name, &mut content.as_slice()).await.unwrap();
        let head = store.client.head_object().bucket(LOCKED).key(format!("prefix/{BACKUP}"));
        let head = head.send().await.unwrap();
        assert_eq!(head.server_side_encryption.unwrap().as_str(), "aws:kms");
        assert_eq!(head.ssekms_key_id.as_deref(), Some("alias/deploys"));
        assert_eq!(head.storage_class.unwrap().as_str(), "STANDARD_IA");
        assert_eq!(head.object_lock_mode.unwrap().as_str(), "GOVERNANCE");
        let days = (head.object_lock_retain_until_date.unwrap().secs()
            - kit_core::Clock::system().now().as_second())
            / 86_400;
        assert!((29..=30).contains(&days), "{days}");
        let tags = store.client.get_object_tagging().bucket(LOCKED).key(format!("prefix/{BACKUP}"));
        assert_eq!(tags.send().await.unwrap().tag_set[0].value, "shop");
        // Removing it makes it invisible; the locked version stays.
        let version = head.version_id.unwrap();
        store.delete(&name, &uploaded.version).await.unwrap();
        assert_eq!(store.head(&name).await.unwrap(), None);
        let purge = store.client.delete_object().bucket(LOCKED).key(format!("prefix/{BACKUP}"));
        let refused = purge.version_id(version).send().await.unwrap_err();
        assert_eq!(refused.raw_response().unwrap().status().as_u16(), 403);
    }
    store.create(&key(LOCK), b"{}").await.unwrap();
    let head = store.client.head_object().bucket(LOCKED).key(format!("prefix/{LOCK}")).send().await.unwrap();
    assert_eq!((head.object_lock_mode, head.storage_class), (None, None));
}

#[tokio::test]
async fn a_lock_that_the_bucket_cannot_keep_is_an_error_not_a_wish() {
    let bench = Bench::start();
    let store = bench.store_with(everything()).await;
    let error = store.create(&key(BACKUP), b"x").await.unwrap_err();
    assert!(shown(error).contains("the store refused"));
    let remarks = store.examine().await.unwrap();
    assert!(
        remarks.iter().any(|remark| remark.refuses && remark.what.contains("no Object Lock")),
        "{remarks:?}"
    );
}

#[tokio::test]
async fn the_set_up_of_the_bucket_is_remarked_upon() {
    let bench = Bench::start();
    let texts = |remarks: Vec<kit_store::Remark>| -> Vec<String> {
        assert!(remarks.iter().all(|remark| !remark.refuses));
        remarks.into_iter().map(|remark| remark.what).collect()
    };
    // This server's own answer has another root element than that of S3.
    let versioning = |seen: &Seen| seen.target.contains("?versioning");
    let store = bench.store().await;
    let unknown = texts(store.examine().await.unwrap());
    assert!(unknown[0].contains("versioning cannot be told"), "{unknown:?}");
    bench.proxy.on(1, Fault::Reply("<VersioningConfiguration/>"), versioning);
    let bare = texts(store.examine().await.unwrap());
    assert_eq!(bare.len(), 3, "{bare:?}");
    assert!(bare[0].contains("keeps no older versions") && bare[1].contains("ends unfinished uploads"));
    assert!(bare[2].contains("not encrypted on its way"));
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    bench.proxy.on(1, Fault::Reply(enabled), versioning);
    bench.server.ask(
        "PUT",
        &format!("/{BUCKET}?lifecycle"),
        &[],
        "<LifecycleConfiguration><Rule><ID>uploads</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
         <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
         </AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>",
    );
    assert_eq!(texts(store.examine().await.unwrap()).len(), 1);
    // A role that may not look does not stop a deploy, and nothing is claimed.
    let setup = |seen: &Seen| seen.target.contains("versioning") || seen.target.contains("lifecycle");
    bench.proxy.on(u32::MAX, Fault::Answer(403, "AccessDenied"), setup);
    let blind = texts(store.examine().await.unwrap());
    assert!(
        blind[0].contains("versioning may not be seen")
            && blind[1].contains("lifecycle rules may not be seen")
    );
}
