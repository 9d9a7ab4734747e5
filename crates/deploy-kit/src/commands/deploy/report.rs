//! What `deploy` says at its end.

use super::Ended;
use super::invoke::Invoker;
use kit_contract::continuation::Continuation;
use kit_contract::{ArtifactKind, ArtifactName, Reason};
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
        Some(ended) => ended.withdrawal.unwrap_or(ended.reason),
    };
    let mut lines = vec![String::new(), format!("deploy: {status}, after {:.1} s", took.as_secs_f64())];
    if let Some(ended) = &ended {
        lines.push(format!("  ended by:  {} ({}): {}", ended.artifact, ended.reason, ended.reason.meaning()));
        lines.push(format!("  then:      {}", followed(invoker, ended)));
        lines.push(format!("  what to do: {}", ended.reason.remedy()));
    }
    let folder = invoker.folder().display();
    lines.push(format!("  record:    {folder}/record.json"));
    lines.push(format!("  way back:  {folder}/rollback.md"));
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

fn followed(invoker: &Invoker<'_>, ended: &Ended) -> String {
    let observed = ["rollout-abort", "rollback"].iter().any(|name| {
        let artifact = name.parse().ok().and_then(|name| invoker.peek(&name).ok().flatten());
        artifact.is_some_and(|artifact| matches!(artifact.reason, Reason::Withdrawn | Reason::RolledBack))
    });
    match (ended.continuation, ended.withdrawal) {
        (Continuation::Withdraw { .. }, None) if observed => {
            "the canary was withdrawn, and that was observed".to_owned()
        }
        (Continuation::Withdraw { .. }, None) => "no traffic is moved by this deploy".to_owned(),
        (Continuation::Withdraw { .. }, Some(reason)) => {
            format!("the canary could NOT be withdrawn ({reason}): {}", reason.remedy())
        }
        (Continuation::CallHuman, _) => "everything was left as it is: a human is needed".to_owned(),
        (Continuation::Stop | Continuation::GoOn, _) => "no traffic had been moved".to_owned(),
    }
}
