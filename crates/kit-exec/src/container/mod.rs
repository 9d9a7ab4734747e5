//! Programs in containers: of an image that has them, by the engine that runs containers here.
//!
//! A [`Command`](crate::Command) that runs in one is rewritten, as it is started, to one of the engine's client, whose
//! stdin, stdout, stderr and exit code are those of the program. All that is known of children holds for it.
//!
//! What the client does not take with it when it is killed is the container itself. It has a name and, as a label, the
//! folder of its owner, which that one keeps locked: it is removed by force where the client had to be, and by the next
//! run where we were killed ourselves.

mod engine;
mod removal;
mod run;

#[cfg(test)]
pub(crate) use removal::LONGEST as REMOVAL_LIMIT;
pub(crate) use removal::{Removal, RemoveOnDrop};
pub(crate) use run::{Files, Inside, Launch, inner, unheard};

use crate::ExecError;
use kit_contract::config::{ContainerEngine, ToolsImage};
use kit_core::{Context, ScratchFolder};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An image in which programs are looked for. Nothing is asked of any engine yet.
#[derive(Clone, Debug)]
pub struct Image {
    name: String,
    engine: Option<ContainerEngine>,
}

impl Image {
    /// The image that `deploy.toml` names.
    pub fn new(tools: &ToolsImage) -> Self {
        Self { name: tools.image.clone(), engine: tools.engine }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it ready to be run: finds the engine, removes what a run left there that was killed, and pulls the image
    /// if it is not there, which may take minutes and is said. The image stays the same from then on, also if its name
    /// comes to mean another one.
    ///
    /// # Errors
    /// [`ExecError::Container`] if there is no engine, it does not answer, or the image cannot be pulled.
    pub async fn ready(&self, cx: &Context) -> Result<Container, ExecError> {
        engine::ready(self, cx).await
    }
}

/// What containers of one image are run by.
#[derive(Clone, Debug)]
pub struct Container(Arc<Ready>);

#[derive(Debug)]
struct Ready {
    /// The engine's client.
    client: PathBuf,
    /// What people call it.
    engine: &'static str,
    /// What people call the image, and what names exactly this one.
    image: String,
    id: String,
    /// As whom programs run: as we do, so that they see the files that we see and make files that are ours.
    user: Vec<String>,
    /// Locked as long as we live; its path is the label.
    owner: ScratchFolder,
    started: AtomicU64,
}

impl Container {
    /// What the image is called.
    pub fn image(&self) -> &str {
        &self.0.image
    }

    /// Names exactly this image.
    pub fn image_id(&self) -> &str {
        &self.0.id
    }

    /// A name that no other container has.
    fn name_of_next(&self) -> String {
        let number = self.0.started.fetch_add(1, Ordering::Relaxed);
        let owner = self.0.owner.path().file_name().unwrap_or_default().to_string_lossy();
        format!("{owner}-{number}")
    }
}

/// Our user and group.
fn us() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Why an engine did not run a program: nothing is known about the program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no engine.
    NoEngine,
    /// It does not answer.
    NoAnswer,
    /// The image is not there, and cannot be had.
    NoImage,
    /// The image has no such program, or none that can be run.
    NoProgram {
        /// Its name.
        program: String,
    },
    /// The container could not be made, or the engine lost it.
    NotRun {
        /// Which program should have run in it.
        program: String,
    },
}

impl Trouble {
    /// The words of the error.
    pub(crate) fn tell(&self, engine: &str, image: &str) -> String {
        match self {
            Self::NoEngine => format!("there is no {engine} here to run programs of the image {image}"),
            Self::NoAnswer => {
                format!("{engine} does not answer, so no program of the image {image} can be run")
            }
            Self::NoImage => format!("the image {image} is not here, and {engine} cannot pull it"),
            Self::NoProgram { program } => {
                format!("the image {image} has no program `{program}` that can be run")
            }
            Self::NotRun { program } => format!("{engine} could not run `{program}` of the image {image}"),
        }
    }

    pub(crate) fn hint(&self, engine: &str) -> String {
        match self {
            Self::NoEngine => format!("install {engine}, or have `tools` name a folder of programs"),
            Self::NoAnswer => {
                format!("start the engine, and let this user use it: `{engine} version` must work")
            }
            Self::NoImage => format!(
                "see that the name is right and that `{engine} pull` of it works here; a registry that asks who comes \
                 needs `{engine} login` first"
            ),
            Self::NoProgram { .. } => {
                "use an image that has the database's client programs, as postgres:<version> \
                                       and mariadb:<version> have"
                    .to_owned()
            }
            Self::NotRun { .. } => format!(
                "see what {engine} says; it must run on this very machine, since its containers use our network and \
                 our files"
            ),
        }
    }
}
