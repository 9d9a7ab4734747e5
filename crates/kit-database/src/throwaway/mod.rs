//! What throw-away servers have in common: a folder of their own, an unprivileged user, a socket.

mod server;
mod template;

pub(crate) use server::{Recipe, Server, not_made};

use crate::DatabaseError;
use crate::tools::Program;
use kit_core::fs::FsError;
use kit_core::{Context, ScratchFolder};
use kit_exec::Command;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
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
    pub(crate) fn command(&self, cx: &Context, program: &Program, signal: &str) -> Command {
        let (Program::Here(file), Some(setpriv)) = (program, kit_exec::which(&cx.env, "setpriv")) else {
            return program.command().as_server(self.other);
        };
        let mut command = Command::new(setpriv.display().to_string()).args(["--pdeathsig", signal]);
        if let Some((user, group)) = self.other {
            command = command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg(file)
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

/// Where the socket is: in the server's folder, or in a short one, which the next run removes if this one is killed.
fn socket_folder(folder: &Path, user: &User) -> Result<(PathBuf, Option<ScratchFolder>), DatabaseError> {
    if folder.as_os_str().len() <= SOCKET_FOLDER_BYTES {
        return Ok((folder.to_owned(), None));
    }
    let (short, _) = ScratchFolder::new(Path::new("/tmp"), "dk-")?;
    // The outer one stays ours, so that it is known for ours. The server has to get through it, and see nothing.
    let through = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(short.path(), through).map_err(failed("open a way through", short.path()))?;
    let inner = short.path().join("s");
    std::fs::DirBuilder::new().mode(0o700).create(&inner).map_err(failed("make", &inner))?;
    user.give(&inner)?;
    Ok((inner, Some(short)))
}

#[cfg(test)]
mod tests {
    use super::{User, entry, socket_folder};
    use std::path::Path;
    use std::time::Duration;

    #[tokio::test]
    async fn a_socket_whose_path_would_be_too_long_has_a_folder_that_is_found_again() {
        let user = User { other: None };
        let long = Path::new("/tmp").join("x".repeat(100));
        let (folder, short) = socket_folder(&long, &user).unwrap();
        let outer = short.as_ref().unwrap().path().to_owned();
        assert!(folder.is_dir() && folder.as_os_str().len() < 30, "{}", folder.display());
        assert!(outer.join(".lock").is_file(), "whoever finds it sees whether we live");
        drop(short);
        assert!(!outer.exists());
        // As a killed run leaves it.
        let dead = tempfile::Builder::new().prefix("dk-").tempdir_in("/tmp").unwrap();
        kit_core::fs::create_new(&dead.path().join(".lock"), b"").unwrap();
        kit_core::fs::create_folder(&dead.path().join("s")).unwrap();
        drop(socket_folder(&long, &user).unwrap());
        // Somebody else in that folder may just be removing it, and is not waited for.
        let clock = kit_core::Clock::system();
        let gone = async {
            while dead.path().exists() {
                clock.sleep(Duration::from_millis(25)).await;
            }
        };
        assert!(clock.timeout(Duration::from_secs(5), gone).await.is_ok(), "{}", dead.path().display());
        let short = Path::new("/tmp/short");
        let (folder, none) = socket_folder(short, &user).unwrap();
        assert!(folder == short && none.is_none());
    }

    #[test]
    fn users_of_the_system() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:9:9::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/bash\n";
        assert_eq!(entry(passwd, "postgres"), Some((101, 104)));
        assert_eq!(entry(passwd, "nobody"), None);
    }
}
