//! The bodies of the artifacts, one file per kind.

mod assertion;
mod backup;
mod begin;
mod deployment;
mod drill;
mod external;
mod gate;
mod migration;
mod notice;
mod preflight;
mod record;
mod restore;
mod rollback;
mod rollout;
mod smoke;

pub use assertion::{AssertionOutcome, AssertionResult};
pub use backup::{
    Backup, BackupDetails, BundleBackup, BundleKind, ClientEncryption, ContentDigests, DatabaseBackup,
    EarlierBackup, Engine, Extension, Proof, RestoreNeeds, TableRows,
};
pub use begin::Begin;
pub use deployment::{Commit, Deployment, DeploymentKind, ServiceVersion};
pub use drill::{DatabaseDrill, Drill};
pub use external::{Claim, ExternalAnswer, ExternalBackup, ExternalKind};
pub use gate::{
    ArmCounts, Certificate, EvidencePoint, Gate, GateVerdict, RuleState, RuleVerdict, ServiceVerdict,
};
pub use migration::{AppliedMigration, DatabaseMigration, JournaledMigration, Migration, MigrationPhase};
pub use notice::{ChannelOutcome, ChannelResult, Notice};
pub use preflight::{CheckOutcome, CheckResult, Image, Override, Preflight, Readiness};
pub use record::{Record, RecordStatus, StageRecord, StepRecord};
pub use restore::{DatabaseRestore, Restore};
pub use rollback::{ObservedService, Rollback, UndoAction, UndoOutcome};
pub use rollout::{Rollout, RolloutAction, ServiceShare};
pub use smoke::{Smoke, SmokeAttempt, SmokeCheck, SmokeOutcome};
