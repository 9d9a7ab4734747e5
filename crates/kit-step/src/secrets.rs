//! Secrets: where they are found, and that nobody gets to see them.

use crate::raw::{env_name, value_of};
use crate::spec::SecretSpec;
use kit_contract::Reason;
use kit_contract::config::{Config, SecretRef};
use kit_core::{Context, Env, ResultExt as _, Secret, StepError, fs};
use std::collections::BTreeMap;

/// Keys are short; a longer file is not one.
const LIMIT_BYTES: u64 = 1 << 20;
/// Environment variables whose names hold one of these words are hidden from logs, whoever set them.
const SUSPICIOUS: &[&str] =
    &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PRIVATE_KEY", "WEBHOOK", "CREDENTIAL", "DATABASE_URL"];
/// Shorter values under such names are switches, not secrets.
const SHORTEST_SUSPICIOUS: usize = 8;

/// The secrets of a step's own inputs, by name.
pub(crate) type Secrets = BTreeMap<&'static str, Secret>;

/// Lets the redactor learn everything that looks like a secret, before the first line is printed.
pub(crate) fn learn_environment(cx: &Context) {
    for (name, value) in cx.env.iter() {
        let upper = name.to_uppercase();
        if value.len() >= SHORTEST_SUSPICIOUS && SUSPICIOUS.iter().any(|word| upper.contains(word)) {
            cx.redactor.learn_url(value);
        }
    }
}

/// Lets the redactor learn addresses with a password on the command line, which do not belong there:
/// the message that refuses one must not repeat it.
pub(crate) fn learn_arguments(cx: &Context, args: &[String]) {
    for arg in args {
        let value =
            if arg.starts_with("--") { arg.split_once('=').map_or("", |(_, value)| value) } else { arg };
        let user = value.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        if user.is_some_and(|(user, _)| user.contains(':')) {
            cx.redactor.learn_url(value);
        }
    }
}

/// Learns and masks the secrets that the configuration names.
pub(crate) fn learn_config(cx: &Context, config: &Config) {
    for reference in config.secret_refs() {
        if let Some(value) = cx.env.get(&reference.env) {
            learn(cx, value);
        }
    }
    for value in config.secret_headers().filter_map(|reference| cx.env.get(&reference.env)) {
        // `Bearer <token>`: a server may repeat the token alone.
        for part in value.split_whitespace().skip(1) {
            learn(cx, part);
        }
    }
}

/// Takes the secrets of the step's own inputs from environment or files.
pub(crate) fn take(
    cx: &Context,
    specs: &'static [SecretSpec],
    args: &[String],
) -> Result<Secrets, StepError> {
    let mut secrets = Secrets::new();
    for spec in specs {
        let file_input = format!("{}-file", spec.name);
        let value = match value_of(&file_input, args, &cx.env) {
            Some(path) => {
                let text = fs::read_text(path.as_ref(), LIMIT_BYTES)
                    .or_reason(Reason::SecretMissing, format!("the file of --{file_input} cannot be read"))?;
                Some(text.trim_end_matches(['\n', '\r']).to_owned())
            }
            None => cx.env.get(&env_name(spec.name)).map(str::to_owned),
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            learn(cx, &value);
            secrets.insert(spec.name, Secret::new(value));
        }
    }
    Ok(secrets)
}

fn learn(cx: &Context, value: &str) {
    cx.redactor.learn_url(value);
    cx.out.mask(value);
}

/// The secret that the configuration names.
pub(crate) fn from_ref(env: &Env, reference: &SecretRef) -> Result<Secret, StepError> {
    match env.get(&reference.env) {
        // GitHub shows masked values as three asterisks; somebody copied one from a log.
        Some("***") => Err(StepError::new(
            Reason::SecretMissing,
            format!(
                "the environment variable {} holds \"***\", which is a masked value and not a secret",
                reference.env
            ),
        )),
        Some(value) => Ok(Secret::new(value)),
        None => Err(StepError::new(
            Reason::SecretMissing,
            format!("the environment variable {} is not set or empty", reference.env),
        )
        .hint("in a reusable workflow, secrets of an environment arrive only if they are passed on")),
    }
}
