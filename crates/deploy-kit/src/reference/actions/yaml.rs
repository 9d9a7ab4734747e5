//! YAML as text. What a user or a type may have written is always quoted.

/// A double-quoted scalar: a JSON string is one.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
