//! Everything that is settled before a command runs: inputs, configuration, secrets, identity.

use crate::artifacts::ArtifactFolder;
use crate::config::{self, Loaded};
use crate::program::{AnyCommand, Program};
use crate::{CommandSpec, Identity, IdentityRule, Qualifier, identity, inputs, logging, raw, secrets};
use kit_contract::config::{Config, Span};
use kit_contract::{ArtifactKind, ArtifactName, Name, Reason, RunInfo};
use kit_core::{Context, Env, ResultExt as _, StepError, random_hex};

/// Everything that is settled before a command runs.
pub(crate) struct Prepared<A> {
    pub(crate) args: A,
    pub(crate) loaded: Loaded,
    pub(crate) identity: Identity,
    pub(crate) artifacts: ArtifactFolder,
    pub(crate) secrets: secrets::Secrets,
    pub(crate) run: RunInfo,
    pub(crate) deadline: Span,
    pub(crate) json: bool,
    pub(crate) qualifier: Option<Name>,
}

/// Why a command does not run.
pub(crate) enum NotRun {
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

pub(crate) fn prepare<A: clap::Args>(
    program: &Program,
    command: &dyn AnyCommand,
    from_config: fn(&Config) -> Vec<(&'static str, String)>,
    makes_config: bool,
    args: &[String],
    cx: &Context,
) -> Result<Prepared<A>, NotRun> {
    let spec = command.spec();
    let raw = raw::RawInputs::read(args, &cx.env);
    logging::start(&cx.out, raw.verbose);
    let asks_for_help = args.iter().any(|arg| matches!(arg.as_str(), "-h" | "--help" | "-V" | "--version"));
    let (environment, loaded, broken) = match configuration(&raw, args, &cx.env) {
        Ok((environment, loaded)) => (environment, loaded, None),
        // The file that is named is the one that is to be made.
        Err(error) if makes_config && error.reason == Reason::ConfigInvalid => {
            let environment = name_of_ours(raw::DEFAULT_ENVIRONMENT)?;
            let file = raw.config.clone().unwrap_or_else(|| raw::DEFAULT_CONFIG.into());
            let config = default_config(&environment)?;
            (environment, Loaded { config, folder: ".".into(), file, from_file: false }, None)
        }
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
pub(crate) fn configuration(
    raw: &raw::RawInputs,
    args: &[String],
    env: &Env,
) -> Result<(Name, Loaded), StepError> {
    let environment: Name = raw.environment.parse().map_err(|error: kit_contract::IdentityError| {
        let error = StepError::new(Reason::UsageError, format!("--environment: {error}"));
        inputs::with_source(error, "environment", args, env)
    })?;
    let loaded = config::load(raw.config.as_deref(), &environment)?;
    Ok((environment, loaded))
}

pub(crate) fn name_of_ours(text: &str) -> Result<Name, StepError> {
    text.parse().or_reason(Reason::InternalError, "a name of the frame's own is invalid")
}

pub(crate) fn qualifying_input<'a>(spec: &CommandSpec, parser: &'a clap::Command) -> Option<&'a clap::Arg> {
    let Some(Qualifier::Input(input)) = spec.qualifier else { return None };
    parser.get_arguments().find(|arg| arg.get_long() == Some(input))
}

/// What qualifies the artifact's name. A value that no file can be called by is refused.
pub(crate) fn qualifier(
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

pub(crate) fn default_config(environment: &Name) -> Result<Config, StepError> {
    Config::parse("app = \"app\"", environment)
        .or_reason(Reason::InternalError, "the default configuration is invalid")
}

pub(crate) fn settle_identity(
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
        // A broken deployment.json is replaced by the step that makes it, and stops no withdrawal.
        IdentityRule::Creates | IdentityRule::JoinsOrNot => {
            artifacts.peek(&ArtifactName::only(ArtifactKind::Deployment)).unwrap_or_default()
        }
    };
    let fresh = random_hex(4).or_reason(Reason::InternalError, "there is no randomness")?;
    let given = raw.deployment_id.as_deref();
    let now_s = cx.clock.now().as_second();
    identity::settle(spec.identity, config.app.clone(), environment, given, found.as_ref(), &fresh, now_s)
}

/// Where this runs, as the runner says it.
pub(crate) fn run_info(env: &Env) -> RunInfo {
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

pub(crate) fn print_parser_message(cx: &Context, error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        cx.out.say(&text);
        return Reason::UsageError.exit_code();
    }
    cx.out.data(&text);
    0
}

/// The parser's message without its heading and usage lines, which do not belong into an artifact.
pub(crate) fn usage_error(error: &clap::Error, injected: &inputs::Injected, args: &[String]) -> StepError {
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
