//! The continuation table as conditions of GitHub Actions.
//!
//! A step says how it ended by its output `result`; a step that was killed says nothing, which counts as
//! [`Reason::Unfinished`].

use super::SLOTS;
use kit_contract::Reason;
use kit_contract::continuation::{Continuation, TrafficState, after};
use std::collections::BTreeSet;

/// The result of a step, as an expression.
fn result(step: &str) -> String {
    format!("steps.{step}.outputs.result")
}

/// The name of a stage, empty if there is none at this slot, as an expression.
pub(super) fn stage(slot: usize) -> String {
    format!("fromJSON(needs.validate.outputs.stages)[{}]", slot - 1)
}

/// The results of a line of the pipeline that are followed by this while its canary has traffic. Every
/// reason with one result is followed by the same, but for whether the version is marked bad, which the
/// record decides.
fn results(id: &str, wanted: fn(Continuation) -> bool) -> BTreeSet<&'static str> {
    let follows = |reason: &Reason| wanted(after(id, TrafficState::Canary, *reason));
    Reason::ALL.iter().filter(|reason| follows(reason)).map(|reason| reason.result().as_str()).collect()
}

fn goes_on(id: &str) -> BTreeSet<&'static str> {
    results(id, |continuation| continuation == Continuation::GoOn)
}

fn calls_human(id: &str) -> BTreeSet<&'static str> {
    results(id, |continuation| continuation == Continuation::CallHuman)
}

/// `step` ended with one of these.
fn is_one_of(step: &str, results: &BTreeSet<&'static str>) -> String {
    let terms: Vec<String> = results.iter().map(|one| format!("{} == '{one}'", result(step))).collect();
    if terms.len() == 1 { terms.concat() } else { format!("({})", terms.join(" || ")) }
}

/// Every gate of every stage there is has said go.
fn all_go() -> String {
    let slot = |slot: usize| {
        format!("({} == '' || {})", stage(slot), is_one_of(&format!("gate-{slot}"), &goes_on("gate")))
    };
    (1..=SLOTS).map(slot).collect::<Vec<_>>().join(" && ")
}

/// A step of the rollout could not undo what it did.
fn rollout_calls_human() -> String {
    let slot = |slot: usize| {
        ["rollout", "gate"].map(|id| is_one_of(&format!("{id}-{slot}"), &calls_human(id))).join(" || ")
    };
    (1..=SLOTS).map(slot).collect::<Vec<_>>().join(" || ")
}

/// The condition of a slot's rollout.
pub(super) fn slot(slot: usize) -> String {
    let there = format!("{} != ''", stage(slot));
    if slot == 1 {
        return there;
    }
    format!("{} && {there}", is_one_of(&format!("gate-{}", slot - 1), &goes_on("gate")))
}

/// The condition of a slot's gate.
pub(super) fn gate(slot: usize) -> String {
    is_one_of(&format!("rollout-{slot}"), &goes_on("rollout"))
}

/// What is left at the end of the stages.
pub(super) fn rollout() -> String {
    format!(
        "${{{{ ({}) && 'go' || {} && 'withdrawn' || ({}) && 'call-human' || 'unsettled' }}}}",
        all_go(),
        is_one_of("withdraw", &["success"].into()),
        rollout_calls_human()
    )
}

/// From the moment that the first stage was asked for, nobody knows what has a share.
pub(super) fn withdraw_rollout() -> String {
    let asked = "(steps.rollout-1.outcome == 'success' || steps.rollout-1.outcome == 'failure' || \
                 steps.rollout-1.outcome == 'cancelled')";
    format!("always() && {asked} && !({}) && !({})", all_go(), rollout_calls_human())
}

pub(super) fn withdraw_smoke() -> String {
    format!(
        "always() && !{} && !{}",
        is_one_of("smoke", &goes_on("smoke")),
        is_one_of("smoke", &calls_human("smoke"))
    )
}

/// The condition of the promotion.
pub(super) fn promote() -> String {
    is_one_of("smoke", &goes_on("smoke"))
}

/// A promotion that failed may have switched some services: `rollback` knows how to put that right.
pub(super) fn rollback_promotion() -> String {
    format!(
        "always() && {} && !{} && !({})",
        promote(),
        is_one_of("promote", &goes_on("promote")),
        is_one_of("promote", &calls_human("promote"))
    )
}

/// What is left at the end of the smoke test and the promotion.
pub(super) fn smoke() -> String {
    let done = ["success"].into();
    format!(
        "${{{{ {} && 'promoted' || {} && 'withdrawn' || {} && 'rolled-back' || ({} || {}) && 'call-human' || \
         'unsettled' }}}}",
        is_one_of("promote", &goes_on("promote")),
        is_one_of("withdraw", &done),
        is_one_of("rollback", &done),
        is_one_of("smoke", &calls_human("smoke")),
        is_one_of("promote", &calls_human("promote")),
    )
}

/// Nobody has drawn a conclusion that holds.
pub(super) fn unsettled() -> String {
    let one_of = |job: &str, verdicts: &str| {
        format!("contains(fromJSON('{verdicts}'), needs.{job}.outputs.verdict)").replace('"', "\\\"")
    };
    format!(
        "!{} && !(needs.rollout.outputs.verdict == 'go' && {})",
        one_of("rollout", r#"["withdrawn","call-human"]"#),
        one_of("smoke", r#"["promoted","withdrawn","rolled-back","call-human"]"#)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::StepResult;

    /// The workflow sees results and not reasons: that must be enough to tell what follows.
    #[test]
    fn a_result_settles_what_follows() {
        for id in ["rollout", "gate", "smoke", "promote"] {
            let withdraws = results(id, |one| matches!(one, Continuation::Withdraw { .. }));
            let sets = [&goes_on(id), &calls_human(id), &withdraws];
            let named: usize = sets.iter().map(|set| set.len()).sum();
            let all: BTreeSet<_> = sets.into_iter().flatten().copied().collect();
            assert_eq!(named, all.len(), "{id}: one result, two continuations");
            assert!(withdraws.contains(Reason::Unfinished.result().as_str()), "{id}: silence is withdrawn");
        }
        assert_eq!(goes_on("gate"), [StepResult::Success.as_str(), StepResult::Skip.as_str()].into());
    }
}
