//! What a backup must be before anything is migrated. Pure.

use jiff::{SignedDuration, Timestamp};
use kit_contract::body::{Backup, DatabaseBackup, Proof};
use kit_contract::config::Span;
use kit_contract::{Name, Reason};
use kit_core::StepError;

/// How far the clocks of two runners may differ. A copy from further ahead has no age that could be judged.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What the configuration asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The least proof.
    pub(crate) required: Proof,
    /// The greatest age, from the moment the content was fixed.
    pub(crate) max_age: Span,
}

/// Why a backup does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    Missing(Name),
    /// It was proved less than is asked for.
    TooWeak(Name, Proof),
    /// Its content is older than is allowed, by this much in all.
    TooOld(Name, SignedDuration),
    /// Its content is said to be from the future.
    FromTheFuture(Name),
}

/// The backups of these databases, if each of them does. Those that another tool made are judged elsewhere
/// ([`kit_contract::config::Backup::accepts_external`]).
pub(crate) fn judge<'a>(
    databases: &[&Name],
    backup: Option<&'a Backup>,
    rules: Rules,
    now: Timestamp,
) -> Result<Vec<&'a DatabaseBackup>, Refusal> {
    databases.iter().map(|name| judge_one(name, backup, rules, now)).collect()
}

fn judge_one<'a>(
    name: &Name,
    backup: Option<&'a Backup>,
    rules: Rules,
    now: Timestamp,
) -> Result<&'a DatabaseBackup, Refusal> {
    let entry = backup.and_then(|backup| backup.databases.iter().find(|entry| entry.database == *name));
    let entry = entry.ok_or_else(|| Refusal::Missing(name.clone()))?;
    if entry.proof < rules.required || entry.proof == Proof::None {
        return Err(Refusal::TooWeak(name.clone(), entry.proof));
    }
    let age = now.duration_since(entry.snapshot_at);
    if age < -CLOCK_SKEW {
        return Err(Refusal::FromTheFuture(name.clone()));
    }
    let allowed = SignedDuration::try_from(rules.max_age.duration()).unwrap_or(SignedDuration::MAX);
    if age > allowed { Err(Refusal::TooOld(name.clone(), age)) } else { Ok(entry) }
}

impl Refusal {
    /// As the step says it.
    pub(crate) fn into_error(self, rules: Rules) -> StepError {
        match self {
            Self::Missing(name) => StepError::new(
                Reason::BackupRequired,
                format!("{name} has pending migrations, and this deployment has no finished backup of it"),
            )
            .hint("run db-backup first, for the same deployment and with the same artifact folder; with backup.when = \
                   \"pending_migrations\" it looks again whether one is needed"),
            Self::TooWeak(name, proof) => StepError::new(
                Reason::BackupTooWeak,
                format!("the backup of {name} has the proof {proof}, and {} is required", rules.required),
            )
            .hint("backup.required_proof in deploy.toml says what is required"),
            Self::TooOld(name, age) => StepError::new(
                Reason::BackupTooOld,
                format!("the backup of {name} is {:.0} old, and {} is allowed", age, rules.max_age),
            )
            .hint("everything written since would be lost by a restore; backup.max_age in deploy.toml sets the limit"),
            Self::FromTheFuture(name) => StepError::new(
                Reason::BackupTooOld,
                format!("the backup of {name} is dated in the future, so its age cannot be judged"),
            )
            .hint("set the clocks of the machines that run the steps"),
        }
    }
}

/// What an artifact claims and the metadata in the store does not; empty if they agree. The moment of the
/// last proof and its being adopted belong to each run, and the location may be shown without secrets.
pub(crate) fn disagreements(claimed: &DatabaseBackup, stored: &DatabaseBackup) -> Vec<&'static str> {
    let compared = [
        ("database", claimed.database == stored.database),
        ("engine", claimed.engine == stored.engine),
        ("engine_version", claimed.engine_version == stored.engine_version),
        ("key", claimed.key == stored.key),
        ("metadata_key", claimed.metadata_key == stored.metadata_key),
        ("sha256", claimed.sha256 == stored.sha256),
        ("size_bytes", claimed.size_bytes == stored.size_bytes),
        ("uncompressed_bytes", claimed.uncompressed_bytes == stored.uncompressed_bytes),
        ("tables", claimed.tables == stored.tables),
        ("details", claimed.details == stored.details),
        ("schema_sha256", claimed.schema_sha256 == stored.schema_sha256),
        ("proof", claimed.proof == stored.proof),
        ("snapshot_at", claimed.snapshot_at == stored.snapshot_at),
    ];
    compared.into_iter().filter(|(_, agrees)| !agrees).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::Sha256;
    use kit_contract::body::Engine;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn entry(database: &str, proof: Proof) -> DatabaseBackup {
        DatabaseBackup {
            database: name(database),
            engine: Engine::Sqlite,
            engine_version: "3".to_owned(),
            location: "file:store/a".to_owned(),
            key: "a".to_owned(),
            metadata_key: "a.json".to_owned(),
            sha256: Sha256::of(b"a"),
            size_bytes: 1,
            uncompressed_bytes: 2,
            tables: Vec::new(),
            schema_sha256: Sha256::of(b"c"),
            proof,
            snapshot_at: at(0),
            verified_at: at(5),
            adopted: false,
            details: Default::default(),
        }
    }

    fn of(databases: Vec<DatabaseBackup>) -> Backup {
        Backup { databases, ..Backup::default() }
    }

    #[test]
    fn the_table() {
        let backup = |proof| Some(of(vec![entry("users", Proof::Full), entry("main", proof)]));
        let missing = Err(Refusal::Missing(name("main")));
        let weak = |proof| Err(Refusal::TooWeak(name("main"), proof));
        let old = |second| Err(Refusal::TooOld(name("main"), SignedDuration::from_secs(second)));
        let future = Err(Refusal::FromTheFuture(name("main")));
        let hour = 3600;
        let table = [
            // (backup, required, now, expected)
            (None, Proof::Schema, 10, missing.clone()),
            (Some(Backup::default()), Proof::Schema, 10, missing.clone()),
            (Some(of(vec![entry("users", Proof::Full)])), Proof::Stream, 10, missing),
            (backup(Proof::None), Proof::Stream, 10, weak(Proof::None)),
            (backup(Proof::None), Proof::None, 10, weak(Proof::None)),
            (backup(Proof::Stream), Proof::Remote, 10, weak(Proof::Stream)),
            (backup(Proof::Remote), Proof::Schema, 10, weak(Proof::Remote)),
            (backup(Proof::Schema), Proof::Schema, 10, Ok(())),
            (backup(Proof::Schema), Proof::Full, 10, weak(Proof::Schema)),
            (backup(Proof::Full), Proof::Full, hour, Ok(())),
            (backup(Proof::Full), Proof::Full, hour + 1, old(hour + 1)),
            (backup(Proof::Full), Proof::Full, -300, Ok(())),
            (backup(Proof::Full), Proof::Full, -301, future),
        ];
        for (index, (backup, required, now, expected)) in table.into_iter().enumerate() {
            let rules = Rules { required, max_age: Span::from_secs(3600) };
            let judged = judge(&[&name("main")], backup.as_ref(), rules, at(now)).map(|_| ());
            assert_eq!(judged, expected, "line {index}");
            if let Err(refusal) = judged {
                let error = refusal.into_error(rules);
                assert_eq!(error.reason.exit_code(), 10, "line {index}: {}", error.reason);
                assert!(!error.hints.is_empty());
            }
        }
        let rules = Rules { required: Proof::Schema, max_age: Span::from_secs(3600) };
        let two = [&name("users"), &name("main")];
        assert_eq!(judge(&two, backup(Proof::Schema).as_ref(), rules, at(10)).unwrap().len(), 2);
        assert_eq!(judge(&[], None, rules, at(10)), Ok(Vec::new()), "nothing pending needs no backup");
    }

    #[test]
    fn a_claim_that_the_store_does_not_confirm_is_named() {
        let stored = entry("main", Proof::Schema);
        let adopted = DatabaseBackup { adopted: true, verified_at: at(99), ..stored.clone() };
        assert_eq!(disagreements(&adopted, &stored), [""; 0]);
        let claimed = DatabaseBackup { proof: Proof::Full, snapshot_at: at(7), ..stored.clone() };
        assert_eq!(disagreements(&claimed, &stored), ["proof", "snapshot_at"]);
        let claimed = DatabaseBackup { sha256: Sha256::of(b"other"), ..stored.clone() };
        assert_eq!(disagreements(&claimed, &stored), ["sha256"]);
    }
}
