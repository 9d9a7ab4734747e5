//! The result as JUnit XML, which CI systems show. Pure.
//!
//! The form is the one that Jenkins, GitLab and the usual actions read; there is no standard.

use crate::verdict::{passed, problem};
use kit_contract::body::{Smoke, SmokeAttempt, SmokeCheck, SmokeOutcome};
use std::fmt::Write as _;

/// The name of the file, next to the artifact.
pub(crate) const FILE: &str = "smoke.junit.xml";

/// The file's text. `suite` names the run, for example `shop/production`.
pub(crate) fn render(suite: &str, smoke: &Smoke) -> String {
    let number = |wanted: fn(&SmokeCheck) -> bool| smoke.checks.iter().filter(|check| wanted(check)).count();
    let tests = smoke.checks.len();
    let failures = number(|check| tag(check) == Some("failure"));
    let errors = number(|check| tag(check) == Some("error"));
    let skipped = number(|check| tag(check) == Some("skipped"));
    let counts =
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"");
    let suite = escape(suite);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"smoke-test\" {counts}>\n  <testsuite name=\"{suite}\" {counts}>\n"
    );
    for check in &smoke.checks {
        // Writing to a String cannot fail.
        let _ = write!(
            xml,
            "    <testcase name=\"{}\" classname=\"{suite}\" time=\"{:.3}\"",
            escape(&check.name),
            seconds(check)
        );
        match tag(check) {
            None => xml.push_str("/>\n"),
            Some(tag) => {
                let message = escape(problem(check).unwrap_or("it was never asked"));
                let log = escape(&log(check));
                let _ = write!(xml, ">\n      <{tag} message=\"{message}\">{log}</{tag}>\n    </testcase>\n");
            }
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Readers show a `failure` as "the answer was wrong", an `error` as "there was none"; what does not
/// count must not be shown as either.
fn tag(check: &SmokeCheck) -> Option<&'static str> {
    if passed(check) {
        None
    } else if check.advisory {
        Some("skipped")
    } else if check.outcome == SmokeOutcome::Unreachable {
        Some("error")
    } else {
        Some("failure")
    }
}

/// From the start of the step to the end of the last try.
fn seconds(check: &SmokeCheck) -> f64 {
    let end_ms = |attempt: &SmokeAttempt| {
        std::time::Duration::from_millis(attempt.after_ms).as_secs_f64() * 1000.0
            + attempt.latency_ms.unwrap_or_default()
    };
    check.attempts.last().map(end_ms).unwrap_or_default() / 1000.0
}

fn log(check: &SmokeCheck) -> String {
    let mut log = format!("{}\n", check.target);
    for attempt in &check.attempts {
        let said = attempt.problem.as_deref().unwrap_or("passed");
        let _ = writeln!(log, "after {} ms: {said}", attempt.after_ms);
    }
    log
}

/// Text for an attribute or between tags. XML 1.0 has no way to write most control characters, so
/// they are replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(name: &str, outcome: SmokeOutcome, advisory: bool, problem: Option<&str>) -> SmokeCheck {
        SmokeCheck {
            name: name.to_owned(),
            target: "GET http://h/".to_owned(),
            advisory,
            outcome,
            attempts: vec![SmokeAttempt {
                after_ms: 2000,
                latency_ms: Some(250.0),
                status: None,
                problem: problem.map(str::to_owned),
                reached: true,
            }],
            attempts_total: 1,
        }
    }

    #[test]
    fn every_outcome_has_its_element() {
        let smoke = Smoke {
            checks: vec![
                check("home", SmokeOutcome::Pass, false, None),
                check("cart \"<&'>", SmokeOutcome::Fail, false, Some("body: \u{1b}<oops> & more")),
                check("search", SmokeOutcome::Unreachable, false, Some("refused")),
                check("extra", SmokeOutcome::Fail, true, Some("slow")),
            ],
            deadline_ms: 60_000,
        };
        assert_eq!(
            render("shop/production", &smoke),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="smoke-test" tests="4" failures="1" errors="1" skipped="1">
  <testsuite name="shop/production" tests="4" failures="1" errors="1" skipped="1">
    <testcase name="home" classname="shop/production" time="2.250"/>
    <testcase name="cart &quot;&lt;&amp;&apos;&gt;" classname="shop/production" time="2.250">
      <failure message="body: �&lt;oops&gt; &amp; more">GET http://h/&#10;after 2000 ms: body: �&lt;oops&gt; &amp; more&#10;</failure>
    </testcase>
    <testcase name="search" classname="shop/production" time="2.250">
      <error message="refused">GET http://h/&#10;after 2000 ms: refused&#10;</error>
    </testcase>
    <testcase name="extra" classname="shop/production" time="2.250">
      <skipped message="slow">GET http://h/&#10;after 2000 ms: slow&#10;</skipped>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\n']));
            prop_assert!(!escaped.chars().any(char::is_control));
        }
    }
}
