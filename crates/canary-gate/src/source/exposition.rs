//! Prometheus' text format, as far as counters need it. Pure.
//!
//! The format is a dozen lines of grammar (<https://prometheus.io/docs/instrumenting/exposition_formats/>);
//! the crates that read it keep whole families in types of their own, of which nothing is needed here.

use super::selector::quoted;
use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Reads a page.
///
/// # Errors
/// The number of the first line that is not of this format. A page that breaks off is no page.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(at, line)| sample(line).ok_or_else(|| format!("line {} is no metric", at + 1)))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let mut rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            labels.insert(label.trim().to_owned(), value);
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
    }
    // A time, and in OpenMetrics an exemplar, may follow.
    let value = rest.split_whitespace().next()?;
    let value = match value {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        let page = "# HELP requests_total How many.\n# TYPE requests_total counter\n\
                    requests_total{code=\"200\",path=\"/a \\\"b\\\" {c}\"} 1027 1395066363000\n\
                    requests_total{code=\"500\",} 3\n\n\
                    up 1\nlatency_bucket{le=\"+Inf\"} 1.5e3 # {trace=\"x\"} 0.5\nodd NaN\n";
        let samples = parse(page).unwrap();
        let shown: Vec<(&str, usize, f64)> =
            samples.iter().map(|sample| (sample.name.as_str(), sample.labels.len(), sample.value)).collect();
        assert_eq!(
            shown[..4],
            [
                ("requests_total", 2, 1027.0),
                ("requests_total", 1, 3.0),
                ("up", 0, 1.0),
                ("latency_bucket", 1, 1500.0)
            ]
        );
        assert_eq!(samples[0].labels["path"], "/a \"b\" {c}");
        assert!(samples[4].value.is_nan(), "left to whoever reads it");
    }

    #[test]
    fn what_breaks_off_is_no_page() {
        for (page, line) in [
            ("a 1\nrequests_total{code=\"200\"", 2),
            ("a 1\nrequests_total{code=\"20", 2),
            ("<html>", 1),
            ("a", 1),
            ("a one", 1),
            ("{\"status\": \"ok\"}", 1),
        ] {
            assert_eq!(parse(page), Err(format!("line {line} is no metric")), "{page}");
        }
    }
}
