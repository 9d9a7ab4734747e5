//! `rollout status`: what the router says now.

use crate::traffic::Traffic;
use kit_contract::Reason;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};

/// The inputs of `status`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// `rollout status`.
pub(crate) struct Status;

impl Tool for Status {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("status"),
        about: "Says which share of traffic each version has now",
        details: "Asks the router and changes nothing.",
        examples: &[Example { what: "Who serves what?", line: "rollout status" }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "changes nothing",
        deadline: Span::from_secs(60),
    };

    async fn run(_args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
        let Some(traffic) = Traffic::open(&cx)? else {
            return Ok(ToolOutput {
                reason: Reason::NotConfigured,
                text: "traffic.driver is \"none\": no traffic is moved".to_owned(),
                json: serde_json::json!({ "services": [] }),
            });
        };
        let services = traffic.observe(&cx).await?;
        let health = |healthy: Option<bool>| match healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "health unknown",
        };
        let known =
            |version: &Option<String>| version.clone().unwrap_or_else(|| "none or unknown".to_owned());
        let lines: Vec<String> = services
            .iter()
            .map(|service| {
                format!(
                    "{}: canary {} % ({}, {}), stable {} ({})",
                    service.name,
                    service.canary_percent,
                    known(&service.canary_version),
                    health(service.canary_healthy),
                    known(&service.stable_version),
                    health(service.stable_healthy)
                )
            })
            .collect();
        Ok(ToolOutput {
            reason: Reason::Shifted,
            text: lines.join("\n"),
            json: serde_json::json!({ "services": services }),
        })
    }
}
