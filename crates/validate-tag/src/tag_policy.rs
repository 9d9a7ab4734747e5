//! Is this the name of a release? Pure: text and configuration in, tag and version out.

use kit_contract::{Name, Reason};
use kit_core::StepError;
use semver::Version;

/// Longer names are no release tags.
const LONGEST_BYTES: usize = 128;
/// Enough of a refused value to recognise it.
const SHOWN_CHARS: usize = 60;
const PLACEHOLDER: &str = "{version}";

/// Where the text comes from. What started the run must be the tag itself; a person may type the
/// version alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The input `tag`.
    Input,
    /// The git reference that started the run.
    Ref,
}

/// A tag and the version that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseTag {
    pub(crate) tag: String,
    pub(crate) version: Version,
}

/// Chooses between the input and the reference that started the run (`GITHUB_REF`).
pub(crate) fn choose<'a>(
    input: Option<&'a str>,
    started_by: Option<&'a str>,
) -> Result<(&'a str, Origin), StepError> {
    if let Some(text) = input.filter(|text| !text.is_empty()) {
        return Ok((text, Origin::Input));
    }
    match started_by.and_then(|full| full.strip_prefix("refs/tags/")) {
        Some(name) => Ok((name, Origin::Ref)),
        None => {
            let started = started_by.map_or_else(
                || "GITHUB_REF is not set".to_owned(),
                |full| format!("the run was started by {}, which is no tag", shown(full)),
            );
            Err(StepError::new(
                Reason::UsageError,
                format!("no tag is given: --tag is not set, and {started}"),
            )
            .hint("give the release, for example --tag v1.2.3"))
        }
    }
}

/// Reads a tag, or a version where that will do, by `release.tag_pattern`.
///
/// Strict semantic versioning (semver.org, 2.0.0): three numbers without leading zeros.
pub(crate) fn parse(text: &str, origin: Origin, pattern: &str) -> Result<ReleaseTag, StepError> {
    check_characters("tag", text)?;
    let (before, after) = pattern.split_once(PLACEHOLDER).unwrap_or((pattern, ""));
    let inside = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let parsed = inside.map(Version::parse);
    if let Some(Ok(version)) = parsed {
        return Ok(ReleaseTag { tag: text.to_owned(), version });
    }
    let bare = text.strip_prefix('v').unwrap_or(text);
    if origin == Origin::Input
        && let Ok(version) = Version::parse(bare)
    {
        let tag = pattern.replacen(PLACEHOLDER, bare, 1);
        check_characters("tag", &tag).map_err(|error| {
            StepError::new(Reason::ConfigInvalid, "release.tag_pattern makes tags that are not allowed")
                .because(error)
        })?;
        return Ok(ReleaseTag { tag, version });
    }
    let mut error = StepError::new(
        Reason::UsageError,
        format!("{} is no release tag of the form {pattern:?}", shown(text)),
    );
    if let Some(Err(source)) = parsed {
        error = error.because(source);
    }
    Err(match suggestion(text, pattern) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("a release is called {}", pattern.replacen(PLACEHOLDER, "1.2.3", 1))),
    })
}

/// Refuses what no release is called and what a shell, a log, an address or an option parser would
/// take for something else. Tags travel through all of them.
fn check_characters(what: &str, text: &str) -> Result<(), StepError> {
    let refuse = |why: String| {
        Err(StepError::new(Reason::UsageError, format!("the {what} {} is not allowed: {why}", shown(text)))
            .hint(format!("a {what} is made of a-z, A-Z, 0-9 and . _ + / @ -")))
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+/@-".contains(c);
    if text.len() > LONGEST_BYTES {
        return refuse(format!("it has {} bytes, and the most is {LONGEST_BYTES}", text.len()));
    }
    if text.starts_with('-') {
        return refuse("it starts with '-' like an option".to_owned());
    }
    match text.chars().find(|c| !allowed(*c)) {
        Some(character) => refuse(format!("it holds {character:?}")),
        None => Ok(()),
    }
}

/// A foreign value on one line, quoted, with everything invisible written out.
fn shown(text: &str) -> String {
    let mut kept: String = text.chars().take(SHOWN_CHARS).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    format!("{kept:?}")
}

/// The release tag that was most likely meant.
fn suggestion(text: &str, pattern: &str) -> Option<String> {
    let (before, after) = pattern.split_once(PLACEHOLDER)?;
    let inside = text.strip_prefix("refs/tags/").unwrap_or(text);
    let inside = inside.strip_prefix(before).unwrap_or(inside);
    let inside = inside.strip_suffix(after).unwrap_or(inside);
    let inside = inside.get(inside.find(|c: char| c.is_ascii_digit())?..)?;
    let end = inside.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(inside.len());
    let (numbers, rest) = inside.split_at(end);
    let mut parts: Vec<u64> = Vec::new();
    for part in numbers.split('.').filter(|part| !part.is_empty()) {
        parts.push(part.parse().ok()?);
    }
    parts.resize(3, 0);
    let numbers = parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
    let (pre, build) = match rest.split_once('+') {
        Some((pre, build)) => (pre, format!("+{build}")),
        None => (rest, String::new()),
    };
    let pre = pre.trim_start_matches(['-', '_', '.']);
    let pre = if pre.is_empty() { String::new() } else { format!("-{}", without_leading_zeros(pre)) };
    let version = Version::parse(&format!("{numbers}{pre}{build}")).ok()?;
    Some(pattern.replacen(PLACEHOLDER, &version.to_string(), 1))
}

fn without_leading_zeros(pre: &str) -> String {
    let strip = |part: &str| match part.parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) => part.replace('_', "-"),
    };
    pre.split('.').map(strip).collect::<Vec<_>>().join(".")
}

/// Refuses a pre-release where those are not wanted.
pub(crate) fn check_prerelease(release: &ReleaseTag, allowed: bool) -> Result<(), StepError> {
    if allowed || release.version.pre.is_empty() {
        return Ok(());
    }
    Err(StepError::new(
        Reason::PrereleaseRefused,
        format!("{} is a pre-release, and those are refused here", release.tag),
    )
    .hint("give --allow-prerelease, or set release.prereleases = \"allow\" for this environment"))
}

/// The name of a branch or commit may travel as a tag does.
pub(crate) fn check_commit(text: &str, is_branch: bool) -> Result<(), StepError> {
    check_characters("commit", text)?;
    if is_branch {
        return Ok(());
    }
    Err(StepError::new(Reason::UsageError, format!("--commit {} is for --kind branch", shown(text)))
        .hint("a release is a tag: give --tag, or leave both out in a run that a tag started"))
}

/// What stands for the release where a commit is deployed: a version of its own, below every release.
pub(crate) fn of_commit(text: &str, sha: &str) -> Result<ReleaseTag, StepError> {
    let short = sha.get(..12).unwrap_or(sha);
    let version = Version::parse(&format!("0.0.0-g{short}")).map_err(|source| {
        StepError::new(Reason::InternalError, "a commit makes no version").because(source)
    })?;
    Ok(ReleaseTag { tag: text.to_owned(), version })
}

/// Commits of any branch are for trying things out.
pub(crate) fn check_kind(is_branch: bool, environment: &Name) -> Result<(), StepError> {
    if is_branch && environment.as_str() == "production" {
        return Err(StepError::new(Reason::UsageError, "--kind branch is not for production")
            .hint("deploy a release, or choose another --environment"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, pattern: &str) -> Result<(String, String), StepError> {
        parse(text, Origin::Input, pattern).map(|found| (found.tag, found.version.to_string()))
    }

    #[test]
    fn releases() {
        for (text, pattern, tag, version) in [
            ("v1.2.3", "v{version}", "v1.2.3", "1.2.3"),
            ("1.2.3", "v{version}", "v1.2.3", "1.2.3"),
            ("v1.2.3", "{version}", "1.2.3", "1.2.3"),
            ("v1.2.3-rc.1", "v{version}", "v1.2.3-rc.1", "1.2.3-rc.1"),
            ("v1.2.3+build.7", "v{version}", "v1.2.3+build.7", "1.2.3+build.7"),
            ("shop-v1.2.3", "shop-v{version}", "shop-v1.2.3", "1.2.3"),
            ("1.2.3", "shop-v{version}", "shop-v1.2.3", "1.2.3"),
            ("v1.2.3", "shop-v{version}", "shop-v1.2.3", "1.2.3"),
            ("@acme/shop@1.2.3", "@acme/shop@{version}", "@acme/shop@1.2.3", "1.2.3"),
            ("release/1.2.3-final", "release/{version}-final", "release/1.2.3-final", "1.2.3"),
        ] {
            assert_eq!(read(text, pattern).unwrap(), (tag.to_owned(), version.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_started_the_run_must_be_the_tag_itself() {
        assert!(parse("1.2.3", Origin::Ref, "v{version}").is_err());
        assert!(parse("v1.2.3", Origin::Ref, "shop-v{version}").is_err());
        assert!(parse("v1.2.3", Origin::Ref, "v{version}").is_ok());
    }

    #[test]
    fn near_misses_are_refused_with_what_was_meant() {
        for (text, pattern, meant) in [
            ("v1.2", "v{version}", Some("v1.2.0")),
            ("v1", "v{version}", Some("v1.0.0")),
            ("v1.2.3.4", "v{version}", Some("v1.2.3")),
            ("v01.2.3", "v{version}", Some("v1.2.3")),
            ("v1.2.3-01", "v{version}", Some("v1.2.3-1")),
            ("v1.2.3rc1", "v{version}", Some("v1.2.3-rc1")),
            ("v1.2.3_rc_1", "v{version}", Some("v1.2.3-rc-1")),
            ("V1.2.3", "v{version}", Some("v1.2.3")),
            ("release-1.2.3", "v{version}", Some("v1.2.3")),
            ("refs/tags/v1.2.3", "v{version}", Some("v1.2.3")),
            ("shop-1.2", "shop-v{version}", Some("shop-v1.2.0")),
            ("v1.2.3+", "v{version}", None),
            ("v99999999999999999999.0.0", "v{version}", None),
            ("main", "v{version}", None),
            ("v", "v{version}", None),
        ] {
            let error = read(text, pattern).unwrap_err();
            assert_eq!(error.reason, Reason::UsageError, "{text}");
            let hint = match meant {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("a release is called {}", pattern.replace("{version}", "1.2.3")),
            };
            assert_eq!(error.hints, [hint], "{text}");
        }
    }

    pub(crate) const HOSTILE: &[&str] = &[
        "v1.2.3; rm -rf /",
        "v1.2.3$(id)",
        "v1.2.3`id`",
        "v1.2.3|id",
        "v1.2.3&&id",
        "v1.2.3>x",
        "v1.2.3\nv1.2.4",
        "v1.2.3\r\n::set-output name=x::y",
        "::set-output name=version::v9.9.9",
        "##[error]v1.2.3",
        "--upload-pack=id",
        "-v1.2.3",
        "v1.2.3 ",
        " v1.2.3",
        "v1.2.3\0",
        "v1.2.3\u{202e}",
        "v１.2.3",
        "vé1.2.3",
        "v1.2.3^{tree}",
        "v1.2.3~1",
        "v1.2.3:README",
        "v1.2.3*",
        "v1.2.3?",
        "v1.2.3[0]",
        "v1.2.3\\",
        "v1.2.3'",
        "v1.2.3\"",
        "v%311.2.3",
    ];

    #[test]
    fn hostile_names_are_refused_on_one_quoted_line() {
        let long = format!("v1.2.3-{}", "a".repeat(200));
        for text in HOSTILE.iter().copied().chain([long.as_str()]) {
            for origin in [Origin::Input, Origin::Ref] {
                let error = parse(text, origin, "v{version}").unwrap_err();
                assert_eq!(error.reason, Reason::UsageError, "{text:?}");
                let message = error.chain();
                assert!(!message.contains(['\n', '\r', '\0', '\u{202e}']), "{message:?}");
                assert!(message.starts_with("the tag \""), "{message}");
                assert!(message.len() < 300, "{message}");
            }
        }
    }

    #[test]
    fn a_pattern_cannot_smuggle_anything_in() {
        let error = read("1.2.3", "-v{version}").unwrap_err();
        assert_eq!(error.reason, Reason::ConfigInvalid);
        assert_eq!(read("1.2.3", "v{version} x").unwrap_err().reason, Reason::ConfigInvalid);
    }

    #[test]
    fn input_before_reference() {
        assert_eq!(choose(Some("v2.0.0"), Some("refs/tags/v1.0.0")).unwrap(), ("v2.0.0", Origin::Input));
        assert_eq!(choose(Some(""), Some("refs/tags/a/v1.0.0")).unwrap(), ("a/v1.0.0", Origin::Ref));
        for started_by in
            [None, Some("refs/heads/main"), Some("refs/pull/1/merge"), Some("refs/heads/refs/tags/x")]
        {
            assert_eq!(choose(None, started_by).unwrap_err().reason, Reason::UsageError);
        }
    }

    #[test]
    fn policies() {
        let release = |text: &str| parse(text, Origin::Input, "v{version}").unwrap();
        assert!(check_prerelease(&release("v1.0.0"), false).is_ok());
        assert!(check_prerelease(&release("v1.0.0-rc.1"), true).is_ok());
        let error = check_prerelease(&release("v1.0.0-rc.1"), false).unwrap_err();
        assert_eq!(error.reason, Reason::PrereleaseRefused);
        let (production, staging): (Name, Name) = ("production".parse().unwrap(), "staging".parse().unwrap());
        assert!(check_kind(true, &staging).is_ok());
        assert!(check_kind(false, &production).is_ok());
        assert_eq!(check_kind(true, &production).unwrap_err().reason, Reason::UsageError);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_harmless_and_round_trips(text in "[v0-9a-c.+;/@_$ -]{0,20}") {
            if let Ok(found) = parse(&text, Origin::Input, "v{version}") {
                prop_assert_eq!(&found.tag, &format!("v{}", found.version));
                prop_assert!(found.tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)));
            }
        }

        #[test]
        fn a_suggestion_is_always_acceptable(text in "[vV]?[0-9.]{0,9}[-_.+a-c0-9]{0,6}") {
            if let Some(near) = suggestion(&text, "v{version}") {
                prop_assert!(parse(&near, Origin::Ref, "v{version}").is_ok(), "{} -> {}", text, near);
            }
        }
    }
}
