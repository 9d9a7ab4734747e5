//! Trees and commits by git's plumbing: nothing in the work tree, the index or the branches is touched.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::layout::Entry;
use crate::error::Error;
use crate::workspace::Workspace;

/// The repository, and an index of its own to build trees in.
pub(super) struct Git<'a> {
    workspace: &'a Workspace,
    scratch: tempfile::TempDir,
}

impl<'a> Git<'a> {
    pub(super) fn open(workspace: &'a Workspace) -> Result<Self, Error> {
        let scratch = tempfile::tempdir().map_err(Error::file("create", std::env::temp_dir()))?;
        Ok(Self { workspace, scratch })
    }

    /// The full id of a commit.
    pub(super) fn commit_of(&self, name: &str) -> Result<String, Error> {
        self.text(&["rev-parse", "--verify", "--end-of-options", &format!("{name}^{{commit}}")])
    }

    /// A commit of the work tree as it lies there, on top of HEAD.
    pub(super) fn commit_worktree(&self) -> Result<String, Error> {
        self.text(&["read-tree", "HEAD"])?;
        self.text(&["add", "--all"])?;
        let tree = self.text(&["write-tree"])?;
        self.commit(&tree, "HEAD", "work tree\n")
    }

    /// Every file of a commit.
    pub(super) fn entries(&self, commit: &str) -> Result<Vec<Entry>, Error> {
        let listing = self.run(&["ls-tree", "-r", "-z", commit], &[], b"")?;
        let listing = String::from_utf8_lossy(&listing).into_owned();
        Ok(listing
            .split_terminator('\0')
            .filter_map(|line| {
                let (facts, path) = line.split_once('\t')?;
                let mut facts = facts.split(' ');
                let (mode, _, blob) = (facts.next()?, facts.next()?, facts.next()?);
                Some(Entry { mode: mode.to_owned(), blob: blob.to_owned(), path: path.to_owned() })
            })
            .collect())
    }

    pub(super) fn read(&self, blob: &str) -> Result<Vec<u8>, Error> {
        self.run(&["cat-file", "blob", blob], &[], b"")
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<String, Error> {
        Ok(trimmed(&self.run(&["hash-object", "-w", "--stdin"], &[], bytes)?))
    }

    /// A tree of exactly these files.
    pub(super) fn tree(&self, entries: &[Entry]) -> Result<String, Error> {
        self.text(&["read-tree", "--empty"])?;
        let list: String =
            entries.iter().map(|entry| format!("{} {}\t{}\0", entry.mode, entry.blob, entry.path)).collect();
        self.run(&["update-index", "-z", "--index-info"], &[], list.as_bytes())?;
        self.text(&["write-tree"])
    }

    /// A commit with the date of its parent and an author of its own, so that it is the same for everybody.
    pub(super) fn commit(&self, tree: &str, parent: &str, message: &str) -> Result<String, Error> {
        let date = self.text(&["show", "--no-patch", "--format=%ct +0000", parent])?;
        let who = [
            ("GIT_AUTHOR_NAME", "deploy-kit"),
            ("GIT_AUTHOR_EMAIL", "release@deploy-kit.invalid"),
            ("GIT_COMMITTER_NAME", "deploy-kit"),
            ("GIT_COMMITTER_EMAIL", "release@deploy-kit.invalid"),
            ("GIT_AUTHOR_DATE", date.as_str()),
            ("GIT_COMMITTER_DATE", date.as_str()),
        ];
        let args = ["commit-tree", "--no-gpg-sign", tree, "-p", parent];
        Ok(trimmed(&self.run(&args, &who, message.as_bytes())?))
    }

    /// The files of a tree in a folder.
    pub(super) fn lay_out(&self, tree: &str, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir(folder).map_err(Error::file("create", folder))?;
        let folder = folder.canonicalize().map_err(Error::file("find", folder))?;
        self.text(&["read-tree", tree])?;
        self.text(&["checkout-index", "--all", &format!("--prefix={}/", folder.display())])?;
        Ok(())
    }

    fn text(&self, args: &[&str]) -> Result<String, Error> {
        Ok(trimmed(&self.run(args, &[], b"")?))
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Result<Vec<u8>, Error> {
        let spawn = |source| Error::Spawn { program: "git".to_owned(), source };
        let mut command: Command = self.workspace.command("git");
        command.args(args).envs(env.iter().copied());
        command.env("GIT_INDEX_FILE", self.scratch.path().join("index"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(spawn)?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(stdin).map_err(spawn)?;
        }
        let output = child.wait_with_output().map_err(spawn)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Error::Failed { command: format!("git {}", args.join(" ")), status: output.status })
    }
}

fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
