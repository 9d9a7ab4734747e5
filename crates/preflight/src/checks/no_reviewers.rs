//! `no_reviewers`: in GitHub Actions, nobody has to review every job of the deploy. GitHub would ask again for
//! each wave of jobs, and a withdrawal would wait for somebody asleep.

use super::endpoint_reachable::LIMIT;
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use kit_probe::{Options, Outcome, Prober, Request};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What GitHub says of an environment, as far as it matters here.
#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    protection_rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "type")]
    kind: String,
    wait_timer: Option<u64>,
}

/// Only where GitHub Actions runs this.
pub(crate) fn check(world: &Arc<World>) -> Option<Check> {
    (world.cx.env.get("GITHUB_ACTIONS") == Some("true")).then(|| {
        let world = Arc::clone(world);
        Check::new("no_reviewers", async move {
            look(&world).await.unwrap_or_else(|error| unknown(&error.chain()))
        })
    })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let env = &world.cx.env;
    let (Some(api), Some(repository)) = (env.get("GITHUB_API_URL"), env.get("GITHUB_REPOSITORY")) else {
        return Ok(unknown("the runner does not say where GitHub is"));
    };
    let Some(token) = env.get("GITHUB_TOKEN") else {
        return Ok(unknown("there is no GITHUB_TOKEN to ask with"));
    };
    let name = world.cx.identity().environment;
    let headers = BTreeMap::from([
        ("accept".to_owned(), "application/vnd.github+json".to_owned()),
        ("authorization".to_owned(), format!("Bearer {token}")),
        ("x-github-api-version".to_owned(), "2022-11-28".to_owned()),
    ]);
    let url = format!("{api}/repos/{repository}/environments/{name}");
    let request = Request::new("GET", &url, &headers, None, LIMIT)?;
    Ok(match Prober::new(world.cx.context(), Options::default())?.probe(&request).await {
        Outcome::Answer(answer) => judge(name.as_str(), answer.status, &answer.body),
        Outcome::NoAnswer(none) => unknown(&none.message),
        Outcome::Cancelled => unknown("stopped before it answered"),
    })
}

/// Could not ask, which says nothing about what was asked; a deploy that is right must not wait for it.
fn unknown(why: &str) -> Finding {
    Finding::warn(format!("it is not known whether somebody has to review each job: {why}"))
        .hint("give the job `actions: read`, and this step GITHUB_TOKEN")
}

fn judge(name: &str, status: u16, body: &[u8]) -> Finding {
    let environment = match (status, serde_json::from_slice::<Environment>(body)) {
        (200, Ok(environment)) => environment,
        (200, Err(_)) => return unknown("GitHub's answer cannot be read"),
        _ => return unknown(&format!("GitHub answered {status}")),
    };
    let approval = "reviewers belong to the environment of the approval, which has no secrets";
    if environment.protection_rules.iter().any(|rule| rule.kind == "required_reviewers") {
        return Finding::fail(format!(
            "the environment {name} has reviewers, so GitHub would ask them again for every job, and a withdrawal \
             would wait for them"
        ))
        .hint(format!("remove them in Settings, Environments, {name}: {approval} ({name}-approval)"));
    }
    let waits = environment.protection_rules.iter().filter(|rule| rule.kind == "wait_timer");
    match waits.filter_map(|rule| rule.wait_timer).max().unwrap_or_default() {
        0 => Finding::pass(format!("nobody has to review the jobs of {name}")),
        minutes => Finding::fail(format!(
            "the environment {name} has a wait timer of {minutes} minutes, which every job waits for"
        ))
        .hint(format!("remove it in Settings, Environments, {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome::{Fail, Pass, Warn};

    #[test]
    fn reviewers_are_refused_and_could_not_ask_is_not_there_are_none() {
        // As in GitHub's description of `GET /repos/{owner}/{repo}/environments/{environment_name}`.
        let reviewed = r#"{"id": 1, "name": "production", "protection_rules": [{"id": 2, "type": "wait_timer", "wait_timer": 0},
            {"id": 3, "type": "required_reviewers", "prevent_self_review": false, "reviewers": []}, {"id": 4, "type": "branch_policy"}]}"#;
        let waits = r#"{"protection_rules": [{"type": "wait_timer", "wait_timer": 30}]}"#;
        for (status, body, outcome, said) in [
            (200, reviewed, Fail, "has reviewers"),
            (200, waits, Fail, "a wait timer of 30 minutes"),
            (200, r#"{"protection_rules": [{"type": "branch_policy"}]}"#, Pass, "nobody has to review"),
            (200, "{}", Pass, "nobody has to review"),
            (200, "<html>", Warn, "cannot be read"),
            (404, "{}", Warn, "GitHub answered 404"),
            (403, "{}", Warn, "GitHub answered 403"),
        ] {
            let found = judge("production", status, body.as_bytes());
            assert!(found.outcome == outcome && found.message.contains(said), "{status} {body}: {found:?}");
        }
    }
}
