//! Which backups have had their time. Pure.

use jiff::Timestamp;
use kit_contract::Name;
use kit_contract::body::{BundleBackup, DatabaseBackup, Proof};
use kit_contract::config::{BUNDLE, Keep};
use std::collections::BTreeMap;

/// One finished backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) database: Name,
    pub(super) key: String,
    pub(super) metadata_key: String,
    pub(super) size_bytes: u64,
    pub(super) proof: Proof,
    pub(super) snapshot_at: Timestamp,
    /// Files, of which there is no more to prove than that they are what was stored.
    pub(super) is_bundle: bool,
}

impl Candidate {
    pub(super) fn of(backup: &DatabaseBackup) -> Self {
        Self {
            database: backup.database.clone(),
            key: backup.key.clone(),
            metadata_key: backup.metadata_key.clone(),
            size_bytes: backup.size_bytes,
            proof: backup.proof,
            snapshot_at: backup.snapshot_at,
            is_bundle: false,
        }
    }

    pub(super) fn of_bundle(backup: &BundleBackup) -> Option<Self> {
        Some(Self {
            database: BUNDLE.parse().ok()?,
            key: backup.key.clone(),
            metadata_key: backup.metadata_key.clone(),
            size_bytes: backup.size_bytes,
            proof: Proof::Remote,
            snapshot_at: backup.snapshot_at,
            is_bundle: true,
        })
    }

    fn is_good(&self, required: Proof) -> bool {
        self.proof != Proof::None && (self.is_bundle || self.proof >= required)
    }
}

/// Those that may go, oldest first. For each database by itself: backups count from the newest one, and only
/// those count as kept that were proved as far as `migrate` asks, so that a time in which every proof failed
/// removes nothing good. The newest proved one is never among them, whatever the rules say.
pub(super) fn expired(
    candidates: &[Candidate],
    keep: Keep,
    required: Proof,
    now: Timestamp,
) -> Vec<Candidate> {
    let mut by_database: BTreeMap<&Name, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        by_database.entry(&candidate.database).or_default().push(candidate);
    }
    let least = keep.least.max(1);
    let mut expired = Vec::new();
    for of_one in by_database.values_mut() {
        of_one.sort_by_key(|candidate| std::cmp::Reverse(candidate.snapshot_at));
        let mut kept = 0_u32;
        for candidate in of_one.iter() {
            let age_days = now.duration_since(candidate.snapshot_at).as_hours() / 24;
            let too_old = age_days >= i64::from(keep.days);
            let too_many = keep.most.is_some_and(|most| kept >= most.max(least));
            // Until enough good ones are kept, nothing older goes, good or not.
            if kept >= least && (too_old || too_many) {
                expired.push((*candidate).clone());
            } else {
                kept += u32::from(candidate.is_good(required));
            }
        }
    }
    expired.sort_by_key(|candidate| candidate.snapshot_at);
    expired
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn backup(database: &str, age_days: i64, proof: Proof) -> Candidate {
        Candidate {
            database: database.parse().unwrap(),
            key: format!("{database}-{age_days}.gz"),
            metadata_key: format!("{database}-{age_days}.json"),
            size_bytes: 1,
            proof,
            snapshot_at: Timestamp::from_second(1_800_000_000 - age_days * DAY).unwrap(),
            is_bundle: database == BUNDLE,
        }
    }

    fn gone(candidates: &[Candidate], keep: Keep) -> Vec<String> {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        expired(candidates, keep, Proof::Schema, now).into_iter().map(|one| one.key).collect()
    }

    const fn keep(days: u32, least: u32, most: Option<u32>) -> Keep {
        Keep { days, least, most }
    }

    #[test]
    fn by_age_and_count_and_never_the_last_good_one() {
        let full = |age| backup("main", age, Proof::Full);
        let good = [full(1), full(10), full(400), full(500)];
        assert_eq!(gone(&good, keep(365, 1, None)), ["main-500.gz", "main-400.gz"], "oldest first");
        assert_eq!(gone(&good, keep(365, 3, None)), ["main-500.gz"]);
        assert_eq!(gone(&good, keep(365, 9, None)), [""; 0]);
        assert_eq!(gone(&good, keep(365, 1, Some(1))), ["main-500.gz", "main-400.gz", "main-10.gz"]);
        assert_eq!(
            gone(&good, keep(0, 0, Some(0))),
            ["main-500.gz", "main-400.gz", "main-10.gz"],
            "one stays"
        );
        assert_eq!(gone(&[full(900)], keep(1, 0, Some(0))), [""; 0], "the last one");
        assert_eq!(gone(&[full(364)], keep(365, 0, None)), [""; 0]);
        assert_eq!(gone(&[], keep(0, 0, Some(0))), [""; 0]);
    }

    #[test]
    fn a_time_of_failures_removes_nothing_good() {
        let weak = |age| backup("main", age, Proof::Stream);
        let candidates = [weak(1), weak(2), weak(3), backup("main", 400, Proof::Full), weak(500)];
        assert_eq!(gone(&candidates, keep(365, 1, Some(1))), ["main-500.gz"]);
        assert_eq!(gone(&[weak(500), weak(600)], keep(365, 1, None)), [""; 0], "nobody knows of a good one");
    }

    #[test]
    fn a_bundle_has_its_time_too_and_the_last_one_stays() {
        let bundle = |age| backup(BUNDLE, age, Proof::Remote);
        let candidates = [bundle(400), bundle(500), backup("main", 1, Proof::Full)];
        assert_eq!(gone(&candidates, keep(365, 1, None)), ["bundle-500.gz"]);
    }

    #[test]
    fn each_database_by_itself() {
        let candidates = [
            backup("main", 1, Proof::Full),
            backup("main", 400, Proof::Full),
            backup("users", 400, Proof::Full),
            backup("users", 500, Proof::Full),
        ];
        assert_eq!(gone(&candidates, keep(365, 1, None)), ["users-500.gz", "main-400.gz"]);
    }
}
