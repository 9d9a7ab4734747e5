//! Builds the parser: the common inputs, and environment and configuration as defaults.
//!
//! Precedence is flag > environment > `deploy.toml` > default. Environment and configuration are
//! injected as defaults before parsing, so that `--help` shows what would hold and errors can say
//! where a value came from. clap's own `env` feature reads the real environment and takes an empty
//! variable as set, so it is not used.

use crate::raw::{self, env_name};
use crate::spec::CommandSpec;
use clap::builder::{BoolValueParser, OsStr};
use clap::{Arg, ArgAction};
use kit_contract::config::Span;
use kit_core::{Env, StepError};
use std::collections::BTreeMap;

/// Where an injected default came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Environment(String),
    Config,
}

/// Injected defaults by input name.
pub(crate) type Injected = BTreeMap<String, Source>;

/// The heading under which the common inputs stand in `--help`.
pub(crate) const COMMON: &str = "Common inputs";

/// The inputs that every command has.
pub(crate) fn common() -> Vec<Arg> {
    let arg = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading(COMMON).global(true)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading(COMMON).global(true)
    };
    vec![
        arg("artifacts", "FOLDER", "Folder of the artifacts of this deployment")
            .default_value(raw::DEFAULT_ARTIFACTS),
        arg("config", "FILE", "Configuration; without this, deploy.toml where there is one"),
        arg("environment", "NAME", "Environment to deploy to").default_value(raw::DEFAULT_ENVIRONMENT),
        arg(
            "deployment-id",
            "ID",
            "Deployment that this belongs to; without this, the one of deployment.json",
        ),
        arg("expect", "ARTIFACT:SHA256", "Digest that an artifact must have; may be repeated")
            .action(ArgAction::Append),
        arg("deadline", "TIME", "Longest time that this may take, for example 10m").value_parser(a_deadline),
        flag("json", "Print the artifact, or a tool's data, as JSON on stdout"),
        flag("verbose", "Say more"),
    ]
}

/// A deadline that has passed before anything began would look like work that was too slow.
fn a_deadline(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: kit_contract::config::ParseSpanError| error.to_string())?;
    if span.as_ms() == 0 { Err("it must be longer than 0".to_owned()) } else { Ok(span) }
}

/// Completes the parser of one command.
pub(crate) fn complete(
    command: clap::Command,
    spec: &CommandSpec,
    env: &Env,
    config: &[(&'static str, String)],
) -> (clap::Command, Injected) {
    let mut command = command.args(common());
    for secret in spec.secrets {
        let name = format!("{}-file", secret.name);
        command = command.arg(
            Arg::new(name.clone())
                .long(name)
                .value_name("FILE")
                .help(format!("File that holds {}; or set {}", secret.help, env_name(secret.name)))
                .help_heading("Secrets"),
        );
    }
    let mut injected = Injected::new();
    let command = command.mut_args(|arg| {
        let arg = strict_boolean(arg);
        inject(arg, env, config, &mut injected)
    });
    (command, injected)
}

/// Flags take `=true` and `=false` too, so that environment and actions can set both.
fn strict_boolean(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_name("true|false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_parser(BoolValueParser::new())
}

fn inject(arg: Arg, env: &Env, config: &[(&'static str, String)], injected: &mut Injected) -> Arg {
    let Some(name) = arg.get_long().map(str::to_owned) else { return arg };
    if name == "help" || name == "version" {
        return arg;
    }
    let variable = env_name(&name);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let arg = arg.help(format!("{help} [env: {variable}]"));
    let (value, source) = match env.get(&variable) {
        Some(value) => (value.to_owned(), Source::Environment(variable)),
        None => match config.iter().find(|(input, _)| *input == name) {
            Some((_, value)) => (value.clone(), Source::Config),
            None => return arg,
        },
    };
    injected.insert(name, source);
    // What was injected is shown, also for switches.
    let arg = arg.required(false).hide_default_value(false);
    if matches!(arg.get_action(), ArgAction::Append) {
        return arg.default_values(raw::lines(&value).into_iter().map(OsStr::from));
    }
    arg.default_value(OsStr::from(value))
}

/// Adds to the refusal of an input of the frame's own where its value came from, if nobody typed it.
pub(crate) fn with_source(mut error: StepError, name: &str, args: &[String], env: &Env) -> StepError {
    let variable = env_name(name);
    if !raw::is_on_command_line(name, args) && env.get(&variable).is_some() {
        error.hints.push(format!("the value comes from the environment variable {variable}"));
    }
    error
}

/// Says where a refused value came from, if nobody typed it.
pub(crate) fn explain_source(error: &clap::Error, injected: &Injected, args: &[String]) -> Option<String> {
    let clap::error::ContextValue::String(shown) = error.get(clap::error::ContextKind::InvalidArg)? else {
        return None;
    };
    // `--stage <STAGE>` or `--json[=<true|false>]`
    let name: String = shown
        .trim_start_matches('-')
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    if raw::is_on_command_line(&name, args) {
        return None;
    }
    Some(match injected.get(&name)? {
        Source::Environment(variable) => format!("the value comes from the environment variable {variable}"),
        Source::Config => "the value comes from deploy.toml".to_owned(),
    })
}
