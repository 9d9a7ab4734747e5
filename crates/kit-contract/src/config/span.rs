//! Lengths of time as people write them: `"500ms"`, `"10s"`, `"5m"`, `"1h 30m"`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A length of time, at most 30 days. Written with units; a bare number is refused, because nobody
/// can see whether it means seconds or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

crate::schema::text_schema!(Span, r"^\s*([0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*)+$");

/// The text is not a length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a length of time: write it with units, for example \"500ms\", \"10s\", \"5m\" or \"1h 30m\""
)]
pub struct ParseSpanError(String);

const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

impl Span {
    /// A length of whole milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// A length of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// True for no time at all.
    pub const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// In whole milliseconds.
    pub fn as_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = ParseSpanError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseSpanError(text.chars().take(40).collect());
        let span: jiff::Span = text.trim().parse().map_err(|_| fail())?;
        // Of calendars only days are known here, and all are alike.
        let signed = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| fail())?;
        let duration = Duration::try_from(signed).map_err(|_| fail())?;
        if duration > LONGEST { Err(fail()) } else { Ok(Self(duration)) }
    }
}

impl TryFrom<String> for Span {
    type Error = ParseSpanError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total_ms = self.as_ms();
        if total_ms == 0 {
            return f.write_str("0s");
        }
        let parts = [
            (total_ms / 3_600_000, "h"),
            (total_ms / 60_000 % 60, "m"),
            (total_ms / 1_000 % 60, "s"),
            (total_ms % 1_000, "ms"),
        ];
        let mut space = "";
        for (amount, unit) in parts.into_iter().filter(|(amount, _)| *amount > 0) {
            write!(f, "{space}{amount}{unit}")?;
            space = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn reads_what_people_write_and_prints_it_back() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
            ("1s 250ms", 1_250),
            ("30d", 2_592_000_000),
            ("1d 12h", 129_600_000),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.as_ms(), ms, "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text}");
        }
        for bad in ["", "5", "-5s", "5 parsecs", "31 days", "1 month", "99999999h", "5m5"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
