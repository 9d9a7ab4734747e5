use super::{ConfigError, Database, Span};
use crate::Reason;
use crate::body::ExternalBackup;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The level of proof that a backup must have reached before anything is migrated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredProof {
    /// Checked while it was written.
    Stream,
    /// Read back from the store and compared.
    Remote,
    /// Its schema was restored and compared.
    #[default]
    Schema,
    /// All of it was restored and compared.
    Full,
}

impl RequiredProof {
    /// As the level that a backup can reach.
    pub const fn level(self) -> crate::body::Proof {
        match self {
            Self::Stream => crate::body::Proof::Stream,
            Self::Remote => crate::body::Proof::Remote,
            Self::Schema => crate::body::Proof::Schema,
            Self::Full => crate::body::Proof::Full,
        }
    }
}

/// How far a backup is to be proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WantedProof {
    /// `full` where that fits `proof_budget` and can be tried here, else as far as possible; never less than
    /// `required_proof`.
    #[default]
    Auto,
    /// Checked while it is written, and no more.
    Stream,
    /// Read back from the store and compared.
    Remote,
    /// Its schema restored and compared; the rows counted.
    Schema,
    /// All of it restored and compared.
    Full,
}

impl WantedProof {
    /// The level, unless it is to be chosen.
    pub const fn level(self) -> Option<crate::body::Proof> {
        match self {
            Self::Auto => None,
            Self::Stream => Some(crate::body::Proof::Stream),
            Self::Remote => Some(crate::body::Proof::Remote),
            Self::Schema => Some(crate::body::Proof::Schema),
            Self::Full => Some(crate::body::Proof::Full),
        }
    }
}

/// When a deploy makes a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// In every deploy.
    #[default]
    Always,
    /// If a migration waits, of either phase, or nobody can say whether one does.
    PendingMigrations,
}

/// Which backups `db-backup prune` leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Those whose content is younger than this many days.
    pub days: u32,
    /// The newest so many of each database that were proved as far as `migrate` asks, however old they are.
    /// Never less than one.
    pub least: u32,
    /// At most so many of each database, however young they are. Absent: age alone decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { days: 365, least: 5, most: None }
    }
}

/// For whom backups are encrypted before they leave the machine that makes them, in the format of age. At least one
/// public key, from either place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackupEncryption {
    /// Public keys (`age1…`). Whoever has the private key of one of them can open a backup; nobody else can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// A file of public keys, one a line, relative to `deploy.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_file: Option<String>,
}

impl BackupEncryption {
    fn check(&self) -> Result<(), ConfigError> {
        let path = "backup.encryption.recipients";
        if self.recipients.is_empty() && self.recipients_file.is_none() {
            let mut error = ConfigError::rule(path, "nobody is named who could open a backup");
            error.hint =
                Some("`age-keygen -o key.txt` prints a public key; keep the file elsewhere".to_owned());
            return Err(error);
        }
        // A private key is never repeated.
        if self.recipients.iter().any(|key| key.to_ascii_uppercase().contains("AGE-SECRET-KEY-")) {
            let mut error = ConfigError::rule(path, "a private key stands there, where public keys belong");
            error.hint =
                Some("whoever can read this file could open every backup: make a new key".to_owned());
            return Err(error);
        }
        match self.recipients.iter().find(|key| !key.starts_with("age1")) {
            Some(key) => Err(ConfigError::rule(path, format!("{key:?} is no public key of age (age1…)"))),
            None => Ok(()),
        }
    }
}

/// Files that are backed up beside the databases: environment files, certificates, what a machine needs to serve again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Files and folders, relative to `deploy.toml` or absolute. Folders are taken with all that is in them, links are
    /// followed.
    pub files: Vec<String>,
    /// True if it is kept without `backup.encryption`: whoever may read the store then reads what is in it.
    #[serde(default)]
    pub unencrypted: bool,
}

/// What the bundle is called among the backups of a deployment.
pub const BUNDLE: &str = "bundle";

impl Bundle {
    fn check(&self, encrypted: bool, databases: &[Database]) -> Result<(), ConfigError> {
        let wrong =
            |key: &str, message: String| Err(ConfigError::rule(format!("backup.bundle.{key}"), message));
        if self.files.is_empty() {
            return wrong("files", "no file is named".to_owned());
        }
        let odd = |file: &&String| file.is_empty() || file.split('/').any(|part| part == "..");
        if let Some(file) = self.files.iter().find(odd) {
            return wrong("files", format!("{file:?} is no path that could be unpacked elsewhere"));
        }
        if databases.is_empty() {
            return wrong(
                "files",
                "it goes with the backups of databases, and none is configured".to_owned(),
            );
        }
        if databases.iter().any(|database| database.name.as_str() == BUNDLE) {
            return wrong("files", format!("a database is called {BUNDLE:?}, as the bundle is"));
        }
        if !encrypted && !self.unencrypted {
            let path = "backup.bundle";
            let mut error =
                ConfigError::rule(path, "what such files hold is secret, and backup.encryption is missing");
            error.hint = Some("name recipients in [backup.encryption], or say unencrypted = true".to_owned());
            return Err(error);
        }
        Ok(())
    }
}

/// What `db-restore drill` has to keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrillLimits {
    /// How old the content of the newest backup may be: what may be lost (RPO). Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// How long restoring and comparing all databases may take (RTO). Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Span>,
}

/// How backups are made, proved and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// When a deploy makes a backup.
    pub when: When,
    /// How far `db-backup` proves a backup.
    pub proof: WantedProof,
    /// How long a full proof may take; `auto` goes for less if it would take longer.
    pub proof_budget: Span,
    /// What `migrate` asks of a backup.
    pub required_proof: RequiredProof,
    /// True if the word of another tool is enough for `migrate` where a database has its backups made by one
    /// (`[[databases]] backup`), although nothing of such a backup is proved here.
    pub allow_external: bool,
    /// How old a backup may be when `migrate` starts, counted from the moment its content was fixed.
    pub max_age: Span,
    /// Which backups `db-backup prune` leaves alone.
    pub keep: Keep,
    /// For whom backups are encrypted before they are stored. Absent: they are not, but by the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<BackupEncryption>,
    /// Files that are backed up beside the databases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// What `db-restore drill` has to keep to.
    pub drill: DrillLimits,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            when: When::Always,
            proof: WantedProof::Auto,
            proof_budget: Span::from_secs(5 * 60),
            required_proof: RequiredProof::Schema,
            allow_external: false,
            max_age: Span::from_secs(60 * 60),
            keep: Keep::default(),
            encryption: None,
            bundle: None,
            drill: DrillLimits::default(),
        }
    }
}

/// How far the clocks of two machines may differ. A copy from further ahead has no age that could be judged.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

impl Backup {
    pub(super) fn check(&self, databases: &[Database]) -> Result<(), ConfigError> {
        if let Some(encryption) = &self.encryption {
            encryption.check()?;
        }
        if let Some(bundle) = &self.bundle {
            bundle.check(self.encryption.is_some(), databases)?;
        }
        for database in databases {
            let Some(external) = &database.backup else { continue };
            let path = format!("databases.{}.backup", database.name);
            if external.command.first().is_none_or(String::is_empty) {
                return Err(ConfigError::rule(format!("{path}.command"), "it names no program"));
            }
            if !self.allow_external {
                let mut error = ConfigError::rule(
                    path,
                    "another tool is to make the backup, of which nothing is proved here, and \
                     backup.allow_external does not allow it",
                );
                error.hint = Some(
                    "if the tool's word is enough for your migrations: [backup] allow_external = true"
                        .to_owned(),
                );
                return Err(error);
            }
        }
        let never = self.when == When::PendingMigrations
            && !databases.is_empty()
            && databases.iter().all(|database| database.migrations.is_none());
        if !never {
            return Ok(());
        }
        let message = "\"pending_migrations\" would never make a backup: no database has migrations here; \
                       name their folder in [[databases]], or set it to \"always\"";
        Err(ConfigError::rule("backup.when", message))
    }

    /// Whether what another tool says of its backup is enough at this moment: allowed for this database,
    /// claimed as far as is asked, young enough, and not about to expire. Pure.
    ///
    /// # Errors
    /// Why it is not, and how a step says that.
    pub fn accepts_external(
        &self,
        backup: &ExternalBackup,
        database: Option<&Database>,
        now: Timestamp,
    ) -> Result<(), (Reason, String)> {
        let name = &backup.database;
        let allowed = database.and_then(|database| database.backup.as_ref()).filter(|_| self.allow_external);
        let Some(command) = allowed else {
            let text = format!(
                "the backup of {name} was made by another tool and nothing of it is proved, which deploy.toml does not allow"
            );
            return Err((Reason::BackupTooWeak, text));
        };
        if backup.claim < command.least_claim {
            let text = format!(
                "the tool says of its backup of {name} that it was {}, and {} is asked for (least_claim)",
                backup.claim, command.least_claim
            );
            return Err((Reason::BackupTooWeak, text));
        }
        let age = now.duration_since(backup.content_at);
        if age < -CLOCK_SKEW {
            let text = format!("the backup of {name} is dated in the future, so its age cannot be judged");
            return Err((Reason::BackupTooOld, text));
        }
        if age > SignedDuration::try_from(self.max_age.duration()).unwrap_or(SignedDuration::MAX) {
            let text = format!(
                "the backup of {name} is {age:.0} old, and {} is allowed (backup.max_age)",
                self.max_age
            );
            return Err((Reason::BackupTooOld, text));
        }
        match backup.expires_at {
            Some(expires_at) if expires_at <= now => {
                let text = format!("the tool removed its backup of {name} at {expires_at:.0}");
                Err((Reason::BackupTooOld, text))
            }
            _ => Ok(()),
        }
    }
}
