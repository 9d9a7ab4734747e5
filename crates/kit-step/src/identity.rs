//! Which deployment a step belongs to. A pure decision over what was given and found.

use crate::spec::IdentityRule;
use kit_contract::{AnyArtifact, DeploymentId, Name, Reason};
use kit_core::StepError;

/// Which deployment a step belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The app.
    pub app: Name,
    /// The environment.
    pub environment: Name,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// True if the step runs alone.
    pub standalone: bool,
}

/// Settles the identity.
///
/// `given` is the id from flag or environment, `found` the `deployment.json` of the artifact folder,
/// `fresh` a random suffix for ids that are made here, `now_s` the time in Unix seconds.
pub(crate) fn settle(
    rule: IdentityRule,
    app: Name,
    environment: Name,
    given: Option<&str>,
    found: Option<&AnyArtifact>,
    fresh: &str,
    now_s: i64,
) -> Result<Identity, StepError> {
    let given: Option<DeploymentId> = match given {
        None => None,
        Some(text) => Some(text.parse().map_err(|error: kit_contract::IdentityError| {
            StepError::new(Reason::UsageError, error.to_string())
                .hint("it is given by --deployment-id or DEPLOY_KIT_DEPLOYMENT_ID")
        })?),
    };
    let made = |text: String| {
        text.parse::<DeploymentId>().map_err(|error| {
            StepError::new(Reason::InternalError, "made an invalid deployment id").because(error)
        })
    };
    let (deployment_id, standalone) = match (rule, given, found) {
        (IdentityRule::Own, Some(id), _) => (id, false),
        (IdentityRule::Own, None, _) => (made(format!("{now_s}-{fresh}"))?, false),
        (IdentityRule::Creates, Some(id), _) => (id, false),
        // Re-runs adopt the id that an earlier run made; the step decides whether that is right.
        (IdentityRule::Creates, None, Some(found)) if !found.standalone => {
            (found.deployment_id.clone(), false)
        }
        (IdentityRule::Creates, None, _) => (made(format!("{now_s}-{fresh}"))?, false),
        (IdentityRule::Joins, given, Some(found)) => {
            check_found(found, &app, &environment, given.as_ref())?;
            (found.deployment_id.clone(), found.standalone)
        }
        (IdentityRule::JoinsOrNot, given, Some(found))
            if check_found(found, &app, &environment, given.as_ref()).is_ok() =>
        {
            (found.deployment_id.clone(), found.standalone)
        }
        (IdentityRule::Joins | IdentityRule::JoinsOrNot, Some(id), _) => (id, false),
        (IdentityRule::Joins | IdentityRule::JoinsOrNot, None, _) => {
            (made(format!("local-{now_s}-{fresh}"))?, true)
        }
    };
    Ok(Identity { app, environment, deployment_id, standalone })
}

fn check_found(
    found: &AnyArtifact,
    app: &Name,
    environment: &Name,
    given: Option<&DeploymentId>,
) -> Result<(), StepError> {
    let foreign = |what: &str, theirs: &str, ours: &str| {
        Err(StepError::new(
            Reason::ArtifactForeign,
            format!(
                "deployment.json in the artifact folder belongs to {what} {theirs:?}, this run to {ours:?}"
            ),
        )
        .hint("use a fresh --artifacts folder for each deployment"))
    };
    if found.app != *app {
        return foreign("app", found.app.as_str(), app.as_str());
    }
    if found.environment != *environment {
        return foreign("environment", found.environment.as_str(), environment.as_str());
    }
    match given {
        Some(id) if *id != found.deployment_id => {
            foreign("deployment", found.deployment_id.as_str(), id.as_str())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, app: &str) -> AnyArtifact {
        serde_json::from_value(serde_json::json!({
            "schema": "deploy-kit/deployment/v1", "app": app, "environment": "production",
            "deployment_id": id, "attempt": 1, "standalone": false, "step": "validate-tag",
            "result": "success", "reason": "release_accepted", "message": "",
            "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
            "tool": {"version": "0"}, "run": {}, "body": null
        }))
        .unwrap()
    }

    fn run(
        rule: IdentityRule,
        given: Option<&str>,
        found: Option<&AnyArtifact>,
    ) -> Result<(String, bool), Reason> {
        let name = |text: &str| text.parse::<Name>().unwrap();
        settle(rule, name("shop"), name("production"), given, found, "abc1234", 1_763_712_000)
            .map(|identity| (identity.deployment_id.to_string(), identity.standalone))
            .map_err(|error| error.reason)
    }

    #[test]
    fn the_table() {
        use IdentityRule::{Creates, Joins, JoinsOrNot, Own};
        let ours = found("deploy-01", "shop");
        let theirs = found("deploy-01", "blog");
        let id = |text: &str, standalone| Ok((text.to_owned(), standalone));
        assert_eq!(run(Joins, None, None), id("local-1763712000-abc1234", true));
        assert_eq!(run(Joins, Some("deploy-02"), None), id("deploy-02", false));
        assert_eq!(run(Joins, None, Some(&ours)), id("deploy-01", false));
        assert_eq!(run(Joins, Some("deploy-01"), Some(&ours)), id("deploy-01", false));
        assert_eq!(run(Joins, Some("deploy-02"), Some(&ours)), Err(Reason::ArtifactForeign));
        assert_eq!(run(Joins, None, Some(&theirs)), Err(Reason::ArtifactForeign));
        assert_eq!(run(Joins, Some("No!"), None), Err(Reason::UsageError));
        assert_eq!(run(JoinsOrNot, None, Some(&ours)), id("deploy-01", false));
        assert_eq!(run(JoinsOrNot, Some("deploy-02"), Some(&ours)), id("deploy-02", false));
        assert_eq!(run(JoinsOrNot, None, Some(&theirs)), id("local-1763712000-abc1234", true));
        assert_eq!(run(Creates, None, None), id("1763712000-abc1234", false));
        assert_eq!(run(Creates, None, Some(&ours)), id("deploy-01", false));
        assert_eq!(run(Own, None, Some(&ours)), id("1763712000-abc1234", false));
    }
}
