//! Where the engines' own programs are: installed, in a folder, or in an image.

use crate::DatabaseError;
use kit_contract::config;
use kit_core::Context;
use kit_exec::{Command, Container, EnvPolicy, ExecError, Image, Stdout, Trouble};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OnceCell};

/// Programs that are not simply installed. Clones share what is known of them.
#[derive(Clone, Debug)]
pub enum Tools {
    /// In this folder.
    Folder(PathBuf),
    /// In an image.
    Image(ToolsImage),
}

impl Tools {
    /// Where to look for files, if that is said.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Image(_) => None,
        }
    }

    /// What `deploy.toml` says; `resolve` knows to what folders are relative.
    pub fn of(tools: &config::Tools, resolve: impl FnOnce(&str) -> PathBuf) -> Self {
        match tools {
            config::Tools::Folder(folder) => Self::Folder(resolve(folder)),
            config::Tools::Image(image) => {
                Self::Image(ToolsImage { image: Image::new(image), known: Arc::default() })
            }
        }
    }
}

/// An image that has programs. It is made ready when it is needed, and then once.
#[derive(Clone, Debug)]
pub struct ToolsImage {
    image: Image,
    known: Arc<Known>,
}

#[derive(Debug, Default)]
struct Known {
    container: OnceCell<Container>,
    /// What programs said of their version; `None`: the image has no such program.
    versions: Mutex<BTreeMap<String, Option<String>>>,
}

impl ToolsImage {
    /// A program of it, which may not be there.
    pub(crate) async fn program(&self, cx: &Context, name: &str) -> Result<Program, DatabaseError> {
        let container = self.known.container.get_or_try_init(|| self.image.ready(cx)).await?;
        Ok(Program::InImage { name: name.to_owned(), container: container.clone() })
    }

    /// What a program of it says of its version. `None`: it has no such program.
    pub(crate) async fn version(&self, cx: &Context, name: &str) -> Result<Option<String>, DatabaseError> {
        let mut versions = self.known.versions.lock().await;
        if let Some(known) = versions.get(name) {
            return Ok(known.clone());
        }
        let said = match ask_version(cx, &self.program(cx, name).await?).await {
            Ok(said) => Some(said),
            Err(ExecError::Container { trouble: Trouble::NoProgram { .. }, .. }) => None,
            Err(error) => return Err(error.into()),
        };
        versions.insert(name.to_owned(), said.clone());
        Ok(said)
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.image.name()
    }
}

/// A program of an engine.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// A file of this machine.
    Here(PathBuf),
    /// One that runs in a container.
    InImage { name: String, container: Container },
}

impl Program {
    /// One in a folder.
    pub(crate) fn in_folder(folder: &Path, name: &str) -> Self {
        Self::Here(folder.join(name))
    }

    /// Runs it.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Here(file) => Command::new(file.display().to_string()),
            Self::InImage { name, container } => Command::new(name).in_container(container),
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Here(file) => file.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Self::InImage { name, .. } => name,
        }
    }

    /// Names exactly this one.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Here(file) => file.display().to_string(),
            Self::InImage { name, container } => format!("{} {name}", container.image_id()),
        }
    }
}

/// For people.
impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(file) => write!(f, "{}", file.display()),
            Self::InImage { name, container } => write!(f, "{name} of the image {}", container.image()),
        }
    }
}

/// What it says of its version.
pub(crate) async fn ask_version(cx: &Context, program: &Program) -> Result<String, ExecError> {
    let asked = program
        .command()
        .arg("--version")
        .inherit_env(EnvPolicy::Minimal)
        .stdout(Stdout::Capture { limit_bytes: 4096 })
        .quiet_stderr();
    Ok(asked.run(cx).await?.text())
}
