//! The action at the root: installs programs, for scripts of one's own.

use super::yaml::quoted;
use kit_step::ProgramDescription;

pub(super) fn action(steps: &[&ProgramDescription]) -> String {
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).chain(["deploy-kit"]).collect();
    let from = "release: the programs that were released, each checked against its SHA-256; source: built here \
                from the same commit, which needs Rust and minutes, so never in the middle of a deploy";
    format!(
        "# Generated from the types by `cargo xtask generate`. Change the types, not this file.
name: deploy-kit
description: {}
author: deploy-kit
branding:
  icon: shield
  color: blue

inputs:
  programs:
    description: {}
    required: false
    default: {}
  from:
    description: {}
    required: false
    default: \"release\"

runs:
  using: composite
  steps:
    - shell: bash
      env:
        DEPLOY_KIT_ACTION_REPOSITORY: ${{{{ github.action_repository }}}}
        FROM: ${{{{ inputs.from }}}}
        PROGRAMS: ${{{{ inputs.programs }}}}
      run: exec \"$GITHUB_ACTION_PATH/launch.sh\" \"--$FROM\" \"$RUNNER_TEMP/deploy-kit/bin\" \"$PROGRAMS\"
",
        quoted("Puts programs of deploy-kit on PATH, each checked against its SHA-256"),
        quoted("Which programs, separated by blanks or line breaks; deploy-kit is all steps in one"),
        quoted(&names.join(" ")),
        quoted(from),
    )
}
