//! Artifacts as the steps of one deployment would have left them.

use kit_contract::{ArtifactName, Reason};
use serde_json::{Value, json};

/// The artifact of this name that a step of deployment `id` left at `second`, counted from a fixed time,
/// for app `shop` in `production`.
pub fn artifact(name: &str, id: &str, reason: Reason, second: u32, body: Value) -> Value {
    let parsed: ArtifactName = name.parse().expect("the name of an artifact");
    let at = format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
    json!({
        "schema": parsed.kind.schema(), "app": "shop", "environment": "production",
        "deployment_id": id, "attempt": 1, "standalone": false, "step": name,
        "result": reason.result(), "reason": reason, "message": format!("{name} says {reason}"),
        "started_at": at, "finished_at": at, "tool": { "version": "0.0.0" }, "run": {}, "evidence": [],
        "unanchored": false, "body": body,
    })
}

/// The `deployment.json` of deployment `id`: this version of these services.
pub fn deployment(id: &str, version: &str, services: &[&str]) -> Value {
    let services: Vec<Value> =
        services.iter().map(|name| json!({ "name": name, "version": version })).collect();
    let body = json!({
        "version": version, "tag": format!("v{version}"),
        "commit": { "sha": "a".repeat(40), "committed_at": "2025-12-31T00:00:00Z" },
        "git_ref": format!("refs/tags/v{version}"), "annotated": true, "kind": "release",
        "services": services, "config_sha256": "0".repeat(64),
    });
    artifact("deployment", id, Reason::ReleaseAccepted, 0, body)
}
