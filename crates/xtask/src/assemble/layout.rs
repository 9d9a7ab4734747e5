//! Pure: the files of a source commit to the files of its release commit.

/// A plain file, as git writes its mode.
pub(super) const FILE: &str = "100644";
/// A file that can be executed.
const PROGRAM: &str = "100755";

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) mode: String,
    pub(super) blob: String,
    pub(super) path: String,
}

/// The workflows that users call.
const WORKFLOWS: [&str; 5] = [
    "deploy-production.yml",
    "deploy-staging.yml",
    "rollback-production.yml",
    "backup-scheduled.yml",
    "restore-drill.yml",
];
/// What else a user reads at a tag.
const PAGES: [&str; 6] =
    ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT", "action.yml"];

/// Pages that no job needs: what every program prints by itself with `--help`, and what was measured.
const LEFT_BEHIND: [&str; 2] = ["docs/reference/help/", "docs/benchmarks.md"];

/// Each action at the root, the launcher beside them, the workflows and the pages where they were. The source
/// stays in the parent: every job of every user downloads this tree.
pub(super) fn release(source: Vec<Entry>) -> Vec<Entry> {
    source.into_iter().filter_map(placed).collect()
}

/// Where a file of the source lies in the release, if it is part of it.
fn placed(entry: Entry) -> Option<Entry> {
    if entry.path == "actions/launch.sh" {
        return Some(Entry { mode: PROGRAM.to_owned(), path: "launch.sh".to_owned(), ..entry });
    }
    if let Some(below) = entry.path.strip_prefix("actions/") {
        return Some(Entry { path: below.to_owned(), ..entry });
    }
    let workflow = entry.path.strip_prefix(".github/workflows/");
    let kept = workflow.is_some_and(|name| WORKFLOWS.contains(&name))
        || PAGES.contains(&entry.path.as_str())
        || (entry.path.starts_with("docs/") && !LEFT_BEHIND.iter().any(|left| entry.path.starts_with(left)))
        || entry.path.starts_with("schemas/");
    kept.then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_move_to_the_root_and_the_source_stays_behind() {
        let entry = |mode: &str, path: &str| Entry {
            mode: mode.to_owned(),
            blob: path.len().to_string(),
            path: path.to_owned(),
        };
        let moved = release(vec![
            entry(FILE, "actions/launch.sh"),
            entry(FILE, "actions/rollout/action.yml"),
            entry(FILE, "crates/actions/a.rs"),
            entry(FILE, ".github/workflows/ci.yml"),
            entry(FILE, ".github/workflows/deploy-production.yml"),
            entry(FILE, "action.yml"),
            entry(FILE, "docs/reference/help/rollout.txt"),
            entry(FILE, "docs/benchmarks.md"),
        ]);
        let shown: Vec<_> = moved.iter().map(|entry| (entry.mode.as_str(), entry.path.as_str())).collect();
        assert_eq!(
            shown,
            [
                (PROGRAM, "launch.sh"),
                (FILE, "rollout/action.yml"),
                (FILE, ".github/workflows/deploy-production.yml"),
                (FILE, "action.yml")
            ]
        );
        assert_eq!(moved[0].blob, "17", "only the place changes");
    }
}
