//! What passes from job to job: as artifacts of GitHub, or by way of the store.

use super::directives::{ID, condition, secret_env};
use crate::reference::actions::{DOWNLOAD, UPLOAD};

pub(super) fn download(status: &str) -> String {
    let condition = condition(status);
    format!(
        "      - name: What earlier jobs left
{condition}        uses: {DOWNLOAD}
        with:
          pattern: \"*-{ID}\"
          path: ${{{{ env.DEPLOY_KIT_ARTIFACTS }}}}
          merge-multiple: true
"
    ) + &by_store("What earlier jobs left in the store", "bring", status, ID)
}

/// The artifacts of such a repository are open to everybody. An event that does not say so counts as one.
const PUBLIC: &str = "!github.event.repository.private";
const PRIVATE: &str = "github.event.repository.private";

/// What passes from job to job by way of the store, in public repositories.
fn by_store(title: &str, command: &str, status: &str, id: &str) -> String {
    let and = if status.is_empty() { String::new() } else { format!("{status} && ") };
    format!(
        "      - name: {title}
        if: \"{and}{PUBLIC}\"
        uses: $/actions/deploy-record
        env:
{}        with:
          command: {command}
          deployment-id: {id}
          transfer: \"off\"
",
        secret_env(&["store"])
    )
}

/// `step` is one whose deployment is meant, if not the deploy's.
pub(super) fn keep_in_store(step: &str) -> String {
    if step.is_empty() {
        return by_store("Keep all of it in the store", "keep", "always()", ID);
    }
    let id = format!("${{{{ steps.{step}.outputs.deployment-id }}}}");
    let status = format!("always() && steps.{step}.outputs.artifact-name != ''");
    by_store("Keep all of it in the store", "keep", &status, &id)
}

/// Keeps artifacts of this job for later jobs and for people. Each file is kept by one job only: the others
/// download all of them into one folder.
pub(super) fn keep(word: &str, rest: &str) -> String {
    let mut words = rest.split(' ');
    let mut name = words.next().unwrap_or_default().to_owned();
    let mut globs: Vec<&str> = words.collect();
    let only_private = format!("always() && {PRIVATE}");
    let (mut id, mut condition, mut missing) = (ID, only_private.as_str(), "warn");
    if name == "deployment" {
        (id, condition) = (
            "${{ steps.validate.outputs.deployment-id }}",
            "always() && steps.validate.outputs.deployment-id != ''",
        );
    }
    if word == "keep-if" {
        missing = "ignore";
    }
    if word == "keep-apart" {
        // Not by the pattern of the others: it may hold a later attempt of one of their files.
        globs = vec!["rollback"];
        name = "guard-of".to_owned();
    }
    let folder = "${{ env.DEPLOY_KIT_ARTIFACTS }}";
    let mut paths = String::new();
    for glob in globs {
        if glob.contains('.') {
            paths.push_str(&format!("            {folder}/{glob}\n"));
        } else {
            paths
                .push_str(&format!("            {folder}/{glob}.*\n            {folder}/history/{glob}.*\n"));
        }
        if glob == "gate-*" {
            // Kept by the job of the migrations, which wrote them, and brought here.
            for at in ["before-migration", "after-migration"] {
                paths.push_str(&format!(
                    "            !{folder}/gate-{at}.*\n            !{folder}/history/gate-{at}.*\n"
                ));
            }
        }
        if glob == "rollback" {
            // The page of this name is kept by the job of the record, and lies here when a job runs again.
            paths.push_str(&format!("            !{folder}/rollback.md\n"));
        }
    }
    format!(
        "      - name: Keep {name}
        if: {condition}
        uses: {UPLOAD}
        with:
          name: {name}-{id}
          path: |
{paths}          if-no-files-found: {missing}
          include-hidden-files: true
          overwrite: true
          retention-days: ${{{{ inputs.retention-days }}}}
"
    )
}

/// Keeps what a job on its own wrote, for people.
pub(super) fn keep_report(step: &str) -> String {
    format!(
        "      - name: Keep {step}-logs
        if: always() && {PRIVATE} && steps.{step}.outputs.artifact-name != ''
        uses: {UPLOAD}
        with:
          name: {step}-logs-${{{{ steps.{step}.outputs.deployment-id }}}}
          path: |
            ${{{{ env.DEPLOY_KIT_ARTIFACTS }}}}/{step}.*
            ${{{{ env.DEPLOY_KIT_ARTIFACTS }}}}/notice.*
            ${{{{ env.DEPLOY_KIT_ARTIFACTS }}}}/history/*
          if-no-files-found: error
          include-hidden-files: true
          overwrite: true
          retention-days: ${{{{ inputs.retention-days }}}}
"
    )
}
