//! What an object is written with, beside its content: pure.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption, StorageClass};
use jiff::{SignedDuration, Timestamp};
use kit_contract::config::{self, StoreConfig};
use kit_store::{Key, Role};
use url::form_urlencoded::Serializer;

/// What an object is written with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Marks {
    /// How the store encrypts it; absent: as the bucket says.
    pub(crate) encryption: Option<ServerSideEncryption>,
    /// With which key of KMS.
    pub(crate) kms_key: Option<String>,
    /// Absent: the standard class.
    pub(crate) storage_class: Option<StorageClass>,
    /// Tags, form-encoded as the header has them.
    pub(crate) tags: Option<String>,
    /// Until when nobody can remove it.
    pub(crate) lock: Option<(ObjectLockMode, Timestamp)>,
    /// For browsers and consoles.
    pub(crate) content_type: &'static str,
}

impl Marks {
    /// What the object with this key is written with at this time.
    pub(crate) fn of(config: &StoreConfig, key: &Key, now: Timestamp) -> Self {
        let role = Role::of(key);
        Self {
            encryption: config.encryption.map(|encryption| match encryption {
                config::Encryption::S3 => ServerSideEncryption::Aes256,
                config::Encryption::Kms => ServerSideEncryption::AwsKms,
            }),
            kms_key: config.kms_key.clone(),
            storage_class: (role == Role::Backup).then(|| class(config.backup_storage_class)).flatten(),
            tags: (!config.tags.is_empty())
                .then(|| Serializer::new(String::new()).extend_pairs(&config.tags).finish()),
            lock: config.object_lock.filter(|_| role != Role::Working).map(|lock| {
                let mode = match lock.mode {
                    config::ObjectLockMode::Governance => ObjectLockMode::Governance,
                    config::ObjectLockMode::Compliance => ObjectLockMode::Compliance,
                };
                let until = now.checked_add(SignedDuration::from_hours(24 * i64::from(lock.days)));
                (mode, until.unwrap_or(Timestamp::MAX))
            }),
            content_type: content_type(key.as_str()),
        }
    }

    /// How it is locked.
    pub(crate) fn lock_mode(&self) -> Option<ObjectLockMode> {
        self.lock.as_ref().map(|(mode, _)| mode.clone())
    }

    /// Until when, to the second: S3 keeps no more.
    pub(crate) fn lock_until(&self) -> Option<DateTime> {
        self.lock.as_ref().map(|(_, until)| DateTime::from_secs(until.as_second()))
    }
}

const fn class(class: config::StorageClass) -> Option<StorageClass> {
    match class {
        config::StorageClass::Standard => None,
        config::StorageClass::StandardIa => Some(StorageClass::StandardIa),
        config::StorageClass::OnezoneIa => Some(StorageClass::OnezoneIa),
        config::StorageClass::IntelligentTiering => Some(StorageClass::IntelligentTiering),
        config::StorageClass::GlacierIr => Some(StorageClass::GlacierIr),
    }
}

fn content_type(key: &str) -> &'static str {
    match key.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("gz") => "application/gzip",
        Some("md") => "text/markdown; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(key: &str, config: &StoreConfig) -> Marks {
        Marks::of(config, &key.parse().unwrap(), "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn evidence_is_locked_and_locks_never_are() {
        let config = StoreConfig {
            object_lock: Some(config::ObjectLock { mode: config::ObjectLockMode::Governance, days: 365 }),
            backup_storage_class: config::StorageClass::StandardIa,
            encryption: Some(config::Encryption::Kms),
            kms_key: Some("alias/a".into()),
            tags: [("team".to_owned(), "shop & co".to_owned())].into(),
            ..StoreConfig::default()
        };
        let until: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let lock = Some((ObjectLockMode::Governance, until));
        let id = "1763712000-abc1234";
        for (key, lock, class) in [
            (format!("shop/production/backup-{id}.sql.gz"), lock.clone(), Some(StorageClass::StandardIa)),
            (format!("shop/production/backup-{id}.json"), lock.clone(), None),
            ("shop/production/chain/00000001.json".to_owned(), lock.clone(), None),
            (format!("shop/production/deployments/{id}/1/record.json"), lock, None),
            ("shop/production/lock.json".to_owned(), None, None),
            ("shop/production/head.json".to_owned(), None, None),
            ("shop/production/stop.json".to_owned(), None, None),
        ] {
            let marks = marks(&key, &config);
            assert_eq!((&marks.lock, &marks.storage_class), (&lock, &class), "{key}");
            assert_eq!(marks.encryption, Some(ServerSideEncryption::AwsKms));
            assert_eq!(marks.tags.as_deref(), Some("team=shop+%26+co"));
        }
    }

    #[test]
    fn without_configuration_the_bucket_decides() {
        let plain = marks("shop/production/backup-1763712000-abc1234.sql.gz", &StoreConfig::default());
        assert_eq!((plain.encryption, plain.storage_class, plain.tags, plain.lock), (None, None, None, None));
        assert_eq!(plain.content_type, "application/gzip");
    }
}
