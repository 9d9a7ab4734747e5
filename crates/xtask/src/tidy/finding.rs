//! What a rule says.

use std::fmt;

/// Notes are printed first and violations last, where a reader of a log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Worth a look; does not fail.
    Note,
    Violation,
}

/// One remark of one rule about one place. Sorted by level, then place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// A path, or the name of a package.
    pub(crate) place: String,
    /// Line, counted from 1; 0 when the remark is about the whole.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn violation(rule: &'static str, place: &str, message: impl Into<String>) -> Self {
        Self { level: Level::Violation, place: place.to_owned(), line: 0, rule, message: message.into() }
    }

    pub(crate) fn note(rule: &'static str, place: &str, message: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::violation(rule, place, message) }
    }

    pub(crate) fn at(self, line: usize) -> Self {
        Self { line, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level == Level::Note {
            write!(f, "note: ")?;
        }
        write!(f, "{}", self.place)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {} [{}]", self.message, self.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_can_be_clicked() {
        let finding = Finding::violation("words", "src/a.rs", "no").at(3);
        assert_eq!(finding.to_string(), "src/a.rs:3: no [words]");
        assert_eq!(Finding::note("sizes", "src/a.rs", "long").to_string(), "note: src/a.rs: long [sizes]");
    }

    #[test]
    fn violations_come_last() {
        let mut findings = [Finding::violation("r", "a", "x"), Finding::note("r", "z", "x")];
        findings.sort();
        assert_eq!(findings[1].level, Level::Violation);
    }
}
