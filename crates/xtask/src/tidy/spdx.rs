//! SPDX licence expressions, enough of them to ask whether a list of licences satisfies one.
//!
//! Grammar: SPDX specification 2.3, annex D. `WITH` binds before `AND`, `AND` before `OR`. The slash of older
//! crates (`MIT/Apache-2.0`) is read as `OR`.

/// Why a text is no expression.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpdxError {
    #[error("a licence is missing at the end")]
    Ends,
    #[error("`{0}` is not expected here")]
    Unexpected(String),
    #[error("a parenthesis is not closed")]
    Open,
}

/// Whether the licences that `allowed` accepts are enough. It is asked for `A` and for `A WITH B`; the
/// plus of `A+`, which means this version or a later one, is dropped, since this version is enough.
pub(crate) fn satisfied(expression: &str, allowed: impl Fn(&str) -> bool) -> Result<bool, SpdxError> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, allowed: &allowed };
    let satisfied = reader.any()?;
    match reader.tokens.first() {
        None => Ok(satisfied),
        Some(rest) => Err(SpdxError::Unexpected((*rest).to_owned())),
    }
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_if(&mut self, word: &str) -> bool {
        let found = self.tokens.first() == Some(&word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    // Both sides are always read, so that a fault behind a satisfied part is still seen.
    fn any(&mut self) -> Result<bool, SpdxError> {
        let mut satisfied = self.all()?;
        while self.take_if("OR") {
            satisfied |= self.all()?;
        }
        Ok(satisfied)
    }

    fn all(&mut self) -> Result<bool, SpdxError> {
        let mut satisfied = self.one()?;
        while self.take_if("AND") {
            satisfied &= self.one()?;
        }
        Ok(satisfied)
    }

    fn one(&mut self) -> Result<bool, SpdxError> {
        if self.take_if("(") {
            let satisfied = self.any()?;
            return if self.take_if(")") { Ok(satisfied) } else { Err(SpdxError::Open) };
        }
        let licence = self.name()?;
        let licence = licence.strip_suffix('+').unwrap_or(licence);
        if self.take_if("WITH") {
            let exception = self.name()?;
            return Ok((self.allowed)(&format!("{licence} WITH {exception}")));
        }
        Ok((self.allowed)(licence))
    }

    fn name(&mut self) -> Result<&'a str, SpdxError> {
        match self.take().ok_or(SpdxError::Ends)? {
            word @ ("AND" | "OR" | "WITH" | "(" | ")") => Err(SpdxError::Unexpected(word.to_owned())),
            name => Ok(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str) -> Result<bool, SpdxError> {
        satisfied(expression, |licence| ["A", "B", "A WITH X"].contains(&licence))
    }

    #[test]
    fn expressions_are_evaluated_by_precedence() {
        for (expression, expected) in [
            ("A", true),
            ("C", false),
            ("A OR C", true),
            ("A AND C", false),
            ("C OR A AND B", true),
            ("A OR B AND C", true),
            ("(A OR B) AND C", false),
            ("C AND (A OR B)", false),
            ("(C OR (A))AND(B)", true),
            ("A WITH X", true),
            ("B WITH X", false),
            ("C OR A WITH X AND B", true),
            ("A WITH Y OR C", false),
            ("C/A", true),
            ("C/D", false),
            ("C / A", true),
            ("A+", true),
            ("C+", false),
        ] {
            assert_eq!(check(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn faults_are_errors_even_behind_a_satisfied_part() {
        for expression in ["", "A OR", "AND A", "A B", "(A", "A)", "A WITH", "A OR (C AND)", "A or B", "()"] {
            assert!(check(expression).is_err(), "{expression}");
        }
    }
}
