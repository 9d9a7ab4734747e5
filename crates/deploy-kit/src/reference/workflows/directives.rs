//! What a line `#: …` of a template stands for.

use super::transfer::{download, keep, keep_in_store, keep_report};
use super::{SLOTS, verdicts};
use crate::reference::actions::UPLOAD;
use kit_contract::pipeline;

pub(super) const CHECKOUT: &str = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1";
const AWS: &str = "aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c # v6.2.3";

/// The deployment, in every job but the one that makes its id.
pub(super) const ID: &str = "${{ needs.validate.outputs.deployment-id }}";

/// Secrets that a caller may hand over: name, group, what for.
const SECRETS: &[(&str, &str, &str)] = &[
    ("DATABASE_URL", "database", "Address of the database, where deploy.toml names it so"),
    (
        "SCRATCH_URL",
        "scratch",
        "Address of the server on which restores are tried, where deploy.toml names it so",
    ),
    ("SLACK_WEBHOOK_URL", "channels", "Where deploy.toml names it so"),
    ("WEBHOOK_URL", "channels", "Where deploy.toml names it so"),
    ("WEBHOOK_SECRET", "channels", "Signs the webhook"),
    ("SSH_KEY", "traffic", "For setup-command and the traffic driver"),
    ("KUBECONFIG_DATA", "traffic", "For setup-command and the traffic driver"),
    ("AWS_ACCESS_KEY_ID", "store", "For the store, where aws-role-arn cannot be used"),
    ("AWS_SECRET_ACCESS_KEY", "store", "For the store, where aws-role-arn cannot be used"),
];

/// Inputs of every workflow: name, what it is, type and default.
const INPUTS: &[(&str, &str, &str)] = &[
    ("config", "The configuration", "deploy.toml"),
    ("store", "The store; empty for the one of deploy.toml", ""),
    ("runs-on", "The runner, as JSON", "\"ubuntu-24.04\""),
    (
        "setup-command",
        "Run by bash in every job that touches production, for example to log in to a cluster",
        "",
    ),
    ("aws-role-arn", "The role to take in AWS, by OpenID Connect; empty for none", ""),
    ("aws-region", "The region, with aws-role-arn", "us-east-1"),
    (
        "aws-role-seconds",
        "How long the role is taken for, in each job; the stages of the rollout share one job",
        "3600",
    ),
];

/// The groups of secrets that a line of the pipeline needs.
fn groups(id: &str) -> &'static [&'static str] {
    match id {
        "preflight" | "readiness" => &["database", "scratch", "channels", "traffic", "store"],
        "backup" => &["database", "scratch", "store"],
        "migrate" => &["database", "store"],
        "rollout" | "promote" | "withdraw" | "rollback" => &["traffic", "store"],
        // The program beside the gate asks the store.
        "begin" | "gate" | "finish" => &["store"],
        "notify" => &["channels"],
        _ => &[],
    }
}

fn title(id: &str) -> &'static str {
    match id {
        "validate" => "Is this a release that may be deployed?",
        "preflight" => "Go or no-go",
        "begin" => "Take the lock, begin the entry in the chain",
        "backup" => "Back up, and try the restore",
        "readiness" => "Can this be undone?",
        "measure" => "How does the version do that serves now?",
        "migrate" => "Migrate",
        "compare" => "Does it still, on the new schema?",
        "smoke" => "Does the release do what it must?",
        "promote" => "Promote",
        "finish" => "Record, close, hand the lock back",
        "notify" => "Tell people",
        _ => "",
    }
}

/// `next` is the line that follows in the template.
pub(super) fn expand(directive: &str, next: &str) -> String {
    let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
    match word {
        "inputs" => INPUTS.iter().map(|(name, help, default)| input(name, help, default)).collect(),
        "secrets" | "secrets-without" => SECRETS
            .iter()
            .filter(|(_, group, _)| *group != rest)
            .map(|(name, _, help)| format!("      {name}: {{ description: {help:?}, required: false }}\n"))
            .collect(),
        "pass-inputs" => {
            INPUTS.iter().map(|(name, _, _)| format!("      {name}: ${{{{ inputs.{name} }}}}\n")).collect()
        }
        "pass-secrets" => {
            SECRETS.iter().map(|(name, _, _)| format!("      {name}: ${{{{ secrets.{name} }}}}\n")).collect()
        }
        "env" => environment(),
        "runs" => runs(rest, "", next),
        "runs-apart" => runs(rest, "", next).replace(SHARED_ENVIRONMENT, OWN_ENVIRONMENT),
        "tell" => tell(rest),
        // Preflight alone asks GitHub something.
        "runs-asking" => runs(rest, "      actions: read # to see who has to review the jobs\n", next),
        "digests" => digests(rest),
        "expect" => expect(rest),
        "prepare" => prepare(ID_REF, "") + &download(""),
        "store" => keep_in_store(rest),
        // Where a cancelled run is put in order, no step waits for the success of the run.
        "prepare-always" => prepare(ID_REF, "always()") + &download("always()"),
        "prepare-alone" => prepare("", ""),
        "use" => line(rest),
        "stages" => stages(),
        "withdraw" => withdraw(rest),
        "rollback" => rollback(rest),
        "build" => build(),
        "secret-env" => secret_env(&rest.split(' ').collect::<Vec<_>>()),
        "keep" | "keep-if" | "keep-apart" => keep(word, rest),
        "keep-report" => keep_report(rest),
        _ => format!("#: unknown directive {directive}\n"),
    }
}

/// The environment of a job that belongs to the deploy.
const SHARED_ENVIRONMENT: &str = "name: ${{ inputs.environment }}";
/// That of a job on a schedule: it runs on a branch, where the rules of the deploy's environment seldom let it,
/// and needs less than a deploy.
const OWN_ENVIRONMENT: &str = "name: ${{ inputs.github-environment || inputs.environment }}";

/// Tells people unless all went well, also where the step never ran.
fn tell(step: &str) -> String {
    format!(
        "      - name: Tell people that it failed
        if: always() && steps.{step}.outputs.result != 'success'
        uses: $/actions/notify
        env:
{}        with:
          about: {step}
          transfer: \"off\"
",
        secret_env(&["channels"])
    )
}

/// The commit that was validated, wherever the tag points by now.
const ID_REF: &str = "          ref: ${{ needs.validate.outputs.sha }}\n";

fn input(name: &str, help: &str, default: &str) -> String {
    let default = serde_json::Value::from(default);
    format!(
        "      {name}:\n        description: {help:?}\n        type: string\n        default: {default}\n"
    )
}

fn environment() -> String {
    "env:
  DEPLOY_KIT_ARTIFACTS: .deploy-kit/artifacts
  DEPLOY_KIT_CONFIG: ${{ inputs.config }}
  DEPLOY_KIT_ENVIRONMENT: ${{ inputs.environment }}
  DEPLOY_KIT_STORE: ${{ inputs.store }}
"
    .to_owned()
}

fn runs(minutes: &str, rights: &str, next: &str) -> String {
    let outputs =
        if next.starts_with("      ") || next.starts_with("#: digests") { "    outputs:\n" } else { "" };
    format!(
        "    runs-on: ${{{{ fromJSON(inputs.runs-on) }}}}
    timeout-minutes: {minutes}
    environment:
      name: ${{{{ inputs.environment }}}}
      deployment: false
    permissions:
      contents: read # to clone
      id-token: write # to log in to the cloud
{rights}{outputs}"
    )
}

/// The digests of what these steps wrote, for the jobs that read it.
fn digests(steps: &str) -> String {
    let steps: Vec<String> = match steps {
        "{STAGE_STEPS}" => {
            (1..=SLOTS).flat_map(|slot| [format!("rollout-{slot}"), format!("gate-{slot}")]).collect()
        }
        _ => steps.split(' ').map(str::to_owned).collect(),
    };
    let mut text = "      expect: |\n".to_owned();
    for step in steps {
        let output = |name: &str| format!("steps.{step}.outputs.{name}");
        let (name, digest) = (output("artifact-name"), output("artifact-sha256"));
        text.push_str(&format!("        ${{{{ {digest} && format('{{0}}:{{1}}', {name}, {digest}) }}}}\n"));
    }
    text
}

fn expect(jobs: &str) -> String {
    let mut text = "    env:\n      DEPLOY_KIT_EXPECT: |\n".to_owned();
    for job in jobs.split(' ') {
        text.push_str(&format!("        ${{{{ needs.{job}.outputs.expect }}}}\n"));
    }
    text
}

/// `status` is the status function that its steps ask, if not the usual one.
fn prepare(reference: &str, status: &str) -> String {
    let env = secret_env(&["traffic"]);
    let condition = condition(status);
    let and = if status.is_empty() { String::new() } else { format!("{status} && ") };
    format!(
        "      - name: Clone
{condition}        uses: {CHECKOUT}
        with:
{reference}          persist-credentials: false
      - name: Log in to AWS
        if: {and}inputs.aws-role-arn != ''
        uses: {AWS}
        with:
          role-to-assume: ${{{{ inputs.aws-role-arn }}}}
          aws-region: ${{{{ inputs.aws-region }}}}
          role-duration-seconds: ${{{{ inputs.aws-role-seconds }}}}
      - name: Set up
        if: {and}inputs.setup-command != ''
        shell: bash
        env:
          SETUP_COMMAND: ${{{{ inputs.setup-command }}}}
{env}        run: exec bash -euo pipefail -c \"$SETUP_COMMAND\"
"
    )
}

pub(super) fn condition(expression: &str) -> String {
    if expression.is_empty() { String::new() } else { format!("        if: {expression:?}\n") }
}

/// The secrets of these groups. What the job has from elsewhere is not taken away by one that is not set.
pub(super) fn secret_env(groups: &[&str]) -> String {
    SECRETS
        .iter()
        .filter(|(_, group, _)| groups.contains(group))
        .map(|(name, _, _)| format!("          {name}: ${{{{ secrets.{name} || env.{name} }}}}\n"))
        .collect()
}

/// One step of the pipeline: program and command come from the table.
fn line(id: &str) -> String {
    let Some(step) = pipeline::find(id) else { return format!("#: unknown line {id}\n") };
    let condition = match id {
        "promote" => condition(&verdicts::promote()),
        "finish" | "notify" => condition("always()"),
        _ => String::new(),
    };
    let mut text = step_of(title(id), id, &condition, step.program, step.command, id);
    if step.command == Some("baseline") {
        text.push_str(&format!("          at: {}\n", step.qualifier.unwrap_or_default()));
    }
    if id == "compare" {
        text.push_str(&expect_also(&["measure", "migrate"]));
    }
    if id == "promote" {
        text.push_str(&expect_also(&["smoke"]));
    }
    text
}

fn step_of(
    title: &str,
    step_id: &str,
    condition: &str,
    program: &str,
    command: Option<&str>,
    line_id: &str,
) -> String {
    let env = secret_env(groups(line_id));
    let env = if env.is_empty() { env } else { format!("        env:\n{env}") };
    let command = command.map(|command| format!("          command: {command}\n")).unwrap_or_default();
    let id = if line_id == "validate" { String::new() } else { format!("          deployment-id: {ID}\n") };
    format!(
        "      - name: {title}
        id: {step_id}
{condition}        uses: $/actions/{program}
{env}        with:
{command}{id}          transfer: \"off\"
"
    )
}

/// Six slots, each the lines of the pipeline that run once per stage.
fn stages() -> String {
    let mut text = String::new();
    for slot in 1..=SLOTS {
        let stage = format!("          stage: ${{{{ {} }}}}\n", verdicts::stage(slot));
        let rollout = format!("rollout-{slot}");
        text.push_str(&step_of(
            &format!("\"Stage {slot}: shift traffic\""),
            &rollout,
            &condition(&verdicts::slot(slot)),
            "rollout",
            None,
            "rollout",
        ));
        text.push_str(&stage);
        text.push_str(&step_of(
            &format!("\"Stage {slot}: watch\""),
            &format!("gate-{slot}"),
            &condition(&verdicts::gate(slot)),
            "canary-gate",
            None,
            "gate",
        ));
        text.push_str(&stage);
        text.push_str("          hold-with: rollout\n");
        text.push_str(&expect_also(&[&rollout]));
    }
    text
}

/// Vouches also for what steps of the same job wrote.
fn expect_also(steps: &[&str]) -> String {
    let mut text = "          expect: |\n            ${{ env.DEPLOY_KIT_EXPECT }}\n".to_owned();
    for step in steps {
        let output = |name: &str| format!("${{{{ steps.{step}.outputs.{name} }}}}");
        text.push_str(&format!("            {}:{}\n", output("artifact-name"), output("artifact-sha256")));
    }
    text
}

fn withdraw(place: &str) -> String {
    let expression = match place {
        "{WITHDRAW_SMOKE}" => verdicts::withdraw_smoke(),
        _ => verdicts::withdraw_rollout(),
    };
    let condition = condition(&expression);
    step_of("Withdraw", "withdraw", &condition, "rollout", Some("abort"), "withdraw")
}

/// The rest of a step whose name and condition stand in the template.
fn rollback(reason: &str) -> String {
    format!(
        "        uses: $/actions/rollback
        env:
{}        with:
          deployment: {ID}
          reason: {reason}
          transfer: \"off\"
",
        secret_env(groups("rollback"))
    )
}

fn build() -> String {
    let head = runs("120", "", "");
    let prepare = prepare(ID_REF, "");
    format!(
        "{head}    steps:
{prepare}      - name: Build
        shell: bash
        env:
          BUILD_COMMAND: ${{{{ inputs.build-command }}}}
          BUILD_LOGS: ${{{{ runner.temp }}}}/build-logs
          VERSION: ${{{{ needs.validate.outputs.version }}}}
          REGISTRY_USERNAME: ${{{{ secrets.REGISTRY_USERNAME }}}}
          REGISTRY_PASSWORD: ${{{{ secrets.REGISTRY_PASSWORD }}}}
        run: mkdir -p \"$BUILD_LOGS\" && exec bash -euo pipefail -c \"$BUILD_COMMAND\"
      - name: Keep build-logs
        if: always()
        uses: {UPLOAD}
        with:
          name: build-logs-{ID}
          path: ${{{{ runner.temp }}}}/build-logs
          if-no-files-found: ignore
          overwrite: true
          retention-days: ${{{{ inputs.retention-days }}}}
"
    )
}
