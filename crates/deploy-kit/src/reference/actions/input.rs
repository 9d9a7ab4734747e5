//! The inputs of an action: those of all its commands, and the two that the action itself has.

use super::{commands, named};
use kit_step::{InputDescription, ProgramDescription};

/// One input of an action.
pub(super) struct Input {
    pub(super) name: String,
    /// What it is, what is allowed, what holds without it.
    pub(super) description: String,
    pub(super) required: bool,
    /// What the action itself takes it for; empty where the program decides.
    pub(super) default: &'static str,
    /// The environment variable that carries it to the program; `None` for what the action itself reads.
    pub(super) variable: Option<String>,
}

/// Every input, in the order in which people look for them: command, own, common, of the action.
pub(super) fn all(program: &ProgramDescription) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    let named = named(program);
    if !named.is_empty() {
        let without = commands(program).iter().find(|command| command.command.is_none()).map_or_else(
            || "required".to_owned(),
            |default| format!("empty: {}", decapitalised(&default.about)),
        );
        inputs.push(Input {
            name: "command".to_owned(),
            description: format!("What to do; one of {} ({without})", named.join(", ")),
            required: commands(program).iter().all(|command| command.command.is_some()),
            default: "",
            variable: None,
        });
    }
    for common in [false, true] {
        for name in names(program, common) {
            inputs.push(merged(program, &name));
        }
    }
    inputs.push(Input {
        name: "transfer".to_owned(),
        description:
            "auto: bring the artifacts of this deployment from earlier jobs (needs deployment-id) and keep the new one \
             for later jobs, but not in a repository where everybody could read it (use keep and bring of \
             deploy-record there); always: also there; off: the workflow does that"
                .to_owned(),
        required: false,
        default: "auto",
        variable: None,
    });
    inputs
}

fn names(program: &ProgramDescription, common: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for command in commands(program) {
        let own =
            command.inputs.iter().filter(|input| input.common == common).map(|input| input.name.clone());
        let secrets = command.secrets.iter().filter(|_| !common).map(|(name, _, _)| name.clone());
        for name in own.chain(secrets) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// One input as all commands that have it describe it.
fn merged(program: &ProgramDescription, name: &str) -> Input {
    let commands = commands(program);
    let having: Vec<_> = commands
        .iter()
        .filter_map(|command| Some((command, command.inputs.iter().find(|input| input.name == name)?)))
        .collect();
    let only = |users: &[Option<&str>]| -> String {
        if users.len() == commands.len() {
            return String::new();
        }
        let words: Vec<&str> = users.iter().map(|user| user.unwrap_or("no command")).collect();
        format!(" (with {})", words.join(", "))
    };
    let Some((_, first)) = having.first() else {
        let secret = |command: &&&kit_step::CommandDescription| {
            command.secrets.iter().any(|(secret, _, _)| secret == name)
        };
        let users: Vec<Option<&str>> =
            commands.iter().filter(secret).map(|command| command.command.as_deref()).collect();
        let found =
            commands.iter().flat_map(|command| &command.secrets).find(|(secret, _, _)| secret == name);
        let (variable, help) = found.map_or((None, ""), |(_, variable, help)| (Some(variable.clone()), help));
        return Input {
            name: name.to_owned(),
            description: format!("Secret: {help}{}", only(&users)),
            required: false,
            default: "",
            variable,
        };
    };
    let users: Vec<Option<&str>> = having.iter().map(|(command, _)| command.command.as_deref()).collect();
    let required = having.iter().all(|(_, input)| input.required) && having.len() == commands.len();
    Input {
        name: name.to_owned(),
        description: format!("{}{}{}", described(first), holds(first), only(&users)),
        required,
        default: "",
        variable: Some(first.variable.clone()),
    }
}

fn described(input: &InputDescription) -> String {
    let mut text = input.help.replace('\n', " ");
    if input.repeated {
        text.push_str("; one per line");
    }
    if !input.allowed.is_empty() {
        text.push_str(&format!("; one of {}", input.allowed.join(", ")));
    }
    text
}

/// What holds without the input. It is no default of the action: deploy.toml may say otherwise.
fn holds(input: &InputDescription) -> String {
    match &input.default {
        _ if input.required => "; required".to_owned(),
        Some(default) => format!("; without it, {default}"),
        None => String::new(),
    }
}

fn decapitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
