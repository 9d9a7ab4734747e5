//! The GitHub actions: one composite action per step program, and one that installs programs.
//!
//! Inputs reach a program as environment variables only, so that nothing a user wrote is ever part of a
//! script. An action's inputs have no defaults of their own: a default would arrive as an environment
//! variable, which wins over `deploy.toml`.

mod input;
mod pins;
mod readme;
mod setup;
mod yaml;

use input::Input;
use kit_step::{CommandDescription, ProgramDescription};
pub(super) use pins::{DOWNLOAD, UPLOAD};
use yaml::quoted;

/// Path and content of every file of the actions.
pub(super) fn files(programs: &[ProgramDescription]) -> Vec<(String, String)> {
    let steps: Vec<&ProgramDescription> = programs.iter().filter(|one| !commands(one).is_empty()).collect();
    let mut files = vec![("action.yml".to_owned(), setup::action(&steps))];
    for program in steps {
        let name = &program.name;
        files.push((format!("actions/{name}/action.yml"), action(program)));
        files.push((format!("actions/{name}/README.md"), readme::page(program)));
    }
    files
}

/// The commands of an action: those that write an artifact, and those that pass artifacts on. Any other tool
/// prints data, for people and scripts.
fn commands(program: &ProgramDescription) -> Vec<&CommandDescription> {
    let passes_on =
        |command: &&CommandDescription| matches!(command.command.as_deref(), Some("keep" | "bring"));
    program.commands.iter().filter(|command| command.writes.is_some() || passes_on(command)).collect()
}

/// The names of the commands beside the default one.
fn named(program: &ProgramDescription) -> Vec<&str> {
    commands(program).iter().filter_map(|command| command.command.as_deref()).collect()
}

fn action(program: &ProgramDescription) -> String {
    let inputs = input::all(program);
    let mut yaml = format!(
        "# Generated from the types by `cargo xtask generate`. Change the types, not this file.\n\
         name: deploy-kit {0}\ndescription: {1}\nauthor: deploy-kit\nbranding:\n  icon: shield\n  color: blue\n\ninputs:\n",
        program.name,
        quoted(&program.about)
    );
    for input in &inputs {
        yaml.push_str(&format!("  {}:\n    description: {}\n", input.name, quoted(&input.description)));
        yaml.push_str(&format!("    required: {}\n    default: {}\n", input.required, quoted(input.default)));
    }
    yaml.push_str("\noutputs:\n");
    for (name, help) in outputs(program) {
        yaml.push_str(&format!(
            "  {name}:\n    description: {}\n    value: ${{{{ steps.run.outputs.{name} }}}}\n",
            quoted(&help)
        ));
    }
    yaml.push_str("\nruns:\n  using: composite\n  steps:\n");
    yaml.push_str(&download(&inputs));
    yaml.push_str(&run(program, &inputs));
    yaml.push_str(&upload(program));
    yaml
}

/// Outputs of all commands, each once.
fn outputs(program: &ProgramDescription) -> Vec<(String, String)> {
    let mut outputs: Vec<(String, String)> = Vec::new();
    for (name, help) in commands(program).iter().flat_map(|command| &command.outputs) {
        if !outputs.iter().any(|(known, _)| known == name) {
            outputs.push((name.clone(), help.clone()));
        }
    }
    outputs
}

/// Where the artifacts lie; the same rule as the program's own.
const FOLDER: &str = "${{ inputs.artifacts || env.DEPLOY_KIT_ARTIFACTS || '.deploy-kit/artifacts' }}";

/// A step with an id of its own names the deployment whose artifacts it wants.
fn download(inputs: &[Input]) -> String {
    let has_subject = inputs.iter().any(|input| input.name == "deployment");
    let of = if has_subject { "deployment" } else { "deployment-id" };
    format!(
        "    - if: inputs.transfer != 'off' && inputs.{of} != ''
      uses: {DOWNLOAD}
      with:
        pattern: \"*-${{{{ inputs.{of} }}}}\"
        path: {FOLDER}
        merge-multiple: true
"
    )
}

/// What puts a deploy in order also runs where the run was cancelled or an artifact cannot be brought; `None`
/// for what runs only if all went well before it.
fn runs_when(program: &str) -> Option<&'static str> {
    match program {
        "rollout" => Some("inputs.command == 'abort' && always() || success()"),
        "deploy-record" => Some(
            "contains(fromJSON('[\"finish\",\"keep\",\"bring\"]'), inputs.command) && always() || success()",
        ),
        "rollback" | "notify" => Some("always()"),
        _ => None,
    }
}

fn run(program: &ProgramDescription, inputs: &[Input]) -> String {
    let condition = runs_when(&program.name).map(|when| format!("      if: {when}\n")).unwrap_or_default();
    let mut step = format!("    - id: run\n{condition}");
    step.push_str(
        "      shell: bash
      env:
        DEPLOY_KIT_ACTION_REPOSITORY: ${{ github.action_repository }}
",
    );
    for Input { name, variable, .. } in inputs {
        if let Some(variable) = variable {
            // What a job sets for all of its steps holds unless the step says otherwise.
            step.push_str(&format!("        {variable}: ${{{{ inputs.{name} || env.{variable} }}}}\n"));
        }
    }
    let named = named(program);
    let arguments = if named.is_empty() {
        String::new()
    } else {
        step.push_str("        COMMAND: ${{ inputs.command }}\n");
        format!(" \"$COMMAND\" {}", named.join(" "))
    };
    // The last word of the script is the program itself: a runner signals nobody else.
    let script = format!("exec \"$GITHUB_ACTION_PATH/../launch.sh\" {}{arguments}", program.name);
    step.push_str(&format!("      run: {script}\n"));
    step
}

fn upload(program: &ProgramDescription) -> String {
    // The deployment says what the tag says, which is as open as the repository.
    let wanted = match program.name.as_str() {
        "validate-tag" => "inputs.transfer != 'off'",
        _ => "(inputs.transfer == 'always' || inputs.transfer == 'auto' && github.event.repository.private)",
    };
    let mut step = format!(
        "    - if: always() && {wanted} && steps.run.outputs.artifact-name != ''
      uses: {UPLOAD}
      with:
        name: ${{{{ steps.run.outputs.artifact-name }}}}-${{{{ steps.run.outputs.deployment-id }}}}
        path: |
          {FOLDER}/${{{{ steps.run.outputs.artifact-name }}}}.*
          {FOLDER}/history/${{{{ steps.run.outputs.artifact-name }}}}.*
"
    );
    if program.name == "deploy-record" {
        step.push_str(&format!("          {FOLDER}/rollback.md\n"));
    }
    step.push_str(
        "        if-no-files-found: error
        include-hidden-files: true
        overwrite: true
",
    );
    step
}
