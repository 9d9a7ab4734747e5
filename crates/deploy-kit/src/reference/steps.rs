//! One page per program.

use super::{GENERATED, cell};
use kit_step::{CommandDescription, ProgramDescription};

pub(super) fn page(program: &ProgramDescription) -> String {
    let mut text = format!("{GENERATED}\n# {}\n\n{}.\n", program.name, program.about);
    for command in &program.commands {
        text.push_str(&section(command));
    }
    text
}

fn section(command: &CommandDescription) -> String {
    let mut text = format!("\n## `{}`\n\n{}.\n\n{}\n", command.full_name, command.about, command.details);
    for (what, line) in &command.examples {
        text.push_str(&format!("\n```sh\n# {what}\n{line}\n```\n"));
    }
    let writes = match &command.writes {
        Some(file) => format!("Writes `{file}`."),
        None => "Prints data and writes no artifact.".to_owned(),
    };
    text.push_str(&format!(
        "\n{writes} A second run for the same deployment: {}. Deadline unless given: {}.\n",
        command.rerun, command.deadline
    ));
    if !command.reads.is_empty() {
        text.push_str("\n| reads | | what for |\n|---|---|---|\n");
        for (kind, required, what_for) in &command.reads {
            let need = if *required { "required" } else { "if there" };
            text.push_str(&format!("| `{kind}` | {need} | {} |\n", cell(what_for)));
        }
    }
    text.push_str(&inputs(command));
    if !command.outputs.is_empty() {
        text.push_str("\n| output | holds |\n|---|---|\n");
        for (name, help) in &command.outputs {
            text.push_str(&format!("| `{name}` | {} |\n", cell(help)));
        }
    }
    text
}

fn inputs(command: &CommandDescription) -> String {
    let mut text = "\n| input | environment | default | what it is |\n|---|---|---|---|\n".to_owned();
    for input in &command.inputs {
        let default = match (&input.default, input.required) {
            (_, true) => "required".to_owned(),
            (Some(default), false) => format!("`{}`", cell(default)),
            (None, false) => String::new(),
        };
        let allowed = if input.allowed.is_empty() || input.allowed == ["true", "false"] {
            String::new()
        } else {
            format!(" ({})", input.allowed.join(", "))
        };
        text.push_str(&format!(
            "| `{}` | `{}` | {default} | {}{} |\n",
            input.name,
            input.variable,
            cell(&input.help),
            cell(&allowed)
        ));
    }
    for (name, variable, help) in &command.secrets {
        text.push_str(&format!("| secret `{name}` | `{variable}` | | {} |\n", cell(help)));
    }
    text
}
