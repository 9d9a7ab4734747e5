//! What the user himself knows of his data, asked of what was restored. Judging is pure.

use crate::{DatabaseError, EngineError};
use async_trait::async_trait;
use kit_contract::body::{AssertionOutcome, AssertionResult};
use kit_contract::config::Assertion;
use kit_core::Context;
use std::time::Duration;

/// A server ends a statement by itself; if it does not, it is not waited for much longer.
const GRACE: Duration = Duration::from_secs(2);
/// Rows that are asked for: one more than there may be.
const ROWS: u32 = 2;

/// What the engines do differently.
#[async_trait]
pub(crate) trait Ask: Sync {
    /// What is asked, made of what the user wrote.
    fn statement(asked: &str) -> String;

    /// Runs a statement whose rows have one text each, so that it can change nothing and takes at most `limit`.
    async fn ask(
        &self,
        cx: &Context,
        sql: String,
        limit: Duration,
    ) -> Result<Vec<Option<String>>, DatabaseError>;
}

/// Asks one after the other, all of them.
pub(crate) async fn check<A: Ask>(
    cx: &Context,
    asked: &A,
    assertions: &[Assertion],
) -> Result<Vec<AssertionResult>, DatabaseError> {
    let mut results = Vec::new();
    for assertion in assertions {
        let limit = assertion.timeout.duration();
        let began = cx.clock.elapsed();
        let answer = asked.ask(cx, A::statement(&assertion.sql), limit);
        let answer = match cx.clock.timeout(limit + GRACE, answer).await {
            Ok(Err(error @ DatabaseError::Cancelled { .. })) => return Err(error),
            // One that was cut short may have an answer all the same: `SLEEP` of MariaDB has.
            Ok(Ok(_)) if cx.clock.elapsed().saturating_sub(began) >= limit => Err(too_long(assertion)),
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(why_not(&error, assertion)),
            Err(_) => Err(too_long(assertion)),
        };
        results.push(judge(assertion, answer));
    }
    Ok(results)
}

/// The user's statement inside one of ours: as a part of a query it cannot be anything else, it has one column, and
/// its value comes as text. `value`: the column `value` of `one` as text, refused if that has others beside it.
pub(crate) fn query(sql: &str, value: &str) -> String {
    let sql = sql.trim().trim_end_matches(';').trim_end();
    // A line of its own each: it may end in a comment.
    format!(
        "WITH deploy_kit_assertion (value) AS (\n{sql}\n) SELECT {value} FROM deploy_kit_assertion AS one LIMIT {ROWS}"
    )
}

fn judge(assertion: &Assertion, answer: Result<Vec<Option<String>>, String>) -> AssertionResult {
    let (outcome, why) = match answer.as_deref() {
        Ok([value]) if assertion.expect.is(value.as_deref()) => (AssertionOutcome::Passed, None),
        Ok([None]) => (AssertionOutcome::Failed, Some(format!("it gave NULL, not {}", assertion.expect))),
        Ok([Some(_)]) => {
            (AssertionOutcome::Failed, Some(format!("it gave another value than {}", assertion.expect)))
        }
        Ok([]) => (AssertionOutcome::Unavailable, Some("it gave no row".to_owned())),
        Ok(_) => (AssertionOutcome::Unavailable, Some("it gave more than one row".to_owned())),
        Err(why) => (AssertionOutcome::Unavailable, Some(why.clone())),
    };
    AssertionResult { name: assertion.name.clone(), outcome, why }
}

fn too_long(assertion: &Assertion) -> String {
    format!("it took longer than {}", assertion.timeout)
}

/// Why nothing was answered. What an engine says of the statement is told; what it says while it runs may quote rows.
fn why_not(error: &DatabaseError, assertion: &Assertion) -> String {
    match error {
        DatabaseError::Unreachable { source: EngineError { text, code: Some(code) }, .. } => match &**code {
            // query_canceled; MariaDB's ER_STATEMENT_TIMEOUT.
            "57014" | "70100" => too_long(assertion),
            // Syntax error or access rule violation; SQLITE_ERROR.
            code if code.starts_with("42") || code == "1" => text.to_string(),
            code => format!("it failed with code {code}"),
        },
        DatabaseError::NoAnswer { .. } => too_long(assertion),
        error => error.to_string(),
    }
}

/// What keeps the assertions from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// At least one does not hold.
    Failed(String),
    /// None failed, and at least one could not be asked.
    Unavailable(String),
}

/// `None` if all of them hold, or there is none.
pub fn unmet(results: &[AssertionResult]) -> Option<Unmet> {
    let those = |wanted: fn(AssertionOutcome) -> bool| {
        let text = |result: &AssertionResult| match &result.why {
            Some(why) => format!("{} ({why})", result.name),
            None => result.name.to_string(),
        };
        let found: Vec<String> = results.iter().filter(|result| wanted(result.outcome)).map(text).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    if let Some(failed) = those(|outcome| outcome == AssertionOutcome::Failed) {
        return Some(Unmet::Failed(format!("assertions that do not hold: {failed}")));
    }
    let unknown =
        those(|outcome| matches!(outcome, AssertionOutcome::Unavailable | AssertionOutcome::Unknown));
    unknown.map(|unknown| Unmet::Unavailable(format!("assertions that could not be asked: {unknown}")))
}

/// What is written down where nothing was restored that could be asked.
pub fn not_asked(assertions: &[Assertion], why: &str) -> Vec<AssertionResult> {
    let result = |assertion: &Assertion| AssertionResult {
        name: assertion.name.clone(),
        outcome: AssertionOutcome::Unavailable,
        why: Some(why.to_owned()),
    };
    assertions.iter().map(result).collect()
}

/// A table for the job summary, as Markdown; nothing if there is none.
pub fn in_a_summary(database: &str, results: &[AssertionResult]) -> String {
    if results.is_empty() {
        return String::new();
    }
    let mut text = format!("\n| assertion on {database} | outcome |\n|---|---|\n");
    for result in results {
        let outcome = match result.outcome {
            AssertionOutcome::Passed => "passed",
            AssertionOutcome::Failed => "failed",
            AssertionOutcome::Unavailable => "unavailable",
            AssertionOutcome::Unknown => "unknown",
        };
        text.push_str(&format!("| {} | {outcome} |\n", result.name));
    }
    text
}

/// In a line, for people; `None` if there is none.
pub fn in_a_line(results: &[AssertionResult]) -> Option<String> {
    let passed = results.iter().filter(|result| result.outcome == AssertionOutcome::Passed).count();
    match results.len() {
        0 => None,
        all if all == passed => Some(format!("assertions: all {all} hold")),
        all => Some(format!("assertions: {passed} of {all} hold")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kit_contract::config::{Expected, Span};

    /// One whose answer must be 0 and that may take a second.
    pub(crate) fn none(name: &str, sql: &str) -> Assertion {
        Assertion {
            name: name.parse().unwrap(),
            sql: sql.to_owned(),
            expect: Expected::Number(0),
            timeout: Span::from_secs(1),
        }
    }

    /// `name: outcome (why)`, one per line.
    pub(crate) fn told(results: &[AssertionResult]) -> String {
        let line = |result: &AssertionResult| {
            let why = result.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("{}: {:?}{why}", result.name, result.outcome)
        };
        results.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn assertion(expect: Expected) -> Assertion {
        Assertion { expect, ..none("paid", "SELECT 1") }
    }

    #[test]
    fn a_statement_is_part_of_a_query() {
        assert_eq!(
            query(" SELECT count(*) FROM a -- all ;\n; ;", "value"),
            "WITH deploy_kit_assertion (value) AS (\nSELECT count(*) FROM a -- all ;\n;\n) SELECT value FROM \
             deploy_kit_assertion AS one LIMIT 2",
            "what is left of a second statement is a syntax error"
        );
        assert!(query("SELECT 1;", "value").contains("(\nSELECT 1\n)"));
    }

    #[test]
    fn only_the_right_answer_passes_and_no_value_is_told() {
        let one = assertion(Expected::Number(0));
        let value = |text: &str| Some(text.to_owned());
        for (answer, outcome, says) in [
            (Ok(vec![value("0")]), AssertionOutcome::Passed, ""),
            (Ok(vec![value("4711")]), AssertionOutcome::Failed, "it gave another value than 0"),
            (Ok(vec![None]), AssertionOutcome::Failed, "it gave NULL, not 0"),
            (Ok(vec![]), AssertionOutcome::Unavailable, "it gave no row"),
            (Ok(vec![value("0"), value("0")]), AssertionOutcome::Unavailable, "it gave more than one row"),
            (Err("no such table: a".to_owned()), AssertionOutcome::Unavailable, "no such table: a"),
        ] {
            let result = judge(&one, answer);
            assert_eq!((result.outcome, result.why.as_deref().unwrap_or_default()), (outcome, says));
        }
    }

    #[test]
    fn what_may_quote_rows_is_not_repeated() {
        let one = assertion(Expected::Truth(true));
        let error = |code: Option<&str>| DatabaseError::Unreachable {
            action: "ask",
            database: "d".to_owned(),
            source: EngineError { text: "about ada@example.com".into(), code: code.map(Into::into) },
        };
        for (code, says) in [
            (Some("22P02"), "it failed with code 22P02"),
            (Some("42P01"), "about ada@example.com"),
            (Some("1"), "about ada@example.com"),
            (Some("11"), "it failed with code 11"),
            (Some("57014"), "it took longer than 1s"),
            (None, "cannot ask d"),
        ] {
            assert_eq!(why_not(&error(code), &one), says, "{code:?}");
        }
    }

    #[test]
    fn one_that_fails_outweighs_one_that_is_unknown() {
        let result = |name: &str, outcome| AssertionResult {
            name: name.parse().unwrap(),
            outcome,
            why: Some("why".to_owned()),
        };
        use AssertionOutcome::{Failed, Passed, Unavailable, Unknown};
        assert_eq!(unmet(&[]), None);
        assert_eq!(unmet(&[result("a", Passed)]), None);
        let text = "assertions that could not be asked: b (why), c (why)".to_owned();
        let found = [result("a", Passed), result("b", Unavailable), result("c", Unknown)];
        assert_eq!(unmet(&found), Some(Unmet::Unavailable(text)));
        let text = "assertions that do not hold: b (why)".to_owned();
        assert_eq!(unmet(&[result("a", Unavailable), result("b", Failed)]), Some(Unmet::Failed(text)));
        assert_eq!(in_a_line(&found).as_deref(), Some("assertions: 1 of 3 hold"));
        assert_eq!(in_a_line(&found[..1]).as_deref(), Some("assertions: all 1 hold"));
        assert_eq!(in_a_line(&[]), None);
    }
}
