//! What an answer must be like. Pure: nothing here asks anybody anything.

mod json;
mod mismatch;
mod validate;

pub use mismatch::Mismatch;
pub use validate::{validate, validate_vars};

use crate::{Answer, BODY_LIMIT_BYTES, Vars};
use kit_contract::config::Expect;
use mismatch::quoted;

/// Everything in which the answer is not as it must be, in the order status, header, json, body,
/// latency. Empty: the answer is right.
///
/// An expectation that cannot be checked is not met: a path that is no path, a placeholder without a
/// value, a body that is longer than what was read.
pub fn check(expect: &Expect, answer: &Answer, vars: &Vars) -> Vec<Mismatch> {
    let mut found = Vec::new();
    found.extend(check_status(expect, answer));
    found.extend(check_headers(expect, answer, vars));
    found.extend(json::check(expect, answer, vars));
    found.extend(check_body(expect, answer, vars));
    found.extend(check_latency(expect, answer));
    found
}

fn check_status(expect: &Expect, answer: &Answer) -> Option<Mismatch> {
    if expect.status.contains(&answer.status) {
        return None;
    }
    let allowed: Vec<String> = expect.status.iter().map(u16::to_string).collect();
    let expected = match allowed.as_slice() {
        [] => "no status at all".to_owned(),
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    };
    Some(Mismatch::new("status", &expected, &answer.status.to_string()))
}

fn check_headers(expect: &Expect, answer: &Answer, vars: &Vars) -> Vec<Mismatch> {
    let check_one = |(name, wanted): (&String, &String)| {
        let subject = format!("header {name}");
        let expected = match vars.fill(wanted) {
            Ok(filled) => filled,
            Err(unknown) => return Some(Mismatch::unfilled(&subject, wanted, unknown)),
        };
        match answer.header(name) {
            Some(value) if value == expected.trim() => None,
            Some(value) => Some(Mismatch::new(&subject, &quoted(&expected), &quoted(&value))),
            None => Some(Mismatch::new(&subject, &quoted(&expected), "no such header")),
        }
    };
    expect.header.iter().filter_map(check_one).collect()
}

fn check_body(expect: &Expect, answer: &Answer, vars: &Vars) -> Option<Mismatch> {
    let wanted = expect.body_contains.as_ref()?;
    let expected = match vars.fill(wanted) {
        Ok(filled) => filled,
        Err(unknown) => return Some(Mismatch::unfilled("body", wanted, unknown)),
    };
    let shown = format!("a text with {}", quoted(&expected));
    if answer.body_truncated {
        return Some(Mismatch::new("body", &shown, &too_long()));
    }
    if String::from_utf8_lossy(&answer.body).contains(&expected) {
        return None;
    }
    Some(Mismatch::new("body", &shown, &quoted(&String::from_utf8_lossy(&answer.body))))
}

fn check_latency(expect: &Expect, answer: &Answer) -> Option<Mismatch> {
    let most = expect.latency?;
    let limit_ms = most.duration().as_secs_f64() * 1000.0;
    // Not a number is not below the limit.
    if answer.latency_ms <= limit_ms {
        return None;
    }
    Some(Mismatch::new("latency", &format!("at most {most}"), &format!("{:.1} ms", answer.latency_ms)))
}

/// What is said of a body that was not read to its end.
fn too_long() -> String {
    format!("a body longer than the {BODY_LIMIT_BYTES} bytes that are read")
}

#[cfg(test)]
mod tests;
