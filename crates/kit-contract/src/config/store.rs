use super::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest key and value of a tag, and the most tags of an object (S3, `PutObjectTagging`).
const TAG_KEY_CHARS: usize = 128;
const TAG_VALUE_CHARS: usize = 256;
const MOST_TAGS: usize = 10;
/// Longest time that an object can be locked for, in days: 100 years, as S3 has it.
const MOST_LOCK_DAYS: u32 = 36_500;

/// Where the memory between deploys lies: backups, records, the chain, the lock.
///
/// Everything from `region` on is for `s3://` stores. Credentials never stand here: they come from the
/// chain of the AWS SDK (environment, web identity, profile, container, instance).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `file:<folder>` (relative to the working directory) or `s3://<bucket>/<prefix>`.
    pub url: String,
    /// True if a `file:` store outlives the CI job. Without it, a `file:` store is refused in CI.
    pub persistent: bool,
    /// Region of the bucket. Absent: that of the AWS SDK (`AWS_REGION`, profile, instance).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Address of a server other than AWS that speaks S3, for example `https://minio.example:9000`.
    /// Absent: that of the AWS SDK (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, profile).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// True if the bucket stands in the path and not in the host name. Absent: true where another
    /// server than AWS is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// How the store encrypts what it keeps. Absent: as the bucket says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The KMS key (id, ARN or alias) of `encryption = "kms"`. Absent: the AWS managed key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// The class in which backups are kept. Only classes that can be read at once are allowed.
    pub backup_storage_class: StorageClass,
    /// For how long nobody can remove or change a backup, a record or an entry of the chain. Never
    /// applied to locks. The bucket must have been made with Object Lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_lock: Option<ObjectLock>,
    /// Tags of every object, for example for cost reports. At most 10.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "file:.deploy-kit/store".to_owned(),
            persistent: false,
            region: None,
            endpoint: None,
            path_style: None,
            encryption: None,
            kms_key: None,
            backup_storage_class: StorageClass::Standard,
            object_lock: None,
            tags: BTreeMap::new(),
        }
    }
}

/// How an S3 store encrypts what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// With keys of S3 (SSE-S3, AES-256).
    S3,
    /// With a key of KMS (SSE-KMS).
    Kms,
}

/// Storage classes of S3 that can be read at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageClass {
    /// S3 Standard.
    #[default]
    Standard,
    /// Infrequent access, at least 30 days.
    StandardIa,
    /// Infrequent access in one zone, at least 30 days.
    OnezoneIa,
    /// S3 moves it by use.
    IntelligentTiering,
    /// Glacier with instant retrieval, at least 90 days.
    GlacierIr,
}

/// For how long objects are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Who could still unlock.
    pub mode: ObjectLockMode,
    /// Days, counted from when the object is written.
    pub days: u32,
}

/// Who can unlock before the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectLockMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody, the account's root included.
    Compliance,
}

impl StoreConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint)?;
        }
        if self.kms_key.is_some() && self.encryption != Some(Encryption::Kms) {
            return Err(ConfigError::rule("store.kms_key", "needs store.encryption = \"kms\""));
        }
        if let Some(lock) = self.object_lock
            && !(1..=MOST_LOCK_DAYS).contains(&lock.days)
        {
            let message = format!("{} is not allowed; 1 to {MOST_LOCK_DAYS} days are", lock.days);
            return Err(ConfigError::rule("store.object_lock.days", message));
        }
        check_tags(&self.tags)
    }
}

/// The value is never repeated: somebody may have put credentials into it.
fn check_endpoint(endpoint: &str) -> Result<(), ConfigError> {
    let wrong = |message: &str| Err(ConfigError::rule("store.endpoint", message));
    let Some(rest) = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://")) else {
        return wrong("must begin with https:// or http://");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return wrong("must not hold credentials; they come from the environment");
    }
    if host.is_empty() || rest.contains(['?', '#']) || rest.chars().any(char::is_whitespace) {
        return wrong("must be an address like https://minio.example:9000");
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if tags.len() > MOST_TAGS {
        let message = format!("{} tags are too many; {MOST_TAGS} are allowed", tags.len());
        return Err(ConfigError::rule("store.tags", message));
    }
    // The characters that every AWS service allows in tags.
    let fits = |text: &str| {
        text.chars()
            .all(|c| c.is_alphanumeric() || matches!(c, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@'))
    };
    for (key, value) in tags {
        let lengths_fit =
            (1..=TAG_KEY_CHARS).contains(&key.chars().count()) && value.chars().count() <= TAG_VALUE_CHARS;
        if !lengths_fit || !fits(key) || !fits(value) || key.starts_with("aws:") {
            return Err(ConfigError::rule(
                format!("store.tags.{key}"),
                format!(
                    "a tag has a key of 1 to {TAG_KEY_CHARS} and a value of at most {TAG_VALUE_CHARS} \
                     letters, digits, blanks and + - = . _ : / @, and does not begin with aws:"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn parse(store: &str) -> Result<Config, String> {
        let text = format!("app = \"shop\"\n[store]\nurl = \"s3://bucket/prefix\"\n{store}\n");
        Config::parse(&text, &"production".parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_at_once_is_read_and_written_again() {
        let config = parse(
            "region = \"eu-central-1\"\nendpoint = \"https://minio.example:9000\"\npath_style = false\n\
             encryption = \"kms\"\nkms_key = \"alias/deploys\"\nbackup_storage_class = \"standard_ia\"\n\
             tags = { team = \"shop\" }\nobject_lock = { mode = \"governance\", days = 365 }",
        )
        .unwrap();
        let again = Config::parse(&config.to_toml().unwrap(), &"production".parse().unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn what_cannot_work_is_refused_and_credentials_are_not_repeated() {
        for (text, expected) in [
            ("endpoint = \"minio:9000\"", "store.endpoint: must begin with https://"),
            ("endpoint = \"https://key:hunter2@minio\"", "must not hold credentials"),
            ("endpoint = \"https://\"", "must be an address"),
            ("endpoint = \"https://minio?x=1\"", "must be an address"),
            ("kms_key = \"alias/a\"", "needs store.encryption = \"kms\""),
            ("encryption = \"s3\"\nkms_key = \"alias/a\"", "needs store.encryption = \"kms\""),
            ("object_lock = { mode = \"governance\", days = 0 }", "1 to 36500 days"),
            ("object_lock = { mode = \"legal\", days = 1 }", "legal"),
            ("backup_storage_class = \"glacier\"", "glacier"),
            ("tags = { \"aws:x\" = \"1\" }", "does not begin with aws:"),
            ("tags = { a = \"?\" }", "store.tags.a"),
            ("pathstyle = true", "unknown key"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let tags: Vec<String> = (0..11).map(|n| format!("t{n} = \"x\"")).collect();
        assert!(parse(&format!("tags = {{ {} }}", tags.join(", "))).unwrap_err().contains("11 tags"));
    }
}
