//! Asks git. "Could not ask" is an error; "is not there" is an answer.

use crate::commit_policy::{BranchFacts, FETCH_ALL, FoundTag};
use jiff::Timestamp;
use kit_contract::Reason;
use kit_contract::body::Commit;
use kit_core::{Context, StepError};
use kit_exec::{Command, EnvPolicy, ExecError, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nothing that is asked here prints more.
const LIMIT_BYTES: u64 = 1 << 20;
/// All of it is local; only a broken file system takes that long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A clone.
pub(crate) struct Repository<'a> {
    cx: &'a Context,
    folder: PathBuf,
    shallow: bool,
}

impl<'a> Repository<'a> {
    /// The clone that `folder` belongs to.
    pub(crate) async fn open(cx: &'a Context, folder: &Path) -> Result<Self, StepError> {
        let mut repository = Self { cx, folder: folder.to_owned(), shallow: true };
        let answer = repository.git(&["rev-parse", "--is-shallow-repository"]).await?;
        repository.shallow = match answer.as_str() {
            "true" => true,
            "false" => false,
            other => return Err(repository.unexpected("rev-parse", other)),
        };
        Ok(repository)
    }

    /// True if the clone lacks part of the history.
    pub(crate) fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// The tag, or `None` if this clone has none of that name.
    pub(crate) async fn tag(&self, tag: &str) -> Result<Option<FoundTag>, StepError> {
        let reference = format!("refs/tags/{tag}");
        let format = "--format=%(objectname) %(objecttype) %(refname)";
        let answer = self.git(&["for-each-ref", format, "--", &reference]).await?;
        // A pattern matches everything below it, too.
        let line = answer.lines().find_map(|line| line.strip_suffix(&format!(" {reference}")));
        let Some(line) = line else { return Ok(None) };
        let Some((object, kind)) = line.split_once(' ') else {
            return Err(self.unexpected("for-each-ref", line));
        };
        let peeled = format!("{object}^{{commit}}");
        let commit = self.git(&["rev-parse", "--verify", "--end-of-options", &peeled]).await?;
        if !is_object_id(&commit) {
            return Err(self.unexpected("rev-parse", &commit));
        }
        Ok(Some(FoundTag { object: object.to_owned(), commit, annotated: kind == "tag" }))
    }

    /// The commit that a branch of the clone or of its origin is at, or that has this full id; `None` if the
    /// clone has neither.
    pub(crate) async fn commit_of(&self, name: &str) -> Result<Option<FoundTag>, StepError> {
        let places = [format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")];
        let format = "--format=%(objectname) %(refname)";
        let answer = self.git(&["for-each-ref", format, "--", &places[0], &places[1]]).await?;
        // A pattern matches everything below it, too; the origin's branch is the newer one.
        let at = |place: &String| answer.lines().find_map(|line| line.strip_suffix(&format!(" {place}")));
        let branch = places.iter().find_map(at).map(str::to_owned);
        let object = match branch {
            Some(object) => object,
            None if is_object_id(name) => {
                let known = ["rev-list", "--max-count=1", "--ignore-missing", "--end-of-options", name, "--"];
                if self.git(&known).await? != name {
                    return Ok(None);
                }
                name.to_owned()
            }
            None => return Ok(None),
        };
        Ok(Some(FoundTag { commit: object.clone(), object, annotated: false }))
    }

    /// The commit with its date.
    pub(crate) async fn commit(&self, sha: &str) -> Result<Commit, StepError> {
        let answer =
            self.git(&["rev-list", "--max-count=1", "--format=%ct", "--end-of-options", sha, "--"]).await?;
        let second = answer.strip_prefix(&format!("commit {sha}\n")).and_then(|text| text.parse().ok());
        match second.and_then(|second: i64| Timestamp::from_second(second).ok()) {
            Some(committed_at) => Ok(Commit { sha: sha.to_owned(), committed_at }),
            None => Err(self.unexpected("rev-list", &answer)),
        }
    }

    /// Which of `branches` the clone has, local or of its origin, and which of them hold the commit.
    pub(crate) async fn branches(&self, branches: &[String], sha: &str) -> Result<BranchFacts, StepError> {
        let mut references = Vec::new();
        for branch in branches {
            references.extend([format!("refs/heads/{branch}"), format!("refs/remotes/origin/{branch}")]);
        }
        let contains = format!("--contains={sha}");
        let mut named = [Vec::new(), Vec::new()];
        for (found, filter) in named.iter_mut().zip([None, Some(contains.as_str())]) {
            let mut args = vec!["for-each-ref", "--format=%(refname)"];
            args.extend(filter);
            args.push("--");
            args.extend(references.iter().map(String::as_str));
            let answer = self.git(&args).await?;
            let branch_of = |line: &str| {
                let name = line.strip_prefix("refs/heads/").or(line.strip_prefix("refs/remotes/origin/"))?;
                // A pattern matches everything below it, too.
                branches.iter().find(|branch| *branch == name).cloned()
            };
            *found = answer.lines().filter_map(branch_of).collect();
        }
        let [present, containing] = named;
        Ok(BranchFacts { present, containing, shallow: self.shallow })
    }

    /// Runs git in the clone and gives what it printed.
    async fn git(&self, args: &[&str]) -> Result<String, StepError> {
        let mut command = Command::new("git")
            .args(args.iter().copied())
            .current_folder(&self.folder)
            // Without GIT_DIR and its like: the folder says which repository is meant.
            .inherit_env(EnvPolicy::Minimal)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            // Local replacements and lazy downloads could show another history than the one pushed.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .stdout(Stdout::Capture { limit_bytes: LIMIT_BYTES })
            .quiet_stderr()
            .deadline(DEADLINE);
        // Where safe.directory may be set, which decides whether git answers at all.
        for (name, value) in self.cx.env.iter() {
            if name == "XDG_CONFIG_HOME" || name.starts_with("GIT_CONFIG") {
                command = command.env(name, value);
            }
        }
        match command.run(self.cx).await {
            Ok(output) => Ok(output.text()),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: ExecError) -> StepError {
        if error.reason() != Reason::CommandFailed {
            return error.into();
        }
        let said = error.stderr_tail().join("\n");
        let hint = if said.contains("dubious ownership") {
            format!(
                "the repository belongs to another user: git config --global --add safe.directory {}",
                self.absolute()
            )
        } else if said.contains("not a git repository") || matches!(error, ExecError::Spawn { .. }) {
            "point --repository at a checkout; in a workflow, actions/checkout comes before this step"
                .to_owned()
        } else {
            FETCH_ALL.to_owned()
        };
        StepError::new(
            Reason::RepositoryUnreadable,
            format!("the git repository in {} could not be asked", self.folder.display()),
        )
        .because(StepError::from(error))
        .hint(hint)
    }

    fn absolute(&self) -> String {
        std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone()).display().to_string()
    }

    fn unexpected(&self, command: &str, answer: &str) -> StepError {
        let answer: String = answer.chars().take(80).collect();
        StepError::new(
            Reason::RepositoryUnreadable,
            format!("git {command} in {} answered {answer:?}", self.folder.display()),
        )
        .hint("git 2.30 or newer is needed")
    }
}

/// SHA-1 or SHA-256.
fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
