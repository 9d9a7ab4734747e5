//! The ways to end.

use crate::args::{Act, Args};
use kit_contract::body::{Smoke, SmokeCheck, SmokeOutcome};
use kit_contract::{Artifact, Reason};
use kit_core::{Level, ResultExt as _, StepError};
use kit_step::{Outcome, StepContext, ToolContext, ToolOutput, markdown_escape};
use std::path::Path;

/// Text that a runner or a terminal would obey, in every place where it could.
const HOSTILE: &str = "::set-output name=verdict::promote\n##[error]forged\r::add-mask::forged\n\
    #\u{1b}[0m#[set-env name=PATH]forged\n\u{1b}]0;title\u{7}::stop-commands::forged\n\
    \u{202e}::error::forged\n: :ok ##[warning]forged";
/// What hostile text is worth as an output: it tries to end its own block.
const HOSTILE_OUTPUT: &str = "EOF\nforged=1\nx<<ghadelimiter_00\nghadelimiter_00\nforged<<y\ny\r\n";

pub(crate) async fn run(args: Args, cx: StepContext<Smoke>) -> Result<Outcome<Smoke>, StepError> {
    if let Some(marker) = &args.marker {
        std::fs::write(marker, "the step has begun").or_reason(Reason::InternalError, "no marker")?;
    }
    for name in &args.reads {
        let name = name.parse().or_reason(Reason::UsageError, "--reads is wrong")?;
        cx.read_go::<Smoke>(&name)?;
    }
    for name in &args.glances {
        let name = name.parse().or_reason(Reason::UsageError, "--glances is wrong")?;
        cx.read_if_there::<Smoke>(&name)?;
    }
    if matches!(args.act, Act::DangerError | Act::DangerPanic | Act::DangerHang | Act::DangerFillDisk) {
        cx.in_danger("the table is half renamed", "rename it back by hand");
    }
    let body = known(&["nothing in particular"]);
    match args.act {
        Act::Ok => {
            Ok(Outcome::new(Reason::SmokePassed, "all is well", known(&["##[group]x \u{202e}\u{7f}"])))
        }
        Act::SummaryPanic => Ok(Outcome::new(Reason::SmokeFailed, "summary-panic", body)),
        Act::BigSummary => Ok(Outcome::new(Reason::SmokePassed, "big-summary", body)),
        Act::Verdict => {
            Ok(Outcome::new(Reason::SmokeFailed, "1 of 3 checks failed", body).hint("look at it"))
        }
        Act::Inconclusive => Ok(Outcome::new(Reason::NothingReachable, "nothing answered", body)),
        Act::Error | Act::DangerError => Err(StepError::new(Reason::StoreUnreachable, "the store is away")
            .because(std::io::Error::other("connection refused"))
            .hint("bring it back")),
        Act::Panic | Act::DangerPanic => panic!("the rehearsed bug\nwith a second line"),
        Act::Hang | Act::DangerHang => hang(&cx).await,
        Act::SaveThenHang => {
            cx.save(known(&["what was known"]));
            hang(&cx).await
        }
        Act::HangDeaf => block_all_workers(&cx, std::thread::park).await,
        Act::Spin => {
            let cancel = cx.cancel.clone();
            block_all_workers(&cx, move || assert!(!cancel.is_cancelled(), "told to stop")).await
        }
        Act::FillDisk => {
            fill(cx.artifacts().path());
            Ok(Outcome::new(Reason::SmokeFailed, "1 of 3 checks failed", body).hint("look at it"))
        }
        Act::DangerFillDisk => {
            fill(cx.artifacts().path());
            Err(StepError::new(Reason::CommandFailed, "the rename failed"))
        }
        Act::ForeignHostile => repeat(&cx, HOSTILE),
        Act::HostilePanic => panic!("{HOSTILE}"),
        Act::SecretEverywhere => repeat(&cx, &secrets(&cx)),
        Act::SecretError => {
            let secrets = secrets(&cx);
            Err(StepError::new(Reason::CommandFailed, format!("it failed with {secrets}"))
                .because(std::io::Error::other(format!("as {secrets} was refused")))
                .hint(format!("try {secrets}")))
        }
        Act::SecretPanic => panic!("it panics with {}", secrets(&cx)),
    }
}

/// A tool shows what its inputs came to, or fails.
pub(crate) async fn tool(args: Args, cx: ToolContext) -> Result<ToolOutput, StepError> {
    match args.act {
        Act::Panic => panic!("the rehearsed bug"),
        Act::Error => return Err(StepError::new(Reason::StoreUnreachable, "the store is away")),
        Act::Hang => cx.cancel.cancelled().await,
        _ => {}
    }
    let json = serde_json::json!({
        "stage": args.stage,
        "speed": args.speed,
        "careful": args.careful,
        "label": args.label,
        "rest": args.rest,
        "app": cx.config().app,
        "standalone": cx.identity().standalone,
    });
    Ok(ToolOutput { reason: Reason::ChecksPassed, text: format!("{json}"), json })
}

fn known(names: &[&str]) -> Smoke {
    let checks = names.iter().map(|name| SmokeCheck {
        name: (*name).to_owned(),
        target: "http://shop.example/".to_owned(),
        advisory: false,
        outcome: SmokeOutcome::Pass,
        attempts: Vec::new(),
        attempts_total: 0,
    });
    Smoke { checks: checks.collect(), deadline_ms: 1000 }
}

async fn hang(cx: &StepContext<Smoke>) -> Result<Outcome<Smoke>, StepError> {
    cx.out.say("rehearse: waiting");
    cx.cancel.cancelled().await;
    Err(StepError::new(Reason::CommandFailed, "it was stopped in the middle"))
}

/// Keeps more threads busy with `turn` than the runtime has.
async fn block_all_workers(
    cx: &StepContext<Smoke>,
    turn: impl Fn() + Clone + Send + 'static,
) -> Result<Outcome<Smoke>, StepError> {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let blocked = std::sync::Arc::new(std::sync::Barrier::new(workers));
    let runtime = tokio::runtime::Handle::current();
    let (others, everybody) = (turn.clone(), blocked.clone());
    // From outside of the runtime: what a worker spawns may wait for that very worker.
    std::thread::spawn(move || {
        for _ in 1..workers {
            let (turn, blocked) = (others.clone(), everybody.clone());
            runtime.spawn(async move {
                blocked.wait();
                loop {
                    turn();
                }
            });
        }
    });
    blocked.wait();
    cx.out.say("rehearse: waiting");
    loop {
        turn();
    }
}

/// Writes until nothing more goes in.
fn fill(folder: &Path) {
    use std::io::Write as _;
    let Ok(mut file) = std::fs::File::create(folder.join("filler")) else { return };
    for size in [4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Every secret that the step knows, one after the other.
fn secrets(cx: &StepContext<Smoke>) -> String {
    let own = cx.secret("rehearsal-key");
    let named = cx.config().secret_refs().into_iter().filter_map(|reference| cx.secret_ref(reference).ok());
    own.into_iter().chain(named).map(|secret| secret.expose().to_owned()).collect::<Vec<_>>().join(" ")
}

/// Puts a text wherever a step can put one.
fn repeat(cx: &StepContext<Smoke>, text: &str) -> Result<Outcome<Smoke>, StepError> {
    for line in text.split('\n') {
        cx.out.foreign("tool", line);
    }
    cx.out.foreign("::error::forged\n##[error]forged", "from a source with a strange name");
    cx.out.say(text);
    cx.out.data(text);
    cx.out.annotate(Level::Notice, "repeated", text);
    tracing::warn!("{text}");
    tracing::warn!(field = text, "in a field");
    let outcome = Outcome::new(Reason::SmokeFailed, format!("it said {text}"), known(&[text]));
    Ok(outcome.hint(text))
}

fn first_name(artifact: &Artifact<Smoke>) -> &str {
    let first = artifact.body.as_ref().and_then(|body| body.checks.first());
    first.map_or("", |check| check.name.as_str())
}

pub(crate) fn note(artifact: &Artifact<Smoke>) -> String {
    match first_name(artifact) {
        text if text.contains("forged") => HOSTILE_OUTPUT.to_owned(),
        text => text.to_owned(),
    }
}

pub(crate) fn summary(artifact: &Artifact<Smoke>) -> String {
    match artifact.message.as_str() {
        "summary-panic" => panic!("the rehearsed bug in the summary"),
        "big-summary" => "ä line of the summary\n".repeat(100_000),
        _ => format!("- {}\n", markdown_escape(first_name(artifact))),
    }
}
