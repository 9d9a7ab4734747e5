//! Where everything lies in the store. Pure: names in, keys out.

use crate::{Key, KeyError};
use kit_contract::{ArtifactName, DeploymentId, Name};

/// The part of a store that belongs to one app in one environment: `<app>/<environment>/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The app.
    pub app: Name,
    /// The environment.
    pub environment: Name,
}

impl Layout {
    /// The part of this app in this environment.
    pub const fn new(app: Name, environment: Name) -> Self {
        Self { app, environment }
    }

    /// `<app>/<environment>/`: what every key below begins with.
    pub fn prefix(&self) -> String {
        format!("{}/{}/", self.app, self.environment)
    }

    /// `backup-<deployment-id>.<extension>`; where there are several databases,
    /// `backup-<deployment-id>.<database>.<extension>`. Neither part can hold a dot, so no two
    /// backups share a key.
    ///
    /// # Errors
    /// If `extension` (for example `sql.gz`) does not fit into a key, or is that of the metadata.
    pub fn backup(
        &self,
        deployment: &DeploymentId,
        database: Option<&Name>,
        extension: &str,
    ) -> Result<Key, KeyError> {
        let extension = single_segment(extension)?;
        if extension.ends_with("json") {
            return Err(KeyError::of(extension));
        }
        format!("{}.{extension}", self.backup_stem(deployment, database)).parse()
    }

    /// The commit marker of a backup, written last: without it there is no backup.
    pub fn backup_metadata(&self, deployment: &DeploymentId, database: Option<&Name>) -> Key {
        Key::of_valid_parts(format!("{}.json", self.backup_stem(deployment, database)))
    }

    /// What the keys of all backups and of their metadata begin with.
    pub fn backups_prefix(&self) -> String {
        self.text("backup-")
    }

    fn backup_stem(&self, deployment: &DeploymentId, database: Option<&Name>) -> String {
        let stem = format!("{}{deployment}", self.backups_prefix());
        match database {
            None => stem,
            Some(database) => format!("{stem}.{database}"),
        }
    }

    /// `deployments/<deployment-id>/<attempt>/<artifact>.json`.
    pub fn artifact(&self, deployment: &DeploymentId, attempt: u32, artifact: &ArtifactName) -> Key {
        Key::of_valid_parts(format!("{}{}", self.attempt_prefix(deployment, attempt), artifact.file_name()))
    }

    /// Any other file of an attempt, for example `rollback.md`.
    ///
    /// # Errors
    /// If `file_name` does not fit into a key.
    pub fn attempt_file(
        &self,
        deployment: &DeploymentId,
        attempt: u32,
        file_name: &str,
    ) -> Result<Key, KeyError> {
        let file_name = single_segment(file_name)?;
        format!("{}{file_name}", self.attempt_prefix(deployment, attempt)).parse()
    }

    /// What the keys of one attempt begin with.
    pub fn attempt_prefix(&self, deployment: &DeploymentId, attempt: u32) -> String {
        format!("{}{attempt}/", self.deployment_prefix(deployment))
    }

    /// What the keys of all attempts of a deployment begin with.
    pub fn deployment_prefix(&self, deployment: &DeploymentId) -> String {
        self.text(&format!("deployments/{deployment}/"))
    }

    /// What the keys of files begin with that pass from job to job:
    /// `deployments/<deployment-id>/kept/<number>/<file>`, the highest number is the newest.
    pub fn kept_prefix(&self, deployment: &DeploymentId) -> String {
        format!("{}kept/", self.deployment_prefix(deployment))
    }

    /// `deployments/<deployment-id>/<attempt>/journal-<step>/<number>.json`.
    pub fn journal_entry(&self, deployment: &DeploymentId, attempt: u32, step: &Name, number: u32) -> Key {
        let folder = self.journal_prefix(deployment, attempt, step);
        Key::of_valid_parts(format!("{folder}{number:06}.json"))
    }

    /// What the keys of a journal begin with.
    pub fn journal_prefix(&self, deployment: &DeploymentId, attempt: u32, step: &Name) -> String {
        format!("{}journal-{step}/", self.attempt_prefix(deployment, attempt))
    }

    /// `chain/<sequence>.json`, the sequence number with eight digits.
    pub fn chain_entry(&self, sequence: u64) -> Key {
        Key::of_valid_parts(format!("{}{sequence:08}.json", self.chain_prefix()))
    }

    /// What the keys of all entries begin with.
    pub fn chain_prefix(&self) -> String {
        self.text("chain/")
    }

    /// The sequence number whose entry has this key, or `None` if it is not the key of an entry.
    pub fn sequence_of(&self, key: &str) -> Option<u64> {
        let digits = key.strip_prefix(&self.chain_prefix())?.strip_suffix(".json")?;
        let sequence = digits.parse().ok()?;
        // The same number can be written in many ways; one of them is the key.
        (sequence > 0 && self.chain_entry(sequence).as_str() == key).then_some(sequence)
    }

    /// The newest entry of the chain.
    pub fn head(&self) -> Key {
        self.file("head.json")
    }

    /// The lock.
    pub fn lock(&self) -> Key {
        self.file("lock.json")
    }

    /// The stop requests.
    pub fn stop(&self) -> Key {
        self.file("stop.json")
    }

    /// An object that is there only while a store is tried out; `random` is hexadecimal.
    pub(crate) fn scratch(&self, random: &str) -> Key {
        self.file(&format!("scratch-{random}.json"))
    }

    fn file(&self, name: &str) -> Key {
        Key::of_valid_parts(self.text(name))
    }

    fn text(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix())
    }
}

/// What an object is for, as far as a store may treat it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The copy of a database: large, read seldom, written once.
    Backup,
    /// Written once and kept as evidence: metadata of backups, artifacts, journals, chain entries.
    Evidence,
    /// Written again and again, or removed: head, lock, stop requests, trials.
    Working,
}

impl Role {
    /// The role of the object with this key.
    pub fn of(key: &Key) -> Self {
        // <app>/<environment>/<rest>
        let rest = key.as_str().splitn(3, '/').nth(2).unwrap_or_default();
        if rest.starts_with("backup-") && !rest.contains('/') {
            if rest.ends_with(".json") { Self::Evidence } else { Self::Backup }
        } else if rest.starts_with("deployments/") || rest.starts_with("chain/") {
            Self::Evidence
        } else {
            Self::Working
        }
    }
}

fn single_segment(text: &str) -> Result<&str, KeyError> {
    let key: Key = text.parse()?;
    if key.as_str().contains('/') { Err(KeyError::of(text)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_once_can_be_locked() {
        let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
        let id: DeploymentId = "1763712000-abc1234".parse().unwrap();
        let (step, main): (Name, Name) = ("rollout".parse().unwrap(), "main".parse().unwrap());
        for (key, role) in [
            (layout.backup(&id, None, "sql.gz").unwrap(), Role::Backup),
            (layout.backup(&id, Some(&main), "dump").unwrap(), Role::Backup),
            (layout.backup_metadata(&id, Some(&main)), Role::Evidence),
            (layout.attempt_file(&id, 1, "rollback.md").unwrap(), Role::Evidence),
            (layout.journal_entry(&id, 1, &step, 3), Role::Evidence),
            (format!("{}1/backup.json", layout.kept_prefix(&id)).parse().unwrap(), Role::Evidence),
            (layout.chain_entry(7), Role::Evidence),
            (layout.head(), Role::Working),
            (layout.lock(), Role::Working),
            (layout.stop(), Role::Working),
            (layout.scratch("abcd"), Role::Working),
            ("elsewhere".parse().unwrap(), Role::Working),
        ] {
            assert_eq!(Role::of(&key), role, "{key}");
        }
    }
    use kit_contract::ArtifactKind;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_those_of_the_design() {
        let layout = Layout::new(name("shop"), name("production"));
        let id: DeploymentId = "1763712000-abc1234".parse().unwrap();
        let gate = ArtifactName::qualified(ArtifactKind::Gate, name("canary"));
        let users = name("users");
        let table = [
            (layout.backup(&id, None, "sql.gz").unwrap(), "backup-1763712000-abc1234.sql.gz"),
            (layout.backup(&id, Some(&users), "db.gz").unwrap(), "backup-1763712000-abc1234.users.db.gz"),
            (layout.backup_metadata(&id, None), "backup-1763712000-abc1234.json"),
            (layout.backup_metadata(&id, Some(&users)), "backup-1763712000-abc1234.users.json"),
            (layout.artifact(&id, 2, &gate), "deployments/1763712000-abc1234/2/gate-canary.json"),
            (
                layout.attempt_file(&id, 1, "rollback.md").unwrap(),
                "deployments/1763712000-abc1234/1/rollback.md",
            ),
            (
                layout.journal_entry(&id, 1, &name("rollout"), 7),
                "deployments/1763712000-abc1234/1/journal-rollout/000007.json",
            ),
            (layout.chain_entry(12), "chain/00000012.json"),
            (layout.head(), "head.json"),
            (layout.lock(), "lock.json"),
            (layout.stop(), "stop.json"),
        ];
        for (key, expected) in table {
            assert_eq!(key.as_str(), format!("shop/production/{expected}"));
        }
        for bad in ["../x", "a/b", "", "json", "users.json"] {
            assert!(layout.backup(&id, None, bad).is_err(), "{bad}");
        }
        for bad in ["a b", "a/b", "..", ""] {
            assert!(layout.attempt_file(&id, 1, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_names_still_make_a_key() {
        let long = name(&"a".repeat(40));
        let layout = Layout::new(long.clone(), long.clone());
        let id: DeploymentId = "a".repeat(63).parse().unwrap();
        assert!(layout.journal_entry(&id, u32::MAX, &long, u32::MAX).as_str().parse::<Key>().is_ok());
        assert!(layout.chain_entry(u64::MAX).as_str().parse::<Key>().is_ok());
    }

    #[test]
    fn only_keys_of_entries_have_a_sequence_number() {
        let layout = Layout::new(name("shop"), name("production"));
        for sequence in [1, 99_999_999, 100_000_000] {
            assert_eq!(layout.sequence_of(layout.chain_entry(sequence).as_str()), Some(sequence));
        }
        for stray in ["1.json", "00000000.json", "+0000001.json", "00000001.json.bak", "a/00000001.json"] {
            assert_eq!(layout.sequence_of(&format!("shop/production/chain/{stray}")), None, "{stray}");
        }
        assert_eq!(layout.sequence_of("blog/production/chain/00000001.json"), None);
    }
}
