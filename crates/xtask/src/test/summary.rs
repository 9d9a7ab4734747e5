//! The table at the end of `cargo xtask test`.

use std::fmt::Write as _;

/// How one part ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) part: String,
    pub(crate) seconds: f64,
    pub(crate) passed: bool,
}

/// One line per part, and a last line that says what failed or that nothing did.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = format!("{:<10}{:>9}  result\n", "part", "seconds");
    for Outcome { part, seconds, passed } in outcomes {
        let result = if *passed { "ok" } else { "FAILED" };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{part:<10}{seconds:>9.1}  {result}");
    }
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.part.as_str()).collect();
    let verdict =
        if failed.is_empty() { "all ok".to_owned() } else { format!("FAILED: {}", failed.join(", ")) };
    let _ = writeln!(table, "{:<10}{seconds:>9.1}  {verdict}", "total");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(part: &str, seconds: f64, passed: bool) -> Outcome {
        Outcome { part: part.to_owned(), seconds, passed }
    }

    #[test]
    fn names_what_failed() {
        let table = table(&[outcome("fmt", 0.44, true), outcome("clippy", 61.0, false)]);
        assert_eq!(
            table,
            "part        seconds  result\n\
             fmt             0.4  ok\n\
             clippy         61.0  FAILED\n\
             total          61.4  FAILED: clippy\n"
        );
    }

    #[test]
    fn says_when_all_is_well() {
        assert!(table(&[outcome("fmt", 1.0, true)]).ends_with("all ok\n"));
    }
}
