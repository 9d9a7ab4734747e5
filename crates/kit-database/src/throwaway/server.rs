//! A throw-away server: a folder and a Unix socket in it, no port, nothing that survives a crash, gone when it is
//! closed or dropped.

use super::template::Template;
use super::{User, folder_in, socket_folder, unprivileged};
use crate::{DatabaseError, EngineError};
use async_trait::async_trait;
use kit_core::{Context, ScratchFolder};
use kit_exec::{Command, ExecError, Running};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// What the engines do differently.
#[async_trait]
pub(crate) trait Recipe: Sync {
    /// How its folder's name begins.
    const PREFIX: &'static str;
    /// As whom it may run, if we are root.
    const USERS: &'static [&'static str];

    /// Names the data folder by all that it depends on. `None`: it is made anew each time and never kept.
    fn template(&self) -> Option<String>;

    /// Makes the data folder, which does not exist yet, in `folder`.
    async fn make(&self, cx: &Context, user: &User, data: &Path, folder: &Path) -> Result<(), ExecError>;

    /// Starts it in the foreground.
    fn command(&self, cx: &Context, user: &User, data: &Path, socket_folder: &Path) -> Command;

    /// Asks once whether it answers.
    async fn ask(&self, cx: &Context, socket_folder: &Path) -> Result<(), DatabaseError>;
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    /// `None` once stopped. Before the folders, so that a drop ends it first.
    running: Option<Running>,
    socket_folder: PathBuf,
    _folder: tempfile::TempDir,
    _short: Option<ScratchFolder>,
}

impl Server {
    /// Starts one in `scratch`, from a data folder that was kept, or else from one that it makes and keeps.
    pub(crate) async fn start<R: Recipe>(
        cx: &Context,
        recipe: &R,
        scratch: &Path,
    ) -> Result<Self, DatabaseError> {
        if let Some(kept) = Self::try_start(cx, recipe, scratch, Source::Kept).await? {
            return Ok(kept);
        }
        let made = Self::try_start(cx, recipe, scratch, Source::New).await?;
        made.ok_or_else(|| DatabaseError::Unavailable {
            what: "no scratch server can be made here".to_owned(),
        })
    }

    /// `None`: nothing usable is kept.
    async fn try_start<R: Recipe>(
        cx: &Context,
        recipe: &R,
        scratch: &Path,
        source: Source,
    ) -> Result<Option<Self>, DatabaseError> {
        let folder = folder_in(scratch, R::PREFIX)?;
        let owner = std::fs::metadata(folder.path()).map_err(super::failed("look at", folder.path()))?.uid();
        let user = unprivileged(folder.path(), scratch, R::USERS)?;
        let data = folder.path().join("data");
        let template = recipe.template().and_then(|name| Template::of(&cx.env, &name, owner, user));
        match (source, &template) {
            (Source::Kept, None) => return Ok(None),
            (Source::Kept, Some(template)) => {
                if !template.unpack(&data).await {
                    return Ok(None);
                }
            }
            (Source::New, template) => {
                recipe.make(cx, &user, &data, folder.path()).await.map_err(not_made)?;
                if let Some(template) = template {
                    template.keep(&data).await;
                }
            }
        }
        let (socket_folder, short) = socket_folder(folder.path(), &user)?;
        let running = recipe.command(cx, &user, &data, &socket_folder).spawn_reading(cx).map_err(not_made)?;
        let mut server = Self { running: Some(running), socket_folder, _folder: folder, _short: short };
        match (server.wait(cx, recipe).await, template, source) {
            (Ok(()), ..) => Ok(Some(server)),
            (Err(DatabaseError::Unavailable { .. }), Some(template), Source::Kept) => {
                template.forget();
                Ok(None)
            }
            (Err(error), ..) => Err(error),
        }
    }

    /// Where its socket is.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// Waits until it answers. Who asks next learns it if it never does.
    async fn wait<R: Recipe>(&mut self, cx: &Context, recipe: &R) -> Result<(), DatabaseError> {
        let began = cx.clock.elapsed();
        let Some(running) = self.running.as_mut() else { return Ok(()) };
        let answers = async {
            loop {
                match recipe.ask(cx, &self.socket_folder).await {
                    Ok(()) | Err(DatabaseError::Cancelled { .. }) => break,
                    Err(_) => cx.clock.sleep(POLL).await,
                }
                if cx.clock.elapsed().saturating_sub(began) > START_LIMIT {
                    break;
                }
            }
        };
        let mut printed = [0_u8; 1024];
        let ended = async {
            use tokio::io::AsyncReadExt as _;
            while running.read(&mut printed).await.is_ok_and(|count| count > 0) {}
        };
        let is_gone = tokio::select! { () = answers => false, () = ended => true };
        if cx.cancel.is_cancelled() {
            let (unfinished, cause) = ("the restore was tried", cx.cancel.cause());
            return Err(DatabaseError::Cancelled { unfinished, cause });
        }
        if is_gone && let Some(running) = self.running.take() {
            let why = running.finish().await.err().map(not_made);
            let what = "the scratch server ended at once".to_owned();
            return Err(why.unwrap_or(DatabaseError::Unavailable { what }));
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }
}

/// Where the data folder comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Kept,
    New,
}

/// No server, and nothing known about the dump.
pub(crate) fn not_made(error: ExecError) -> DatabaseError {
    match error {
        error @ ExecError::Cancelled { .. } => error.into(),
        error => {
            let said = EngineError::from(&error);
            DatabaseError::Unavailable { what: format!("no scratch server can be made here: {said}") }
        }
    }
}
