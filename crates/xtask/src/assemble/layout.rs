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

/// Each action at the root, the launcher beside them, all else where it was: with the source in it, the
/// commit can be built by whoever has no program for their machine.
pub(super) fn release(source: Vec<Entry>) -> Vec<Entry> {
    source
        .into_iter()
        .map(|entry| match entry.path.strip_prefix("actions/") {
            None => entry,
            Some("launch.sh") => Entry { mode: PROGRAM.to_owned(), path: "launch.sh".to_owned(), ..entry },
            Some(below) => Entry { path: below.to_owned(), ..entry },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_move_to_the_root_and_the_launcher_can_be_executed() {
        let entry = |mode: &str, path: &str| Entry {
            mode: mode.to_owned(),
            blob: path.len().to_string(),
            path: path.to_owned(),
        };
        let moved = release(vec![
            entry(FILE, "actions/launch.sh"),
            entry(FILE, "actions/rollout/action.yml"),
            entry(FILE, "crates/actions/a.rs"),
            entry(FILE, "action.yml"),
        ]);
        let shown: Vec<_> = moved.iter().map(|entry| (entry.mode.as_str(), entry.path.as_str())).collect();
        assert_eq!(
            shown,
            [
                (PROGRAM, "launch.sh"),
                (FILE, "rollout/action.yml"),
                (FILE, "crates/actions/a.rs"),
                (FILE, "action.yml")
            ]
        );
        assert_eq!(moved[0].blob, "17", "only the place changes");
    }
}
