//! Why a step ended as it did: stable codes, each with one result, one exit code, one explanation.
//!
//! The table in this file is the only place that says so. `deploy-kit explain`, the reference page
//! and the exit code of every program are read from it.

use crate::StepResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a reason means for the caller. It settles the result and the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Go on.
    Go,
    /// Nothing to do, because configuration says so.
    Skipped,
    /// A bug in deploy-kit.
    Bug,
    /// Bad usage, input or configuration.
    Usage,
    /// An artifact is missing, invalid, foreign or cannot be written.
    Artifact,
    /// The step did its work, and the verdict is no.
    Verdict,
    /// The question was asked, and the answer is not known.
    Undecided,
    /// An outside system refused or cannot be reached.
    Outside,
    /// The deadline passed.
    Deadline,
    /// Something was changed and could not be undone.
    Stuck,
    /// Stopped by an interrupt (SIGINT).
    Interrupted,
    /// Stopped by a termination request (SIGTERM).
    Terminated,
}

impl Class {
    /// Every class, in the order of exit codes.
    pub const ALL: &'static [Self] = &[
        Self::Go,
        Self::Skipped,
        Self::Bug,
        Self::Usage,
        Self::Artifact,
        Self::Verdict,
        Self::Undecided,
        Self::Outside,
        Self::Deadline,
        Self::Stuck,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The public exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Go | Self::Skipped => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Artifact => 3,
            Self::Verdict => 10,
            Self::Undecided => 11,
            Self::Outside => 20,
            Self::Deadline => 21,
            Self::Stuck => 30,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The result that goes with it.
    pub const fn result(self) -> StepResult {
        match self {
            Self::Go => StepResult::Success,
            Self::Skipped => StepResult::Skip,
            Self::Bug | Self::Usage | Self::Artifact | Self::Outside => StepResult::Error,
            Self::Verdict => StepResult::Failure,
            Self::Undecided => StepResult::Inconclusive,
            Self::Deadline => StepResult::Timeout,
            Self::Stuck => StepResult::Stuck,
            Self::Interrupted | Self::Terminated => StepResult::Cancellation,
        }
    }

    /// What a script may conclude from it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Go => "go on",
            Self::Skipped => "nothing to do, because configuration says so",
            Self::Bug => "a bug in deploy-kit; please report it",
            Self::Usage => "bad usage, input or configuration; nothing was changed",
            Self::Artifact => "an artifact is missing, invalid, foreign or cannot be written",
            Self::Verdict => "the step did its work, and the verdict is no",
            Self::Undecided => "the question was asked, and the answer is not known",
            Self::Outside => "an outside system refused or cannot be reached",
            Self::Deadline => "the deadline passed",
            Self::Stuck => "something was changed and could not be undone: a human is needed",
            Self::Interrupted => "cancelled by SIGINT",
            Self::Terminated => "cancelled by SIGTERM",
        }
    }
}

macro_rules! reasons {
    ($( $area:literal { $( $name:ident $code:literal $class:ident $meaning:literal, $remedy:literal; )+ } )+) => {
        /// Why a step ended as it did. The codes are part of the public contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $( $(
                #[doc = $meaning]
                #[serde(rename = $code)]
                $name,
            )+ )+
            /// Written by a newer version. Never healthy.
            #[serde(rename = "unrecognised", other)]
            Unrecognised,
        }

        impl Reason {
            /// Every reason that this version can give, grouped by the step that gives it.
            pub const ALL: &'static [Self] = &[ $( $( Self::$name, )+ )+ ];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self {
                    $( $( Self::$name => $code, )+ )+
                    Self::Unrecognised => "unrecognised",
                }
            }

            /// What it means for the caller.
            pub const fn class(self) -> Class {
                match self {
                    $( $( Self::$name => Class::$class, )+ )+
                    Self::Unrecognised => Class::Undecided,
                }
            }

            /// What happened, for people.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $( $( Self::$name => $meaning, )+ )+
                    Self::Unrecognised => "written by a newer version of deploy-kit",
                }
            }

            /// What to do about it, for people.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $( $( Self::$name => $remedy, )+ )+
                    Self::Unrecognised => "use one version of deploy-kit for the whole deploy",
                }
            }

            /// The step that gives it; "any step" for those that every step can give.
            pub const fn area(self) -> &'static str {
                match self {
                    $( $( Self::$name => $area, )+ )+
                    Self::Unrecognised => "any step",
                }
            }
        }
    };
}

reasons! {
    "any step" {
        NotConfigured "not_configured" Skipped "configuration says that there is nothing to do here", "nothing; if that is a surprise, look at deploy.toml";
        Planned "planned" Go "nothing was changed: this is what would be done", "run it without --dry-run to do it";
        UsageError "usage_error" Usage "the command line, an input or an environment variable is wrong", "correct the value that the message names; --help lists what is allowed";
        ConfigInvalid "config_invalid" Usage "deploy.toml cannot be read", "correct the line that the message names, then run `deploy-kit config check` again";
        SecretMissing "secret_missing" Usage "a secret that the step needs is not set", "set it as an environment secret, pass it on in the workflow, or give a file with --<input>-file";
        ArtifactMissing "artifact_missing" Artifact "an artifact that the step needs is not there", "run the step that writes it first, or point --artifacts at the folder that holds it";
        ArtifactInvalid "artifact_invalid" Artifact "an artifact cannot be read: truncated, of another kind, or written by another version", "do not edit artifacts; run the step that writes it again";
        ArtifactForeign "artifact_foreign" Artifact "an artifact belongs to another deployment, app or environment", "use a fresh artifact folder for each deployment";
        ArtifactTampered "artifact_tampered" Artifact "an artifact is not the one that was written: its digest differs", "find out who changed it; start the deploy again from validate-tag";
        ArtifactNotGo "artifact_not_go" Artifact "the step before this one did not succeed, so this one may not run", "see the message of that step; correct its cause and run it again";
        ArtifactUnwritable "artifact_unwritable" Artifact "the artifact cannot be written, so nobody would learn what the step did", "make the artifact folder writable and see that the disk is not full";
        Unfinished "unfinished" Bug "the step started and left no result: it was killed, or its machine died", "look at the log of the run; `rollback` puts right what it left";
        ToolMissing "tool_missing" Outside "a program that the step needs is not installed", "install the program that the message names";
        CommandFailed "command_failed" Outside "a program that the step started failed", "see its output in the log";
        StoreUnreachable "store_unreachable" Outside "the store cannot be reached or refused", "check the store's address and the credentials of this job";
        StoreUnsuitable "store_unsuitable" Outside "the store cannot be trusted with this: it ignores conditional writes, or does not outlive the job", "use a store that keeps objects and honours conditional writes";
        LockHeld "lock_held" Verdict "another deployment holds the lock of this app and environment", "wait for it; if its run is dead, `deploy-kit unlock` breaks the lock after showing who holds it";
        LockLost "lock_lost" Verdict "the lock now belongs to somebody else", "somebody broke the lock or it expired; see `deploy-kit status`";
        StopRequested "stop_requested" Verdict "somebody asked this deploy to stop", "see who and why with `deploy-kit status`";
        DeadlineExceeded "deadline_exceeded" Deadline "the step did not finish within its deadline", "find out what hung; give more time with --deadline if the work is really that long";
        Interrupted "interrupted" Interrupted "the step was interrupted", "nothing, if you did it; else see who cancelled the run";
        Terminated "terminated" Terminated "the step was asked to terminate", "nothing, if you did it; else see who cancelled the run";
        LeftChanged "left_changed" Stuck "the step ended in the middle of a change that it could not undo", "follow the message: it says what was changed and what to do now";
        InternalError "internal_error" Bug "deploy-kit hit a bug", "please report it with the message and the artifact";
    }
    "validate-tag" {
        ReleaseAccepted "release_accepted" Go "the tag is a release that may be deployed", "nothing";
        TagNotFound "tag_not_found" Verdict "the tag does not exist in the repository", "push the tag, or fetch it: shallow clones have no tags";
        TagNotOnBranch "tag_not_on_branch" Verdict "the tagged commit is on no branch that releases may come from", "tag a commit of a release branch, or extend release.branches";
        TagMoved "tag_moved" Verdict "the tag points to another commit than the one that started this run", "never move release tags; make a new version";
        TagNotAnnotated "tag_not_annotated" Verdict "the tag is not annotated, and only annotated tags are releases here", "tag with `git tag --annotate`, or set release.require_annotated = false";
        PrereleaseRefused "prerelease_refused" Verdict "the version is a pre-release, and this environment refuses those", "tag a release, or set release.prereleases";
        VersionMarkedBad "version_marked_bad" Verdict "this version was rolled back before and is marked bad", "make a new version; --allow-bad with a reason deploys it all the same";
        RepositoryUnreadable "repository_unreadable" Outside "the git repository could not be asked", "run inside a checkout that has its history and tags (fetch-depth: 0)";
    }
    "preflight" {
        ChecksPassed "checks_passed" Go "every check passed", "nothing";
        ChecksOverridden "checks_overridden" Go "a check did not pass and was overridden with a reason", "make good what was skipped; the record keeps it open";
        ChecksFailed "checks_failed" Verdict "at least one check failed", "correct what the message lists, or override a check with a reason";
        ChecksUnavailable "checks_unavailable" Undecided "no check failed, but at least one could not be asked", "make what could not be asked reachable from this runner";
    }
    "db-backup" {
        VerifiedFull "verified_full" Go "the backup was restored in full, and its content compared", "nothing";
        VerifiedSchema "verified_schema" Go "the schema was restored from the backup and compared", "nothing";
        VerifiedRemote "verified_remote" Go "the backup was read back from the store and compared", "nothing";
        VerifiedStream "verified_stream" Go "the backup was checked while it was written", "nothing";
        ExternalBackup "external_backup" Go "another tool made the backup and vouches for it; nothing of it was proved here", "nothing; try its restore from time to time";
        ExternalInvalid "external_invalid" Outside "the program that has another tool make the backup did not answer as it must", "see docs/databases.md for the answer, and the message for what is wrong with it";
        BackupNotNeeded "backup_not_needed" Skipped "no migration is pending, and backup.when asks for a backup only then: none was made", "nothing; set backup.when = \"always\" to have one in every deploy";
        DumpFailed "dump_failed" Outside "the database could not be dumped; no backup was left under the final name", "see the message of the dump program";
        BackupTruncated "backup_truncated" Outside "the dump ended early; no backup was left under the final name", "find out why the connection broke, then run the step again";
        BackupMismatch "backup_mismatch" Verdict "what was restored from the backup is not what was dumped", "do not deploy: the backup is worthless; look at the differences that the message lists";
        AssertionFailed "assertion_failed" Verdict "what was restored is what was dumped, and an assertion of yours does not hold of it", "look at the data: it was like that when it was dumped; or correct the assertion in deploy.toml";
        ProofUnavailable "proof_unavailable" Outside "the restore could not be tried as far as was asked for; nothing is known about the backup", "give a scratch server that can take it, or ask for less proof";
        Pruned "pruned" Go "backups that had had their time were removed, or there were none", "nothing";
        PrunePlanned "prune_planned" Go "nothing was changed: these backups have had their time", "give --confirm to remove them";
        DatabaseUnreachable "database_unreachable" Outside "the database cannot be reached or refused", "check the address, the network path and the credentials of this job";
    }
    "migrate" {
        Migrated "migrated" Go "all pending migrations were applied", "nothing";
        NothingPending "nothing_pending" Go "there was nothing to apply", "nothing";
        BackupRequired "backup_required" Verdict "there is no finished, verified backup of this deployment", "run db-backup first; nothing was migrated";
        BackupTooWeak "backup_too_weak" Verdict "the backup was verified, but not to the level that is asked for", "raise the proof of db-backup, or lower backup.required_proof";
        BackupTooOld "backup_too_old" Verdict "the backup is older than allowed", "run db-backup again, or raise backup.max_age";
        MigrationDrifted "migration_drifted" Verdict "a migration that was applied before has been changed or is gone", "restore the file as it was applied; write a new migration for the change";
        MigrationDirty "migration_dirty" Verdict "an earlier migration failed half-way and was never put right", "repair the schema by hand, then mark the migration as applied or remove its row";
        MigrationFailed "migration_failed" Verdict "a migration failed, and the database is as it was before that migration", "correct the migration; those before it stay applied";
    }
    "rollout" {
        Shifted "shifted" Go "every service was observed at the share that was asked for", "nothing";
        PromotedStable "promoted_stable" Go "the new version was observed as the stable one of every service", "nothing";
        PromotionFailed "promotion_failed" Verdict "the new version could not be made the stable one; it still has all of the traffic", "see the driver's message; run `rollout promote` again, or `rollout abort`";
        Withdrawn "withdrawn" Go "the canary was observed at zero, and the stable version serves", "nothing";
        ShareNotReached "share_not_reached" Verdict "the share that was observed is not the share that was asked for; the canary was withdrawn", "see what the router reports; is every backend up?";
        StableUnhealthy "stable_unhealthy" Verdict "the stable version is unhealthy, so shares mean nothing; the canary was withdrawn", "repair the stable version first";
        DriverFailed "driver_failed" Outside "the traffic driver failed before anything was changed", "see its message";
        WithdrawFailed "withdraw_failed" Stuck "the canary could not be withdrawn: it may still serve traffic", "set the canary's share to zero by hand, now";
    }
    "canary-gate" {
        Promoted "promoted" Go "the canary is healthy as far as this stage can tell", "nothing";
        Shadowed "shadowed" Go "the gate only looked on: its verdict, which the message names, decided nothing", "nothing; leave out --shadow to let it decide";
        TotalOutage "total_outage" Verdict "the canary answers nothing", "see the canary's logs; take it out with `rollout abort` unless this deploy does";
        ConsecutiveFailures "consecutive_failures" Verdict "too many probes of the canary failed in a row", "see the canary's logs; take it out with `rollout abort` unless this deploy does";
        ErrorRateExceeded "error_rate_exceeded" Verdict "the canary fails more often than allowed", "see the canary's logs; take it out with `rollout abort` unless this deploy does";
        LatencyExceeded "latency_exceeded" Verdict "the canary is slower than allowed", "see the canary's logs; take it out with `rollout abort` unless this deploy does";
        CommonMode "common_mode" Undecided "canary and baseline fail together, so the canary is not the cause", "repair what both depend on; the message names a migration of this deploy, if there was one";
        RuleBroken "rule_broken" Verdict "a rule of yours holds that says rollback", "see what the message says of the rule; take the canary out with `rollout abort` unless this deploy does";
        RuleHolds "rule_holds" Undecided "a rule of yours holds that says hold", "see what the message says of the rule, and deploy again when it is over";
        RuleUnknown "rule_unknown" Undecided "what a rule of yours asks for is not known, so nobody knows whether it holds", "can whoever knows it be reached from this runner? the message says what was missing";
        NoData "no_data" Undecided "the gate saw nothing that it could judge", "is the canary reachable from this runner, and does it get traffic?";
        TooFewSamples "too_few_samples" Undecided "the gate saw too little to judge", "probe faster, or make the stage longer";
        SourceFailed "source_failed" Undecided "whoever counts the requests could not be asked, so nobody knows how the canary is", "is the source reachable from this runner, and do its names fit? the message says what was missing";
        ShareMismatch "share_mismatch" Undecided "the canary got far less traffic than it should have, so nobody knows how it is", "see what the router does; does the canary's metric count its requests?";
        BaselineMeasured "baseline_measured" Go "the version that serves now was measured before the migration", "nothing; the run after the migration is held against it";
        BaselineNotCompared "baseline_not_compared" Skipped "nobody can hold the version that serves now against its past", "nothing; the message says why";
        BaselineKept "baseline_kept" Go "the version that serves now fails no more often since the migration", "nothing";
        BaselineWorse "baseline_worse" Verdict "the version that serves now fails more often since the migration", "the new version got no traffic; repair what the migration that the message names did to the old version";
        StageTooWeak "stage_too_weak" Usage "a stage cannot see what is asked of it", "probe faster, make the stage longer, or ask for less with gate.detect_error_percent";
    }
    "smoke-test" {
        SmokePassed "smoke_passed" Go "every check passed", "nothing";
        SmokePassedFlaky "smoke_passed_flaky" Go "every check passed, but not all at the first try", "look at the checks that needed several tries";
        SmokeFailed "smoke_failed" Verdict "at least one check failed", "see the first assertion that failed, in the message";
        NothingReachable "nothing_reachable" Undecided "nothing could be reached at all, so nothing is known about the release", "is the network path from this runner to production open?";
    }
    "deploy-record" {
        Begun "begun" Go "the deploy has begun: the lock is held and the chain has an entry", "nothing";
        Recorded "recorded" Go "the record was written and the chain extended", "nothing";
        Adopted "adopted" Go "what runs now was written down as the version to return to", "nothing";
        ChainValid "chain_valid" Go "every entry of the chain fits the one before it", "nothing";
        ChainBroken "chain_broken" Verdict "the chain of entries does not fit together: something was changed or is missing", "compare the store with its versions or its mirror; do not deploy before you know";
        RecordRefused "record_refused" Verdict "an artifact does not belong into this record", "use the artifacts of this deployment only";
    }
    "rollback" {
        RolledBack "rolled_back" Go "the version to return to was observed in service", "nothing";
        NothingToUndo "nothing_to_undo" Go "nothing had been changed that needs undoing", "nothing";
        NoTarget "no_target" Verdict "there is no version to return to", "deploy a good version; `deploy-record adopt` writes down what runs now";
        WindowExpired "window_expired" Verdict "the rollback window has passed", "--force with a reason rolls back all the same";
        SchemaAhead "schema_ahead" Verdict "the old version does not fit the schema as it is now", "restore the database deliberately with db-restore, or --accept-schema-ahead";
        RollbackStuck "rollback_stuck" Stuck "the rollback could not be finished", "follow the message: it says what is where, and what to do now";
    }
    "db-restore" {
        Restored "restored" Go "the backup was restored, and its content compared", "nothing";
        RestorePlanned "restore_planned" Go "nothing was changed: this is what would be restored", "give the consent that the message names to restore";
        BackupNotFound "backup_not_found" Verdict "there is no such backup, or it was never finished", "list the backups in the store; without metadata it is no backup";
        Drilled "drilled" Go "the backup was restored into a scratch place, and its content compared", "nothing";
        DrillMissed "drill_missed" Verdict "the backup was restored, but it is older, or took longer, than is allowed", "back up more often, or make the restore faster; backup.drill in deploy.toml sets the limits";
        RestoreExternal "restore_external" Verdict "another tool made the backup, and only that tool restores it", "do what the message says, which is what the tool said when it made the backup";
        ConsentRequired "consent_required" Usage "restoring would replace data and needs a typed confirmation", "give --confirm with the value that the message names";
        RestoreMismatch "restore_mismatch" Verdict "what was restored is not what was backed up; the live database was not touched", "try an older backup";
    }
    "notify" {
        Delivered "delivered" Go "every channel took the message", "nothing";
        NotAllDelivered "not_all_delivered" Go "at least one channel did not take the message; that never changes a deploy's verdict", "see which channel and why in the artifact";
        RequiredUndelivered "required_undelivered" Outside "a channel that was required did not take the message", "see which channel and why in the artifact";
    }
}

impl Reason {
    /// The reason with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// How a step that gives this reason ended.
    pub const fn result(self) -> StepResult {
        self.class().result()
    }

    /// The public exit code of a step that gives this reason.
    pub const fn exit_code(self) -> u8 {
        self.class().exit_code()
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_snake_case_and_round_trip() {
        let mut seen = BTreeSet::new();
        for &reason in Reason::ALL {
            let code = reason.code();
            assert!(seen.insert(code), "{code} twice");
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert_eq!(Reason::from_code(code), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), code);
            assert_eq!(serde_json::from_value::<Reason>(code.into()).unwrap(), reason);
        }
    }

    #[test]
    fn a_reason_of_a_newer_version_is_never_healthy() {
        let reason: Reason = serde_json::from_value("invented_tomorrow".into()).unwrap();
        assert_eq!(reason, Reason::Unrecognised);
        assert_ne!(reason.exit_code(), 0);
    }

    #[test]
    fn only_go_and_configured_skip_are_green() {
        for &class in Class::ALL {
            let green = matches!(class, Class::Go | Class::Skipped);
            assert_eq!(class.exit_code() == 0, green, "{class:?}");
        }
        let skipped: Vec<_> = Reason::ALL.iter().filter(|r| r.class() == Class::Skipped).collect();
        assert_eq!(
            skipped,
            [&Reason::NotConfigured, &Reason::BackupNotNeeded, &Reason::BaselineNotCompared],
            "a skip is green only when configuration says so"
        );
    }

    #[test]
    fn texts_are_fragments_without_a_full_stop() {
        for &reason in Reason::ALL {
            for text in [reason.meaning(), reason.remedy()] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{reason}: {text}");
            }
        }
    }
}
