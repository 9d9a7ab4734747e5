//! Pure: what a release commit says differently from its source. This list is the whole of it.

/// A runner that does not know the newest syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compat {
    /// nektos/act, which runs workflows on a laptop and in the tests
    Act,
    /// GitHub Enterprise Server, and runners before 2.336
    Ghes,
}

/// How the release is named from inside.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    pub(super) compat: Option<Compat>,
    /// `owner/name`; used only where the runner needs it spelled out.
    pub(super) repository: String,
    pub(super) version: String,
}

/// Refers to the commit that the file itself is in; known to github.com and runners from 2.336.
const SELF: &str = "uses: $/";

/// Whether a file of the release may differ from its source.
pub(super) fn is_rewritten(path: &str) -> bool {
    is_workflow(path) || is_action_page(path)
}

fn is_workflow(path: &str) -> bool {
    path.starts_with(".github/workflows/") && path.ends_with(".yml")
}

/// `canary-gate/README.md`: it has moved one folder up.
fn is_action_page(path: &str) -> bool {
    path.split_once('/').is_some_and(|(_, file)| file == "README.md")
}

impl Rewriting {
    /// The text of a file of the release.
    pub(super) fn apply(&self, path: &str, text: &str) -> String {
        if !is_workflow(path) {
            return text.replace("](../../docs/", "](../docs/");
        }
        text.split_inclusive('\n').filter_map(|line| self.line(line)).collect()
    }

    /// One line of a workflow; `None` if it goes.
    fn line(&self, line: &str) -> Option<String> {
        let line = line.replacen("uses: $/actions/", SELF, 1);
        if self.compat.is_none() {
            return Some(line);
        }
        // `environment` without a deployment of GitHub's own, and a queue that drops nothing: both are
        // refused as unknown by older runners.
        if matches!(line.trim(), "deployment: false" | "queue: max") {
            return None;
        }
        let Some((before, action)) = line.split_once(SELF) else { return Some(line) };
        let (action, end) = action.split_at(action.trim_end().len());
        Some(format!("{before}uses: {}/{action}@v{}{end}", self.repository, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKFLOW: &str = "\
concurrency:
  group: deploy
  queue: max
jobs:
  a:
    environment:
      name: production
      deployment: false
    steps:
      - uses: $/actions/rollout
      - uses: actions/checkout@0123 # v7
      - run: echo 'deployment: false is said here'
";

    fn rewriting(compat: Option<Compat>) -> Rewriting {
        Rewriting { compat, repository: "org/kit".to_owned(), version: "1.2.3".to_owned() }
    }

    #[test]
    fn a_release_points_at_itself_and_changes_nothing_else() {
        let path = ".github/workflows/deploy.yml";
        let made = rewriting(None).apply(path, WORKFLOW);
        assert_eq!(made, WORKFLOW.replace("$/actions/rollout", "$/rollout"));
    }

    #[test]
    fn the_compatible_release_has_three_rewrites() {
        for compat in [Compat::Act, Compat::Ghes] {
            let made = rewriting(Some(compat)).apply(".github/workflows/deploy.yml", WORKFLOW);
            let expected = WORKFLOW
                .replace("$/actions/rollout", "org/kit/rollout@v1.2.3")
                .replace("      deployment: false\n", "")
                .replace("  queue: max\n", "");
            assert_eq!(made, expected);
        }
    }

    #[test]
    fn only_workflows_and_the_pages_of_actions_are_touched() {
        for path in [".github/workflows/a.yml", "rollout/README.md"] {
            assert!(is_rewritten(path), "{path}");
        }
        for path in ["README.md", "rollout/action.yml", "examples/a/README.md", "launch.sh", ".github/a.yml"]
        {
            assert!(!is_rewritten(path), "{path}");
        }
    }
}
