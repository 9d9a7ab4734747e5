//! What was seen: one tick holds everything that came in since the tick before.

use kit_contract::Name;
use serde::{Deserialize, Serialize};

/// One side of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The new version.
    Canary,
    /// The version that serves now.
    Baseline,
}

impl Arm {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Baseline => "baseline",
        }
    }
}

/// What one probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An answer with a status of 200 to 299. The only one that is no failure.
    Ok,
    /// A status of 300 to 399: whoever answered sent the probe elsewhere.
    Redirect,
    /// A status of 400 to 499.
    ClientError,
    /// Any other status.
    ServerError,
    /// The head of an answer came, and not the whole body.
    Incomplete,
    /// What answered does not speak HTTP.
    Protocol,
    /// No answer in time.
    Timeout,
    /// Nobody listens there.
    Refused,
    /// The name could not be resolved.
    Dns,
    /// No secure connection came about.
    Tls,
    /// The connection was closed before any answer.
    Reset,
    /// No answer for another reason, for example no route.
    Other,
}

impl Kind {
    /// True for everything that is not the answer asked for.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Ok)
    }

    /// True if something that answers for the service was reached. False where the network or a
    /// firewall may be all that was met.
    pub const fn is_reached(self) -> bool {
        matches!(
            self,
            Self::Ok
                | Self::Redirect
                | Self::ClientError
                | Self::ServerError
                | Self::Incomplete
                | Self::Protocol
        )
    }

    /// True for what a version that is down gives: no whole answer, or a server error.
    pub const fn is_dark(self) -> bool {
        !matches!(self, Self::Ok | Self::Redirect | Self::ClientError)
    }

    /// The word for it, as the file of ticks has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Incomplete => "incomplete",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Other => "other",
        }
    }
}

/// One probe that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What it came to.
    pub kind: Kind,
    /// When it was sent, in ms since the stage began. Probes of one round share this value.
    pub sent_ms: u64,
    /// Time until its outcome was known, in ms, to the microsecond.
    pub latency_ms: f64,
}

/// What was counted over a span of time, by somebody who saw the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// End of the span, in ms since the stage began. It begins where the one before it ended.
    pub until_ms: u64,
    /// Requests that came to an end.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// How long requests took, if that was counted as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latencies: Option<Latencies>,
}

/// Numbers of requests by how long they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// Upper limits of the buckets in ms, ascending, without the last, which has none.
    pub upper_ms: Vec<f64>,
    /// Requests per bucket: one number more than there are limits.
    pub counts: Vec<u64>,
}

/// What came in on one arm of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmTick {
    /// The service.
    pub service: Name,
    /// The arm.
    pub arm: Arm,
    /// Probes that are over, in the order in which they ended.
    pub samples: Vec<Sample>,
    /// Probes that are under way.
    pub pending: u64,
    /// What others counted, in the order of time.
    pub counts: Vec<Counts>,
}

impl ArmTick {
    /// True if something that answers for this arm was reached.
    pub(crate) fn is_reached(&self) -> bool {
        self.samples.iter().any(|sample| sample.kind.is_reached())
            || self.counts.iter().any(|counts| counts.requests > 0)
    }
}

/// Everything that came in since the tick before.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// When it was closed, in ms since the stage began.
    pub t_ms: u64,
    /// One per arm of each service; the order does not matter.
    pub arms: Vec<ArmTick>,
}

/// Milliseconds to the microsecond. Such values are the same after a trip through JSON.
pub(crate) fn to_us(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_is_healthy_and_what_never_answered_was_not_reached() {
        use Kind::{
            ClientError, Dns, Incomplete, Ok, Other, Protocol, Redirect, Refused, Reset, ServerError,
            Timeout, Tls,
        };
        for (kind, failure, reached, dark) in [
            (Ok, false, true, false),
            (Redirect, true, true, false),
            (ClientError, true, true, false),
            (ServerError, true, true, true),
            (Incomplete, true, true, true),
            (Protocol, true, true, true),
            (Timeout, true, false, true),
            (Refused, true, false, true),
            (Dns, true, false, true),
            (Tls, true, false, true),
            (Reset, true, false, true),
            (Other, true, false, true),
        ] {
            assert_eq!((kind.is_failure(), kind.is_reached(), kind.is_dark()), (failure, reached, dark));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
