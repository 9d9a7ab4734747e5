//! What follows a step that did not say go. One table, used by `deploy-kit deploy` and by the reusable
//! workflow; nobody branches on "something failed" alone.

use crate::{Class, Reason};

/// Where the traffic is when a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficState {
    /// No canary ever got a share.
    Untouched,
    /// The canary has a share, up to and including 100 %; the stable version still stands by.
    Canary,
    /// The new version is the stable one.
    Promoted,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// The next step.
    GoOn,
    /// Nothing serves that should not: close the deploy, tell people.
    Stop,
    /// Take the canary to zero, then close the deploy, tell people.
    Withdraw {
        /// True if the version was seen to be bad, so that nobody deploys it again by accident.
        mark_bad: bool,
    },
    /// Leave everything as it is, close the deploy, and call a human.
    CallHuman,
}

/// Decides what follows.
///
/// `id` is the line of the pipeline ([`crate::pipeline`]), `traffic` where the traffic was when the step
/// ended, `reason` why it ended. An artifact that is missing counts as [`Reason::Unfinished`].
///
/// No combination leaves traffic on a version that nobody has judged and nobody watches: the only two
/// that leave it where it is follow a gate that promoted 100 %, or a withdrawal that already failed.
pub fn after(id: &str, traffic: TrafficState, reason: Reason) -> Continuation {
    let class = reason.class();
    // Telling people never decides anything.
    if id == "notify" || matches!(class, Class::Go | Class::Skipped) {
        return Continuation::GoOn;
    }
    match traffic {
        // What could not be undone is beyond what a table can order.
        _ if class == Class::Stuck => Continuation::CallHuman,
        TrafficState::Untouched => Continuation::Stop,
        // The gate has judged 100 %, and nothing says that the release is bad.
        TrafficState::Canary if id == "smoke" && class == Class::Undecided => Continuation::CallHuman,
        TrafficState::Canary => Continuation::Withdraw {
            mark_bad: matches!(id, "gate" | "smoke")
                && class == Class::Verdict
                && reason != Reason::StopRequested,
        },
        // Every step that judges has said yes; what failed is the book-keeping.
        TrafficState::Promoted => Continuation::CallHuman,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::PIPELINE;

    #[test]
    fn the_rules_of_the_design() {
        use Continuation::{CallHuman, GoOn, Stop, Withdraw};
        use TrafficState::{Canary, Promoted, Untouched};
        let bad = Withdraw { mark_bad: true };
        let unknown = Withdraw { mark_bad: false };
        for (id, traffic, reason, expected) in [
            ("validate", Untouched, Reason::TagNotFound, Stop),
            ("migrate", Untouched, Reason::MigrationFailed, Stop),
            ("migrate", Untouched, Reason::LeftChanged, CallHuman),
            ("rollout", Canary, Reason::ShareNotReached, unknown),
            ("rollout", Canary, Reason::WithdrawFailed, CallHuman),
            ("gate", Canary, Reason::Promoted, GoOn),
            ("gate", Canary, Reason::ErrorRateExceeded, bad),
            ("gate", Canary, Reason::TotalOutage, bad),
            ("gate", Canary, Reason::NoData, unknown),
            ("gate", Canary, Reason::CommonMode, unknown),
            ("gate", Canary, Reason::Interrupted, unknown),
            ("gate", Canary, Reason::Unfinished, unknown),
            ("gate", Canary, Reason::StopRequested, unknown),
            ("smoke", Canary, Reason::SmokeFailed, bad),
            ("smoke", Canary, Reason::NothingReachable, CallHuman),
            ("smoke", Canary, Reason::Unfinished, unknown),
            ("finish", Promoted, Reason::StoreUnreachable, CallHuman),
            ("notify", Promoted, Reason::RequiredUndelivered, GoOn),
        ] {
            assert_eq!(after(id, traffic, reason), expected, "{id} {traffic:?} {reason}");
        }
    }

    #[test]
    fn no_combination_leaves_an_unjudged_version_in_traffic() {
        for step in PIPELINE.iter().filter(|step| step.id != "notify") {
            for &reason in Reason::ALL.iter().chain([&Reason::Unrecognised]) {
                let continuation = after(step.id, TrafficState::Canary, reason);
                let judged = step.id == "smoke" && reason.class() == Class::Undecided;
                match reason.class() {
                    Class::Go | Class::Skipped => assert_eq!(continuation, Continuation::GoOn),
                    Class::Stuck => assert_eq!(continuation, Continuation::CallHuman),
                    _ if judged => assert_eq!(continuation, Continuation::CallHuman),
                    _ => assert!(
                        matches!(continuation, Continuation::Withdraw { .. }),
                        "{} {reason}: {continuation:?}",
                        step.id
                    ),
                }
                if reason.class() != Class::Verdict {
                    assert_ne!(continuation, Continuation::Withdraw { mark_bad: true }, "unknown is not bad");
                }
            }
        }
    }
}
