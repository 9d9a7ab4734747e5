use super::{Backup, Deployment, MigrationPhase, Override, Rollback, Smoke};
use crate::{ArtifactKind, Body, DeploymentId, Sha256, StepResult};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// The new version serves everything, and every step said yes.
    Success,
    /// It did not get there; the old version serves.
    Failed,
    /// It did not get there, and nothing says that the new version is bad.
    Inconclusive,
    /// It was withdrawn or rolled back.
    RolledBack,
    /// Something was changed and could not be undone.
    Stuck,
    /// Written by a newer version. Never healthy.
    #[serde(other)]
    Unknown,
}

/// One step of the deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// Name of the artifact.
    pub artifact: String,
    /// Digest of the artifact; absent if it is missing, or not to be believed: `reason` then says why.
    pub sha256: Option<Sha256>,
    /// How the step ended; absent if its artifact is missing.
    pub result: Option<StepResult>,
    /// Why, as the stable code that the artifact holds.
    pub reason: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Which attempt this was.
    pub attempt: Option<u32>,
}

/// One stage of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// The stage.
    pub stage: String,
    /// Share asked for, in percent.
    pub asked_percent: f64,
    /// Smallest share observed over the services, in percent; absent if nobody could tell.
    pub observed_percent: Option<f64>,
    /// The gate's verdict; absent if the gate never spoke.
    pub verdict: Option<super::GateVerdict>,
    /// How long it was watched.
    pub watched_ms: u64,
}

/// The record of a deployment: what was deployed, on which evidence, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// How it ended. Computed from the artifacts, never given.
    pub status: RecordStatus,
    /// What was deployed; absent if `validate-tag` never succeeded.
    pub deployment: Option<Deployment>,
    /// The deployment before; absent at the first deployment.
    pub previous: Option<DeploymentId>,
    /// Every step of the pipeline, present or missing, in order.
    pub steps: Vec<StepRecord>,
    /// Every stage that was started.
    pub stages: Vec<StageRecord>,
    /// The backups.
    pub backup: Option<Backup>,
    /// Migrations applied by this deployment, and of which phase.
    pub migrations_applied: u64,
    /// Phase of those migrations.
    pub migration_phase: Option<MigrationPhase>,
    /// The last smoke test.
    pub smoke: Option<Smoke>,
    /// What was undone.
    pub rollback: Option<Rollback>,
    /// What was overridden and is not made good yet.
    pub overrides: Vec<Override>,
    /// True if there is a version to return to, and its window is open.
    pub rollback_available: bool,
    /// Length of the rollback window.
    pub rollback_window_ms: u64,
    /// End of the rollback window; absent unless the deployment succeeded.
    pub rollback_deadline: Option<Timestamp>,
    /// The effective configuration as TOML. Secrets are named in it, never held.
    pub config: String,
    /// The chain entry that this record belongs to.
    pub sequence: Option<u64>,
}

impl Body for Record {
    const KIND: ArtifactKind = ArtifactKind::Record;
}
