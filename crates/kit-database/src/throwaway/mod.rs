//! What throw-away servers have in common: a folder of their own, an unprivileged user, a socket.

mod server;
mod template;

pub(crate) use server::{Recipe, Server, not_made};

use crate::DatabaseError;
use kit_core::Context;
use kit_core::fs::FsError;
use kit_exec::Command;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The longest path of a Unix socket has 107 bytes; its name takes the rest.
const SOCKET_FOLDER_BYTES: usize = 85;

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FsError {
    let path = path.to_owned();
    move |source| FsError { action, path, source }
}

/// A new folder in `scratch`.
fn folder_in(scratch: &Path, prefix: &str) -> Result<tempfile::TempDir, DatabaseError> {
    let scratch = std::path::absolute(scratch).map_err(failed("find", scratch))?;
    kit_core::fs::create_folder(&scratch)?;
    let mut builder = tempfile::Builder::new();
    Ok(builder.prefix(prefix).tempdir_in(&scratch).map_err(failed("make a folder in", &scratch))?)
}

/// As whom the server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    /// Somebody else, by number, if we are root: servers refuse to run as root.
    other: Option<(u32, u32)>,
}

impl User {
    /// A program as this user. Where that is possible, it gets this signal when we die without a word: a server
    /// that nobody knows of must not stay.
    pub(crate) fn command(&self, cx: &Context, program: &str, signal: &str) -> Command {
        let Some(setpriv) = kit_exec::which(&cx.env, "setpriv") else { return Command::new(program) };
        let mut command = Command::new(setpriv.display().to_string()).args(["--pdeathsig", signal]);
        if let Some((user, group)) = self.other {
            command = command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg(program)
    }

    /// Gives him a file or a folder.
    pub(crate) fn give(&self, path: &Path) -> Result<(), DatabaseError> {
        if let Some((user, group)) = self.other {
            std::os::unix::fs::chown(path, Some(user), Some(group)).map_err(failed("give away", path))?;
        }
        Ok(())
    }
}

/// Finds somebody who may run a server, and gives him the folder.
fn unprivileged(folder: &Path, scratch: &Path, users: &[&str]) -> Result<User, DatabaseError> {
    let owner = std::fs::metadata(folder).map_err(failed("look at", folder))?.uid();
    if owner != 0 {
        return Ok(User { other: None });
    }
    let passwd = kit_core::fs::read_text(Path::new("/etc/passwd"), 1 << 20)?;
    let Some(other) = users.iter().find_map(|name| entry(&passwd, name)) else {
        return Err(DatabaseError::Unavailable {
            what: format!("a server cannot run as root, and none of the users {} exists", users.join(", ")),
        });
    };
    let user = User { other: Some(other) };
    user.give(folder)?;
    // He has to get through to it, and see nothing on the way.
    let through = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(scratch, through).map_err(failed("open a way through", scratch))?;
    Ok(user)
}

/// User and group number in the form of passwd(5).
fn entry(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A folder whose path is short enough for a socket.
fn socket_folder(folders: &mut Vec<tempfile::TempDir>, user: &User) -> Result<PathBuf, DatabaseError> {
    let first = folders.first().map(|folder| folder.path().to_owned()).unwrap_or_default();
    if first.as_os_str().len() <= SOCKET_FOLDER_BYTES {
        return Ok(first);
    }
    let short = folder_in(Path::new("/tmp"), "dk-")?;
    user.give(short.path())?;
    let path = short.path().to_owned();
    folders.push(short);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn users_of_the_system() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:9:9::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/bash\n";
        assert_eq!(entry(passwd, "postgres"), Some((101, 104)));
        assert_eq!(entry(passwd, "nobody"), None);
    }
}
