//! The bytes of an artifact: without secrets, and harmless wherever somebody prints them.

use kit_contract::{Artifact, Body, Reason, RunInfo};
use kit_core::{Context, Redactor, StepError};
use serde_json::Value;
use std::fmt::Write as _;

/// The bytes of an artifact.
///
/// # Errors
/// Only for a body that is not JSON, which is a bug.
pub(crate) fn of<B: Body>(cx: &Context, artifact: &Artifact<B>) -> Result<Vec<u8>, StepError> {
    let bug = |error| {
        StepError::new(Reason::InternalError, "the artifact cannot be written as JSON").because(error)
    };
    let mut text = serde_json::to_string_pretty(artifact).map_err(bug)?;
    if cx.redactor.redact(&text) != text {
        let shown = without_secrets(&cx.redactor, artifact).map_err(bug)?;
        text = serde_json::to_string_pretty(&shown).map_err(bug)?;
    }
    text.push('\n');
    Ok(harmless(&text).into_bytes())
}

/// Takes secrets out of everything that may hold foreign text. Identity, reason and digests are of
/// forms of their own: a password that happens to be `production` must not spoil them.
fn without_secrets<B: Body>(
    redactor: &Redactor,
    artifact: &Artifact<B>,
) -> Result<Artifact<Value>, serde_json::Error> {
    let body = artifact.body.as_ref().map(serde_json::to_value).transpose()?;
    let mut shown = artifact.clone().with_body(body.map(|body| redact(redactor, body)));
    shown.message = redactor.redact(&shown.message);
    shown.hints.iter_mut().for_each(|hint| *hint = redactor.redact(hint));
    let RunInfo { repository, run_id, actor, url, run_attempt: _ } = &mut shown.run;
    for text in [repository, run_id, actor, url].into_iter().flatten() {
        *text = redactor.redact(text);
    }
    Ok(shown)
}

fn redact(redactor: &Redactor, value: Value) -> Value {
    let text = |text: String| if is_ours(&text) { text } else { redactor.redact(&text) };
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => items.into_iter().map(|item| redact(redactor, item)).collect(),
        Value::Object(entries) => {
            entries.into_iter().map(|(key, entry)| (text(key), redact(redactor, entry))).collect()
        }
        other => other,
    }
}

/// The longest code or field name that is taken for a word of ours.
const LONGEST_WORD: usize = 24;

/// True for a lone code or field name (`postgres`, `pass_flaky`) and for a digest. Test databases have
/// the password `postgres`: their backups must still say which engine made them. A real secret stands in
/// a longer text, or does not look like this.
fn is_ours(text: &str) -> bool {
    let is_word = text.len() <= LONGEST_WORD && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'_'));
    is_word || text.parse::<kit_contract::Sha256>().is_ok()
}

/// The same JSON, written so that no runner and no terminal obeys any part of it: a workflow may print
/// an artifact as it is. Neither `##[` nor the characters below can stand outside of a string.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            // C1 controls, zero-width and bidirectional marks; serde_json escapes the C0 controls.
            '\u{7f}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
    text.replace("##[", "#\\u0023[")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_json_is_the_same_json() {
        let value = serde_json::json!({ "###[error]": "\\##[x] \u{202e}\u{7f}\u{85}\u{1b}\n::error::y ä" });
        let text = harmless(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains("##["), "{text}");
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn words_and_digests_of_ours_stay() {
        let redactor = Redactor::default();
        redactor.learn("postgres");
        let digest = "0".repeat(64);
        redactor.learn("0000");
        let body = serde_json::json!({
            "engine": "postgres", "postgres": digest, "at": "postgres://db", "list": ["x postgres"]
        });
        let shown = serde_json::json!({
            "engine": "postgres", "postgres": digest, "at": "***://db", "list": ["x ***"]
        });
        assert_eq!(redact(&redactor, body), shown);
    }
}
