//! May the commit behind the tag be deployed? Pure: what git said in, verdict out.

use kit_contract::Reason;
use kit_core::StepError;

/// What to do where a clone does not know enough.
pub(crate) const FETCH_ALL: &str =
    "fetch the whole history with all branches and tags: `fetch-depth: 0` for actions/checkout";

/// A tag as it is in the clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundTag {
    /// What the reference points to: the tag object of an annotated tag, else the commit.
    pub(crate) object: String,
    /// The commit behind it.
    pub(crate) commit: String,
    /// True if it is an object of its own.
    pub(crate) annotated: bool,
}

/// The tag must still be what started the run. `started_by` is `GITHUB_REF`, `started_at` is
/// `GITHUB_SHA`; a run that something else started says nothing about the tag.
pub(crate) fn check_not_moved(
    tag: &str,
    found: &FoundTag,
    started_by: Option<&str>,
    started_at: Option<&str>,
) -> Result<(), StepError> {
    let Some(started_at) = started_at.filter(|_| started_by == Some(format!("refs/tags/{tag}").as_str()))
    else {
        return Ok(());
    };
    if started_at == found.commit || started_at == found.object {
        return Ok(());
    }
    let started_at: String = started_at.chars().take(12).collect();
    Err(StepError::new(
        Reason::TagMoved,
        format!("{tag} points to {}, but the run was started for {started_at:?}", short(&found.commit)),
    )
    .hint("never move release tags; make a new version"))
}

/// Where only annotated tags are releases. `clobbered`: the clone was made by a runner that may have
/// replaced the tag object by the commit (github.com/actions/checkout, issue 882), so a lightweight
/// tag proves nothing.
pub(crate) fn check_annotated(tag: &str, found: &FoundTag, clobbered: bool) -> Result<(), StepError> {
    if found.annotated {
        return Ok(());
    }
    if clobbered {
        return Err(StepError::new(
            Reason::RepositoryUnreadable,
            format!("whether {tag} is an annotated tag cannot be told: actions/checkout replaces the tag that started the run by a lightweight one"),
        )
        .hint(format!("fetch it again before this step: git fetch --force origin refs/tags/{tag}:refs/tags/{tag}")));
    }
    Err(StepError::new(
        Reason::TagNotAnnotated,
        format!("{tag} is a lightweight tag, and release.require_annotated is set"),
    )
    .hint(format!("make a new version with `git tag --annotate`; {tag} itself is better left as it is")))
}

/// What the clone knows of the release branches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BranchFacts {
    /// Those that the clone has, local or of origin.
    pub(crate) present: Vec<String>,
    /// Those of them that hold the commit.
    pub(crate) containing: Vec<String>,
    /// True if the clone lacks part of the history.
    pub(crate) shallow: bool,
}

/// The first of `branches` that holds the commit. "Not on a branch" is said only by a clone that has
/// all of them with their whole history.
pub(crate) fn branch_of(
    tag: &str,
    commit: &str,
    branches: &[String],
    facts: &BranchFacts,
) -> Result<String, StepError> {
    if let Some(branch) = branches.iter().find(|branch| facts.containing.contains(branch)) {
        return Ok(branch.clone());
    }
    let commit = short(commit);
    let unknown = |why: String| {
        Err(StepError::new(
            Reason::RepositoryUnreadable,
            format!("whether {tag} ({commit}) is on a release branch cannot be told: {why}"),
        )
        .hint(FETCH_ALL))
    };
    if facts.shallow {
        return unknown("this clone is shallow".to_owned());
    }
    let missing: Vec<&str> =
        branches.iter().filter(|branch| !facts.present.contains(branch)).map(String::as_str).collect();
    if !missing.is_empty() {
        return unknown(format!("this clone has no branch {}, nor has its origin", missing.join(", ")));
    }
    Err(StepError::new(
        Reason::TagNotOnBranch,
        format!("{tag} ({commit}) is on none of the release branches: {}", branches.join(", ")),
    )
    .hint("tag a commit of a release branch, or extend release.branches"))
}

/// Enough of an object id for people; the same length as in deployment ids.
pub(crate) fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OBJECT: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn found(annotated: bool) -> FoundTag {
        let object = if annotated { OBJECT } else { COMMIT };
        FoundTag { object: object.to_owned(), commit: COMMIT.to_owned(), annotated }
    }

    #[test]
    fn moved() {
        let tag = Some("refs/tags/v1.0.0");
        for (started_by, started_at, moved) in [
            (tag, Some(COMMIT), false),
            (tag, Some(OBJECT), false),
            (tag, Some("cccccccccccccccccccccccccccccccccccccccc"), true),
            (tag, None, false),
            (Some("refs/heads/main"), Some("cccc"), false),
            (Some("refs/tags/v1.0.0-rc.1"), Some("cccc"), false),
            (None, Some("cccc"), false),
        ] {
            let result = check_not_moved("v1.0.0", &found(true), started_by, started_at);
            let reason = result.err().map(|error| error.reason);
            assert_eq!(reason, moved.then_some(Reason::TagMoved), "{started_by:?} {started_at:?}");
        }
    }

    #[test]
    fn annotated() {
        assert!(check_annotated("v1.0.0", &found(true), true).is_ok());
        assert_eq!(check_annotated("v1.0.0", &found(false), false).unwrap_err().reason.exit_code(), 10);
        let error = check_annotated("v1.0.0", &found(false), true).unwrap_err();
        assert_eq!(error.reason, Reason::RepositoryUnreadable, "unknown is not no");
    }

    #[test]
    fn branches() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (wanted, present, containing, shallow, verdict) in [
            ("main", "main", "main", false, Ok("main")),
            ("main", "main", "main", true, Ok("main")),
            ("main stable", "main stable", "stable", false, Ok("stable")),
            ("stable main", "main", "main", false, Ok("main")),
            ("stable main", "main stable", "main stable", false, Ok("stable")),
            ("main", "main", "", false, Err(Reason::TagNotOnBranch)),
            ("main", "main", "", true, Err(Reason::RepositoryUnreadable)),
            ("main", "", "", true, Err(Reason::RepositoryUnreadable)),
            ("main", "", "", false, Err(Reason::RepositoryUnreadable)),
            ("main stable", "main", "", false, Err(Reason::RepositoryUnreadable)),
        ] {
            let facts = BranchFacts { present: names(present), containing: names(containing), shallow };
            let result = branch_of("v1.0.0", COMMIT, &names(wanted), &facts).map_err(|error| error.reason);
            assert_eq!(result, verdict.map(str::to_owned), "{wanted} {facts:?}");
        }
    }
}
