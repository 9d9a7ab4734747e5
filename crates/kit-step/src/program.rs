//! A program and its commands: from the command line to the exit code.

use crate::artifacts::ArtifactFolder;
use crate::config::{self, Loaded};
use crate::context::{Shared, StepContext, ToolContext};
use crate::finish::{self, Conclusion};
use crate::run::{self, Ended};
use crate::{
    CommandSpec, Identity, IdentityRule, Qualifier, Step, Tool, bytes, identity, inputs, logging, raw,
    secrets,
};
use kit_contract::config::{Config, Span};
use kit_contract::{AnyArtifact, ArtifactKind, ArtifactName, Body as _, Name, Reason, RunInfo};
use kit_core::{Clock, Context, Env, Out, Redactor, ResultExt as _, StepError, random_hex};
use std::marker::PhantomData;
use std::process::ExitCode;

/// A program: a name and its commands.
pub struct Program {
    /// Its name, which is also that of its crate, binary and action.
    pub name: &'static str,
    /// One line: what it is for.
    pub about: &'static str,
    commands: Vec<Box<dyn AnyCommand>>,
    /// Commands that whoever calls this runs instead of us; listed in the help.
    foreign: Vec<(String, String)>,
}

impl Program {
    /// A program without commands yet.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, commands: Vec::new(), foreign: Vec::new() }
    }

    /// Adds a command that writes an artifact.
    #[must_use]
    pub fn step<S: Step>(mut self) -> Self {
        self.commands.push(Box::new(StepCommand::<S>(PhantomData)));
        self
    }

    /// Adds a command that prints data.
    #[must_use]
    pub fn tool<T: Tool>(mut self) -> Self {
        self.commands.push(Box::new(ToolCommand::<T>(PhantomData)));
        self
    }

    /// Lists commands in the help that whoever calls this runs itself: name and one line each.
    #[must_use]
    pub fn listing(mut self, foreign: Vec<(String, String)>) -> Self {
        self.foreign = foreign;
        self
    }

    pub(crate) fn commands(&self) -> impl Iterator<Item = &dyn AnyCommand> {
        self.commands.iter().map(AsRef::as_ref)
    }

    /// Runs with these arguments (without the program's name) and this context. Gives the exit code.
    pub fn run(&self, args: &[String], cx: &Context) -> u8 {
        run::catch_panics();
        secrets::learn_environment(cx);
        secrets::learn_arguments(cx, args);
        let named = args
            .first()
            .and_then(|first| self.commands().find(|command| command.spec().command == Some(first.as_str())));
        let default = self.commands().find(|command| command.spec().command.is_none());
        match (named, default) {
            (Some(command), _) => command.execute(self, args.get(1..).unwrap_or_default(), cx),
            (None, Some(command)) => command.execute(self, args, cx),
            (None, None) => self.without_command(args, cx),
        }
    }

    /// Help or a usage error for a program that must be told which of its commands to run.
    fn without_command(&self, args: &[String], cx: &Context) -> u8 {
        let mut parser = clap::Command::new(self.name)
            .about(self.about)
            .version(finish::tool_info().version)
            .subcommand_required(true)
            .arg_required_else_help(true);
        for command in self.commands() {
            let spec = command.spec();
            parser =
                parser.subcommand(clap::Command::new(spec.command.unwrap_or_default()).about(spec.about));
        }
        match parser.try_get_matches_from(std::iter::once(self.name.to_owned()).chain(args.iter().cloned())) {
            Ok(_) => Reason::UsageError.exit_code(),
            Err(error) => print_parser_message(cx, &error),
        }
    }

    /// The parser of one command, with these defaults injected.
    pub(crate) fn parser(
        &self,
        command: &dyn AnyCommand,
        env: &Env,
        config: &[(&'static str, String)],
    ) -> (clap::Command, inputs::Injected) {
        let spec = command.spec();
        let full_name = full_name(self.name, &spec);
        // The texts are set after the inputs: deriving them sets texts of its own.
        let parser = command
            .augment(clap::Command::new(full_name.clone()))
            .bin_name(full_name)
            .about(spec.about)
            .version(finish::tool_info().version)
            .long_about(format!("{}\n\n{}", spec.about, spec.details))
            .after_long_help(crate::describe::long_help(self, command))
            .term_width(100)
            .disable_help_subcommand(true);
        inputs::complete(parser, &spec, env, config)
    }
}

/// `deploy-record begin`, or just `smoke-test`.
pub(crate) fn full_name(program: &str, spec: &CommandSpec) -> String {
    spec.command.map_or_else(|| program.to_owned(), |command| format!("{program} {command}"))
}

/// The one call of every `main.rs`.
pub fn main(program: &Program) -> ExitCode {
    main_with(program, 0)
}

/// [`main`] for a program that runs as a subcommand: `skip` arguments belong to whoever called it.
pub fn main_with(program: &Program, skip: usize) -> ExitCode {
    let env = Env::capture();
    let redactor = Redactor::default();
    let out = Out::process(redactor.clone(), env.in_github_actions());
    let cx = Context { env, clock: Clock::system(), cancel: kit_core::Cancel::default(), redactor, out };
    let args: Result<Vec<String>, _> =
        std::env::args_os().skip(1 + skip).map(std::ffi::OsString::into_string).collect();
    match args {
        Ok(args) => ExitCode::from(run::guard(|| program.run(&args, &cx)).unwrap_or_else(|error| {
            finish::say_failure(&cx, program.name, &error);
            error.reason.exit_code()
        })),
        Err(_) => {
            cx.out.say(&format!("{}: an argument is not UTF-8 text", program.name));
            ExitCode::from(Reason::UsageError.exit_code())
        }
    }
}

/// A command whose types are hidden.
pub(crate) trait AnyCommand: Send + Sync {
    fn spec(&self) -> CommandSpec;
    /// The kind of artifact it writes; `None` for a tool.
    fn writes(&self) -> Option<ArtifactKind>;
    fn augment(&self, parser: clap::Command) -> clap::Command;
    fn execute(&self, program: &Program, args: &[String], cx: &Context) -> u8;
}

struct StepCommand<S>(PhantomData<fn() -> S>);
struct ToolCommand<T>(PhantomData<fn() -> T>);

/// Everything that is settled before a command runs.
struct Prepared<A> {
    args: A,
    loaded: Loaded,
    identity: Identity,
    artifacts: ArtifactFolder,
    secrets: secrets::Secrets,
    run: RunInfo,
    deadline: Span,
    json: bool,
    qualifier: Option<Name>,
}

/// Why a command does not run.
enum NotRun {
    /// Help or version was asked for, and has been printed.
    Shown(u8),
    /// Something is wrong.
    Failed(StepError),
}

impl From<StepError> for NotRun {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}

fn prepare<A: clap::Args>(
    program: &Program,
    command: &dyn AnyCommand,
    from_config: fn(&Config) -> Vec<(&'static str, String)>,
    args: &[String],
    cx: &Context,
) -> Result<Prepared<A>, NotRun> {
    let spec = command.spec();
    let raw = raw::RawInputs::read(args, &cx.env);
    logging::start(&cx.out, raw.verbose);
    let asks_for_help = args.iter().any(|arg| matches!(arg.as_str(), "-h" | "--help" | "-V" | "--version"));
    let (environment, loaded, broken) = match configuration(&raw, args, &cx.env) {
        Ok((environment, loaded)) => (environment, loaded, None),
        // A broken file must not keep anybody from reading the help, only from running.
        Err(error) if asks_for_help => {
            let environment = name_of_ours(raw::DEFAULT_ENVIRONMENT)?;
            let config = default_config(&environment)?;
            (
                environment,
                Loaded { config, folder: ".".into(), file: raw::DEFAULT_CONFIG.into(), from_file: false },
                Some(error),
            )
        }
        Err(error) => return Err(error.into()),
    };
    secrets::learn_config(cx, &loaded.config);
    let defaults = if loaded.from_file { from_config(&loaded.config) } else { Vec::new() };
    let (parser, injected) = program.parser(command, &cx.env, &defaults);
    let qualifier_id = qualifying_input(&spec, &parser).map(|arg| arg.get_id().clone());
    let argv = std::iter::once(program.name.to_owned()).chain(args.iter().cloned());
    let mut matches = match parser.try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Err(NotRun::Shown(print_parser_message(cx, &error))),
        Err(error) => return Err(NotRun::Failed(usage_error(&error, &injected, args))),
    };
    if let Some(error) = broken {
        return Err(error.into());
    }
    let qualifier = qualifier(&spec, qualifier_id, &matches)?;
    let deadline = matches.get_one::<Span>("deadline").copied().unwrap_or(spec.deadline);
    let json = matches.get_one::<bool>("json").copied().unwrap_or_default();
    let artifacts = ArtifactFolder::new(raw.artifacts.clone(), &raw.expect)
        .map_err(|error| inputs::with_source(error, "expect", args, &cx.env))?;
    let secrets = secrets::take(cx, spec.secrets, args)?;
    let identity = settle_identity(&spec, &loaded.config, environment, &raw, &artifacts, cx)?;
    let args = A::from_arg_matches_mut(&mut matches)
        .map_err(|error| NotRun::Failed(usage_error(&error, &injected, args)))?;
    let run = run_info(&cx.env);
    Ok(Prepared { args, loaded, identity, artifacts, secrets, run, deadline, json, qualifier })
}

/// The environment and the configuration for it.
fn configuration(raw: &raw::RawInputs, args: &[String], env: &Env) -> Result<(Name, Loaded), StepError> {
    let environment: Name = raw.environment.parse().map_err(|error: kit_contract::IdentityError| {
        let error = StepError::new(Reason::UsageError, format!("--environment: {error}"));
        inputs::with_source(error, "environment", args, env)
    })?;
    let loaded = config::load(raw.config.as_deref(), &environment)?;
    Ok((environment, loaded))
}

fn name_of_ours(text: &str) -> Result<Name, StepError> {
    text.parse().or_reason(Reason::InternalError, "a name of the frame's own is invalid")
}

fn qualifying_input<'a>(spec: &CommandSpec, parser: &'a clap::Command) -> Option<&'a clap::Arg> {
    let Some(Qualifier::Input(input)) = spec.qualifier else { return None };
    parser.get_arguments().find(|arg| arg.get_long() == Some(input))
}

/// What qualifies the artifact's name. A value that no file can be called by is refused.
fn qualifier(
    spec: &CommandSpec,
    id: Option<clap::Id>,
    matches: &clap::ArgMatches,
) -> Result<Option<Name>, StepError> {
    let (input, text) = match (spec.qualifier, id) {
        (Some(Qualifier::Fixed(name)), _) => return name_of_ours(name).map(Some),
        (Some(Qualifier::Input(input)), Some(id)) => {
            match matches.get_raw(id.as_str()).and_then(|mut values| values.next()) {
                Some(value) => (input, value.to_string_lossy()),
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let refused = |error: kit_contract::IdentityError| {
        StepError::new(Reason::UsageError, format!("--{input}: {error}"))
    };
    text.parse().map(Some).map_err(refused)
}

fn default_config(environment: &Name) -> Result<Config, StepError> {
    Config::parse("app = \"app\"", environment)
        .or_reason(Reason::InternalError, "the default configuration is invalid")
}

fn settle_identity(
    spec: &CommandSpec,
    config: &Config,
    environment: Name,
    raw: &raw::RawInputs,
    artifacts: &ArtifactFolder,
    cx: &Context,
) -> Result<Identity, StepError> {
    let found = match spec.identity {
        IdentityRule::Own => None,
        IdentityRule::Joins => artifacts.peek(&ArtifactName::only(ArtifactKind::Deployment))?,
        // A broken deployment.json is replaced by the step that makes it.
        IdentityRule::Creates => {
            artifacts.peek(&ArtifactName::only(ArtifactKind::Deployment)).unwrap_or_default()
        }
    };
    let fresh = random_hex(4).or_reason(Reason::InternalError, "there is no randomness")?;
    let given = raw.deployment_id.as_deref();
    let now_s = cx.clock.now().as_second();
    identity::settle(spec.identity, config.app.clone(), environment, given, found.as_ref(), &fresh, now_s)
}

/// Where this runs, as the runner says it.
fn run_info(env: &Env) -> RunInfo {
    let get = |name: &str| env.get(name).map(str::to_owned);
    let url = match (get("GITHUB_SERVER_URL"), get("GITHUB_REPOSITORY"), get("GITHUB_RUN_ID")) {
        (Some(server), Some(repository), Some(run)) => {
            Some(format!("{server}/{repository}/actions/runs/{run}"))
        }
        _ => None,
    };
    RunInfo {
        repository: get("GITHUB_REPOSITORY"),
        run_id: get("GITHUB_RUN_ID"),
        run_attempt: env.get("GITHUB_RUN_ATTEMPT").and_then(|text| text.parse().ok()),
        actor: get("GITHUB_TRIGGERING_ACTOR").or_else(|| get("GITHUB_ACTOR")).or_else(|| get("USER")),
        url,
    }
}

fn print_parser_message(cx: &Context, error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        cx.out.say(&text);
        return Reason::UsageError.exit_code();
    }
    cx.out.data(&text);
    0
}

/// The parser's message without its heading and usage lines, which do not belong into an artifact.
fn usage_error(error: &clap::Error, injected: &inputs::Injected, args: &[String]) -> StepError {
    let text = error.render().to_string();
    let mut hints: Vec<String> = Vec::new();
    let mut message: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            hints.push(tip.to_owned());
        } else if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        } else {
            message.push(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    hints.extend(inputs::explain_source(error, injected, args));
    hints.push("--help lists all inputs".to_owned());
    let mut failure = StepError::new(Reason::UsageError, message.join(" "));
    failure.hints = hints;
    failure
}

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
        match prepare::<S::Args>(program, self, S::from_config, args, cx) {
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
    let previous = match set_aside(&artifacts, name, &identity) {
        Ok(previous) => previous,
        Err(error) => {
            finish::say_failure(cx, step, &error);
            return error.reason.exit_code();
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
        finish::say_failure(cx, step, &error);
        return error.reason.exit_code();
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

/// Moves what an earlier run wrote to the history. What another deployment wrote goes there too, and
/// does not count as an earlier attempt.
fn set_aside(
    artifacts: &ArtifactFolder,
    name: &ArtifactName,
    ours: &Identity,
) -> Result<Option<AnyArtifact>, StepError> {
    // One that cannot be read is replaced: this step is the one that writes it.
    let previous = artifacts.peek(name).unwrap_or_default();
    let Some(previous) = previous else { return Ok(None) };
    artifacts.archive(name, previous.attempt)?;
    let same = previous.deployment_id == ours.deployment_id || (previous.standalone && ours.standalone);
    Ok(same.then_some(previous))
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
    let previous = set_aside(&artifacts, name, &identity)?;
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
        let prepared = match prepare::<T::Args>(program, self, T::from_config, args, cx) {
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
