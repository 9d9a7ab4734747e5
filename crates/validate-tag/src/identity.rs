//! Which id the deployment gets. A re-run keeps the one that it has; another release never gets it.

use crate::commit_policy::short;
use kit_contract::body::Deployment;
use kit_contract::{Artifact, Reason};
use kit_core::StepError;
use kit_step::Identity;

/// What is to be done about the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    /// The one that is there: given, or that of an earlier run for the same release.
    Keep,
    /// A new one.
    Make(String),
}

/// Settles the id. `given`: somebody named it. `earlier`: what this step wrote before under the id
/// that `ours` now has. `fresh`: random, because two runs of one tag may start in the same second.
pub(crate) fn settle(
    deployment: &Deployment,
    ours: &Identity,
    given: bool,
    earlier: Option<&Artifact<Deployment>>,
    now_s: i64,
    fresh: &str,
) -> Result<Id, StepError> {
    let sha = short(&deployment.commit.sha);
    // A run that never got as far as a release has bound its id to none.
    let Some((earlier, before)) = earlier.and_then(|earlier| Some((earlier, earlier.body.as_ref()?))) else {
        return Ok(if given { Id::Keep } else { Id::Make(format!("{now_s}-{sha}-{fresh}")) });
    };
    let same = before.tag == deployment.tag
        && before.commit.sha == deployment.commit.sha
        && earlier.app == ours.app
        && earlier.environment == ours.environment;
    if same {
        return Ok(Id::Keep);
    }
    Err(StepError::new(
        Reason::ArtifactForeign,
        format!(
            "the artifact folder belongs to {}/{} {} at {} ({}), this run to {}/{} {} at {sha}",
            earlier.app,
            earlier.environment,
            before.tag,
            short(&before.commit.sha),
            earlier.deployment_id,
            ours.app,
            ours.environment,
            deployment.tag,
        ),
    )
    .hint("use a fresh --artifacts folder for each deployment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(tag: &str, sha: &str) -> Value {
        json!({
            "version": "1.0.0", "tag": tag, "annotated": true, "kind": "release", "services": [],
            "commit": {"sha": sha.repeat(40), "committed_at": "2026-01-01T00:00:00Z"},
            "git_ref": "refs/tags/v1.0.0", "config_sha256": "a".repeat(64),
        })
    }

    fn earlier(app: &str, body: Value) -> Artifact<Deployment> {
        serde_json::from_value(json!({
            "schema": "deploy-kit/deployment/v1", "app": app, "environment": "production",
            "deployment_id": "1763712000-aaaaaaa", "attempt": 1, "standalone": false, "step": "validate-tag",
            "result": "success", "reason": "release_accepted", "message": "",
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
            "tool": {"version": "0"}, "run": {}, "body": body
        }))
        .unwrap()
    }

    #[test]
    fn the_table() {
        let ours = Identity {
            app: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            deployment_id: "1763712000-aaaaaaa".parse().unwrap(),
            standalone: false,
        };
        let made = Ok(Id::Make("1763712999-aaaaaaa-0f0f".to_owned()));
        let foreign = Err(Reason::ArtifactForeign);
        for (given, before, wanted) in [
            (false, None, made.clone()),
            (true, None, Ok(Id::Keep)),
            (false, Some(earlier("shop", Value::Null)), made),
            (true, Some(earlier("shop", Value::Null)), Ok(Id::Keep)),
            (false, Some(earlier("shop", deployment("v1.0.0", "a"))), Ok(Id::Keep)),
            (true, Some(earlier("shop", deployment("v1.0.0", "a"))), Ok(Id::Keep)),
            (false, Some(earlier("shop", deployment("v1.0.0", "b"))), foreign.clone()),
            (false, Some(earlier("shop", deployment("v1.0.1", "a"))), foreign.clone()),
            (true, Some(earlier("shop", deployment("v1.0.1", "a"))), foreign.clone()),
            (false, Some(earlier("blog", deployment("v1.0.0", "a"))), foreign),
        ] {
            let now: Deployment = serde_json::from_value(deployment("v1.0.0", "a")).unwrap();
            let settled = settle(&now, &ours, given, before.as_ref(), 1_763_712_999, "0f0f");
            assert_eq!(settled.map_err(|error| error.reason), wanted, "{given} {before:?}");
        }
    }
}
