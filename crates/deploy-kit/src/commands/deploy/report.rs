//! What `deploy` says at its end.

use super::invoke::Invoker;
use super::{Ended, Withdrawal};
use kit_contract::continuation::Continuation;
use kit_contract::{ArtifactKind, ArtifactName, Class, Reason};
use kit_step::ToolOutput;
use std::time::Duration;

pub(super) fn output(invoker: &Invoker<'_>, ended: Option<Ended>, took: Duration) -> ToolOutput {
    let record = invoker.peek(&ArtifactName::only(ArtifactKind::Record)).ok().flatten();
    let status = record
        .as_ref()
        .and_then(|record| record.body.as_ref()?.get("status")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "not recorded".to_owned());
    let reason = match &ended {
        None if status == "success" => Reason::Recorded,
        None => record.as_ref().map_or(Reason::Unfinished, |record| {
            if record.is_go() { Reason::RecordRefused } else { record.reason }
        }),
        // Whatever kept it from being withdrawn: it may still serve.
        Some(Ended { withdrawal: Withdrawal::Failed(reason), .. }) if reason.class() == Class::Stuck => {
            *reason
        }
        Some(Ended { withdrawal: Withdrawal::Failed(_), .. }) => Reason::WithdrawFailed,
        Some(ended) => ended.reason,
    };
    let mut lines = vec![String::new(), format!("deploy: {status}, after {:.1} s", took.as_secs_f64())];
    if let Some(ended) = &ended {
        lines.push(format!("  ended by:  {} ({}): {}", ended.artifact, ended.reason, ended.reason.meaning()));
        lines.push(format!("  then:      {}", followed(ended)));
        lines.push(format!("  what to do: {}", ended.reason.remedy()));
    }
    for (what, file) in [("record:   ", "record.json"), ("way back: ", "rollback.md")] {
        // Where the disk was full, they are not there.
        let path = invoker.folder().join(file);
        if path.is_file() {
            lines.push(format!("  {what} {}", path.display()));
        }
    }
    lines.push("  history:   deploy-kit deploy-record list".to_owned());
    ToolOutput {
        reason,
        text: lines.join("\n"),
        json: serde_json::json!({
            "status": status,
            "reason": reason.code(),
            "ended_by": ended.as_ref().map(|ended| ended.artifact.to_string()),
            "artifacts": invoker.folder().display().to_string(),
            "duration_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

fn followed(ended: &Ended) -> String {
    match (ended.continuation, ended.withdrawal) {
        (Continuation::Withdraw { .. }, Withdrawal::Observed) => {
            "the canary was withdrawn, and that was observed".to_owned()
        }
        (Continuation::Withdraw { .. }, Withdrawal::Failed(reason)) => {
            format!("the canary could NOT be withdrawn ({reason}): {}", reason.remedy())
        }
        (Continuation::Withdraw { .. }, Withdrawal::NotOurs | Withdrawal::None) => {
            "no traffic is moved by this deploy".to_owned()
        }
        (Continuation::CallHuman, _) => "everything was left as it is: a human is needed".to_owned(),
        (Continuation::Stop | Continuation::GoOn, _) => "no traffic had been moved".to_owned(),
    }
}
