//! Which checks there are. Pure: inputs, configuration and deployment in, checks out.

use crate::args::Args;
use kit_contract::Reason;
use kit_contract::config::{Expect, SmokeCheck};
use kit_core::StepError;
use kit_probe::Vars;
use serde_json::Value;
use serde_json_path::JsonPath;

/// The name of the check that the inputs describe.
const AD_HOC: &str = "url";

/// What there is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Suite {
    /// These checks, at least one.
    Checks(Vec<SmokeCheck>),
    /// `deploy.toml` says that there are none.
    NotConfigured,
}

/// Chooses between the check of the inputs and those of `deploy.toml`; `configured` is `None` where
/// there is no such file.
pub(crate) fn choose(args: &Args, configured: Option<&[SmokeCheck]>) -> Result<Suite, StepError> {
    if args.interval.as_ms() == 0 {
        return Err(usage("--interval 0s would never let a service rest").hint("use 1s, or more"));
    }
    if args.within.as_ms() == 0 {
        return Err(usage("--within 0s lets no check pass").hint("use 60s, or more"));
    }
    if let Some(url) = args.url.as_deref().filter(|url| !url.is_empty()) {
        return Ok(Suite::Checks(vec![ad_hoc(args, url)?]));
    }
    if let Some(input) = args.belongs_to_url() {
        return Err(usage(format!("{input} is given, but no --url that it could belong to"))
            .hint("what checks of deploy.toml expect stands there, under [smoke.checks.expect]"));
    }
    match configured {
        Some([]) => Ok(Suite::NotConfigured),
        Some(checks) => Ok(Suite::Checks(checks.to_vec())),
        None => Err(usage("there is nothing to check: no deploy.toml, and no --url")
            .hint("give --url, or write [[smoke.checks]] into deploy.toml")),
    }
}

fn usage(message: impl Into<String>) -> StepError {
    StepError::new(Reason::UsageError, message)
}

fn ad_hoc(args: &Args, url: &str) -> Result<SmokeCheck, StepError> {
    let mut expect = Expect {
        body_contains: args.expect_body.clone().filter(|text| !text.is_empty()),
        latency: args.max_latency,
        ..Expect::default()
    };
    if !args.expect_status.is_empty() {
        expect.status.clone_from(&args.expect_status);
    }
    for text in &args.expect_json {
        let (path, value) = json_expectation(text)?;
        if expect.json.insert(path.clone(), value).is_some() {
            return Err(usage(format!("--expect-json names {path} twice")));
        }
    }
    for text in &args.expect_header {
        let (name, value) = header_expectation(text)?;
        if expect.header.insert(name.clone(), value).is_some() {
            return Err(usage(format!("--expect-header names {name} twice")));
        }
    }
    Ok(SmokeCheck {
        name: AD_HOC.to_owned(),
        url: url.to_owned(),
        method: "GET".to_owned(),
        headers: kit_contract::config::Headers::new(),
        body: None,
        expect,
        advisory: false,
    })
}

/// `$.status=healthy`. A path may hold `=` itself, so the first place where a whole path ends counts.
/// The value is JSON where it can be, else text.
fn json_expectation(text: &str) -> Result<(String, Value), StepError> {
    let mut problem = None;
    for (at, _) in text.match_indices('=') {
        let (path, value) = text.split_at(at);
        let path = path.trim();
        match JsonPath::parse(path) {
            Ok(_) => {
                let value = value.strip_prefix('=').unwrap_or(value).trim();
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
                return Ok((path.to_owned(), value));
            }
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    let error = usage(format!("--expect-json {text:?} is not of the form <path>=<value>"));
    let error = match problem {
        Some(problem) => error.because(problem),
        None => error,
    };
    Err(error.hint("paths are those of RFC 9535, for example '$.status=healthy'"))
}

fn header_expectation(text: &str) -> Result<(String, String), StepError> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(usage(format!("--expect-header {text:?} is not of the form <name>: <value>"))
            .hint("for example 'content-type: application/json'")),
    }
}

/// Finds the placeholders whose value this run does not know, before anything is asked.
pub(crate) fn check_placeholders(checks: &[SmokeCheck], known: &Vars) -> Result<(), StepError> {
    for check in checks {
        for (placeholder, input, value) in
            [("{version}", "--release-version", &known.version), ("{sha}", "--release-sha", &known.sha)]
        {
            if value.is_none() && needs(check, placeholder) {
                return Err(usage(format!(
                    "the check {:?} speaks of {placeholder}, but there is no deployment.json to take it from",
                    check.name
                ))
                .hint(format!("give {input}, or point --artifacts at the folder of the deployment")));
            }
        }
    }
    Ok(())
}

fn needs(check: &SmokeCheck, placeholder: &str) -> bool {
    fn in_json(value: &Value, placeholder: &str) -> bool {
        match value {
            Value::String(text) => text.contains(placeholder),
            Value::Array(items) => items.iter().any(|item| in_json(item, placeholder)),
            Value::Object(fields) => fields.values().any(|field| in_json(field, placeholder)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    check.url.contains(placeholder)
        || check.expect.json.values().any(|value| in_json(value, placeholder))
        || check.expect.header.values().any(|value| value.contains(placeholder))
        || check.expect.body_contains.as_ref().is_some_and(|text| text.contains(placeholder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::json;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &[&str]) -> Args {
        Line::try_parse_from(std::iter::once("smoke-test").chain(line.iter().copied())).unwrap().args
    }

    fn only(line: &[&str]) -> Result<SmokeCheck, StepError> {
        match choose(&args(line), None)? {
            Suite::Checks(mut checks) => Ok(checks.remove(0)),
            Suite::NotConfigured => panic!("{line:?}"),
        }
    }

    #[test]
    fn one_check_by_inputs() {
        let check = only(&[
            "--url",
            "http://h/health",
            "--expect-status",
            "200",
            "--expect-status",
            "204",
            "--expect-json",
            "$.status=healthy",
            "--expect-header",
            "Content-Type: a:b",
            "--expect-body",
            "ok",
            "--max-latency",
            "500ms",
        ])
        .unwrap();
        assert_eq!(check.url, "http://h/health");
        assert_eq!(check.expect.status, [200, 204]);
        assert_eq!(check.expect.json["$.status"], json!("healthy"));
        assert_eq!(check.expect.header["content-type"], "a:b");
        assert_eq!(check.expect.body_contains.as_deref(), Some("ok"));
        assert_eq!(check.expect.latency.unwrap().as_ms(), 500);
        assert_eq!(only(&["--url", "http://h/"]).unwrap().expect, Expect::default());
    }

    #[test]
    fn json_expectations() {
        for (text, path, value) in [
            ("$.status=healthy", "$.status", json!("healthy")),
            ("$.ready=true", "$.ready", json!(true)),
            ("$.count = 3", "$.count", json!(3)),
            ("$.version=\"1.0\"", "$.version", json!("1.0")),
            ("$.version={version}", "$.version", json!("{version}")),
            ("$.a==b", "$.a", json!("=b")),
            ("$.empty=", "$.empty", json!("")),
            ("$.list=[1,\"a\"]", "$.list", json!([1, "a"])),
            ("$.items[?@.id=='a=b'].state=ok", "$.items[?@.id=='a=b'].state", json!("ok")),
        ] {
            assert_eq!(json_expectation(text).unwrap(), (path.to_owned(), value), "{text}");
        }
        for bad in ["", "$.status", "status=healthy", "$.[=x", "=x", "$..[?=1"] {
            assert_eq!(json_expectation(bad).unwrap_err().reason, Reason::UsageError, "{bad}");
        }
    }

    #[test]
    fn bad_inputs_say_what_is_right() {
        for (line, hint) in [
            (vec!["--expect-body", "x"], "[smoke.checks.expect]"),
            (vec!["--url", "", "--max-latency", "1s"], "[smoke.checks.expect]"),
            (vec!["--url", "http://h/", "--expect-header", "nothing"], "content-type"),
            (vec!["--url", "http://h/", "--interval", "0s"], "1s"),
            (vec!["--url", "http://h/", "--within", "0s"], "60s"),
            (vec![], "--url"),
        ] {
            let error = only(&line).unwrap_err();
            assert_eq!(error.reason, Reason::UsageError, "{line:?}");
            assert!(error.hints[0].contains(hint), "{line:?} {:?}", error.hints);
        }
        let twice = ["--url", "http://h/", "--expect-json", "$.a=1", "--expect-json", "$.a=2"];
        assert!(only(&twice).is_err());
    }

    #[test]
    fn nothing_configured_is_said_by_configuration_alone() {
        assert_eq!(choose(&args(&[]), Some(&[])).unwrap(), Suite::NotConfigured);
        assert!(choose(&args(&[]), None).is_err());
        let configured = [only(&["--url", "http://configured/"]).unwrap()];
        assert_eq!(choose(&args(&[]), Some(&configured)).unwrap(), Suite::Checks(configured.to_vec()));
        let Suite::Checks(chosen) = choose(&args(&["--url", "http://typed/"]), Some(&configured)).unwrap()
        else {
            panic!();
        };
        assert_eq!(chosen[0].url, "http://typed/");
    }

    #[test]
    fn placeholders_need_a_value() {
        let nothing = Vars::default();
        let known = Vars { version: Some("1.0.0".into()), sha: None };
        for (line, missing) in [
            (vec!["--url", "http://h/{version}"], Some("--release-version")),
            (vec!["--url", "http://h/{sha}"], Some("--release-sha")),
            (
                vec!["--url", "http://h/", "--expect-json", "$.a=[{\"v\":\"{version}\"}]"],
                Some("--release-version"),
            ),
            (
                vec!["--url", "http://h/", "--expect-header", "x-version: {version}"],
                Some("--release-version"),
            ),
            (vec!["--url", "http://h/", "--expect-body", "{version}"], Some("--release-version")),
            (vec!["--url", "http://h/", "--expect-body", "{other}"], None),
        ] {
            let checks = [only(&line).unwrap()];
            match (check_placeholders(&checks, &nothing), missing) {
                (Ok(()), None) => {}
                (Err(error), Some(input)) => {
                    assert_eq!(error.reason, Reason::UsageError);
                    assert!(error.hints[0].contains(input), "{line:?}");
                }
                (result, _) => panic!("{line:?} {result:?}"),
            }
            let wants_sha = line[1].contains("{sha}");
            assert_eq!(check_placeholders(&checks, &known).is_err(), wants_sha, "{line:?}");
        }
    }
}
