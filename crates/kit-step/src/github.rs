//! The files through which a GitHub Actions runner takes outputs and the job summary.

use kit_contract::Reason;
use kit_core::{Context, ResultExt as _, StepError, fs, random_hex};
use std::path::Path;

/// The runner refuses a longer summary as a whole (1024 KiB per step); some room is left for what
/// other parts of the step add.
const SUMMARY_LIMIT_BYTES: usize = 1000 * 1024;

/// One output in the form of `GITHUB_OUTPUT`: a heredoc whose delimiter cannot stand in the value.
///
/// The rule is that of `prepareKeyValueMessage` in actions/toolkit; its delimiter is random, and a
/// value that holds it is refused rather than trusted.
pub(crate) fn output_block(name: &str, value: &str, random: &str) -> Option<String> {
    let delimiter = format!("ghadelimiter_{random}");
    if name.contains(&delimiter) || value.contains(&delimiter) {
        return None;
    }
    Some(format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"))
}

/// Appends outputs to the file that the runner named; does nothing where none is named.
pub(crate) fn write_outputs(cx: &Context, outputs: &[(String, String)]) -> Result<(), StepError> {
    let Some(path) = cx.env.get("GITHUB_OUTPUT") else { return Ok(()) };
    let mut text = String::new();
    for (name, value) in outputs {
        let random = random_hex(16).or_reason(Reason::InternalError, "there is no randomness")?;
        let block = output_block(name, &cx.redactor.redact(value), &random).ok_or_else(|| {
            StepError::new(Reason::InternalError, format!("the output {name} holds a random delimiter"))
        })?;
        text.push_str(&block);
    }
    fs::append(Path::new(path), text.as_bytes())
        .or_reason(Reason::ArtifactUnwritable, "the outputs cannot be written")
}

/// Appends to the job summary; what is too long is cut at a line, with a note.
pub(crate) fn write_summary(cx: &Context, markdown: &str) -> Result<(), StepError> {
    let Some(path) = cx.env.get("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let text = limit_summary(&cx.redactor.redact(markdown));
    fs::append(Path::new(path), text.as_bytes())
        .or_reason(Reason::ArtifactUnwritable, "the job summary cannot be written")
}

fn limit_summary(markdown: &str) -> String {
    if markdown.len() <= SUMMARY_LIMIT_BYTES {
        return markdown.to_owned();
    }
    let mut end = SUMMARY_LIMIT_BYTES;
    while !markdown.is_char_boundary(end) {
        end -= 1;
    }
    let kept = markdown.get(..end).unwrap_or_default();
    let kept = kept.rsplit_once('\n').map_or(kept, |(whole_lines, _)| whole_lines);
    format!("{kept}\n\n… (cut: the artifact holds all of it)\n")
}

/// Foreign text as plain text inside Markdown, on one line.
pub fn markdown_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in kit_core::sanitise(text).chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            // A mention would notify people.
            '@' => escaped.push_str("&#64;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_own_block() {
        let block = output_block("verdict", "EOF\nx<<y\nother=1", "00ff").unwrap();
        assert_eq!(block, "verdict<<ghadelimiter_00ff\nEOF\nx<<y\nother=1\nghadelimiter_00ff\n");
        assert_eq!(output_block("verdict", "x\nghadelimiter_00ff\nforged=1", "00ff"), None);
        assert_eq!(output_block("ghadelimiter_00ff", "x", "00ff"), None);
    }

    #[test]
    fn a_long_summary_is_cut_at_a_line() {
        let line = format!("{}\n", "ä".repeat(499));
        let cut = limit_summary(&line.repeat(2000));
        assert!(cut.len() < 1024 * 1024);
        assert!(cut.ends_with("(cut: the artifact holds all of it)\n"));
        assert!(cut.lines().all(|kept| kept.is_empty() || kept.starts_with('…') || kept == line.trim_end()));
    }

    #[test]
    fn foreign_text_is_plain_in_markdown() {
        assert_eq!(
            markdown_escape("<img> @team | [x](y) `z`\n# h"),
            "&lt;img&gt; &#64;team \\| \\[x\\](y) \\`z\\` \\# h"
        );
    }
}
