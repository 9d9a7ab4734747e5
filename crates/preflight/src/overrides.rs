//! Pure: which checks may be overridden, and by what.

use crate::args::Args;
use kit_contract::config::nearest;
use kit_contract::{Reason, body::Override};
use kit_core::StepError;

/// Checks that cannot be overridden, and why.
const NEVER: &[(&str, &str)] = &[
    (
        "lock_free",
        "two deploys at once would undo each other; `deploy-kit unlock` breaks the lock of a dead one",
    ),
    ("lock_ours", "two deploys at once would undo each other; run `deploy-record begin` to take the lock"),
    ("store_usable", "without a store there is no lock, no chain and no backup to return to"),
];

/// The overrides that were asked for, one per check.
///
/// # Errors
/// A check that does not run here or cannot be overridden, and a missing reason.
pub(crate) fn asked(args: &Args, ids: &[String], by: Option<&str>) -> Result<Vec<Override>, StepError> {
    let usage = |text: String| StepError::new(Reason::UsageError, text);
    let reason = args.override_reason.as_deref().map(str::trim).unwrap_or_default();
    if args.overrides.is_empty() {
        if args.override_reason.is_some() {
            return Err(usage("--override-reason is given, but no --override".to_owned()));
        }
        return Ok(Vec::new());
    }
    let mut asked: Vec<Override> = Vec::new();
    for id in &args.overrides {
        if !ids.contains(id) {
            let known: Vec<&str> = ids.iter().map(String::as_str).collect();
            let shown: String = id.chars().take(80).collect();
            let text =
                format!("--override {shown:?} is no check of this run: use one of {}", known.join(", "));
            return Err(match nearest(id, &known) {
                Some(near) => usage(text).hint(format!("did you mean {near:?}?")),
                None => usage(text),
            });
        }
        if let Some((_, why)) = NEVER.iter().find(|(never, _)| never == id) {
            return Err(usage(format!("{id} cannot be overridden: {why}")));
        }
        if !asked.iter().any(|other| other.id == *id) {
            asked.push(Override { id: id.clone(), reason: reason.to_owned(), by: by.map(str::to_owned) });
        }
    }
    if reason.is_empty() {
        return Err(usage("--override needs a reason".to_owned())
            .hint("say why with --override-reason; the record keeps it"));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(overrides: &[&str], reason: Option<&str>) -> Result<Vec<Override>, StepError> {
        let args = Args {
            overrides: overrides.iter().map(|id| (*id).to_owned()).collect(),
            override_reason: reason.map(str::to_owned),
            store: None,
        };
        let ids = ["secret_present:DATABASE_URL", "store_usable", "lock_free", "version_not_bad"];
        asked(&args, &ids.map(str::to_owned), Some("ada"))
    }

    #[test]
    fn what_is_asked_for_is_kept_with_who_and_why() {
        assert_eq!(run(&[], None).unwrap(), []);
        let kept = run(&["version_not_bad", "version_not_bad"], Some(" repaired the data ")).unwrap();
        let expected = Override {
            id: "version_not_bad".into(),
            reason: "repaired the data".into(),
            by: Some("ada".into()),
        };
        assert_eq!(kept, [expected]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (overrides, reason, text, hint) in [
            (&["version_not_bad"][..], None, "--override needs a reason", "--override-reason"),
            (&["version_not_bad"], Some("  "), "--override needs a reason", "--override-reason"),
            (&["version_notbad"], Some("r"), "is no check of this run", "did you mean \"version_not_bad\"?"),
            (&["something else"], Some("r"), "is no check of this run: use one of secret_present", ""),
            (&["lock_free"], Some("r"), "lock_free cannot be overridden: two deploys at once", ""),
            (&["store_usable"], Some("r"), "store_usable cannot be overridden: without a store", ""),
            (&[], Some("r"), "--override-reason is given, but no --override", ""),
        ] {
            let error = run(overrides, reason).unwrap_err();
            assert_eq!(error.reason, Reason::UsageError);
            assert!(error.message.contains(text), "{}", error.message);
            assert!(error.hints.join("").contains(hint), "{:?}", error.hints);
        }
    }
}
