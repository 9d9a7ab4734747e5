//! `cargo xtask assemble`: the commit that a release tag points at.
//!
//! A user writes `uses: org/deploy-kit/canary-gate@v1`, so each action must lie at the root of that commit,
//! with the launcher and the SHA-256 of every program beside it: whoever pins the commit pins the
//! programs. The commit is a child of the source commit, made of nothing but its tree and the assets, so
//! that anybody can assemble it again and compare.

mod assets;
mod git;
mod layout;
mod rewrite;

use std::path::PathBuf;

use crate::error::Error;
use crate::workspace::Workspace;
use git::Git;
use layout::Entry;
pub(crate) use rewrite::Compat;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The version that is released, for example 1.2.3
    #[arg(long, value_name = "VERSION")]
    version: semver::Version,
    /// Folder of the programs, each called `<program>-<system>-<machine>`
    #[arg(long, value_name = "FOLDER")]
    assets: PathBuf,
    /// The commit that is released
    #[arg(long, value_name = "COMMIT", default_value = "HEAD", conflicts_with = "worktree")]
    source: String,
    /// Assemble what lies in the work tree instead of a commit: for tests, never for a release
    #[arg(long)]
    worktree: bool,
    /// Rewrite what this runner does not know; nothing else
    #[arg(long, value_name = "RUNNER", requires = "repository")]
    compat: Option<Compat>,
    /// Owner and name of the repository that workflows of the compatible tree refer to
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// Also lay the tree out in this folder, which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// Prints commit and tree. True unless an error is returned.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<bool, Error> {
    let git = Git::open(workspace)?;
    let source = if args.worktree { git.commit_worktree()? } else { git.commit_of(&args.source)? };
    let sums = assets::sums(&args.assets, &workspace.root)?;
    let rewriting = rewrite::Rewriting {
        compat: args.compat,
        repository: args.repository.clone().unwrap_or_default(),
        version: args.version.to_string(),
    };
    let mut entries = Vec::new();
    for entry in layout::release(git.entries(&source)?) {
        entries.push(rewritten(&git, entry, &rewriting)?);
    }
    let texts =
        [("SHA256SUMS", sums), ("SOURCE", format!("{source}\n")), ("VERSION", format!("{}\n", args.version))];
    for (path, text) in texts {
        entries.push(Entry {
            mode: layout::FILE.to_owned(),
            blob: git.write(text.as_bytes())?,
            path: path.to_owned(),
        });
    }
    let tree = git.tree(&entries)?;
    let commit = git.commit(&tree, &source, &format!("deploy-kit {}\n", args.version))?;
    if let Some(folder) = &args.into {
        git.lay_out(&tree, folder)?;
    }
    println!("commit {commit}\ntree {tree}");
    Ok(true)
}

fn rewritten(git: &Git<'_>, entry: Entry, rewriting: &rewrite::Rewriting) -> Result<Entry, Error> {
    if !rewrite::is_rewritten(&entry.path) {
        return Ok(entry);
    }
    let text = String::from_utf8_lossy(&git.read(&entry.blob)?).into_owned();
    let new = rewriting.apply(&entry.path, &text);
    if new == text {
        return Ok(entry);
    }
    Ok(Entry { blob: git.write(new.as_bytes())?, ..entry })
}
