//! Fields of a JSON body, found by path (RFC 9535).

use super::{Mismatch, mismatch::quoted, too_long};
use crate::{Answer, Vars, text::short_line};
use kit_contract::config::Expect;
use serde_json::{Number, Value};
use serde_json_path::JsonPath;

/// Up to here whole numbers and floating-point numbers mean the same.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn check(expect: &Expect, answer: &Answer, vars: &Vars) -> Vec<Mismatch> {
    if expect.json.is_empty() {
        return Vec::new();
    }
    if answer.body_truncated {
        return vec![Mismatch::new("json", "a JSON body", &too_long())];
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => {
            expect.json.iter().filter_map(|(path, value)| check_path(path, value, &body, vars)).collect()
        }
        Err(_) if answer.body.is_empty() => vec![Mismatch::new("json", "a JSON body", "an empty body")],
        Err(error) => {
            let got = format!("{} ({error})", quoted(&String::from_utf8_lossy(&answer.body)));
            vec![Mismatch::new("json", "a JSON body", &got)]
        }
    }
}

fn check_path(path: &str, wanted: &Value, body: &Value, vars: &Vars) -> Option<Mismatch> {
    let subject = format!("json {path}");
    let expected = match fill(wanted, vars) {
        Ok(filled) => filled,
        Err(unknown) => return Some(Mismatch::unfilled(&subject, &wanted.to_string(), unknown)),
    };
    let fail = |got: &str| Some(Mismatch::new(&subject, &shown(&expected), got));
    let Ok(parsed) = JsonPath::parse(path) else {
        return fail("nothing: the path is not valid (RFC 9535)");
    };
    // One value and no other: of several, a right one could hide a wrong one.
    match parsed.query(body).all().as_slice() {
        [only] if equal(&expected, only) => None,
        [only] => fail(&shown(only)),
        [] => fail("nothing at this path"),
        several => fail(&format!("{} values at this path", several.len())),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => short_line(&other.to_string()),
    }
}

/// The value with the placeholders of every string in it filled in; keys stay as they are.
fn fill(value: &Value, vars: &Vars) -> Result<Value, &'static str> {
    Ok(match value {
        Value::String(text) => Value::String(vars.fill(text)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, vars)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, item)| fill(item, vars).map(|filled| (key.clone(), filled)))
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

/// Equal as JSON means it: 1 and 1.0 are one number, the order of fields says nothing.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    let mixed = a.is_f64() != b.is_f64();
    let as_float = |number: &Number| number.as_f64().filter(|float| float.abs() < LARGEST_EXACT);
    a == b || (mixed && as_float(a).is_some() && as_float(a) == as_float(b))
}
