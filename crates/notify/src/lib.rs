//! `notify` tells people how a deploy or a rollback ended.
//!
//! It never decides a deploy: a channel that does not take the message is a warning, unless somebody
//! requires it by name. What is announced comes from the record, never from how the workflow went; where
//! there is no record, that itself is announced, as a failure.
//!
//! The story: [`subject`] reads what there is to tell, [`message`] makes a neutral message of it,
//! [`channels`] puts it into the form of each channel, [`deliver`] brings it there and asks [`policy`]
//! after every try whether to try again, [`verdict`] sums up.
#![warn(missing_docs)]

mod args;
mod channels;
mod deliver;
mod message;
mod policy;
mod subject;
mod verdict;

use args::Args;
use kit_contract::body::Notice;
use kit_contract::config::{ChannelKind, Span, nearest};
use kit_contract::{Artifact, ArtifactKind, Name, Reason};
use kit_core::{Level, StepError};
use kit_step::{
    CommandSpec, Example, IdentityRule, Outcome, OutputSpec, Program, ReadSpec, Step, StepContext,
};

/// The program.
pub fn program() -> Program {
    Program::new("notify", "Tells people how a deploy or a rollback ended").step::<Notify>()
}

/// `notify`.
pub(crate) struct Notify;

impl Step for Notify {
    type Args = Args;
    type Body = Notice;
    const SPEC: CommandSpec = CommandSpec {
        command: None,
        about: "Tells every channel how the deploy or the rollback ended",
        details: "Reads the record, whatever it says, and tells each channel of deploy.toml: Slack, a webhook \
                  signed as Standard Webhooks says, the job summary. If there is no record, it announces that \
                  the deploy failed without leaving one. The channels are independent, each within --within. \
                  What may have arrived is sent again only where the receiver can tell: a webhook carries the \
                  same webhook-id at every try. A channel that does not take the message never fails this step, \
                  unless --require names it. The address of a channel is a secret and is never shown.",
        examples: &[
            Example { what: "Tell everybody", line: "notify" },
            Example { what: "What would be sent?", line: "notify --dry-run" },
            Example { what: "After a rollback", line: "notify --about rollback --require pager" },
        ],
        reads: &[
            ReadSpec { kind: ArtifactKind::Record, required: false, what_for: "how the deploy ended" },
            ReadSpec { kind: ArtifactKind::Rollback, required: false, what_for: "how the rollback ended" },
            ReadSpec {
                kind: ArtifactKind::Backup,
                required: false,
                what_for: "why a backup outside a deploy failed (--about backup)",
            },
            ReadSpec {
                kind: ArtifactKind::Drill,
                required: false,
                what_for: "why a restore drill failed (--about drill)",
            },
            ReadSpec {
                kind: ArtifactKind::Deployment,
                required: false,
                what_for: "what was to be deployed, if the deploy left no record",
            },
        ],
        qualifier: None,
        outputs: &[
            OutputSpec {
                name: "event",
                help: "What was announced: deployed, failed, rolled_back, inconclusive or stuck",
            },
            OutputSpec {
                name: "undelivered",
                help: "Channels that did not take the message, separated by commas",
            },
        ],
        secrets: &[],
        identity: IdentityRule::Joins,
        rerun: "tells everybody again; a webhook gets the same webhook-id as before",
        deadline: Span::from_secs(5 * 60),
    };

    async fn run(args: Args, cx: StepContext<Notice>) -> Result<Outcome<Notice>, StepError> {
        check(&args, &cx)?;
        let subject = subject::read(&cx, args.about)?;
        if let Some(message) = subject.not_worth_telling() {
            return Ok(Outcome::new(Reason::NotConfigured, message, Notice::default()));
        }
        let message = subject.message().cleaned(|text| cx.out.clean(text));
        let mut notice = Notice {
            event: channels::event_word(message.event).to_owned(),
            channels: Vec::new(),
            dry_run: args.dry_run,
        };
        if cx.config().channels.is_empty() {
            return Ok(Outcome::new(Reason::NotConfigured, "no channels are configured", notice)
                .hint("add [[channels]] to deploy.toml to have people told"));
        }
        notice.channels = if args.dry_run {
            deliver::dry(&cx, &message)
        } else {
            deliver::all(&cx, &message, args.within.duration()).await
        };
        if cx.cancel.is_cancelled() {
            cx.save(notice);
            return Err(StepError::new(Reason::Interrupted, "stopped before every channel was told"));
        }
        let verdict = verdict::judge(&notice, &args.require);
        if verdict.reason == Reason::NotAllDelivered {
            cx.out.annotate(Level::Warning, "notify: not_all_delivered", &verdict.hints.join("\n"));
        }
        Ok(Outcome { reason: verdict.reason, message: verdict.message, hints: verdict.hints, body: notice })
    }

    fn outputs(artifact: &Artifact<Notice>) -> Vec<(&'static str, String)> {
        let event = artifact.body.as_ref().map(|body| body.event.clone()).unwrap_or_default();
        let undelivered = artifact.body.iter().flat_map(verdict::undelivered);
        let names: Vec<&str> = undelivered.map(|channel| channel.channel.as_str()).collect();
        vec![("event", event), ("undelivered", names.join(","))]
    }

    fn summary(artifact: &Artifact<Notice>) -> String {
        artifact.body.as_ref().map(channels::summary::page).unwrap_or_default()
    }
}

/// Finds what is wrong with the inputs before anybody is told anything.
fn check(args: &Args, cx: &StepContext<Notice>) -> Result<(), StepError> {
    if args.within.duration().is_zero() {
        return Err(StepError::new(Reason::UsageError, "--within 0s leaves no time to tell anybody"));
    }
    let known: Vec<&str> = cx.config().channels.iter().map(|channel| channel.name.as_str()).collect();
    let unknown = |name: &&Name| !known.contains(&name.as_str());
    let Some(name) = args.require.iter().find(unknown) else { return Ok(()) };
    let text = match known.is_empty() {
        true => format!("--require {name} names a channel, and deploy.toml has none"),
        false => format!("--require {name} is no channel of deploy.toml: use one of {}", known.join(", ")),
    };
    let error = StepError::new(Reason::UsageError, text);
    Err(match nearest(name.as_str(), &known) {
        Some(near) => error.hint(format!("did you mean {near:?}?")),
        None => error,
    })
}

/// The word that artifacts use.
pub(crate) const fn kind_word(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Slack => "slack",
        ChannelKind::Webhook => "webhook",
        ChannelKind::Summary => "summary",
    }
}
