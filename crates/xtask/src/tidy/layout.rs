//! How a text file is laid out: line ends, trailing blanks, tabs, and no traces of an unfinished merge.

use super::finding::Finding;
use super::tree;

const RULE: &str = "layout";

/// The middle marker, seven equals signs, is left out: it also underlines headings, and never stands alone.
const CONFLICT_MARKERS: [&str; 3] = ["<<<<<<< ", "||||||| ", ">>>>>>> "];

/// Test data is free in its layout, but not of conflicts.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let free = tree::is_fixture(path);
    let mut findings = Vec::new();
    let mut add =
        |line: usize, message: &str| findings.push(Finding::violation(RULE, path, message).at(line));
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        if CONFLICT_MARKERS.iter().any(|marker| line.starts_with(marker)) {
            add(number, "marker of a merge conflict");
        }
        if free {
            continue;
        }
        let content = line.strip_suffix('\r').unwrap_or(line);
        if content.len() < line.len() {
            add(number, "line ends in CR LF");
        }
        if content.ends_with([' ', '\t']) {
            add(number, "trailing blanks");
        }
        if path.ends_with(".rs") && content.contains('\t') {
            add(number, "tab in Rust code");
        }
    }
    if !free && !text.is_empty() && !text.ends_with('\n') {
        add(text.lines().count(), "no newline at the end");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_is_caught() {
        for (text, message, line) in [
            ("a\nb \n", "trailing blanks", 2),
            ("a\r\n", "line ends in CR LF", 1),
            ("a\tb\n", "tab in Rust code", 1),
            ("a\nb", "no newline at the end", 2),
            ("<<<<<<< ours\n", "marker of a merge conflict", 1),
            (">>>>>>> theirs\n", "marker of a merge conflict", 1),
        ] {
            assert_eq!(check("a.rs", text), [Finding::violation(RULE, "a.rs", message).at(line)], "{text:?}");
        }
    }

    #[test]
    fn good_text_passes() {
        assert_eq!(check("a.md", "Title\n=======\n\n\ta tab outside Rust\n"), []);
        assert_eq!(check("empty", ""), []);
    }

    #[test]
    fn fixtures_are_free_in_layout_but_not_of_conflicts() {
        assert_eq!(check("tests/fixtures/a.rs", "a\tb \r\nc"), []);
        assert_eq!(check("tests/fixtures/a.rs", "<<<<<<< ours\n").len(), 1);
    }
}
