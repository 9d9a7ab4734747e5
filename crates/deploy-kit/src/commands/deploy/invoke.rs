//! Runs one command line of the deploy as a process, and reads what its artifact says.

use super::Args;
use kit_contract::pipeline::Line;
use kit_contract::{ArtifactName, DeploymentId, Reason, Sha256};
use kit_core::{Context, ResultExt as _, StepError, fs};
use kit_exec::{Command, ExecError, Status, Stdout};
use kit_step::ToolContext;
use kit_store::StopRequest;
use std::path::{Path, PathBuf};

/// No artifact is longer.
const LIMIT_BYTES: u64 = 16 << 20;

/// Knows how the steps of this deploy are called.
pub(super) struct Invoker<'a> {
    cx: &'a ToolContext,
    program: PathBuf,
    folder: PathBuf,
    tag: &'a str,
    kind: &'a str,
    store: Option<&'a str>,
}

impl<'a> Invoker<'a> {
    pub(super) fn new(cx: &'a ToolContext, args: &'a Args, folder: PathBuf) -> Result<Self, StepError> {
        let program = std::env::current_exe()
            .or_reason(Reason::InternalError, "this program does not know where it is")?;
        Ok(Self { cx, program, folder, tag: &args.tag, kind: &args.kind, store: args.store.store.as_deref() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The arguments of one line, starting with the step.
    pub(super) fn arguments(&self, line: &Line) -> Vec<String> {
        let mut arguments = self.common(line.step.program, line.step.command);
        let mut push = |name: &str, value: &str| arguments.extend([name.to_owned(), value.to_owned()]);
        if let Some(stage) = &line.stage {
            push("--stage", stage.as_str());
        }
        match line.step.id {
            "validate" => {
                push("--tag", self.tag);
                push("--kind", self.kind);
            }
            "measure" | "compare" => {
                if let Some(at) = line.step.qualifier {
                    push("--at", at);
                }
            }
            "gate" => push("--stop-file", &self.stop_file().display().to_string()),
            _ => {}
        }
        let uses_store = matches!(
            line.step.id,
            "preflight" | "begin" | "backup" | "readiness" | "migrate" | "rollout" | "promote" | "finish"
        );
        if let Some(store) = self.store.filter(|_| uses_store) {
            arguments.extend(["--store".to_owned(), store.to_owned()]);
        }
        arguments
    }

    pub(super) fn abort_arguments(&self) -> Vec<String> {
        self.common("rollout", Some("abort"))
    }

    pub(super) fn rollback_arguments(&self, why: &str) -> Vec<String> {
        let mut arguments = self.common("rollback", None);
        if let Some(id) = self.deployment_id() {
            arguments.extend(["--deployment".to_owned(), id.to_string()]);
        }
        arguments.extend(["--reason".to_owned(), why.to_owned()]);
        if let Some(store) = self.store {
            arguments.extend(["--store".to_owned(), store.to_owned()]);
        }
        arguments
    }

    fn common(&self, program: &str, command: Option<&str>) -> Vec<String> {
        let mut arguments = vec![program.to_owned()];
        arguments.extend(command.map(str::to_owned));
        arguments.extend(["--artifacts".to_owned(), self.folder.display().to_string()]);
        if let Some(config) = self.cx.config_path() {
            arguments.extend(["--config".to_owned(), config.display().to_string()]);
        }
        let environment = self.cx.identity().environment;
        arguments.extend(["--environment".to_owned(), environment.to_string()]);
        arguments
    }

    /// The command line as a person would type it.
    pub(super) fn shown(&self, arguments: &[String]) -> String {
        let quoted = arguments.iter().map(|argument| quote(argument));
        std::iter::once("deploy-kit".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Runs a line; gives the reason that its artifact holds.
    pub(super) async fn run(&self, line: &Line, cx: &Context) -> Reason {
        self.run_arguments(&self.arguments(line), &line.artifact, cx).await
    }

    /// Runs a command; gives the reason that `artifact` holds afterwards. Whatever keeps the command from
    /// running, or its artifact from being read, is a reason too: the deploy has to be ended in order.
    pub(super) async fn run_arguments(
        &self,
        arguments: &[String],
        artifact: &ArtifactName,
        cx: &Context,
    ) -> Reason {
        self.try_arguments(arguments, artifact, cx).await.unwrap_or_else(|error| {
            cx.out.say(&format!("{artifact}: {}", cx.out.clean(&error.chain())));
            error.reason
        })
    }

    async fn try_arguments(
        &self,
        arguments: &[String],
        artifact: &ArtifactName,
        cx: &Context,
    ) -> Result<Reason, StepError> {
        cx.out.say("");
        cx.out.say(&format!("$ {}", self.shown(arguments)));
        // One that cannot be read now must not keep a withdrawal from running.
        let before = self.digest(artifact).ok().flatten();
        let ran = Command::new(self.program.display().to_string())
            .args(arguments.iter().map(String::as_str))
            .env("DEPLOY_KIT_EXPECT", self.expectations()?)
            .stdout(Stdout::Log)
            .run(cx)
            .await;
        // What a step that left no result counts as.
        let unfinished = match ran {
            // A step that says no exits with a code other than 0; its artifact says why.
            Ok(_) => Reason::Unfinished,
            Err(ExecError::Failed { status, .. }) => without_artifact(status),
            // A step that has only just started may die of the signal that it is to obey.
            Err(error @ ExecError::Cancelled { .. }) => error.reason(),
            Err(error) => return Err(error.into()),
        };
        if self.digest(artifact)? == before {
            // It ended without writing anything: whatever its exit code says, it has failed.
            return Ok(unfinished);
        }
        Ok(match self.peek(artifact)? {
            None => unfinished,
            Some(found) if found.reason == Reason::Unfinished => unfinished,
            Some(found) if found.is_go() || found.reason.exit_code() != 0 => found.reason,
            Some(_) => Reason::Unrecognised,
        })
    }

    /// True if every service is observed without a canary. For a withdrawal that could not write down what
    /// it saw.
    pub(super) async fn nothing_is_shifted(&self, cx: &Context) -> Result<bool, StepError> {
        let mut arguments = self.common("rollout", Some("status"));
        arguments.push("--json".to_owned());
        cx.out.say(&format!("$ {}", self.shown(&arguments)));
        let ran = Command::new(self.program.display().to_string())
            .args(arguments.iter().map(String::as_str))
            .stdout(Stdout::Capture { limit_bytes: LIMIT_BYTES })
            .run(cx)
            .await?;
        let seen: serde_json::Value = serde_json::from_slice(&ran.stdout)
            .or_reason(Reason::InternalError, "`rollout status` did not print JSON")?;
        let services = seen.get("services").and_then(serde_json::Value::as_array);
        let at_zero = |service: &serde_json::Value| {
            service.get("canary_percent").and_then(serde_json::Value::as_f64) == Some(0.0)
        };
        Ok(services.is_some_and(|services| !services.is_empty() && services.iter().all(at_zero)))
    }

    /// The deployment, once `validate-tag` has made it.
    pub(super) fn deployment_id(&self) -> Option<DeploymentId> {
        let name = ArtifactName::only(kit_contract::ArtifactKind::Deployment);
        self.peek(&name).ok().flatten().map(|artifact| artifact.deployment_id)
    }

    /// True once `deploy-record begin` has taken the lock.
    pub(super) fn has_begun(&self) -> bool {
        let name = ArtifactName::only(kit_contract::ArtifactKind::Begin);
        self.peek(&name).ok().flatten().is_some_and(|artifact| artifact.is_go())
    }

    /// Hands a request to stop to the gate, which does not talk to the store itself.
    pub(super) fn hand_over_stop(&self, request: &StopRequest) -> Result<(), StepError> {
        let path = self.stop_file();
        let json = serde_json::to_vec(request)
            .or_reason(Reason::InternalError, "a stop request cannot be written")?;
        fs::write_atomic(&path, &json)
            .or_reason(Reason::ArtifactUnwritable, "the stop request cannot be handed on")
    }

    fn stop_file(&self) -> PathBuf {
        self.folder.join("stop.json")
    }

    fn file(&self, artifact: &ArtifactName) -> PathBuf {
        self.folder.join(artifact.file_name())
    }

    fn bytes(&self, artifact: &ArtifactName) -> Result<Option<Vec<u8>>, StepError> {
        fs::read_if_there(&self.file(artifact), LIMIT_BYTES)
            .or_reason(Reason::ArtifactInvalid, "an artifact cannot be read")
    }

    fn digest(&self, artifact: &ArtifactName) -> Result<Option<Sha256>, StepError> {
        Ok(self.bytes(artifact)?.map(|bytes| Sha256::of(&bytes)))
    }

    pub(super) fn peek(
        &self,
        artifact: &ArtifactName,
    ) -> Result<Option<kit_contract::AnyArtifact>, StepError> {
        let Some(bytes) = self.bytes(artifact)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).or_reason(
            Reason::ArtifactInvalid,
            format!("{} is not an artifact", self.file(artifact).display()),
        )
    }

    /// The digests of all artifacts so far: whoever reads one of them can tell that it is the right one.
    fn expectations(&self) -> Result<String, StepError> {
        let names = fs::list(&self.folder)
            .or_reason(Reason::ArtifactInvalid, "the artifact folder cannot be read")?;
        let mut lines = Vec::new();
        for file in names.unwrap_or_default() {
            let name = file.strip_suffix(".json").and_then(|stem| stem.parse::<ArtifactName>().ok());
            // One that cannot be read is nothing to vouch for; whoever needs it says what is wrong with it.
            if let Some(name) = name
                && let Ok(Some(digest)) = self.digest(&name)
            {
                lines.push(format!("{name}:{digest}"));
            }
        }
        Ok(lines.join("\n"))
    }
}

/// Why a step ended that has left no result: it could not write one, which it says by its exit code.
fn without_artifact(status: Status) -> Reason {
    match status {
        Status::Code(code) if code == i32::from(Reason::ArtifactUnwritable.exit_code()) => {
            Reason::ArtifactUnwritable
        }
        Status::Code(code) if code == i32::from(Reason::LeftChanged.exit_code()) => Reason::LeftChanged,
        Status::Code(_) | Status::Signal(_) => Reason::Unfinished,
    }
}

/// Quotes for a POSIX shell where that is needed.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn shown_commands_can_be_typed() {
        assert_eq!(quote("v1.2.3"), "v1.2.3");
        assert_eq!(quote("it's slow"), "'it'\\''s slow'");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("$(x)"), "'$(x)'");
    }
}
