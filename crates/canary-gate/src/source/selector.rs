//! Selectors of metrics, as Prometheus has them: a name, and matchers of labels. Pure.

use regex::Regex;
use std::collections::BTreeMap;

/// What a label must be like.
#[derive(Clone, Debug)]
enum Matcher {
    Is(String),
    IsNot(String),
    Like(Regex),
    NotLike(Regex),
}

impl Matcher {
    /// A label that is not there counts as empty.
    fn admits(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::IsNot(unwanted) => value != unwanted,
            Self::Like(pattern) => pattern.is_match(value),
            Self::NotLike(pattern) => !pattern.is_match(value),
        }
    }
}

/// One selector.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    name: String,
    labels: Vec<(String, Matcher)>,
    text: String,
}

impl Selector {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, for people: a function, an aggregation and a range are no selectors.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "{text:?} {what}: write a metric's name with matchers, as `http_requests_total{{code=~\"5..\"}}`, \
                 without function, aggregation and range"
            )
        };
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')));
        let (name, rest) = trimmed.split_at(end.unwrap_or(trimmed.len()));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(wrong("does not begin with the name of a metric"));
        }
        let rest = rest.trim();
        let labels = match rest.strip_prefix('{').map(|rest| rest.strip_suffix('}')) {
            None if rest.is_empty() => Vec::new(),
            Some(Some(inside)) => matchers(inside).map_err(|what| wrong(&what))?,
            _ => return Err(wrong("is no selector")),
        };
        Ok(Self { name: name.to_owned(), labels, text: trimmed.to_owned() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As it is sent to a server.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn admits(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let admits = |(label, matcher): &(String, Matcher)| {
            matcher.admits(labels.get(label).map(String::as_str).unwrap_or_default())
        };
        name == self.name && self.labels.iter().all(admits)
    }
}

fn matchers(inside: &str) -> Result<Vec<(String, Matcher)>, String> {
    let mut found = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (label, after) = rest.split_at(end);
        let operators = ["=~", "!~", "!=", "="];
        let after = after.trim_start();
        let operator = operators.iter().find(|operator| after.starts_with(**operator));
        let (Some(operator), false) = (operator, label.is_empty()) else {
            return Err(format!("has no matcher at {rest:?}"));
        };
        let (value, after) = quoted(after.get(operator.len()..).unwrap_or_default().trim_start())
            .ok_or_else(|| format!("has no quoted value for {label:?}"))?;
        let pattern = || {
            // Patterns of Prometheus match whole values.
            Regex::new(&format!("^(?s:{value})$"))
                .map_err(|_| format!("has a pattern for {label:?} that is none"))
        };
        found.push((
            label.to_owned(),
            match *operator {
                "=~" => Matcher::Like(pattern()?),
                "!~" => Matcher::NotLike(pattern()?),
                "!=" => Matcher::IsNot(value.clone()),
                _ => Matcher::Is(value.clone()),
            },
        ));
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return Err(format!("goes on at {rest:?}")),
        };
    }
    Ok(found)
}

/// What stands in double quotes at the start, and what follows.
pub(crate) fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, inside.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn matchers_are_those_of_prometheus() {
        let request = labels(&[("code", "503"), ("version", "2.0.0"), ("path", "/a,}\"b")]);
        for (selector, admitted) in [
            ("requests_total", true),
            ("requests_total{}", true),
            ("other_total", false),
            (r#"requests_total{code="503"}"#, true),
            (r#"requests_total{ code =~ "5.." , version!="1.0.0", }"#, true),
            (r#"requests_total{code=~"5"}"#, false),
            (r#"requests_total{code=~"4..|5.."}"#, true),
            (r#"requests_total{code!~"5.."}"#, false),
            (r#"requests_total{zone=""}"#, true),
            (r#"requests_total{zone!=""}"#, false),
            (r#"requests_total{path="/a,}\"b"}"#, true),
        ] {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.admits("requests_total", &request), admitted, "{selector}");
            assert_eq!(parsed.text(), selector);
        }
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for (text, what) in [
            ("", "does not begin with the name"),
            ("sum(rate(x[1m]))", "is no selector"),
            ("x[5m]", "is no selector"),
            ("x{a=\"b\"}[5m]", "is no selector"),
            ("x{a=b}", "has no quoted value for \"a\""),
            ("x{=\"b\"}", "has no matcher"),
            ("x{a=\"b\" c=\"d\"}", "goes on at"),
            ("x{a=~\"(\"}", "has a pattern for \"a\""),
            ("1x", "does not begin"),
            ("a + b", "is no selector"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
