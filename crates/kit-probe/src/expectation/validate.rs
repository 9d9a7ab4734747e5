//! Expectations that no answer could meet, or that mean something else than they say.

use crate::request::parse_header_name;
use crate::vars::{KNOWN, not_known, placeholders, unknown};
use crate::{ProbeError, Vars, text::short_line};
use kit_contract::config::Expect;
use serde_json::Value;
use serde_json_path::JsonPath;

/// Statuses that people expect; for hints only.
const COMMON_STATUSES: &[&str] = &[
    "200", "201", "202", "204", "206", "301", "302", "303", "304", "307", "308", "400", "401", "403", "404",
    "405", "409", "410", "422", "429", "500", "501", "502", "503", "504",
];

/// Checks an expectation before anything is asked.
///
/// # Errors
/// The first part that no answer can meet, or whose path, header or placeholder is misspelt.
pub fn validate(expect: &Expect) -> Result<(), ProbeError> {
    if expect.status.is_empty() {
        return Err(ProbeError::new("no status is allowed, so no answer can be right")
            .hint(Some("leave the key out for 200, or list what is allowed".to_owned())));
    }
    if let Some(status) = expect.status.iter().find(|status| !(100..=599).contains(*status)) {
        let wrong = ProbeError::new(format!("{status} is not a status of HTTP: they run from 100 to 599"));
        // A digit too many is a slip; of a digit too few nobody can tell which one is missing.
        return Err(if *status > 599 { wrong.near(&status.to_string(), COMMON_STATUSES) } else { wrong });
    }
    for name in expect.header.keys() {
        parse_header_name(name)?;
    }
    for path in expect.json.keys() {
        validate_path(path)?;
    }
    if expect.body_contains.as_deref() == Some("") {
        return Err(ProbeError::new("every body holds the empty text, so expecting it says nothing"));
    }
    if expect.latency.is_some_and(|most| most.duration().is_zero()) {
        return Err(ProbeError::new("no answer takes no time at all, so a latency of zero cannot be met"));
    }
    each_text(expect, &mut |text| misspelt(text).map_or(Ok(()), Err))
}

/// Checks that every placeholder of the expectation has a value.
///
/// # Errors
/// The first that has none.
pub fn validate_vars(expect: &Expect, vars: &Vars) -> Result<(), ProbeError> {
    each_text(expect, &mut |text| vars.fill(text).map(|_| ()).map_err(not_known))
}

fn validate_path(path: &str) -> Result<(), ProbeError> {
    let Err(error) = JsonPath::parse(path) else { return Ok(()) };
    let mut wrong = ProbeError::new(format!(
        "{:?} is not a JSON path (RFC 9535): {}",
        short_line(path),
        short_line(&error.to_string())
    ));
    let rooted = format!("$.{}", path.trim().trim_start_matches(['$', '.']));
    if JsonPath::parse(&rooted).is_ok() {
        wrong = wrong.hint(Some(format!("did you mean {:?}?", short_line(&rooted))));
    }
    Err(wrong)
}

/// In expected texts braces are mostly just braces; only one letter off a placeholder is a slip.
fn misspelt(text: &str) -> Option<ProbeError> {
    placeholders(text).filter(|name| !KNOWN.contains(name)).find_map(|name| {
        let lower = name.trim().to_ascii_lowercase();
        let meant = KNOWN.iter().find(|known| strsim::damerau_levenshtein(&lower, known) <= 1)?;
        Some(unknown(name).near(meant, KNOWN))
    })
}

/// Hands every text in which placeholders are filled in to `visit`.
fn each_text(
    expect: &Expect,
    visit: &mut dyn FnMut(&str) -> Result<(), ProbeError>,
) -> Result<(), ProbeError> {
    for value in expect.header.values() {
        visit(value)?;
    }
    for value in expect.json.values() {
        each_string(value, visit)?;
    }
    expect.body_contains.as_deref().map_or(Ok(()), visit)
}

fn each_string(
    value: &Value,
    visit: &mut dyn FnMut(&str) -> Result<(), ProbeError>,
) -> Result<(), ProbeError> {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().try_for_each(|item| each_string(item, visit)),
        Value::Object(fields) => fields.values().try_for_each(|item| each_string(item, visit)),
        _ => Ok(()),
    }
}
