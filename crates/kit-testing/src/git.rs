//! Git repositories whose commits have the same ids on every machine.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-01-01T00:00:00Z; every commit and tag is one minute after the one before.
const FIRST_COMMIT_S: i64 = 1_767_225_600;

/// A repository on the branch `main`.
#[derive(Debug)]
pub struct Repository {
    folder: PathBuf,
    now_s: Cell<i64>,
}

impl Repository {
    /// An empty repository in a folder, which is made if need be.
    pub fn init(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).expect("a folder for the repository");
        let repository = Self { folder, now_s: Cell::new(FIRST_COMMIT_S) };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Commits a file that holds the message; gives the id of the commit.
    pub fn commit(&self, message: &str) -> String {
        std::fs::write(self.folder.join("content.txt"), message).expect("a file in the repository");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A lightweight tag on the commit that is checked out.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
    }

    /// An annotated tag on the commit that is checked out.
    pub fn annotated_tag(&self, name: &str, message: &str) {
        self.git(&["tag", "--annotate", name, "--message", message]);
    }

    /// Checks out a branch, which is made if it is not there.
    pub fn branch(&self, name: &str) {
        self.git(&["checkout", "--quiet", "-B", name]);
    }

    /// Runs git in the repository; gives what it printed, without the line break at its end.
    pub fn git(&self, args: &[&str]) -> String {
        let date = format!("{} +0000", self.now_s.get());
        self.now_s.set(self.now_s.get() + 60);
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(args).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        for (name, value) in [
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@shop.example"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@shop.example"),
            ("GIT_AUTHOR_DATE", date.as_str()),
            ("GIT_COMMITTER_DATE", date.as_str()),
        ] {
            command.env(name, value);
        }
        let output = command.output().expect("git is installed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {stderr}");
        String::from_utf8(output.stdout).expect("git prints UTF-8").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Repository;

    #[test]
    fn the_same_commits_have_the_same_ids() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let repository = Repository::init(folder.path().join(name));
            let first = repository.commit("first");
            repository.annotated_tag("v1.0.0", "one");
            repository.branch("side");
            (first, repository.commit("second"), repository.git(&["rev-parse", "v1.0.0"]))
        };
        let one = make("one");
        assert_eq!(one, make("two"));
        assert_eq!(one.0.len(), 40);
    }
}
