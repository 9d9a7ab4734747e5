//! The envelope that every artifact wears.

use crate::{DeploymentId, Name, Reason, Sha256, StepResult};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which program wrote the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolInfo {
    /// Version of deploy-kit.
    pub version: String,
    /// Commit that the program was built from; absent in builds outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Where the step ran. Every field is absent outside CI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// `owner/name` of the repository that deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Identifier of the CI run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Attempt of the CI run, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_attempt: Option<u32>,
    /// Who started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Where to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One artifact that this one rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Name of the artifact, for example `gate-canary`.
    pub artifact: String,
    /// Digest of its file as it was read.
    pub sha256: Sha256,
}

/// One artifact: who, when, how it ended and why, and the body where there is one.
///
/// A step that failed early, crashed or was cancelled leaves an artifact without a body, or with
/// what it knew until then; `result` says so. [`AnyArtifact`] reads an artifact of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact<B> {
    /// Kind and version of the shape, for example `deploy-kit/backup/v1`.
    pub schema: String,
    /// The app that is deployed.
    pub app: Name,
    /// The environment that is deployed to.
    pub environment: Name,
    /// The deployment that this belongs to.
    pub deployment_id: DeploymentId,
    /// How often this step has run for this deployment, from 1.
    pub attempt: u32,
    /// True if the step ran alone, outside a deployment; such artifacts are never part of a record.
    pub standalone: bool,
    /// The program, and its command where it has several.
    pub step: String,
    /// How the step ended.
    pub result: StepResult,
    /// Why, as a stable code.
    pub reason: Reason,
    /// Why, for people. Not part of the contract.
    pub message: String,
    /// What a person can do about it. Not part of the contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// When the step started.
    pub started_at: Timestamp,
    /// When the step ended.
    pub finished_at: Timestamp,
    /// What wrote this.
    pub tool: ToolInfo,
    /// Where it ran.
    pub run: RunInfo,
    /// What it rests on.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// True if at least one artifact was read without a digest from outside to check it against.
    #[serde(default)]
    pub unanchored: bool,
    /// What the step found or did.
    pub body: Option<B>,
}

/// An artifact whose kind is not known yet, or does not matter.
pub type AnyArtifact = Artifact<serde_json::Value>;

impl<B> Artifact<B> {
    /// True if the step's verdict lets the deploy go on.
    ///
    /// A `skip` counts only where configuration said so; a dry run and an unknown reason never do.
    pub fn is_go(&self) -> bool {
        let dry = matches!(self.reason, Reason::Planned | Reason::RestorePlanned);
        self.result == self.reason.result() && self.reason.exit_code() == 0 && !dry
    }

    /// The same envelope around another body.
    pub fn with_body<C>(self, body: Option<C>) -> Artifact<C> {
        Artifact {
            schema: self.schema,
            app: self.app,
            environment: self.environment,
            deployment_id: self.deployment_id,
            attempt: self.attempt,
            standalone: self.standalone,
            step: self.step,
            result: self.result,
            reason: self.reason,
            message: self.message,
            hints: self.hints,
            started_at: self.started_at,
            finished_at: self.finished_at,
            tool: self.tool,
            run: self.run,
            evidence: self.evidence,
            unanchored: self.unanchored,
            body,
        }
    }
}
