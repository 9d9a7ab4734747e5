//! What a runner hides of a secret beside its plain text: `HostContext.cs` of actions/runner registers these
//! encoders, `ValueEncoders.cs` holds them.

use base64::Engine as _;

/// The value, each of its lines, and what each looks like once it was encoded.
pub(super) fn of(value: &str) -> Vec<String> {
    let plain = value.lines().map(str::trim).chain([value]).filter(|line| !line.is_empty());
    let mut all: Vec<String> = plain.flat_map(variants).filter(|variant| !variant.is_empty()).collect();
    // The longest first, as whole texts are hidden before parts of them.
    all.sort_by_key(|variant| std::cmp::Reverse(variant.len()));
    all.dedup();
    all
}

fn variants(value: &str) -> Vec<String> {
    let base64 = |shift: usize| {
        value.as_bytes().get(shift..).map(|rest| base64::engine::general_purpose::STANDARD.encode(rest))
    };
    let quoted = serde_json::Value::from(value).to_string();
    let mut all = vec![
        value.to_owned(),
        value.trim_matches('"').to_owned(),
        value.replace('\'', "''"),
        value.replace('\\', "\\\\").replace('"', "\\\""),
        quoted[1..quoted.len() - 1].to_owned(),
        uri(value),
        xml(value),
    ];
    all.extend((0..3).filter_map(base64));
    all
}

/// `Uri.EscapeDataString`.
fn uri(value: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    value.bytes().map(escape).collect()
}

/// `SecurityElement.Escape`.
fn xml(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}
