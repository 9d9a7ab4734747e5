//! The command line that runs a program in a container, and what its end means.

use super::engine::OWNER;
use super::{Container, Ready, Trouble};
use crate::command::Server;
use crate::{ExecError, Status};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Files and folders that a program needs, each at the same path in the container; true: it may write there.
pub(crate) type Files = BTreeMap<PathBuf, bool>;

/// What is started instead of the program.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Of the container.
    pub(crate) name: String,
}

/// What a program gets in its container.
pub(crate) struct Inside<'a> {
    pub(crate) program: &'a str,
    pub(crate) args: &'a [OsString],
    /// Names of variables; the client takes the values from its own environment, which nobody else can read.
    pub(crate) variables: &'a [&'a str],
    pub(crate) files: &'a Files,
    pub(crate) folder: Option<&'a Path>,
    pub(crate) reads: bool,
    pub(crate) server: Option<Server>,
}

impl Launch {
    pub(crate) fn new(container: &Container, inside: &Inside<'_>) -> std::io::Result<Self> {
        let ready = &container.0;
        let name = container.name_of_next();
        let mut args: Vec<OsString> = [
            "run",
            // Never in the middle of something: that is what `ready` is for.
            "--pull=never",
            "--rm",
            // Else the program would be the first process, which obeys only those signals that it asked for.
            "--init",
            "--network=host",
            // The engine would keep all that the program prints in a file: of a dump, all of it.
            "--log-driver=none",
            // Where SELinux is on, nothing of ours could be read.
            "--security-opt=label=disable",
        ]
        .map(OsString::from)
        .to_vec();
        if inside.reads {
            args.push("--interactive".into());
        }
        args.push(format!("--name={name}").into());
        args.push(format!("--label={OWNER}={}", ready.owner.path().display()).into());
        match inside.server {
            Some(server) => args.extend(serve(ready, server)?.into_iter().map(OsString::from)),
            None => args.extend(ready.user.iter().map(OsString::from)),
        }
        args.extend(inside.variables.iter().map(|name| format!("--env={name}").into()));
        for (path, writes) in inside.files {
            args.push(mount(path, *writes)?.into());
        }
        if let Some(folder) = inside.folder {
            args.push(format!("--workdir={}", folder.display()).into());
        }
        args.push(format!("--entrypoint={}", inside.program).into());
        args.push(ready.id.clone().into());
        args.extend(inside.args.iter().cloned());
        Ok(Self { program: ready.client.clone(), args, name })
    }

    /// The same; the client, and so the program, is asked to end when we die without a word.
    pub(crate) fn ended_with_us(mut self, setpriv: PathBuf) -> Self {
        let client = std::mem::replace(&mut self.program, setpriv);
        let before = ["--pdeathsig".into(), "TERM".into(), client.into_os_string()];
        self.args.splice(0..0, before);
        self
    }
}

/// What a server is given.
fn serve(ready: &Ready, server: Server) -> std::io::Result<Vec<String>> {
    let (user, group) = server.user.unwrap_or_else(super::us);
    let mut args = match server.user {
        Some(_) => vec![format!("--user={user}:{group}")],
        None => ready.user.clone(),
    };
    // Programs that make servers ask what they are called, and an image knows only its own users.
    let names = ready.owner.path().join(format!("passwd-{user}-{group}"));
    if !names.is_file() {
        let text = format!("root:x:0:0:root:/root:/bin/sh\nserver:x:{user}:{group}:server:/tmp:/bin/sh\n");
        kit_core::fs::write_atomic(&names, text.as_bytes()).map_err(|error| error.source)?;
        // Nobody else can get to it here; in the container that user has to.
        std::fs::set_permissions(&names, std::fs::Permissions::from_mode(0o644))?;
    }
    args.push(format!("--mount=type=bind,source={},target=/etc/passwd,readonly", names.display()));
    // The usual 64 MiB are too few for an index that several processes make.
    args.push("--shm-size=1g".to_owned());
    Ok(args)
}

/// A source that is not there is an error, which it would not be with `--volume`: that one makes a folder.
fn mount(path: &Path, writes: bool) -> std::io::Result<String> {
    let shown = path.display().to_string();
    // Fields are separated by commas and quoted.
    if shown.contains([',', '"', '\n']) {
        let text = format!(
            "{shown:?} cannot be given to a container: its name has a comma, a quote or a line break"
        );
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    }
    let mode = if writes { "" } else { ",readonly" };
    Ok(format!("--mount=type=bind,source={shown},target={shown}{mode}"))
}

/// What the end of a client says of the program. `None`: the program itself ended, with this status.
pub(crate) fn unheard(
    container: &Container,
    program: &str,
    status: Status,
    said: &[String],
) -> Option<ExecError> {
    let trouble = judge(program, status, said)?;
    let (engine, image) = (container.0.engine.to_owned(), container.image().to_owned());
    Some(ExecError::Container { engine, image, trouble, stderr_tail: said.to_vec() })
}

/// The codes of `docker run` (docs.docker.com/reference/cli/docker/container/run, "Exit status") that podman has, too.
fn judge(program: &str, status: Status, said: &[String]) -> Option<Trouble> {
    let says = |sign: &str| said.iter().any(|line| line.contains(sign));
    let program = program.to_owned();
    match status {
        Status::Code(125) => Some(Trouble::NotRun { program }),
        // The engine's own first process is missing.
        Status::Code(126 | 127) if says("docker-init") => Some(Trouble::NotRun { program }),
        Status::Code(126 | 127) => Some(Trouble::NoProgram { program }),
        // Podman's first process ends like a program.
        Status::Code(1) if says("failed to exec pid1") => Some(Trouble::NoProgram { program }),
        _ => None,
    }
}

/// How the program ended, of which the client tells by a code, as a shell does.
pub(crate) const fn inner(status: Status) -> Status {
    match status {
        Status::Code(code) if code > 128 && code <= 128 + 31 => Status::Signal(code - 128),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_engines_fault_is_never_the_programs() {
        let no_program = Trouble::NoProgram { program: "pg_dump".to_owned() };
        let not_run = Trouble::NotRun { program: "pg_dump".to_owned() };
        for (code, said, expected) in [
            (0, "", None),
            (1, "pg_dump: error: aborting because of server version mismatch", None),
            (3, "ERROR:  syntax error", None),
            (125, "docker: Cannot connect to the Docker daemon at unix:///run/docker.sock.", Some(&not_run)),
            (126, "[FATAL tini (7)] exec /etc failed: Permission denied", Some(&no_program)),
            (127, "[FATAL tini (7)] exec pg_dump failed: No such file or directory", Some(&no_program)),
            (
                127,
                "docker: Error response from daemon: exec: \"docker-init\": executable file not found in $PATH.",
                Some(&not_run),
            ),
            (1, "ERROR (catatonit:6): failed to exec pid1: No such file or directory", Some(&no_program)),
        ] {
            let judged = judge("pg_dump", Status::Code(code), &[said.to_owned()]);
            assert_eq!(judged.as_ref(), expected, "{code} {said}");
        }
        assert_eq!(judge("pg_dump", Status::Signal(9), &[]), None);
    }

    #[test]
    fn a_signal_is_told_as_one() {
        for (code, expected) in [
            (137, Status::Signal(9)),
            (143, Status::Signal(15)),
            (128, Status::Code(128)),
            (3, Status::Code(3)),
        ] {
            assert_eq!(inner(Status::Code(code)), expected);
        }
    }

    #[test]
    fn a_path_that_would_be_read_as_something_else_is_refused() {
        assert_eq!(
            mount(Path::new("/run/pg sql"), false).unwrap(),
            "--mount=type=bind,source=/run/pg sql,target=/run/pg sql,readonly"
        );
        for path in ["/a,target=/etc", "/a\"b", "/a\nb"] {
            assert!(mount(Path::new(path), true).is_err(), "{path:?}");
        }
    }
}
