//! Which engine runs containers here, and what has to be asked of it before.

use super::{Container, Image, Ready, Trouble};
use crate::environment::which;
use crate::{Command, ExecError, Stdout};
use kit_contract::config::ContainerEngine;
use kit_core::{Context, ScratchFolder};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How long an engine may take to say something about itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The label of our containers: who owns them.
pub(super) const OWNER: &str = "deploy-kit.owner";

/// An engine's client, and which it is: some systems have a `docker` that is podman.
struct Engine<'a> {
    client: PathBuf,
    kind: ContainerEngine,
    image: &'a str,
}

pub(super) async fn ready(image: &Image, cx: &Context) -> Result<Container, ExecError> {
    let engine = find(image, cx).await?;
    let user = engine.user(cx).await?;
    let owner = engine.owner(cx).await?;
    let id = match engine.id(cx).await? {
        Some(id) => id,
        None => engine.pull(cx).await?,
    };
    let Engine { client, kind, .. } = engine;
    Ok(Container(std::sync::Arc::new(Ready {
        client,
        engine: kind.program(),
        image: image.name.clone(),
        id,
        user,
        owner,
        started: AtomicU64::new(1),
    })))
}

async fn find<'a>(image: &'a Image, cx: &Context) -> Result<Engine<'a>, ExecError> {
    let wanted = image.engine.map_or_else(|| ContainerEngine::ALL.to_vec(), |engine| vec![engine]);
    let found = wanted.iter().find_map(|kind| Some((*kind, which(&cx.env, kind.program())?)));
    let Some((kind, client)) = found else {
        let names: Vec<&str> = wanted.iter().map(|kind| kind.program()).collect();
        return Err(ExecError::Container {
            engine: names.join(" or "),
            image: image.name.clone(),
            trouble: Trouble::NoEngine,
            stderr_tail: Vec::new(),
        });
    };
    let engine = Engine { client, kind, image: &image.name };
    let said = engine.ask(cx, &["--version"], Trouble::NoAnswer).await?;
    let kind = if said.contains("podman") { ContainerEngine::Podman } else { kind };
    Ok(Engine { kind, ..engine })
}

impl Engine<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        Command::new(self.client.display().to_string())
            .args(arguments.iter().copied())
            .stdout(Stdout::Capture { limit_bytes: 1 << 20 })
            .quiet_stderr()
    }

    async fn ask(&self, cx: &Context, arguments: &[&str], trouble: Trouble) -> Result<String, ExecError> {
        match self.command(arguments).deadline(ANSWER_LIMIT).run(cx).await {
            Ok(output) => Ok(output.text()),
            Err(error) => Err(self.troubled(error, trouble)),
        }
    }

    fn troubled(&self, error: ExecError, trouble: Trouble) -> ExecError {
        match error {
            ExecError::Failed { stderr_tail, .. } => self.trouble(trouble, stderr_tail),
            error @ ExecError::Cancelled { .. } => error,
            error => self.trouble(trouble, vec![error.to_string()]),
        }
    }

    fn trouble(&self, trouble: Trouble, stderr_tail: Vec<String>) -> ExecError {
        let engine = self.kind.program().to_owned();
        ExecError::Container { engine, image: self.image.to_owned(), trouble, stderr_tail }
    }

    /// How it is told to run programs as us. Asking also shows whether it answers.
    async fn user(&self, cx: &Context) -> Result<Vec<String>, ExecError> {
        let (user, group) = super::us();
        let ours = format!("--user={user}:{group}");
        Ok(match self.kind {
            ContainerEngine::Docker => {
                let said =
                    self.ask(cx, &["info", "--format", "{{json .SecurityOptions}}"], Trouble::NoAnswer);
                // There root is we, and any other number somebody whom nobody knows.
                if said.await?.contains("name=rootless") { vec!["--user=0:0".to_owned()] } else { vec![ours] }
            }
            // Without root, too, everybody has other numbers inside, unless they are kept.
            ContainerEngine::Podman if user != 0 => vec!["--userns=keep-id".to_owned(), ours],
            ContainerEngine::Podman => vec![ours],
        })
    }

    /// Our folder, after the containers are removed of those who left theirs.
    async fn owner(&self, cx: &Context) -> Result<ScratchFolder, ExecError> {
        let prefix = format!("deploy-kit-{}-", self.kind.program());
        let owner =
            ScratchFolder::make(&std::env::temp_dir(), &prefix).map_err(|error| ExecError::Spawn {
                program: self.kind.program().to_owned(),
                source: std::io::Error::new(error.source.kind(), format!("{error}: {}", error.source)),
            })?;
        for abandoned in owner.abandoned(&prefix) {
            let engine = self.kind.program();
            match self.remove_all_of(cx, abandoned.path()).await {
                Ok(0) => {}
                Ok(removed) => {
                    cx.out
                        .say(&format!("{engine}: {removed} container(s) removed that a killed run had left"));
                }
                Err(error @ ExecError::Cancelled { .. }) => return Err(error),
                // Its folder stays, so that the next run tries again.
                Err(_) => {
                    cx.out.say(&format!("note: {engine} cannot remove what a killed run had left"));
                    continue;
                }
            }
            abandoned.remove();
        }
        Ok(owner)
    }

    async fn remove_all_of(&self, cx: &Context, owner: &Path) -> Result<usize, ExecError> {
        let label = format!("label={OWNER}={}", owner.display());
        let arguments = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &label];
        let found = self.ask(cx, &arguments, Trouble::NoAnswer).await?;
        let ids: Vec<&str> = found.split_whitespace().collect();
        if !ids.is_empty() {
            self.ask(cx, &[&["rm", "--force"], ids.as_slice()].concat(), Trouble::NoAnswer).await?;
        }
        Ok(ids.len())
    }

    /// What names exactly this image. `None`: it is not here.
    async fn id(&self, cx: &Context) -> Result<Option<String>, ExecError> {
        let arguments = ["image", "inspect", "--format", "{{.Id}}", self.image];
        match self.ask(cx, &arguments, Trouble::NoAnswer).await {
            Ok(id) => Ok(Some(id).filter(|id| !id.is_empty())),
            Err(error) if is_not_there(error.stderr_tail()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, cx: &Context) -> Result<String, ExecError> {
        let (engine, image) = (self.kind.program(), self.image);
        cx.out.say(&format!("{engine} pulls the image {image}, which is not here yet"));
        let began = cx.clock.elapsed();
        let pulled = self.command(&["pull", "--quiet", image]).run(cx).await;
        pulled.map_err(|error| self.troubled(error, Trouble::NoImage))?;
        let took = cx.clock.elapsed().saturating_sub(began).as_secs();
        cx.out.say(&format!("{engine} has the image {image} after {took} s"));
        let id = self.id(cx).await?;
        id.ok_or_else(|| {
            let said = "it was pulled, and is not there all the same".to_owned();
            self.trouble(Trouble::NoImage, vec![said])
        })
    }
}

/// How engines say that they do not have an image, unlike that they cannot be asked.
fn is_not_there(said: &[String]) -> bool {
    let signs = ["no such image", "no such object", "image not known"];
    said.iter().any(|line| signs.iter().any(|sign| line.to_ascii_lowercase().contains(sign)))
}

#[cfg(test)]
mod tests {
    use super::is_not_there;

    #[test]
    fn an_image_that_is_not_there_is_not_an_engine_that_does_not_answer() {
        for (said, expected) in [
            ("Error: No such image: nothere:1", true),
            ("Error response from daemon: No such image: nothere:1", true),
            ("Error: inspecting object: nothere:1: image not known", true),
            ("Cannot connect to the Docker daemon at unix:///nothere. Is the docker daemon running?", false),
            ("permission denied while trying to connect to the Docker daemon socket", false),
        ] {
            assert_eq!(is_not_there(&["".to_owned(), said.to_owned()]), expected, "{said}");
        }
    }
}
