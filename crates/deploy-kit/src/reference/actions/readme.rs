//! The README of one action.

use super::input::{self, Input};
use super::{commands, named, outputs};
use crate::reference::{GENERATED, cell};
use kit_step::ProgramDescription;

pub(super) fn page(program: &ProgramDescription) -> String {
    let name = &program.name;
    let mut text = format!("{GENERATED}\n# {name}\n\n{}.\n\n", program.about);
    for command in commands(program) {
        if let Some(name) = &command.command {
            text.push_str(&format!("**`command: {name}`**: {}. ", command.about));
        }
        text.push_str(&format!("{}\n\n", command.details));
    }
    text.push_str(&usage(program));
    text.push_str("\n## Inputs\n\nWithout an input, the environment variable `DEPLOY_KIT_<INPUT>` of the job holds, then \
                   `deploy.toml`, then the default of the program.\n\n| input | default | what it is |\n|---|---|---|\n");
    for Input { name, description, required, default, .. } in input::all(program) {
        let default = if required {
            "required".to_owned()
        } else if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        text.push_str(&format!("| `{name}` | {default} | {} |\n", cell(&description)));
    }
    text.push_str("\n## Outputs\n\n| output | holds |\n|---|---|\n");
    for (name, help) in outputs(program) {
        text.push_str(&format!("| `{name}` | {} |\n", cell(&help)));
    }
    text.push_str(&format!(
        "\nThe artifact is the truth, outputs are for convenience: the runner drops an output that holds a secret. \
         [All inputs and reasons of `{name}`](../../docs/reference/{name}.md), \
         [exit codes](../../docs/reference/exit-codes.md).\n"
    ));
    text
}

fn usage(program: &ProgramDescription) -> String {
    let name = &program.name;
    let mut with = String::new();
    if let Some(first) =
        named(program).first().filter(|_| commands(program).iter().all(|one| one.command.is_some()))
    {
        with.push_str(&format!("    command: {first}\n"));
    }
    for input in input::all(program).iter().filter(|input| input.required && input.name != "command") {
        with.push_str(&format!("    {}: …\n", input.name));
    }
    if name != "validate-tag" {
        with.push_str("    deployment-id: ${{ needs.validate.outputs.deployment-id }}\n");
    }
    let with = if with.is_empty() { String::new() } else { format!("  with:\n{with}") };
    format!(
        "## Use\n\n```yaml\n# pinned: the commit holds the SHA-256 of the program, so it pins the program, too\n\
         - uses: org/deploy-kit/{name}@<commit of the release> # v1.0.0\n{with}\
         # or whatever v1 is today\n- uses: org/deploy-kit/{name}@v1\n{with}```\n"
    )
}
