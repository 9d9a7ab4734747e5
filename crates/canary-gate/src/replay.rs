//! `canary-gate replay`: the verdict again, from the recorded ticks.

use crate::journal::{self, Event, Header};
use crate::judge::{Decision, Judge};
use crate::report;
use crate::source::Trouble;
use kit_contract::config::Span;
use kit_core::StepError;
use kit_step::{CommandSpec, Example, IdentityRule, Tool, ToolContext, ToolOutput};
use std::path::PathBuf;

/// The inputs of `replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File of ticks that a gate wrote beside its artifact
    #[arg(long, value_name = "FILE")]
    ticks: PathBuf,
}

/// `canary-gate replay`.
pub(crate) struct Replay;

impl Tool for Replay {
    type Args = Args;
    const SPEC: CommandSpec = CommandSpec {
        command: Some("replay"),
        about: "Comes to the verdict again, from the recorded ticks",
        details: "Feeds the judge with what an earlier gate wrote down: services, criteria and every tick. The \
                  verdict, and with --json the body of the artifact, are those of that gate, bit by bit; a gate \
                  that was cancelled or killed gives what it knew until then. The exit code is that of the \
                  verdict.",
        examples: &[Example {
            what: "Why did that stage fail?",
            line: "canary-gate replay --ticks .deploy-kit/artifacts/gate-canary.ticks.jsonl",
        }],
        reads: &[],
        qualifier: None,
        outputs: &[],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "says the same again",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, _cx: ToolContext) -> Result<ToolOutput, StepError> {
        let (header, events) = journal::read(&args.ticks)?;
        let decision = replay(&header, &events);
        let (reason, message) = header.told(&decision);
        Ok(ToolOutput {
            reason,
            text: report::replayed(&header, &decision),
            json: serde_json::json!({
                "reason": reason,
                "message": message,
                "body": header.body(&decision),
            }),
        })
    }
}

/// Tells the judge everything again. A file that breaks off gives what was known by then.
pub(crate) fn replay(header: &Header, events: &[Event]) -> Decision {
    let mut judge = Judge::new(header.settings.clone(), &header.services);
    for event in events {
        match event {
            Event::Tick(tick) => {
                if let Some(decision) = judge.feed(tick) {
                    return decision;
                }
            }
            Event::Trouble(Trouble { service, arm, what }) => {
                judge.note_trouble(service, *arm, what.as_deref());
            }
            Event::Gauge { t_ms, look } => {
                judge.note_gauge(*t_ms, &look.rule, look.read.as_ref().copied().map_err(String::as_str));
            }
            Event::Stop { t_ms, why } => return judge.stop(*t_ms, why),
            Event::End { t_ms } => return judge.abandon(*t_ms),
        }
    }
    judge.standing()
}
