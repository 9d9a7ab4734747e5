//! Pure: what is wanted and what is there, to what has to change.

use std::collections::BTreeMap;

/// One step towards a fresh tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// `present` is what the file holds now, if it is there.
    Write { path: &'a str, content: &'a str, present: Option<&'a [u8]> },
    /// No longer described, in a folder that holds nothing but generated files.
    Remove { path: &'a str },
}

/// Why a described path must not be written to, if it must not.
pub(crate) fn refuse(path: &str) -> Option<&'static str> {
    if path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Some("it leaves the tree");
    }
    if path.is_empty() || path.ends_with('/') {
        return Some("it names no file");
    }
    if path.contains('\\') {
        return Some("it holds a backslash");
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Some("it is not in its shortest form");
    }
    path.split('/').any(|part| part == ".git").then_some("it lies in the repository's own folder")
}

/// Every change, by path; an empty list means fresh. What is present but not wanted is stale.
pub(crate) fn changes<'a>(
    wanted: &'a BTreeMap<String, String>,
    present: &'a BTreeMap<String, Vec<u8>>,
) -> Vec<Change<'a>> {
    let writes = wanted.iter().filter_map(|(path, content)| {
        let present = present.get(path).map(Vec::as_slice);
        (present != Some(content.as_bytes())).then_some(Change::Write { path, content, present })
    });
    let removals =
        present.keys().filter(|path| !wanted.contains_key(*path)).map(|path| Change::Remove { path });
    writes.chain(removals).collect()
}

impl Change<'_> {
    /// For `--check`: what is wrong, with the first difference.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Remove { path } => format!("stale: {path} is no longer generated\n"),
            Self::Write { path, present: None, .. } => format!("missing: {path}\n"),
            Self::Write { path, content, present: Some(present) } => {
                format!("different: {path}\n{}", first_difference(&String::from_utf8_lossy(present), content))
            }
        }
    }
}

/// The first line that differs, below up to two lines before it: `-` is on disk, `+` is described.
fn first_difference(present: &str, wanted: &str) -> String {
    let present: Vec<&str> = present.split_inclusive('\n').collect();
    let wanted: Vec<&str> = wanted.split_inclusive('\n').collect();
    let at = present.iter().zip(&wanted).take_while(|(have, want)| have == want).count();
    let mut text = format!("  @@ line {} @@\n", at + 1);
    for line in &wanted[at.saturating_sub(2)..at] {
        text.push_str(&format!("   {}\n", line.trim_end_matches('\n')));
    }
    for (sign, line) in [('-', present.get(at)), ('+', wanted.get(at))] {
        text.push_str(&match line {
            None => format!("  {sign}(end of file)\n"),
            Some(line) if line.ends_with('\n') => format!("  {sign}{line}"),
            Some(line) => format!("  {sign}{line} (no newline at the end)\n"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_do_harm_are_refused() {
        for path in ["", "a/", "/etc/passwd", "../a", "a/../b", "./a", "a//b", "a\\b", ".git/config"] {
            assert!(refuse(path).is_some(), "{path:?}");
        }
        for path in ["a", "docs/reference/steps.md", "schemas/backup.v1.json", ".github/a.yml"] {
            assert_eq!(refuse(path), None, "{path:?}");
        }
    }

    #[test]
    fn missing_different_and_stale_files_are_changes_and_equal_ones_are_not() {
        let wanted: BTreeMap<String, String> = [("a", "1"), ("b", "2"), ("c", "3")]
            .map(|(path, content)| (path.to_owned(), content.to_owned()))
            .into();
        let present: BTreeMap<String, Vec<u8>> = [("a", "1"), ("b", "old"), ("d", "4")]
            .map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()))
            .into();
        assert_eq!(
            changes(&wanted, &present),
            [
                Change::Write { path: "b", content: "2", present: Some(b"old") },
                Change::Write { path: "c", content: "3", present: None },
                Change::Remove { path: "d" },
            ]
        );
    }

    #[test]
    fn the_first_difference_is_shown_in_its_place() {
        assert_eq!(
            first_difference("one\ntwo\nthree\nfour\n", "one\ntwo\nthree\n4\n"),
            "  @@ line 4 @@\n   two\n   three\n  -four\n  +4\n"
        );
        assert_eq!(first_difference("", "one\n"), "  @@ line 1 @@\n  -(end of file)\n  +one\n");
        assert_eq!(
            first_difference("one", "one\n"),
            "  @@ line 1 @@\n  -one (no newline at the end)\n  +one\n"
        );
    }
}
