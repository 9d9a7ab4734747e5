//! Workflow commands: the lines that a GitHub Actions runner obeys. The only text that is printed raw.

use std::fmt::Write as _;

/// How grave an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For information.
    Notice,
    /// Somebody should look.
    Warning,
    /// The step failed.
    Error,
}

impl Level {
    /// The command's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A command, escaped as `packages/core/src/command.ts` of actions/toolkit does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowCommand(String);

/// The runner cuts an annotation at 4096 characters (`ExecutionContext.cs`); we stop before that.
const LONGEST_ANNOTATION_CHARS: usize = 3900;

impl WorkflowCommand {
    /// An annotation with a title.
    pub fn annotation(level: Level, title: &str, message: &str) -> Self {
        let message: String = message.chars().take(LONGEST_ANNOTATION_CHARS).collect();
        let mut line = format!("::{}", level.as_str());
        if !title.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(line, " title={}", escape_property(title));
        }
        let _ = write!(line, "::{}", escape_data(&message));
        Self(line)
    }

    /// Tells the runner to hide `value`. One command per line of it.
    pub fn add_mask(value: &str) -> Vec<Self> {
        value
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| Self(format!("::add-mask::{}", escape_data(line))))
            .collect()
    }

    /// Opens a group of lines that a reader can fold.
    pub fn group(title: &str) -> Self {
        Self(format!("::group::{}", escape_data(title)))
    }

    /// Closes the group.
    pub fn end_group() -> Self {
        Self("::endgroup::".to_owned())
    }

    /// The line, without a line break.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_cannot_leave_its_place() {
        let command = WorkflowCommand::annotation(Level::Error, "a:b,c", "50 %\r\n::set-output name=x::y");
        assert_eq!(command.as_str(), "::error title=a%3Ab%2Cc::50 %25%0D%0A::set-output name=x::y");
        assert_eq!(command.as_str().lines().count(), 1);
    }

    #[test]
    fn every_line_of_a_secret_is_masked() {
        let masks = WorkflowCommand::add_mask("one\n\n two%\n");
        let lines: Vec<&str> = masks.iter().map(WorkflowCommand::as_str).collect();
        assert_eq!(lines, ["::add-mask::one", "::add-mask::two%25"]);
    }
}
