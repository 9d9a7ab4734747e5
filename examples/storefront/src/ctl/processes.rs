//! The list of what was started, in a file, and what is still running of it.

use crate::error::{Context, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// One process that was started here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// `catalog`, `checkout` or `router`; the program is `storefront-<service>`.
    pub(super) service: String,
    pub(super) version: String,
    pub(super) url: String,
    pub(super) pid: i32,
    /// Where the router is told what to do; the services have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<String>,
}

impl Process {
    /// Whether the process with this id is alive and still the one that was started: ids are given out again.
    pub(super) fn is_running(&self) -> Result<bool> {
        let program = command_of(self.pid).context(format!("look at process {}", self.pid))?;
        let name = program.as_deref().and_then(Path::file_name);
        Ok(name.is_some_and(|name| *name == *format!("storefront-{}", self.service)))
    }
}

/// The program a process was started as; `None` if there is no such process, or it has ended and only waits
/// to be reaped.
#[cfg(target_os = "linux")]
fn command_of(pid: i32) -> std::io::Result<Option<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let arguments = match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(arguments) => arguments,
        // ESRCH: it ended between opening and reading.
        Err(error) if matches!(error.raw_os_error(), Some(2 | 3)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let program = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((!program.is_empty()).then(|| std::ffi::OsString::from_vec(program.to_vec()).into()))
}

#[cfg(not(target_os = "linux"))]
fn command_of(pid: i32) -> std::io::Result<Option<PathBuf>> {
    let listed = std::process::Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output()?;
    let program = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    Ok((!program.is_empty()).then(|| program.into()))
}

/// The file.
pub(super) struct Registry {
    path: PathBuf,
}

impl Registry {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// No file: nothing was started yet.
    pub(super) fn read(&self) -> Result<Vec<Process>> {
        Ok(files::read_json(&self.path)?.unwrap_or_default())
    }

    /// Changes the list. Several commands may do so at once: each waits for its turn.
    pub(super) fn update(&self, change: impl FnOnce(&mut Vec<Process>)) -> Result<()> {
        let _turn = self.lock()?;
        let mut processes = self.read()?;
        change(&mut processes);
        files::write_json(&self.path, &processes)
    }

    /// Held until the file is closed. A file beside the list, since the list itself is replaced.
    fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        let what = || format!("lock {}", path.display());
        std::fs::create_dir_all(files::folder_of(&path)).context(what())?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.context(what())?;
        file.lock().context(what())?;
        Ok(file)
    }
}
