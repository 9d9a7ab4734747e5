//! Runs a command: from what was settled before it to the exit code.

use crate::artifacts::ArtifactFolder;
use crate::config::{self, Loaded};
use crate::context::{Shared, StepContext, ToolContext};
use crate::finish::{self, Conclusion};
use crate::prepare::{
    NotRun, Prepared, default_config, name_of_ours, prepare, qualifying_input, run_info, settle_identity,
};
use crate::program::{AnyCommand, Program, full_name};
use crate::run::{self, Ended};
use crate::{CommandSpec, Identity, IdentityRule, Qualifier, Step, Tool, bytes, identity, raw, secrets};
use kit_contract::config::Span;
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, Body as _, Reason};
use kit_core::{Context, Env, ResultExt as _, StepError, random_hex};
use std::marker::PhantomData;
use std::path::PathBuf;

/// A step whose types are hidden.
pub(crate) struct StepCommand<S>(pub(crate) PhantomData<fn() -> S>);
/// A tool whose types are hidden.
pub(crate) struct ToolCommand<T>(pub(crate) PhantomData<fn() -> T>);

impl<S: Step> AnyCommand for StepCommand<S> {
    fn spec(&self) -> CommandSpec {
        S::SPEC
    }

    fn writes(&self) -> Option<ArtifactKind> {
        Some(S::Body::KIND)
    }

    fn augment(&self, parser: clap::Command) -> clap::Command {
        <S::Args as clap::Args>::augment_args(parser)
    }

    fn execute(&self, program: &Program, args: &[String], cx: &Context) -> u8 {
        let started_at = cx.clock.now();
        let step = full_name(program.name, &S::SPEC);
        match prepare::<S::Args>(program, self, S::from_config, false, args, cx) {
            Ok(prepared) => {
                let name = ArtifactName { kind: S::Body::KIND, qualifier: prepared.qualifier.clone() };
                run_step::<S>(prepared, &step, &name, started_at, cx)
            }
            Err(NotRun::Shown(code)) => code,
            Err(NotRun::Failed(error)) => {
                let name = early_name(program, self, S::Body::KIND, args, &cx.env);
                fail_early::<S>(error, &step, &name, args, started_at, cx)
            }
        }
    }
}

/// The artifact's name where the inputs cannot be parsed: from the raw ones, or the parser's default.
fn early_name(
    program: &Program,
    command: &dyn AnyCommand,
    kind: ArtifactKind,
    args: &[String],
    env: &Env,
) -> ArtifactName {
    let text = match command.spec().qualifier {
        None => None,
        Some(Qualifier::Fixed(name)) => Some(name.to_owned()),
        Some(Qualifier::Input(input)) => raw::value_of(input, args, env).or_else(|| {
            let (parser, _) = program.parser(command, env, &[]);
            let default = qualifying_input(&command.spec(), &parser)?.get_default_values().first()?;
            Some(default.to_string_lossy().into_owned())
        }),
    };
    ArtifactName { kind, qualifier: text.and_then(|text| text.parse().ok()) }
}

fn run_step<S: Step>(
    prepared: Prepared<S::Args>,
    step: &str,
    name: &ArtifactName,
    started_at: jiff::Timestamp,
    cx: &Context,
) -> u8 {
    let Prepared { args, loaded, identity, artifacts, secrets, run, deadline, json, .. } = prepared;
    let (previous, archived) = match set_aside(&artifacts, name, &identity) {
        Ok(aside) => aside,
        Err(error) => {
            finish::say_failure(cx, step, &error);
            if !S::ACTS_UNRECORDED {
                return error.reason.exit_code();
            }
            (None, None)
        }
    };
    let tool = ToolContext::new(cx.clone(), loaded, identity, run, artifacts, secrets);
    let step_cx = StepContext::<S::Body>::new(tool, previous);
    let unfinished = Conclusion {
        reason: Reason::Unfinished,
        message: "the step started and left no result: it is still running, or it was killed".to_owned(),
        hints: Vec::new(),
        body: None,
    };
    // Before anything is changed: if this cannot be written, neither can the result.
    let placeholder = finish::artifact(&step_cx, step, started_at, unfinished);
    let written = bytes::of(cx, &placeholder).and_then(|bytes| step_cx.artifacts.write(name, &bytes));
    if let Err(error) = written {
        if let Some(Err(lost)) = archived.map(|archived| step_cx.artifacts.bring_back(name, &archived)) {
            cx.out.say(&format!("warning: {}", cx.out.clean(&lost.chain())));
        }
        finish::say_failure(cx, step, &error);
        if !S::ACTS_UNRECORDED {
            return error.reason.exit_code();
        }
    }
    let ended = block_on(cx, deadline, crate::GRACE, S::run(args, step_cx.clone()));
    let shared = match step_cx.shared.lock() {
        Ok(mut shared) => Shared { saved: shared.saved.take(), danger: shared.danger.take() },
        Err(poisoned) => {
            let mut shared = poisoned.into_inner();
            Shared { saved: shared.saved.take(), danger: shared.danger.take() }
        }
    };
    let conclusion = finish::conclude(cx.cancel.cause(), ended, shared);
    let artifact = finish::artifact(&step_cx, step, started_at, conclusion);
    finish::publish::<S>(&step_cx, name, &artifact, json)
}

/// What an earlier run wrote, if it counts as an earlier attempt, and where it lies now.
type Aside = (Option<AnyArtifact>, Option<PathBuf>);

/// Moves what an earlier run wrote to the history. What another deployment wrote goes there too, and
/// does not count as an earlier attempt.
fn set_aside(artifacts: &ArtifactFolder, name: &ArtifactName, ours: &Identity) -> Result<Aside, StepError> {
    // One that cannot be read is replaced: this step is the one that writes it.
    let previous = artifacts.peek(name).unwrap_or_default();
    let Some(previous) = previous else { return Ok((None, None)) };
    let archived = artifacts.archive(name, previous.attempt)?;
    let same = previous.deployment_id == ours.deployment_id || (previous.standalone && ours.standalone);
    Ok((same.then_some(previous), Some(archived)))
}

/// Records a failure that happened before the step could run.
fn fail_early<S: Step>(
    error: StepError,
    step: &str,
    name: &ArtifactName,
    args: &[String],
    started_at: jiff::Timestamp,
    cx: &Context,
) -> u8 {
    let code = error.reason.exit_code();
    let recorded = record_early::<S>(&error, step, name, args, started_at, cx);
    match recorded {
        Ok((step_cx, artifact)) => {
            let json = raw::RawInputs::read(args, &cx.env).json;
            finish::publish::<S>(&step_cx, name, &artifact, json)
        }
        Err(_) => {
            finish::say_failure(cx, step, &error);
            code
        }
    }
}

type Recorded<S> = (StepContext<<S as Step>::Body>, kit_contract::Artifact<<S as Step>::Body>);

fn record_early<S: Step>(
    error: &StepError,
    step: &str,
    name: &ArtifactName,
    args: &[String],
    started_at: jiff::Timestamp,
    cx: &Context,
) -> Result<Recorded<S>, StepError> {
    let raw = raw::RawInputs::read(args, &cx.env);
    let unknown = || name_of_ours("unknown");
    let environment = raw.environment.parse().or_else(|_| unknown())?;
    let loaded = config::load(raw.config.as_deref(), &environment).or_else(|_| {
        let mut config = default_config(&environment)?;
        config.app = unknown()?;
        Ok::<_, StepError>(Loaded {
            config,
            folder: ".".into(),
            file: raw::DEFAULT_CONFIG.into(),
            from_file: false,
        })
    })?;
    let artifacts = ArtifactFolder::new(raw.artifacts.clone(), &[])?;
    let identity = settle_identity(&S::SPEC, &loaded.config, environment.clone(), &raw, &artifacts, cx)
        .or_else(|_| {
            let fresh = random_hex(4).or_reason(Reason::InternalError, "there is no randomness")?;
            let now_s = cx.clock.now().as_second();
            identity::settle(
                IdentityRule::Joins,
                loaded.config.app.clone(),
                environment,
                None,
                None,
                &fresh,
                now_s,
            )
        })?;
    let (previous, _) = set_aside(&artifacts, name, &identity)?;
    let tool =
        ToolContext::new(cx.clone(), loaded, identity, run_info(&cx.env), artifacts, secrets::Secrets::new());
    let step_cx = StepContext::<S::Body>::new(tool, previous);
    let conclusion =
        Conclusion { reason: error.reason, message: error.chain(), hints: error.hints.clone(), body: None };
    let artifact = finish::artifact(&step_cx, step, started_at, conclusion);
    Ok((step_cx, artifact))
}

impl<T: Tool> AnyCommand for ToolCommand<T> {
    fn spec(&self) -> CommandSpec {
        T::SPEC
    }

    fn writes(&self) -> Option<ArtifactKind> {
        None
    }

    fn augment(&self, parser: clap::Command) -> clap::Command {
        <T::Args as clap::Args>::augment_args(parser)
    }

    fn execute(&self, program: &Program, args: &[String], cx: &Context) -> u8 {
        let step = full_name(program.name, &T::SPEC);
        let prepared = match prepare::<T::Args>(program, self, T::from_config, T::MAKES_CONFIG, args, cx) {
            Ok(prepared) => prepared,
            Err(NotRun::Shown(code)) => return code,
            Err(NotRun::Failed(error)) => {
                finish::say_failure(cx, &step, &error);
                return error.reason.exit_code();
            }
        };
        let Prepared { args, loaded, identity, artifacts, secrets, run, deadline, json, .. } = prepared;
        let tool_cx = ToolContext::new(cx.clone(), loaded, identity, run, artifacts, secrets);
        let ended = block_on(cx, deadline, T::GRACE, T::run(args, tool_cx));
        let error = match ended {
            Ended::Returned(Ok(output)) => {
                if json {
                    cx.out.data(&format!("{:#}", output.json));
                } else {
                    cx.out.data(&output.text);
                }
                return output.reason.exit_code();
            }
            Ended::Returned(Err(error)) => error,
            Ended::Panicked(text) => {
                StepError::new(Reason::InternalError, format!("deploy-kit hit a bug: {text}"))
            }
            Ended::Abandoned => {
                let reason = cx.cancel.cause().map_or(Reason::InternalError, run::reason_of);
                StepError::new(reason, "it was stopped")
            }
        };
        finish::say_failure(cx, &step, &error);
        error.reason.exit_code()
    }
}

/// Runs `work` to its end on two workers. Deadline and signals are watched by a runtime of their own, on
/// this thread: work that blocks every worker must not make the frame deaf.
fn block_on<T: Send + 'static>(
    cx: &Context,
    deadline: Span,
    grace: std::time::Duration,
    work: impl Future<Output = Result<T, StepError>> + Send + 'static,
) -> Ended<T> {
    let workers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let watcher = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtimes = workers.and_then(|workers| Ok((workers, watcher?)));
    let (workers, watcher) =
        match runtimes.or_reason(Reason::InternalError, "the async runtime cannot be started") {
            Ok(runtimes) => runtimes,
            Err(error) => return Ended::Returned(Err(error)),
        };
    let work = workers.spawn(work);
    let ended = watcher.block_on(run::supervise(cx, deadline.duration(), grace, work));
    // Work that does not listen must not keep the program from ending.
    workers.shutdown_background();
    ended
}
