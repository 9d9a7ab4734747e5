//! What must be known before the inputs can be parsed, read from the raw arguments and environment.
//!
//! A usage error is recorded in an artifact too, so its folder must be found without the parser.

use kit_core::Env;
use std::path::PathBuf;

/// The inputs that the frame needs before parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawInputs {
    pub(crate) artifacts: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) environment: String,
    pub(crate) deployment_id: Option<String>,
    pub(crate) expect: Vec<String>,
    pub(crate) verbose: bool,
    pub(crate) json: bool,
}

/// Where artifacts lie unless somebody says otherwise.
pub(crate) const DEFAULT_ARTIFACTS: &str = ".deploy-kit/artifacts";
/// Where the configuration lies unless somebody says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "deploy.toml";
/// The environment unless somebody says otherwise.
pub(crate) const DEFAULT_ENVIRONMENT: &str = "production";

/// The environment variable of an input: `deployment-id` is `DEPLOY_KIT_DEPLOYMENT_ID`.
pub(crate) fn env_name(input: &str) -> String {
    format!("DEPLOY_KIT_{}", input.replace('-', "_").to_uppercase())
}

/// The raw value of an input: the last flag, else the environment.
pub(crate) fn value_of(input: &str, args: &[String], env: &Env) -> Option<String> {
    values_of_flag(input, args).pop().or_else(|| env.get(&env_name(input)).map(str::to_owned))
}

/// True if the flag stands on the command line.
pub(crate) fn is_on_command_line(input: &str, args: &[String]) -> bool {
    let flag = format!("--{input}");
    let with_value = format!("--{input}=");
    before_separator(args).any(|arg| *arg == flag || arg.starts_with(&with_value))
}

fn values_of_flag(input: &str, args: &[String]) -> Vec<String> {
    let flag = format!("--{input}");
    let with_value = format!("--{input}=");
    let mut values = Vec::new();
    let mut rest = before_separator(args).peekable();
    while let Some(arg) = rest.next() {
        if let Some(value) = arg.strip_prefix(&with_value) {
            values.push(value.to_owned());
        } else if *arg == flag
            && let Some(value) = rest.peek().filter(|next| !next.starts_with('-'))
        {
            values.push((*value).clone());
        }
    }
    values
}

/// The raw value of a switch: the last flag, else the environment.
fn switch(input: &str, args: &[String], env: &Env) -> bool {
    let flag = format!("--{input}");
    let with_value = format!("--{input}=");
    let given = before_separator(args).filter_map(|arg| match arg.strip_prefix(&with_value) {
        Some(value) => Some(value == "true"),
        None => (*arg == flag).then_some(true),
    });
    given.last().unwrap_or_else(|| env.get(&env_name(input)) == Some("true"))
}

fn before_separator(args: &[String]) -> impl Iterator<Item = &String> {
    args.iter().take_while(|arg| arg.as_str() != "--")
}

/// Splits a list as an action input holds it: one item per line; blanks around it do not count.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

impl RawInputs {
    pub(crate) fn read(args: &[String], env: &Env) -> Self {
        let value = |input: &str| value_of(input, args, env).filter(|value| !value.is_empty());
        let mut expect = values_of_flag("expect", args);
        if expect.is_empty() {
            expect = env.get("DEPLOY_KIT_EXPECT").map(lines).unwrap_or_default();
        }
        Self {
            artifacts: value("artifacts").unwrap_or_else(|| DEFAULT_ARTIFACTS.to_owned()).into(),
            config: value("config").map(PathBuf::from),
            environment: value("environment").unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned()),
            deployment_id: value("deployment-id"),
            expect,
            verbose: switch("verbose", args, env) || env.get("RUNNER_DEBUG") == Some("1"),
            json: switch("json", args, env),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_win_over_the_environment_and_empty_is_not_set() {
        let env = Env::from([("DEPLOY_KIT_ARTIFACTS", "from-env"), ("DEPLOY_KIT_ENVIRONMENT", "")]);
        let raw = RawInputs::read(&args("--artifacts from-flag --config=x.toml"), &env);
        assert_eq!(raw.artifacts, PathBuf::from("from-flag"));
        assert_eq!(raw.config, Some(PathBuf::from("x.toml")));
        assert_eq!(raw.environment, "production");
        let raw = RawInputs::read(&args("--artifacts="), &env);
        assert_eq!(
            raw.artifacts,
            PathBuf::from(DEFAULT_ARTIFACTS),
            "an empty flag falls back to the default"
        );
        assert_eq!(RawInputs::read(&[], &env).artifacts, PathBuf::from("from-env"));
    }

    #[test]
    fn switches_can_be_switched_off_and_flags_are_no_values() {
        let env = Env::from([("DEPLOY_KIT_VERBOSE", "true")]);
        assert!(RawInputs::read(&[], &env).verbose);
        assert!(!RawInputs::read(&args("--verbose=false"), &env).verbose);
        assert!(RawInputs::read(&args("--verbose=false --verbose"), &env).verbose);
        assert_eq!(value_of("artifacts", &args("--artifacts --json"), &env), None);
    }

    #[test]
    fn what_stands_behind_the_separator_is_not_ours() {
        assert!(!is_on_command_line("json", &args("-- --json")));
        assert_eq!(value_of("stage", &args("-- --stage x"), &Env::default()), None);
    }

    #[test]
    fn lists_come_one_per_line() {
        let env = Env::from([("DEPLOY_KIT_EXPECT", "backup:aa\n\n  migration:bb  \n")]);
        assert_eq!(RawInputs::read(&[], &env).expect, ["backup:aa", "migration:bb"]);
    }
}
