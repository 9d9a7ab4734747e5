//! The frame around every step.
//!
//! A *program* has *commands*. A command is a [`Step`], which writes one artifact and may change
//! things, or a [`Tool`], which is read-only and prints data. The frame runs a step like this:
//!
//! 1. capture the environment once ([`kit_core::Env`]);
//! 2. find the artifact folder from the raw environment and arguments ([`raw`]), so that even a usage
//!    error can be recorded;
//! 3. read `deploy.toml`, inject environment and configuration as defaults, parse ([`inputs`]);
//! 4. settle which deployment this belongs to ([`identity`]), learn and mask the secrets;
//! 5. write an artifact that says `unfinished`: it proves that the folder is writable before anything
//!    is changed, and it is what a killed step leaves behind;
//! 6. run the step under its deadline, listening to signals ([`run`]);
//! 7. write the artifact, then outputs, summary and annotations ([`finish`]), and give the exit code.
#![warn(missing_docs)]

mod artifacts;
mod bytes;
mod config;
mod context;
mod describe;
mod execute;
mod finish;
mod github;
mod identity;
mod inputs;
mod logging;
mod prepare;
mod program;
mod raw;
mod run;
mod secrets;
mod spec;

pub use artifacts::ArtifactFolder;
pub use context::{Danger, StepContext, ToolContext, headers};
pub use describe::{CommandDescription, InputDescription, ProgramDescription};
pub use github::markdown_escape;
pub use identity::Identity;
pub use program::{Program, help_of, main, main_with};
pub use spec::{CommandSpec, Example, IdentityRule, OutputSpec, Qualifier, ReadSpec, SecretSpec};

use kit_contract::{Artifact, Body, Reason, config::Config};
use kit_core::StepError;

/// How long a cancelled command may take to end by itself. The runner kills ten seconds after its first
/// signal (`ProcessInvoker.cs`: 7.5 s, then 2.5 s); the artifact must be written before that.
pub const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// What a step came to.
#[derive(Clone, Debug)]
pub struct Outcome<B> {
    /// Why, as the stable code; it settles result and exit code.
    pub reason: Reason,
    /// Why, for people: one line, with the numbers that matter.
    pub message: String,
    /// What a person can do about it.
    pub hints: Vec<String>,
    /// What the step found or did.
    pub body: B,
}

impl<B> Outcome<B> {
    /// An outcome without hints.
    pub fn new(reason: Reason, message: impl Into<String>, body: B) -> Self {
        Self { reason, message: message.into(), hints: Vec::new(), body }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// A command that writes one artifact.
pub trait Step: Send + 'static {
    /// Its inputs. Every one is a flag, an environment variable and an input of the action.
    type Args: clap::Args + Send + 'static;
    /// The body of its artifact.
    type Body: Body;
    /// What it is, for `--help`, the documents and the action.
    const SPEC: CommandSpec;
    /// True if it acts even where its artifact cannot be written: for what must never be refused.
    const ACTS_UNRECORDED: bool = false;

    /// Values that `deploy.toml` gives to inputs, by input name.
    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        let _ = config;
        Vec::new()
    }

    /// Does the work.
    ///
    /// # Errors
    /// What kept it from doing what it is for.
    fn run(
        args: Self::Args,
        cx: StepContext<Self::Body>,
    ) -> impl Future<Output = Result<Outcome<Self::Body>, StepError>> + Send;

    /// Outputs of its own, declared in [`CommandSpec::outputs`].
    fn outputs(artifact: &Artifact<Self::Body>) -> Vec<(&'static str, String)> {
        let _ = artifact;
        Vec::new()
    }

    /// What it adds to the job summary, as Markdown. Foreign text goes through [`markdown_escape`].
    fn summary(artifact: &Artifact<Self::Body>) -> String {
        let _ = artifact;
        String::new()
    }
}

/// What a tool has to say.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// Settles the exit code.
    pub reason: Reason,
    /// For people.
    pub text: String,
    /// For programs (`--json`).
    pub json: serde_json::Value,
}

/// A command that changes nothing and prints data.
pub trait Tool: Send + 'static {
    /// Its inputs.
    type Args: clap::Args + Send + 'static;
    /// What it is.
    const SPEC: CommandSpec;
    /// How long it may take to end by itself once it is cancelled.
    const GRACE: std::time::Duration = GRACE;
    /// True if it makes the configuration file, which therefore need not be there.
    const MAKES_CONFIG: bool = false;

    /// Values that `deploy.toml` gives to inputs, by input name.
    fn from_config(config: &Config) -> Vec<(&'static str, String)> {
        let _ = config;
        Vec::new()
    }

    /// Does the work.
    ///
    /// # Errors
    /// What kept it from doing what it is for.
    fn run(args: Self::Args, cx: ToolContext) -> impl Future<Output = Result<ToolOutput, StepError>> + Send;
}
