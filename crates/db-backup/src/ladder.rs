//! How far a backup is to be proved, and whether that is far enough. Pure.

use kit_contract::Reason;
use kit_contract::body::Proof;
use kit_contract::config::WantedProof;
use kit_core::StepError;
use std::time::Duration;

/// Bytes of a dump that a restore with comparison takes per second, at least: a third of what two cores of
/// today do with PostgreSQL, so that the budget is seldom overrun.
const RESTORE_BYTES_PER_SECOND: u64 = 25 * 1024 * 1024;

/// What is wanted, and what is known before it is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What the user wants.
    pub(crate) wanted: WantedProof,
    /// How long a full proof may take.
    pub(crate) budget: Duration,
    /// Less than this is worthless to `migrate`.
    pub(crate) required: Proof,
}

/// What to try first, and why not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The level.
    pub(crate) level: Proof,
    /// Why `auto` does not go for all of it.
    pub(crate) limit: Option<String>,
}

impl Rules {
    /// What to try for a dump of this size. `by_schema`: the schema can be restored by itself.
    pub(crate) fn plan(&self, uncompressed_bytes: u64, by_schema: bool) -> Plan {
        if let Some(level) = self.wanted.level() {
            return Plan { level, limit: None };
        }
        let estimate = Duration::from_secs(uncompressed_bytes / RESTORE_BYTES_PER_SECOND);
        if estimate <= self.budget || !by_schema {
            return Plan { level: Proof::Full, limit: None };
        }
        let limit = format!(
            "a full restore was estimated to take {} s, and backup.proof_budget is {} s",
            estimate.as_secs(),
            self.budget.as_secs()
        );
        Plan { level: Proof::Schema, limit: Some(limit) }
    }

    /// How long a full proof may take. What was asked for by name takes as long as it takes.
    pub(crate) fn full_limit(&self) -> Option<Duration> {
        (self.wanted == WantedProof::Auto).then_some(self.budget)
    }

    /// Refuses a level that is less than was asked for, or than `migrate` would take.
    pub(crate) fn check(&self, reached: Proof, limit: Option<&str>) -> Result<(), StepError> {
        let floor = self.wanted.level().unwrap_or(self.required);
        if reached >= floor {
            return Ok(());
        }
        let why = limit.unwrap_or("nobody knows why");
        let message =
            format!("the backup was proved to the level {reached}, and {floor} is asked for: {why}");
        let error = StepError::new(Reason::ProofUnavailable, message);
        Err(match self.wanted.level() {
            Some(_) => error.hint("ask for less with backup.proof, or name a scratch server with scratch_url"),
            None => error
                .hint("name a scratch server with scratch_url in [[databases]], or install the server's programs here")
                .hint(format!(
                    "if the level {reached} is enough for your migrations, say so: backup.required_proof = \
                     \"{reached}\""
                )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(wanted: WantedProof, required: Proof) -> Rules {
        Rules { wanted, budget: Duration::from_secs(300), required }
    }

    #[test]
    fn all_of_it_if_there_is_time() {
        let auto = rules(WantedProof::Auto, Proof::Schema);
        assert_eq!(auto.plan(1 << 30, true), Plan { level: Proof::Full, limit: None });
        let large = auto.plan(100 << 30, true);
        assert_eq!(large.level, Proof::Schema);
        assert!(large.limit.unwrap().contains("estimated to take 4096 s"));
        assert_eq!(auto.plan(100 << 30, false).level, Proof::Full, "there is nothing between");
        for (wanted, level) in [
            (WantedProof::Stream, Proof::Stream),
            (WantedProof::Remote, Proof::Remote),
            (WantedProof::Schema, Proof::Schema),
            (WantedProof::Full, Proof::Full),
        ] {
            assert_eq!(rules(wanted, Proof::Schema).plan(100 << 30, true), Plan { level, limit: None });
        }
    }

    #[test]
    fn less_than_what_is_asked_for_is_no_backup() {
        for (wanted, required, reached, expected) in [
            (WantedProof::Auto, Proof::Schema, Proof::Schema, true),
            (WantedProof::Auto, Proof::Schema, Proof::Remote, false),
            (WantedProof::Auto, Proof::Remote, Proof::Remote, true),
            (WantedProof::Auto, Proof::Full, Proof::Schema, false),
            (WantedProof::Full, Proof::Stream, Proof::Schema, false),
            // Asked for by name: migrate refuses it later, which is the user's decision.
            (WantedProof::Stream, Proof::Schema, Proof::Stream, true),
        ] {
            let checked = rules(wanted, required).check(reached, Some("no room"));
            assert_eq!(checked.is_ok(), expected, "{wanted:?} {required} {reached}");
            if let Err(error) = checked {
                assert_eq!(error.reason, Reason::ProofUnavailable);
                assert!(error.to_string().ends_with("is asked for: no room"), "{error}");
            }
        }
    }
}
