use super::*;
use kit_contract::config::Span;
use serde_json::{Value, json};

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    Answer {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.as_bytes().to_vec(),
        body_truncated: false,
        ttfb_ms: 10.0,
        latency_ms: 912.44,
        remote_addr: None,
    }
}

fn vars() -> Vars {
    Vars { version: Some("2.0.0".into()), sha: Some("abc1234".into()) }
}

fn said(expect: &Expect, answer: &Answer) -> Vec<String> {
    check(expect, answer, &vars()).iter().map(ToString::to_string).collect()
}

/// An expectation as `deploy.toml` would have it.
fn expect(value: Value) -> Expect {
    serde_json::from_value(value).unwrap()
}

#[test]
fn what_is_right_is_not_complained_about() {
    let body = r#"{"version":"2.0.0","count":3.0,"on":true,"tags":["abc1234",null],"nested":{"b":2,"a":1}}"#;
    let answer = answer(204, &[("x-commit", " abc1234 "), ("vary", "a"), ("vary", "b")], body);
    let expect = expect(json!({
        "status": [200, 204],
        "header": {"X-Commit": "{sha}", "vary": "a, b"},
        "json": {
            "$.version": "{version}", "$.count": 3, "$.on": true, "$.tags": ["{sha}", null],
            "$.tags[1]": null, "$.nested": {"a": 1.0, "b": 2}, "$.tags[?@ == 'abc1234']": "abc1234",
        },
        "body_contains": r#"{"version":"{version}""#,
        "latency": "913ms",
    }));
    assert_eq!(said(&expect, &answer), [] as [&str; 0]);
}

#[test]
fn everything_wrong_is_said_in_order() {
    let answer = answer(503, &[], r#"{"version":"1.4.0"}"#);
    let expect = expect(json!({
        "latency": "800ms", "body_contains": "ready {version}", "json": {"$.version": "{version}"},
        "header": {"x-commit": "{sha}"}, "status": [200],
    }));
    assert_eq!(
        said(&expect, &answer),
        [
            "status: expected 200, got 503",
            "header x-commit: expected \"abc1234\", got no such header",
            "json $.version: expected \"2.0.0\", got \"1.4.0\"",
            "body: expected a text with \"ready 2.0.0\", got \"{\"version\":\"1.4.0\"}\"",
            "latency: expected at most 800ms, got 912.4 ms",
        ]
    );
}

#[test]
fn one_expectation_at_a_time() {
    for (wanted, body, problem) in [
        (json!({"status": [200, 204]}), "", "status: expected one of 200, 204, got 418"),
        (json!({"status": []}), "", "status: expected no status at all, got 418"),
        (json!({"header": {"vary": "a"}}), "", "header vary: expected \"a\", got \"a, b\""),
        (json!({"json": {"$.a": 1}}), "", "json: expected a JSON body, got an empty body"),
        (
            json!({"json": {"$.a": 1, "$.b": 2}}),
            "<h1>\nbad gateway",
            "json: expected a JSON body, got \"<h1> bad gateway\" (expected value at line 1 column 1)",
        ),
        (json!({"json": {"$.a": 1}}), r#"{"b":1}"#, "json $.a: expected 1, got nothing at this path"),
        (json!({"json": {"$.a": null}}), "{}", "json $.a: expected null, got nothing at this path"),
        (
            json!({"json": {"$[*].v": "2"}}),
            r#"[{"v":"2"},{"v":"1"}]"#,
            "json $[*].v: expected \"2\", got 2 values at this path",
        ),
        (
            json!({"json": {"$[*].v": "2"}}),
            r#"[{"v":"2"},{"v":"2"}]"#,
            "json $[*].v: expected \"2\", got 2 values at this path",
        ),
        (json!({"json": {"$.a": "1"}}), r#"{"a":1}"#, "json $.a: expected \"1\", got 1"),
        (json!({"json": {"$.a": 1}}), r#"{"a":true}"#, "json $.a: expected 1, got true"),
        (
            json!({"json": {"$.a": 9_007_199_254_740_993_u64}}),
            r#"{"a":9007199254740992.0}"#,
            "json $.a: expected 9007199254740993, got 9007199254740992.0",
        ),
        (
            json!({"json": {"$.a": {"b": 1}}}),
            r#"{"a":{"b":1,"c":2}}"#,
            "json $.a: expected {\"b\":1}, got {\"b\":1,\"c\":2}",
        ),
        (json!({"json": {"$.a": [1]}}), r#"{"a":[1,2]}"#, "json $.a: expected [1], got [1,2]"),
        (
            json!({"json": {"a": 1}}),
            r#"{"a":1}"#,
            "json a: expected 1, got nothing: the path is not valid (RFC 9535)",
        ),
        (json!({"body_contains": "up"}), "down", "body: expected a text with \"up\", got \"down\""),
    ] {
        let mut wanted = wanted;
        let fields = wanted.as_object_mut().unwrap();
        fields.entry("status").or_insert(json!([418]));
        let answer = answer(418, &[("vary", "a"), ("vary", "b")], body);
        assert_eq!(said(&expect(wanted), &answer), [problem]);
    }
}

#[test]
fn a_body_that_was_not_read_to_its_end_meets_nothing() {
    let mut answer = answer(200, &[], r#"{"a":1}"#);
    answer.body_truncated = true;
    assert_eq!(said(&expect(json!({})), &answer), [] as [&str; 0], "status alone needs no body");
    assert_eq!(
        said(&expect(json!({"json": {"$.a": 1}, "body_contains": "a"})), &answer),
        [
            "json: expected a JSON body, got a body longer than the 1048576 bytes that are read",
            "body: expected a text with \"a\", got a body longer than the 1048576 bytes that are read",
        ]
    );
}

#[test]
fn a_placeholder_without_a_value_is_never_met() {
    let expect =
        expect(json!({"header": {"v": "{version}"}, "json": {"$.a": ["{sha}"]}, "body_contains": "{sha}"}));
    let answer = answer(200, &[("v", "")], r#"{"a":[""]}"#);
    let problems = check(&expect, &answer, &Vars::default());
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert_eq!(
        problems[0].to_string(),
        "header v: expected \"{version}\", got nothing to compare it with: this run does not know the version"
    );
    validate(&expect).unwrap();
    validate_vars(&expect, &vars()).unwrap();
    assert!(
        validate_vars(&expect, &Vars::default())
            .unwrap_err()
            .message
            .contains("{version} cannot be filled in")
    );
}

#[test]
fn hostile_values_stay_on_one_short_line() {
    let hostile = format!("a\n::error::boom\u{1b}[2J\u{2028}##[warning]{}", "x".repeat(10_000));
    let body = json!({"a": hostile, "b": [hostile]}).to_string();
    let answer = answer(200, &[("h", &hostile)], &body);
    let expect = expect(json!({
        "header": {"h": "x"}, "json": {"$.a": "x", "$.b": "x"}, "body_contains": "not there",
    }));
    let problems = said(&expect, &answer);
    assert_eq!(problems.len(), 4);
    for problem in problems {
        assert!(!problem.chars().any(|c| c.is_control() || c == '\u{2028}'), "{problem:?}");
        assert!(!problem.contains("##["), "{problem}");
        assert!(problem.chars().count() < 300, "{problem}");
    }
}

#[test]
fn latency_is_inclusive_and_not_a_number_is_too_slow() {
    let expect = Expect { latency: Some(Span::from_ms(50)), ..Expect::default() };
    for (latency_ms, met) in
        [(50.0, true), (50.1, false), (0.0, true), (f64::NAN, false), (f64::INFINITY, false)]
    {
        let answer = Answer { latency_ms, ..answer(200, &[], "") };
        assert_eq!(check(&expect, &answer, &vars()).is_empty(), met, "{latency_ms}");
    }
}

#[test]
fn expectations_that_cannot_be_met_are_refused() {
    for (wanted, message, hint) in [
        (
            json!({"status": []}),
            "no status is allowed",
            Some("leave the key out for 200, or list what is allowed"),
        ),
        (json!({"status": [200, 2000]}), "2000 is not a status of HTTP", Some("did you mean \"200\"?")),
        (json!({"status": [99]}), "they run from 100 to 599", None),
        (
            json!({"header": {"content type": "x"}}),
            "is not the name of a header",
            Some("did you mean \"content-type\"?"),
        ),
        (
            json!({"header": {"Set_Cookie:": "x"}}),
            "is not the name of a header",
            Some("did you mean \"set-cookie\"?"),
        ),
        (
            json!({"json": {"version": 1}}),
            "\"version\" is not a JSON path (RFC 9535)",
            Some("did you mean \"$.version\"?"),
        ),
        (json!({"json": {".data.v": 1}}), "is not a JSON path", Some("did you mean \"$.data.v\"?")),
        (json!({"json": {"$version": 1}}), "is not a JSON path", Some("did you mean \"$.version\"?")),
        (json!({"json": {"$.a[": 1}}), "is not a JSON path", None),
        (json!({"json": {"": 1}}), "is not a JSON path", None),
        (json!({"body_contains": ""}), "every body holds the empty text", None),
        (json!({"latency": "0s"}), "cannot be met", None),
        (
            json!({"json": {"$.a": ["{verison}"]}}),
            "unknown placeholder {verison}",
            Some("did you mean \"version\"?"),
        ),
        (json!({"header": {"x": "{SHA}"}}), "unknown placeholder {SHA}", Some("did you mean \"sha\"?")),
    ] {
        let error = validate(&expect(wanted.clone())).unwrap_err();
        assert!(error.message.contains(message), "{wanted}: {error}");
        assert_eq!(error.hint.as_deref(), hint, "{wanted}");
    }
    for fine in [
        json!({}),
        json!({"status": [100, 599], "header": {"X_Odd.name": "{status}"}, "body_contains": "{\"a\": {b}}"}),
        json!({"json": {"$": {}, "$..v": 1, "$['a b']": 2}, "latency": "1ms"}),
    ] {
        validate(&expect(fine)).unwrap();
    }
}
