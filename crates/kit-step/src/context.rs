//! What a command is handed.

use crate::{ArtifactFolder, Identity, secrets};
use kit_contract::config::{Config, HeaderValue, Headers, SecretRef};
use kit_contract::{AnyArtifact, Artifact, ArtifactKind, ArtifactName, Body, DeploymentId, Reason, RunInfo};
use kit_core::{Context, Env, Secret, StepError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What every command is handed. Dereferences to [`Context`].
#[derive(Clone, Debug)]
pub struct ToolContext {
    cx: Context,
    pub(crate) config: Arc<Config>,
    pub(crate) config_folder: PathBuf,
    pub(crate) config_file: PathBuf,
    pub(crate) has_config_file: bool,
    pub(crate) identity: Arc<Mutex<Identity>>,
    pub(crate) run: RunInfo,
    pub(crate) artifacts: ArtifactFolder,
    pub(crate) secrets: Arc<secrets::Secrets>,
}

impl std::ops::Deref for ToolContext {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.cx
    }
}

impl ToolContext {
    #[allow(
        clippy::too_many_arguments,
        reason = "made in one place, from values that stand side by side there"
    )]
    pub(crate) fn new(
        cx: Context,
        loaded: crate::config::Loaded,
        identity: Identity,
        run: RunInfo,
        artifacts: ArtifactFolder,
        secrets: secrets::Secrets,
    ) -> Self {
        Self {
            cx,
            config: Arc::new(loaded.config),
            config_folder: loaded.folder,
            config_file: loaded.file,
            has_config_file: loaded.from_file,
            identity: Arc::new(Mutex::new(identity)),
            run,
            artifacts,
            secrets: Arc::new(secrets),
        }
    }

    /// The plain context.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// The configuration for this environment.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The configuration file; `None` if these are the defaults.
    pub fn config_path(&self) -> Option<PathBuf> {
        self.has_config_file.then(|| self.config_file.clone())
    }

    /// For commands that are about an app and its store, which only a `deploy.toml` names: the defaults
    /// would look at another app in another place, and find nothing there.
    ///
    /// # Errors
    /// [`Reason::ConfigInvalid`] if there is no file.
    pub fn must_have_config(&self) -> Result<(), StepError> {
        if self.has_config_file {
            return Ok(());
        }
        Err(StepError::new(
            Reason::ConfigInvalid,
            format!("there is no {} here, so nobody knows which app is meant", self.config_file.display()),
        )
        .hint("run this where deploy.toml lies, or name the file with --config")
        .hint("`deploy-kit init` writes a first one"))
    }

    /// Where the configuration lies, or would lie.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// True if there is a `deploy.toml`; false if these are the defaults.
    pub fn has_config_file(&self) -> bool {
        self.has_config_file
    }

    /// A path of the configuration: relative to the folder that `deploy.toml` lies in.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.config_folder.join(path)
    }

    /// Which deployment this belongs to.
    pub fn identity(&self) -> Identity {
        match self.identity.lock() {
            Ok(identity) => identity.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Where this runs.
    pub fn run_info(&self) -> &RunInfo {
        &self.run
    }

    /// The artifact folder.
    pub fn artifacts(&self) -> &ArtifactFolder {
        &self.artifacts
    }

    /// Reads an artifact that must be there and say go.
    ///
    /// # Errors
    /// As [`ArtifactFolder::read_go`].
    pub fn read_go<B: Body>(&self, name: &ArtifactName) -> Result<Artifact<B>, StepError> {
        self.artifacts.read_go(name, &self.identity())
    }

    /// Reads an artifact that must be there, whatever it says.
    ///
    /// # Errors
    /// As [`ArtifactFolder::read`].
    pub fn read<B: Body>(&self, name: &ArtifactName) -> Result<Artifact<B>, StepError> {
        self.artifacts.read(name, &self.identity())
    }

    /// Reads an artifact that need not be there.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    pub fn read_if_there<B: Body>(&self, name: &ArtifactName) -> Result<Option<Artifact<B>>, StepError> {
        self.artifacts.read_if_there(name, &self.identity())
    }

    /// The `deployment.json` of this deployment, which must say go; `None` for a step that runs alone.
    ///
    /// # Errors
    /// If this belongs to a deployment and its `deployment.json` cannot be used.
    pub fn deployment(&self) -> Result<Option<Artifact<kit_contract::body::Deployment>>, StepError> {
        if self.identity().standalone {
            return Ok(None);
        }
        self.read_go(&ArtifactName::only(ArtifactKind::Deployment)).map(Some)
    }

    /// A secret of the step's own inputs, if it was given.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.secrets.get(name).cloned()
    }

    /// The secret that the configuration names.
    ///
    /// # Errors
    /// [`Reason::SecretMissing`] if it is not set.
    pub fn secret_ref(&self, reference: &SecretRef) -> Result<Secret, StepError> {
        secrets::from_ref(&self.cx.env, reference)
    }
}

/// The headers of a request of `deploy.toml`, with the secrets that they name.
///
/// # Errors
/// [`Reason::SecretMissing`] if one of them is not set.
pub fn headers(env: &Env, headers: &Headers) -> Result<BTreeMap<String, String>, StepError> {
    let resolve = |(name, value): (&String, &HeaderValue)| -> Result<_, StepError> {
        let value = match value {
            HeaderValue::Plain(text) => text.clone(),
            HeaderValue::Secret(reference) => secrets::from_ref(env, reference)?.expose().to_owned(),
        };
        Ok((name.clone(), value))
    };
    headers.iter().map(resolve).collect()
}

/// Something that is being changed right now, and what to do if it stays that way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    /// What may be half-done, as a full sentence without a full stop.
    pub what: String,
    /// What a human must do about it.
    pub what_to_do: String,
}

/// What a step is handed. Dereferences to [`ToolContext`].
#[derive(Debug)]
pub struct StepContext<B> {
    tool: ToolContext,
    pub(crate) previous: Option<Arc<AnyArtifact>>,
    pub(crate) shared: Arc<Mutex<Shared<B>>>,
}

/// What the frame takes over if the step does not come back.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    pub(crate) saved: Option<B>,
    pub(crate) danger: Option<Danger>,
}

impl<B> Clone for StepContext<B> {
    fn clone(&self) -> Self {
        Self { tool: self.tool.clone(), previous: self.previous.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<B> std::ops::Deref for StepContext<B> {
    type Target = ToolContext;
    fn deref(&self) -> &ToolContext {
        &self.tool
    }
}

impl<B: Body> StepContext<B> {
    pub(crate) fn new(tool: ToolContext, previous: Option<AnyArtifact>) -> Self {
        let shared = Arc::new(Mutex::new(Shared { saved: None, danger: None }));
        Self { tool, previous: previous.map(Arc::new), shared }
    }

    /// What this step wrote when it ran before for the same deployment, whatever it said.
    pub fn previous(&self) -> Option<Artifact<B>> {
        let any = self.previous.as_deref()?.clone();
        let body = any.body.clone().and_then(|body| serde_json::from_value(body).ok());
        Some(any.with_body(body))
    }

    /// Keeps what is known so far: it becomes the body of the artifact if the step is cancelled, runs
    /// out of time or crashes.
    pub fn save(&self, body: B) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.saved = Some(body);
        }
    }

    /// Says that something is being changed which cannot be left half-done. If the step ends with an
    /// error before [`StepContext::out_of_danger`], it ends `stuck`, with this as the message.
    pub fn in_danger(&self, what: impl Into<String>, what_to_do: impl Into<String>) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.danger = Some(Danger { what: what.into(), what_to_do: what_to_do.into() });
        }
    }

    /// Says that the change is whole, or undone, and that this was observed.
    pub fn out_of_danger(&self) {
        if let Ok(mut shared) = self.shared.lock() {
            shared.danger = None;
        }
    }

    /// Takes another id for this deployment. Only for the step that makes the id.
    ///
    /// # Errors
    /// If `id` is not of the allowed form.
    pub fn adopt_id(&self, id: &str) -> Result<DeploymentId, StepError> {
        let id: DeploymentId = id.parse().map_err(|error| {
            StepError::new(Reason::InternalError, "made an invalid deployment id").because(error)
        })?;
        if let Ok(mut identity) = self.tool.identity.lock() {
            identity.deployment_id = id.clone();
            identity.standalone = false;
        }
        Ok(id)
    }

    /// The attempt that this is, from 1.
    pub fn attempt(&self) -> u32 {
        attempt(self.previous.as_deref(), &self.tool.run)
    }
}

/// One more than the attempt before; at least the CI run's own attempt.
pub(crate) fn attempt(previous: Option<&AnyArtifact>, run: &RunInfo) -> u32 {
    let after_previous = previous.map_or(1, |previous| previous.attempt.saturating_add(1));
    after_previous.max(run.run_attempt.unwrap_or(1))
}
