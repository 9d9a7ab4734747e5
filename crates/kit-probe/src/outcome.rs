//! What a probe came to.

use std::net::SocketAddr;

/// What one probe came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer came, whatever it says.
    Answer(Answer),
    /// No whole answer came. Never healthy.
    NoAnswer(NoAnswer),
    /// The step was cancelled; nothing is known.
    Cancelled,
}

impl Outcome {
    /// True if something that answers for the service was reached: the head of an HTTP answer came,
    /// or something that is not HTTP. False where the network, a firewall or a refused handshake may
    /// be all that was met: then nothing is known about the release.
    pub fn reached(&self) -> bool {
        match self {
            Self::Answer(_) => true,
            Self::NoAnswer(none) => none.status.is_some() || none.kind == NoAnswerKind::Protocol,
            Self::Cancelled => false,
        }
    }
}

/// An HTTP answer.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// Status, 100 to 599 of any server that keeps to HTTP.
    pub status: u16,
    /// Headers in the order in which they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, at most [`BODY_LIMIT_BYTES`](crate::BODY_LIMIT_BYTES).
    pub body: Vec<u8>,
    /// True if the body is longer than that. The rest was not read.
    pub body_truncated: bool,
    /// From the start of the probe to the end of the answer's head, with name look-up, connection
    /// and handshake.
    pub ttfb_ms: f64,
    /// From the start of the probe to the last byte that was read.
    pub latency_ms: f64,
    /// Who answered; behind a proxy, the proxy.
    pub remote_addr: Option<SocketAddr>,
}

impl Answer {
    /// The value of a header. Several of one name are one list, as RFC 9110, 5.3 has it: no one of
    /// them can pass for all.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }
}

/// Without headers and body: both may hold secrets.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("body_truncated", &self.body_truncated)
            .field("ttfb_ms", &self.ttfb_ms)
            .field("latency_ms", &self.latency_ms)
            .field("remote_addr", &self.remote_addr)
            .finish()
    }
}

/// Why no whole answer came.
#[derive(Clone, Debug, PartialEq)]
pub struct NoAnswer {
    /// What kind of failure it was.
    pub kind: NoAnswerKind,
    /// What happened, for people: one line, without address, credentials and query.
    pub message: String,
    /// The status, if the head of an answer came and its body did not end.
    pub status: Option<u16>,
    /// How long the probe took.
    pub after_ms: f64,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoAnswerKind {
    /// The name could not be resolved.
    Dns,
    /// Nobody listens there.
    Refused,
    /// The time ran out.
    Timeout,
    /// No secure connection came about: certificate, version, or a peer that does not speak TLS.
    Tls,
    /// The connection was reset or closed before the answer was whole.
    Reset,
    /// Something answered, and it was not HTTP.
    Protocol,
    /// Anything else, for example no route to the host.
    Other,
}

impl NoAnswerKind {
    /// A stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// What happened, for people.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Dns => "the name cannot be resolved",
            Self::Refused => "the connection was refused",
            Self::Timeout => "the time ran out",
            Self::Tls => "no secure connection came about",
            Self::Reset => "the connection was closed before the answer was whole",
            Self::Protocol => "what answered does not speak HTTP",
            Self::Other => "no answer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_spoke_was_reached() {
        let none = |kind, status| {
            Outcome::NoAnswer(NoAnswer { kind, message: String::new(), status, after_ms: 0.0 })
        };
        for (outcome, reached) in [
            (none(NoAnswerKind::Dns, None), false),
            (none(NoAnswerKind::Refused, None), false),
            (none(NoAnswerKind::Timeout, None), false),
            (none(NoAnswerKind::Timeout, Some(200)), true),
            (none(NoAnswerKind::Tls, None), false),
            (none(NoAnswerKind::Reset, None), false),
            (none(NoAnswerKind::Reset, Some(200)), true),
            (none(NoAnswerKind::Protocol, None), true),
            (none(NoAnswerKind::Other, None), false),
            (Outcome::Cancelled, false),
        ] {
            assert_eq!(outcome.reached(), reached, "{outcome:?}");
        }
    }
}
