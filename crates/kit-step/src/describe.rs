//! What a program can say of itself: the text below `--help`, and the facts from which documents and
//! actions are generated.

use crate::Qualifier;
use crate::program::{AnyCommand, Program, full_name};
use crate::raw::env_name;
use kit_contract::{ArtifactKind, Reason};
use kit_core::Env;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One program.
#[derive(Debug, Serialize)]
pub struct ProgramDescription {
    /// Its name.
    pub name: String,
    /// One line.
    pub about: String,
    /// Its commands, the default one first.
    pub commands: Vec<CommandDescription>,
}

/// One command.
#[derive(Debug, Serialize)]
pub struct CommandDescription {
    /// As it is typed: `deploy-record begin`.
    pub full_name: String,
    /// Its name; `None` for the default command.
    pub command: Option<String>,
    /// One line.
    pub about: String,
    /// A paragraph.
    pub details: String,
    /// What it does, and the line to type.
    pub examples: Vec<(String, String)>,
    /// Kind, whether it is required, what for.
    pub reads: Vec<(ArtifactKind, bool, String)>,
    /// The file it writes; `None` for a tool.
    pub writes: Option<String>,
    /// Its inputs.
    pub inputs: Vec<InputDescription>,
    /// Its secrets: name, environment variable, help.
    pub secrets: Vec<(String, String, String)>,
    /// Its own outputs: name, help.
    pub outputs: Vec<(String, String)>,
    /// What a second run does.
    pub rerun: String,
    /// How long it may run by default.
    pub deadline: String,
    /// The reasons that it can give, beside those of every step.
    pub reasons: Vec<Reason>,
    /// The page that `--help` prints.
    pub help: String,
}

/// One input.
#[derive(Debug, Serialize)]
pub struct InputDescription {
    /// Its name: flag without dashes, and input of the action.
    pub name: String,
    /// Its environment variable.
    pub variable: String,
    /// What it is.
    pub help: String,
    /// What holds if it is not given.
    pub default: Option<String>,
    /// True if it must be given.
    pub required: bool,
    /// What is allowed, where that is a short list.
    pub allowed: Vec<String>,
    /// True if it may be given several times; one per line in environment and action.
    pub repeated: bool,
    /// True if every command has it.
    pub common: bool,
}

/// Outputs that every step has.
pub(crate) const COMMON_OUTPUTS: &[(&str, &str)] = &[
    ("result", "How the step ended"),
    ("reason", "Why, as a stable code"),
    ("deployment-id", "The deployment"),
    ("artifact", "Path of the artifact"),
    ("artifact-name", "Name of the artifact, for example gate-canary"),
    ("artifact-sha256", "Digest of the artifact, for DEPLOY_KIT_EXPECT of later steps"),
];

impl Program {
    /// Describes the program and all of its commands.
    pub fn describe(&self) -> ProgramDescription {
        let mut commands: Vec<CommandDescription> =
            self.commands().map(|command| self.describe_command(command)).collect();
        commands.sort_by_key(|command| command.command.is_some());
        ProgramDescription { name: self.name.to_owned(), about: self.about.to_owned(), commands }
    }

    fn describe_command(&self, command: &dyn AnyCommand) -> CommandDescription {
        let spec = command.spec();
        let (mut parser, _) = self.parser(command, &Env::default(), &[]);
        let help = parser.render_long_help().to_string();
        let inputs = parser.get_arguments().filter_map(describe_input).collect();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, help)| ((*name).to_owned(), (*help).to_owned())).collect()
        };
        let mut outputs = if command.writes().is_some() { own(COMMON_OUTPUTS) } else { Vec::new() };
        outputs.extend(spec.outputs.iter().map(|output| (output.name.to_owned(), output.help.to_owned())));
        CommandDescription {
            full_name: full_name(self.name, &spec),
            command: spec.command.map(str::to_owned),
            about: spec.about.to_owned(),
            details: spec.details.to_owned(),
            examples: own(&spec
                .examples
                .iter()
                .map(|example| (example.what, example.line))
                .collect::<Vec<_>>()),
            reads: spec
                .reads
                .iter()
                .map(|read| (read.kind, read.required, read.what_for.to_owned()))
                .collect(),
            writes: written_file(command),
            inputs,
            secrets: spec
                .secrets
                .iter()
                .map(|secret| (secret.name.to_owned(), env_name(secret.name), secret.help.to_owned()))
                .collect(),
            outputs,
            rerun: spec.rerun.to_owned(),
            deadline: spec.deadline.to_string(),
            reasons: reasons_of(self.name),
            help: help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"),
        }
    }
}

fn reasons_of(program: &str) -> Vec<Reason> {
    Reason::ALL.iter().copied().filter(|reason| reason.area() == program).collect()
}

fn written_file(command: &dyn AnyCommand) -> Option<String> {
    let kind = command.writes()?;
    Some(match command.spec().qualifier {
        Some(Qualifier::Input(input)) => format!("{kind}-<{input}>.json"),
        Some(Qualifier::Fixed(name)) => format!("{kind}-{name}.json"),
        None => format!("{kind}.json"),
    })
}

fn describe_input(arg: &clap::Arg) -> Option<InputDescription> {
    let name = arg.get_long()?;
    if matches!(name, "help" | "version") {
        return None;
    }
    let variable = env_name(name);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    Some(InputDescription {
        name: name.to_owned(),
        help: help.replace(&format!(" [env: {variable}]"), ""),
        variable,
        default: (!defaults.is_empty()).then(|| defaults.join("\n")),
        required: arg.is_required_set(),
        allowed: arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        repeated: matches!(arg.get_action(), clap::ArgAction::Append),
        common: arg.get_help_heading() == Some(crate::inputs::COMMON),
    })
}

/// What stands below the inputs in `--help`.
pub(crate) fn long_help(program: &Program, command: &dyn AnyCommand) -> String {
    let spec = command.spec();
    let mut text = String::new();
    // Writing to a String cannot fail; the results below are all of that kind.
    let others: Vec<_> =
        program.commands().map(super::program::AnyCommand::spec).filter(|o| o.command.is_some()).collect();
    if spec.command.is_none() && !others.is_empty() {
        text.push_str("Other commands:\n");
        for other in others {
            let _ = writeln!(text, "  {:<12} {}", other.command.unwrap_or_default(), other.about);
        }
        text.push('\n');
    }
    text.push_str("Examples:\n");
    for example in spec.examples {
        let _ = writeln!(text, "  # {}\n  {}", example.what, example.line);
    }
    if !spec.reads.is_empty() {
        text.push_str("\nReads:\n");
        for read in spec.reads {
            let need = if read.required { "required" } else { "if there" };
            let _ = writeln!(text, "  {:<12} {need}: {}", read.kind.as_str(), read.what_for);
        }
    }
    if let Some(file) = written_file(command) {
        let _ = writeln!(
            text,
            "\nWrites:\n  {file}, on success, failure, error, cancel, timeout and crash alike"
        );
    }
    let _ = writeln!(text, "\nA second run for the same deployment:\n  {}", spec.rerun);
    text.push_str("\nExit codes:\n");
    let mut seen = BTreeSet::new();
    for reason in reasons_of(program.name) {
        if seen.insert(reason.exit_code()) {
            let _ = writeln!(text, "  {:<4} {}", reason.exit_code(), reason.class().meaning());
        }
    }
    for &class in kit_contract::Class::ALL {
        if class != kit_contract::Class::Skipped && seen.insert(class.exit_code()) {
            let _ = writeln!(text, "  {:<4} {}", class.exit_code(), class.meaning());
        }
    }
    text.push_str("\nInputs come from flags, then DEPLOY_KIT_* variables, then deploy.toml, then defaults.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn common_outputs_are_kebab_case() {
        for (name, _) in COMMON_OUTPUTS {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
        assert!(reasons_of("smoke-test").contains(&Reason::SmokeFailed));
    }
}
