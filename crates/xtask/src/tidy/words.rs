//! Words that must not be in the tree: unfinished work, ignored tests, opened safety catches, and paths that
//! exist only on somebody's machine.
//!
//! The words are put together from halves, so that this file can be checked like every other.

use super::finding::Finding;
use super::tree;

const RULE: &str = "words";

struct Word {
    needle: &'static str,
    /// Matches only where no letter, digit or the like stands before it, nor behind it if it ends in one.
    whole: bool,
    /// Test data may hold it.
    in_fixtures: bool,
    reason: &'static str,
}

const fn banned(needle: &'static str, reason: &'static str) -> Word {
    Word { needle, whole: false, in_fixtures: false, reason }
}

const fn whole(needle: &'static str, reason: &'static str) -> Word {
    Word { whole: true, ..banned(needle, reason) }
}

const fn place(needle: &'static str) -> Word {
    Word {
        needle,
        whole: true,
        in_fixtures: true,
        reason: "a path of one machine; use a relative path or a temporary folder",
    }
}

const WORDS: [Word; 11] = [
    banned(concat!("todo", "!("), "finish it, or leave it out"),
    banned(concat!("unimplemented", "!("), "finish it, or leave it out"),
    whole(concat!("FIX", "ME"), "fix it, or open an issue"),
    whole(concat!("XX", "X"), "fix it, or open an issue"),
    banned(concat!("dbg", "!("), "use tracing"),
    banned(concat!("#[ig", "nore"), "a test that does not run proves nothing"),
    banned(concat!("continue-on-", "error: true"), "a failed step would be green"),
    banned(concat!("--inse", "cure"), "certificates are always checked"),
    banned(concat!("StrictHostKey", "Checking=no"), "host keys are always checked"),
    place(concat!("/ro", "ot/")),
    place(concat!("/ho", "me/")),
];

pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let fixture = tree::is_fixture(path);
    let words: Vec<&Word> = WORDS.iter().filter(|word| !(fixture && word.in_fixtures)).collect();
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| matches(line, word)) {
            let message = format!("`{}` is banned: {}", word.needle, word.reason);
            findings.push(Finding::violation(RULE, path, message).at(index + 1));
        }
    }
    findings
}

fn matches(line: &str, word: &Word) -> bool {
    let joins = |character: char| character.is_alphanumeric() || "_-.".contains(character);
    let ends_in_word = word.needle.ends_with(char::is_alphanumeric);
    line.match_indices(word.needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.needle.len()..].chars().next();
        !word.whole
            || !(before.is_some_and(joins) || (ends_in_word && after.is_some_and(char::is_alphanumeric)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_caught_with_its_line() {
        for word in &WORDS {
            let findings = check("src/a.rs", &format!("fine\nlet x = \"{}\n", word.needle));
            assert_eq!(findings.len(), 1, "{}", word.needle);
            assert_eq!(findings[0].line, 2);
        }
    }

    #[test]
    fn parts_of_longer_words_are_fine() {
        let mktemp = format!("mktemp a.{}\n", "X".repeat(6));
        let url = format!("https://shop.example{}index\n", concat!("/ho", "me/"));
        let capitals = concat!("PREFIX", "MENT\n").to_owned();
        for text in [mktemp, url, capitals] {
            assert_eq!(check("a.md", &text), [], "{text}");
        }
    }

    #[test]
    fn fixtures_may_hold_paths_but_no_other_word() {
        let path = concat!("/ho", "me/user/.ssh\n");
        assert_eq!(check("tests/fixtures/a.txt", path), []);
        assert_eq!(check("tests/a.txt", path).len(), 1);
        assert_eq!(check("tests/fixtures/a.txt", concat!("FIX", "ME\n")).len(), 1);
    }
}
