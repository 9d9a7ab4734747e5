//! What a child sees of our environment, and where programs are found.

use kit_core::Env;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which variables a child inherits. Those set on the command itself always reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnvPolicy {
    /// What any program needs to run at all: `PATH`, `HOME`, `USER`, `LOGNAME`, `LANG`, `LC_*`, `TZ`,
    /// `TMPDIR`, `SSH_AUTH_SOCK`. For programs that get all they need from us.
    Minimal,
    /// Everything but the runner's command files (`GITHUB_OUTPUT`, `GITHUB_ENV`, `GITHUB_PATH`,
    /// `GITHUB_STATE`): a child must not write our outputs. For a user's own commands and for tools
    /// that find cloud credentials in the environment.
    #[default]
    Full,
}

const MINIMAL: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SSH_AUTH_SOCK"];

/// Whoever can append to these decides what our step says and what later steps run.
const RUNNER_COMMAND_FILES: [&str; 4] = ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"];

impl EnvPolicy {
    fn lets_through(self, name: &str) -> bool {
        match self {
            Self::Minimal => MINIMAL.contains(&name) || name.starts_with("LC_"),
            Self::Full => !RUNNER_COMMAND_FILES.contains(&name),
        }
    }

    /// The environment of a child: what it inherits, then what is set for it.
    pub(crate) fn apply(self, env: &Env, set: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = env
            .iter()
            .filter(|(name, _)| self.lets_through(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        all.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

/// Where `program` is, by the `PATH` of `env`; starts no process. A name with a slash is looked for
/// where it points. `None`: nothing executable is there, or there is no `PATH`.
pub fn which(env: &Env, program: &str) -> Option<PathBuf> {
    find(env.get("PATH"), program)
}

/// Relative entries of `PATH` are passed over, the empty one included: a checked-out repository must
/// not be able to put its own `git` before the real one.
pub(crate) fn find(path: Option<&str>, program: &str) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| is_executable(file));
    }
    path?
        .split(':')
        .map(Path::new)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(policy: EnvPolicy) -> Vec<String> {
        let env = Env::from([
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("GITHUB_TOKEN", "x"),
            ("GITHUB_OUTPUT", "/tmp/out"),
            ("GITHUB_ENV", "/tmp/env"),
        ]);
        let set = BTreeMap::from([("PGPASSWORD".to_owned(), "x".to_owned())]);
        policy.apply(&env, &set).into_keys().collect()
    }

    #[test]
    fn policies() {
        assert_eq!(names(EnvPolicy::Minimal), ["LC_ALL", "PATH", "PGPASSWORD"]);
        assert_eq!(
            names(EnvPolicy::Full),
            ["AWS_ACCESS_KEY_ID", "GITHUB_TOKEN", "LC_ALL", "PATH", "PGPASSWORD"]
        );
    }

    #[test]
    fn what_is_set_wins_over_what_is_inherited() {
        let env = Env::from([("PATH", "/bin")]);
        let set = BTreeMap::from([("PATH".to_owned(), "/opt/bin".to_owned())]);
        assert_eq!(EnvPolicy::Minimal.apply(&env, &set)["PATH"], "/opt/bin");
    }

    #[test]
    fn only_executable_files_in_absolute_folders_are_programs() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("tool");
        kit_core::fs::create_new(&tool, b"").unwrap();
        let path = format!(":.:relative:/nowhere:{}", folder.path().display());
        assert_eq!(find(Some(&path), "tool"), None, "it is not executable yet");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Some(&path), "tool").as_deref(), Some(tool.as_path()));
        assert_eq!(find(None, "tool"), None);
        assert_eq!(find(Some("/"), "tmp"), None, "a folder is no program");
        assert_eq!(find(Some(&path), ""), None);
        assert_eq!(find(None, &tool.display().to_string()).as_deref(), Some(tool.as_path()));
        assert_eq!(find(Some(&path), "./tool"), None, "a slash points somewhere: PATH is not asked");
    }
}
