//! Pure: who may have the lock?

use super::{Existing, LockOwner};
use jiff::Timestamp;

/// What to do about the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is none: create it.
    Create,
    /// It is ours, or that of an earlier attempt of the same run: renew it.
    Renew,
    /// It expired: take it over.
    TakeOver,
    /// It is held: go away.
    Held,
}

/// Decides what `owner` may do at `now`.
///
/// An owner is a deployment, a run of it, and an attempt. A later attempt of the same run follows the
/// earlier one, which is dead by then; an earlier one is refused, because a later one has taken over.
/// Another run of the same deployment may be alive, so it is a stranger. What cannot be read is held: it
/// may have been written by a newer version.
pub fn decide(existing: Option<&Existing>, owner: &LockOwner, now: Timestamp) -> Decision {
    let lock = match existing {
        None => return Decision::Create,
        Some(Existing::Unreadable { .. }) => return Decision::Held,
        Some(Existing::Readable(lock)) => lock,
    };
    if owner.follows(&lock.owner) {
        Decision::Renew
    } else if lock.expires_at <= now {
        Decision::TakeOver
    } else {
        Decision::Held
    }
}

impl LockOwner {
    /// True if this is the same run of the same deployment, in the same attempt or a later one.
    pub fn follows(&self, other: &Self) -> bool {
        self.deployment_id == other.deployment_id
            && self.run_id == other.run_id
            && self.attempt >= other.attempt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LockDocument;

    fn owner(deployment: &str, run: Option<&str>, attempt: u32) -> LockOwner {
        LockOwner {
            deployment_id: deployment.parse().unwrap(),
            run_id: run.map(str::to_owned),
            attempt,
            actor: None,
        }
    }

    #[test]
    fn the_table() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let held_by = |owner: &LockOwner| {
            Some(Existing::Readable(LockDocument::new(owner.clone(), at(0), at(0), at(100))))
        };
        let me = owner("deploy-1", Some("7"), 2);
        let unreadable = Some(Existing::Unreadable { message: "no JSON".into() });
        let laptop = owner("deploy-1", None, 1);
        let table = [
            ("nobody", None, &me, 50, Decision::Create),
            ("unreadable", unreadable.clone(), &me, 50, Decision::Held),
            ("unreadable never expires", unreadable, &me, 1_000_000, Decision::Held),
            ("me", held_by(&me), &me, 50, Decision::Renew),
            ("me, expired, taken by nobody", held_by(&me), &me, 500, Decision::Renew),
            ("my earlier attempt", held_by(&owner("deploy-1", Some("7"), 1)), &me, 50, Decision::Renew),
            ("my later attempt", held_by(&owner("deploy-1", Some("7"), 3)), &me, 50, Decision::Held),
            (
                "my later attempt, expired",
                held_by(&owner("deploy-1", Some("7"), 3)),
                &me,
                100,
                Decision::TakeOver,
            ),
            ("another run of it", held_by(&owner("deploy-1", Some("8"), 1)), &me, 50, Decision::Held),
            ("a laptop against a run", held_by(&me), &laptop, 50, Decision::Held),
            ("a laptop's next step", held_by(&laptop), &laptop, 50, Decision::Renew),
            ("a stranger", held_by(&owner("deploy-2", Some("7"), 1)), &me, 99, Decision::Held),
            (
                "a stranger, expired now",
                held_by(&owner("deploy-2", Some("7"), 1)),
                &me,
                100,
                Decision::TakeOver,
            ),
        ];
        for (name, existing, owner, now, expected) in table {
            assert_eq!(decide(existing.as_ref(), owner, at(now)), expected, "{name}");
        }
    }

    #[test]
    fn the_actor_does_not_make_the_owner() {
        let mut other = owner("deploy-1", Some("7"), 1);
        other.actor = Some("somebody else".into());
        assert!(other.follows(&owner("deploy-1", Some("7"), 1)));
    }
}
