//! From how the work ended to artifact, outputs, summary, annotation and exit code.

use crate::context::{Shared, StepContext};
use crate::github::{markdown_escape, write_outputs, write_summary};
use crate::run::{Ended, guard, reason_of};
use crate::{Outcome, Step, bytes};
use kit_contract::{Artifact, ArtifactName, Body, Reason, Sha256, StepResult, ToolInfo};
use kit_core::{Cause, Context, Level, StepError};

/// What is said of a step, before it becomes an artifact.
pub(crate) struct Conclusion<B> {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    pub(crate) body: Option<B>,
}

/// Which program this is: version and, in builds from a checkout, commit.
pub(crate) fn tool_info() -> ToolInfo {
    ToolInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("DEPLOY_KIT_COMMIT").map(str::to_owned),
    }
}

/// Draws the conclusion. Pure but for the texts that the redactor cleans.
pub(crate) fn conclude<B>(
    cause: Option<Cause>,
    ended: Ended<Outcome<B>>,
    shared: Shared<B>,
) -> Conclusion<B> {
    let mut conclusion = match ended {
        Ended::Returned(Ok(outcome)) => {
            // The step came to a result of its own: whatever it was changing, it has judged it.
            return Conclusion {
                reason: outcome.reason,
                message: outcome.message,
                hints: outcome.hints,
                body: Some(outcome.body),
            };
        }
        Ended::Returned(Err(error)) => from_error(cause, error, shared.saved),
        Ended::Panicked(text) => Conclusion {
            reason: Reason::InternalError,
            message: format!("deploy-kit hit a bug: {text}"),
            hints: vec!["please report it with this artifact".to_owned()],
            body: shared.saved,
        },
        Ended::Abandoned => Conclusion {
            reason: cause.map_or(Reason::InternalError, reason_of),
            message: "the step was stopped and did not end by itself".to_owned(),
            hints: Vec::new(),
            body: shared.saved,
        },
    };
    if let Some(danger) = shared.danger {
        conclusion.message = format!("{}: {}", danger.what, conclusion.message);
        conclusion.reason = Reason::LeftChanged;
        conclusion.hints.insert(0, danger.what_to_do);
    }
    conclusion
}

fn from_error<B>(cause: Option<Cause>, error: StepError, saved: Option<B>) -> Conclusion<B> {
    let message = error.chain();
    let reason = match cause {
        // What failed after the cancellation most likely failed because of it; stuck stays stuck.
        Some(cause) if error.reason.result() != StepResult::Stuck => reason_of(cause),
        _ => error.reason,
    };
    Conclusion { reason, message, hints: error.hints, body: saved }
}

/// Builds the artifact.
pub(crate) fn artifact<B: Body>(
    cx: &StepContext<B>,
    step: &str,
    started_at: jiff::Timestamp,
    conclusion: Conclusion<B>,
) -> Artifact<B> {
    let identity = cx.identity();
    let (evidence, unanchored) = cx.artifacts.evidence();
    let clean = |text: &str| cx.out.clean(text);
    Artifact {
        schema: B::KIND.schema(),
        app: identity.app,
        environment: identity.environment,
        deployment_id: identity.deployment_id,
        attempt: cx.attempt(),
        standalone: identity.standalone,
        step: step.to_owned(),
        result: conclusion.reason.result(),
        reason: conclusion.reason,
        message: clean(&conclusion.message),
        hints: conclusion.hints.iter().map(|hint| clean(hint)).collect(),
        started_at,
        finished_at: cx.clock.now(),
        tool: tool_info(),
        run: cx.run.clone(),
        evidence,
        unanchored,
        body: conclusion.body,
    }
}

/// Writes the artifact and tells everybody. Gives the exit code.
pub(crate) fn publish<S: Step>(
    cx: &StepContext<S::Body>,
    name: &ArtifactName,
    artifact: &Artifact<S::Body>,
    json: bool,
) -> u8 {
    let written = bytes::of(cx.context(), artifact)
        .and_then(|bytes| cx.artifacts.write(name, &bytes).map(|digest| (bytes, digest)));
    match written {
        Ok((bytes, digest)) => {
            if json {
                cx.out.data(&String::from_utf8_lossy(&bytes));
            }
            tell::<S>(cx, name, artifact, &digest);
            artifact.reason.exit_code()
        }
        Err(error) => {
            // No file will tell: verdict and instructions are said here, or nobody learns of them.
            say_result(cx.context(), artifact);
            let lost = format!("{} had ended with {} ({})", artifact.step, artifact.result, artifact.reason);
            say_failure(cx.context(), &artifact.step, &error.hint(lost));
            let stuck = artifact.result == StepResult::Stuck;
            if stuck { artifact.reason.exit_code() } else { Reason::ArtifactUnwritable.exit_code() }
        }
    }
}

fn tell<S: Step>(
    cx: &StepContext<S::Body>,
    name: &ArtifactName,
    artifact: &Artifact<S::Body>,
    digest: &Sha256,
) {
    let mut outputs: Vec<(String, String)> = vec![
        ("result".to_owned(), artifact.result.to_string()),
        ("reason".to_owned(), artifact.reason.to_string()),
        ("deployment-id".to_owned(), artifact.deployment_id.to_string()),
        ("artifact".to_owned(), cx.artifacts.file(name).display().to_string()),
        ("artifact-name".to_owned(), name.to_string()),
        ("artifact-sha256".to_owned(), digest.to_string()),
    ];
    let own_outputs = guard(|| S::outputs(artifact))
        .map(|own| outputs.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value))));
    let mut summary = heading(artifact);
    let own_summary = guard(|| S::summary(artifact)).map(|own| {
        summary.push('\n');
        summary.push_str(&own);
    });
    let outputs = write_outputs(cx.context(), &outputs);
    let summary = write_summary(cx.context(), &summary);
    for told in [own_outputs, own_summary, outputs, summary] {
        if let Err(error) = told {
            // A reporting failure never hides a verdict, and never becomes one.
            let chain = cx.out.clean(&error.chain());
            cx.out.annotate(Level::Warning, &artifact.step, &chain);
            cx.out.say(&format!("warning: {chain}"));
        }
    }
    say_result(cx.context(), artifact);
    cx.out.say(&format!("  artifact: {}", cx.artifacts.file(name).display()));
}

/// Says how the step ended, why, and what to do.
fn say_result<B>(cx: &Context, artifact: &Artifact<B>) {
    let Artifact { step, result, reason, message, hints, .. } = artifact;
    if artifact.reason.exit_code() == 0 {
        cx.out.say(&format!("{step}: {result} ({reason}): {message}"));
        say_hints(cx, hints);
        return;
    }
    let mut error = StepError::new(*reason, message.clone());
    error.hints.clone_from(hints);
    say_failure(cx, step, &error);
}

fn heading<B>(artifact: &Artifact<B>) -> String {
    let mut text = format!(
        "### {}: {} (`{}`)\n\n{}\n",
        artifact.step,
        artifact.result,
        artifact.reason,
        markdown_escape(&artifact.message)
    );
    for hint in &artifact.hints {
        text.push_str(&format!("\n- hint: {}\n", markdown_escape(hint)));
    }
    text
}

fn say_hints(cx: &Context, hints: &[String]) {
    for hint in hints {
        cx.out.say(&format!("  hint: {}", cx.out.clean(hint)));
    }
}

/// Prints a failure once, at the edge: for people, and as an annotation for the runner.
pub(crate) fn say_failure(cx: &Context, step: &str, error: &StepError) {
    let chain = cx.out.clean(&error.chain());
    let title = format!("{step}: {}", error.reason);
    let level = if error.reason.result() == StepResult::Inconclusive { Level::Warning } else { Level::Error };
    let mut annotation = chain.clone();
    for hint in &error.hints {
        annotation.push_str("\nhint: ");
        annotation.push_str(&cx.out.clean(hint));
    }
    cx.out.annotate(level, &title, &annotation);
    cx.out.say(&format!("{step}: {} ({}): {chain}", error.reason.result(), error.reason));
    say_hints(cx, &error.hints);
    if error.hints.is_empty() {
        cx.out.say(&format!("  hint: {}", error.reason.remedy()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Danger;

    fn shared(danger: bool) -> Shared<u8> {
        let danger = danger.then(|| Danger {
            what: "the table is half renamed".into(),
            what_to_do: "rename it back".into(),
        });
        Shared { saved: Some(7), danger }
    }

    fn error(reason: Reason) -> Ended<Outcome<u8>> {
        Ended::Returned(Err(StepError::new(reason, "it broke")))
    }

    #[test]
    fn the_table() {
        let cases = [
            (None, error(Reason::StoreUnreachable), false, Reason::StoreUnreachable),
            (Some(Cause::Deadline), error(Reason::StoreUnreachable), false, Reason::DeadlineExceeded),
            (Some(Cause::Interrupted), error(Reason::CommandFailed), false, Reason::Interrupted),
            (Some(Cause::Interrupted), error(Reason::WithdrawFailed), false, Reason::WithdrawFailed),
            (Some(Cause::Terminated), Ended::Abandoned, false, Reason::Terminated),
            (None, Ended::Panicked("x".into()), false, Reason::InternalError),
            (None, error(Reason::StoreUnreachable), true, Reason::LeftChanged),
            (Some(Cause::Deadline), Ended::Abandoned, true, Reason::LeftChanged),
            (None, Ended::Panicked("x".into()), true, Reason::LeftChanged),
            (
                Some(Cause::Deadline),
                Ended::Returned(Ok(Outcome::new(Reason::Migrated, "done", 1))),
                true,
                Reason::Migrated,
            ),
        ];
        for (cause, ended, danger, expected) in cases {
            let conclusion = conclude(cause, ended, shared(danger));
            assert_eq!(conclusion.reason, expected);
            if expected == Reason::LeftChanged {
                assert_eq!(conclusion.reason.exit_code(), 30);
                assert!(conclusion.message.starts_with("the table is half renamed: "));
                assert_eq!(conclusion.hints[0], "rename it back");
            }
            assert!(conclusion.body.is_some(), "what was known is kept");
        }
    }
}
