//! A folder and an environment of their own for a process under test.

use crate::process::{Ran, Started};
use crate::terminal::Terminal;
use crate::{runner, snapshot};
use kit_contract::{Artifact, Body};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the runner's files lie in a sandbox.
const OUTPUT: &str = ".runner/output";
const SUMMARY: &str = ".runner/summary";

/// A temporary folder and a hermetic environment: nothing of the machine's own gets in but `PATH`.
#[derive(Debug)]
pub struct Sandbox {
    folder: tempfile::TempDir,
    root: PathBuf,
    env: BTreeMap<String, String>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty sandbox.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("deploy-kit-").tempdir().expect("a temporary folder");
        // As the process itself will see it: /tmp may be a link.
        let root = folder.path().canonicalize().expect("the folder is there");
        let home = root.to_str().expect("temporary folders have UTF-8 names").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let env = [
            ("PATH", path),
            ("HOME", home.clone()),
            ("TMPDIR", home),
            ("LANG", "C.UTF-8".to_owned()),
            // What costs a second to make is made once for all tests.
            ("DEPLOY_KIT_CACHE", crate::cache().display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        Self { folder, root, env: env.into() }
    }

    /// Its folder, which is also the working directory of what runs in it.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The same with an environment variable set.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a file in it.
    #[must_use]
    pub fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder"))
            .expect("a folder in the sandbox");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The text of a file, which must be there.
    pub fn read(&self, path: &str) -> String {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// True if a file is there.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The same as inside a GitHub Actions job: the runner's variables and its files.
    #[must_use]
    pub fn github_actions(self) -> Self {
        let file = |path: &str| self.root.join(path).to_str().expect("UTF-8").to_owned();
        let (output, summary) = (file(OUTPUT), file(SUMMARY));
        self.file(OUTPUT, "")
            .file(SUMMARY, "")
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", output)
            .env("GITHUB_STEP_SUMMARY", summary)
            .env("GITHUB_SERVER_URL", "https://github.example")
            .env("GITHUB_REPOSITORY", "octo/shop")
            .env("GITHUB_RUN_ID", "4711")
            .env("GITHUB_RUN_ATTEMPT", "1")
            .env("GITHUB_ACTOR", "octocat")
            .env("GITHUB_TRIGGERING_ACTOR", "octocat")
    }

    /// A command that would run in here, for what the other methods do not cover.
    pub fn command(&self, binary: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(binary);
        command.env_clear().envs(&self.env).current_dir(&self.root);
        command
    }

    /// Starts a binary and lets it run.
    pub fn start(&self, binary: impl AsRef<OsStr>, args: &[&str]) -> Started {
        let mut command = self.command(binary);
        command.args(args);
        Started::new(command)
    }

    /// Starts a binary at a terminal.
    pub fn start_at_terminal(&self, binary: impl AsRef<OsStr>, args: &[&str]) -> Terminal {
        let mut command = self.command(binary);
        command.args(args);
        Terminal::start(command)
    }

    /// Starts a command that was made by hand, and lets it run no longer than this.
    pub fn start_command(&self, command: Command, limit: Duration) -> Started {
        Started::within(command, limit)
    }

    /// Runs a binary to its end.
    pub fn run(&self, binary: impl AsRef<OsStr>, args: &[&str]) -> Ran {
        self.start(binary, args).wait()
    }

    /// An artifact in the default folder, by name (`gate-canary`), with its typed body.
    pub fn artifact<B: Body>(&self, name: &str) -> Artifact<B> {
        let text = self.read(&artifact_path(name));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
    }

    /// An artifact in the default folder as plain JSON.
    pub fn artifact_json(&self, name: &str) -> serde_json::Value {
        let text = self.read(&artifact_path(name));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
    }

    /// Puts an artifact into the default folder.
    pub fn put_artifact(&self, name: &str, artifact: &serde_json::Value) {
        self.write(&artifact_path(name), format!("{artifact:#}\n"));
    }

    /// What the runner would take from the file of outputs; one that it would refuse fails the test.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let text = self.read(OUTPUT);
        let pairs = runner::parse_outputs(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        pairs.into_iter().collect()
    }

    /// The job summary.
    pub fn summary(&self) -> String {
        self.read(SUMMARY)
    }

    /// Every file, relative to the sandbox, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.root, &self.root, &mut files);
        files.sort();
        files
    }

    /// Exit code, both streams and the list of files, with everything that differs from run to run
    /// replaced by a placeholder.
    pub fn snapshot(&self, ran: &Ran) -> String {
        let end = match (ran.code, ran.signal) {
            (Some(code), _) => format!("exit code: {code}"),
            (None, signal) => format!("ended by signal {}", signal.unwrap_or_default()),
        };
        let files = self.files().join("\n");
        let text = format!(
            "{end}\n----- stdout -----\n{}----- stderr -----\n{}----- files -----\n{files}\n",
            ran.stdout, ran.stderr
        );
        let root = self.root.to_str().expect("temporary folders have UTF-8 names");
        let given = self.folder.path().to_str().expect("temporary folders have UTF-8 names");
        snapshot::placeholders(&text.replace(root, "[SANDBOX]").replace(given, "[SANDBOX]"))
    }
}

/// Where an artifact lies unless somebody says otherwise.
fn artifact_path(name: &str) -> String {
    format!(".deploy-kit/artifacts/{name}.json")
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the sandbox can be listed") {
        let path = entry.expect("the sandbox can be listed").path();
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).expect("it lies inside").display().to_string());
        }
    }
}
