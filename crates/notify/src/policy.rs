//! Pure: what follows from one try to deliver?
//!
//! What may have arrived is sent again only to receivers that can tell. A Slack webhook cannot: two posts
//! are two posts. A webhook with an id can.

use kit_contract::body::ChannelOutcome;
use std::time::Duration;

/// A channel that asks for a longer pause is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Pause after a 429 that does not say how long.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// The channel answered.
    Answered {
        /// Its status.
        status: u16,
        /// False if a status of success came with a body that says otherwise.
        confirmed: bool,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing was sent: no name, no connection, no handshake.
    NotSent,
    /// Something may have been sent, and no answer came.
    Unclear,
}

/// What was settled before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Tries so far, this one included; at least 1.
    pub(crate) attempts: u32,
    /// True if an earlier try may have arrived.
    pub(crate) may_have_arrived: bool,
    /// True if the receiver can tell that it has a message already.
    pub(crate) can_tell: bool,
    /// Time left.
    pub(crate) left: Duration,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// That was it.
    Done(ChannelOutcome),
    /// Wait, then try again.
    Again(Duration),
}

/// Decides.
pub(crate) fn next(tried: &Tried, standing: Standing) -> Next {
    let (outcome, pause) = match *tried {
        Tried::Answered { status: 200..=299, confirmed: true, .. } => {
            return Next::Done(ChannelOutcome::Delivered);
        }
        Tried::Answered { status: 200..=299, .. } => return Next::Done(ChannelOutcome::Ambiguous),
        Tried::Answered { status: 429, retry_after, .. } => {
            (ChannelOutcome::Throttled, Some(retry_after.unwrap_or(THROTTLED_PAUSE)))
        }
        Tried::Answered { status: 500.., retry_after, .. } => {
            (ChannelOutcome::Ambiguous, retry(standing, retry_after))
        }
        // Redirects are not followed: the address is a secret, and nobody vouches for the next one.
        Tried::Answered { .. } => return Next::Done(ChannelOutcome::Rejected),
        Tried::NotSent => (ChannelOutcome::Unreachable, Some(backoff(standing.attempts))),
        Tried::Unclear => (ChannelOutcome::Ambiguous, retry(standing, None)),
    };
    match pause.filter(|pause| *pause <= LONGEST_PAUSE && *pause < standing.left) {
        Some(pause) => Next::Again(pause),
        None if standing.may_have_arrived => Next::Done(ChannelOutcome::Ambiguous),
        None => Next::Done(outcome),
    }
}

/// True if what was sent in this try may have arrived.
pub(crate) const fn may_have_arrived(tried: &Tried) -> bool {
    matches!(tried, Tried::Unclear | Tried::Answered { status: 500.., .. })
}

fn retry(standing: Standing, retry_after: Option<Duration>) -> Option<Duration> {
    standing.can_tell.then(|| retry_after.unwrap_or_else(|| backoff(standing.attempts)))
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(8);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_BACKOFF)
}

/// How long a `Retry-After` asks to wait: seconds or a date (RFC 9110, 10.2.3). `None` if it is neither.
pub(crate) fn retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // A date that has passed means now.
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChannelOutcome::{Ambiguous, Delivered, Rejected, Throttled, Unreachable};
    use Next::{Again, Done};

    const fn answered(status: u16) -> Tried {
        Tried::Answered { status, confirmed: true, retry_after: None }
    }

    fn throttled(seconds: u64) -> Tried {
        Tried::Answered { status: 429, confirmed: true, retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn the_table() {
        let ms = Duration::from_millis;
        let unconfirmed = Tried::Answered { status: 200, confirmed: false, retry_after: None };
        let slack = Standing { attempts: 1, may_have_arrived: false, can_tell: false, left: ms(30_000) };
        let webhook = Standing { can_tell: true, ..slack };
        let late = Standing { left: ms(100), ..webhook };
        let table = [
            ("taken", answered(200), slack, Done(Delivered)),
            ("taken, 202", answered(202), webhook, Done(Delivered)),
            ("success that says otherwise", unconfirmed, slack, Done(Ambiguous)),
            ("redirect", answered(302), webhook, Done(Rejected)),
            ("refused", answered(404), webhook, Done(Rejected)),
            ("gone", answered(410), slack, Done(Rejected)),
            ("slow down", throttled(2), slack, Again(ms(2000))),
            ("slow down, now", throttled(0), slack, Again(ms(0))),
            ("slow down, no word how long", answered(429), slack, Again(ms(1000))),
            ("slow down, longer than there is time", throttled(30), slack, Done(Throttled)),
            ("slow down, too long", throttled(61), Standing { left: ms(999_999), ..slack }, Done(Throttled)),
            ("broken, Slack", answered(500), slack, Done(Ambiguous)),
            ("broken, can tell", answered(503), webhook, Again(ms(250))),
            ("broken, can tell, third", answered(503), Standing { attempts: 3, ..webhook }, Again(ms(1000))),
            ("broken, can tell, long", answered(503), Standing { attempts: 99, ..webhook }, Again(ms(5000))),
            ("broken, no time", answered(503), late, Done(Ambiguous)),
            ("nobody there", Tried::NotSent, slack, Again(ms(250))),
            ("nobody there, no time", Tried::NotSent, late, Done(Unreachable)),
            (
                "nobody there now, but it may have arrived before",
                Tried::NotSent,
                Standing { may_have_arrived: true, ..late },
                Done(Ambiguous),
            ),
            ("no answer, Slack", Tried::Unclear, slack, Done(Ambiguous)),
            ("no answer, can tell", Tried::Unclear, webhook, Again(ms(250))),
            ("no answer, no time", Tried::Unclear, late, Done(Ambiguous)),
        ];
        for (name, tried, standing, expected) in table {
            assert_eq!(next(&tried, standing), expected, "{name}");
        }
    }

    #[test]
    fn only_broken_or_missing_answers_may_have_arrived() {
        for (tried, expected) in [
            (answered(429), false),
            (answered(404), false),
            (answered(500), true),
            (Tried::NotSent, false),
            (Tried::Unclear, true),
        ] {
            assert_eq!(may_have_arrived(&tried), expected, "{tried:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: jiff::Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (text, expected) in [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
