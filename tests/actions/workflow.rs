//! The reusable workflow equals the pipeline table: the same steps, each once, in an order that the table
//! allows, each with what it reads at hand.

use crate::release::root;
use crate::runner::yaml;
use kit_contract::ArtifactKind;
use kit_contract::pipeline::{PIPELINE, PipelineStep, Repeat};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where a step of the workflow stands: its job, and its place in it.
type Place = (String, usize);

fn workflow(name: &str) -> Value {
    yaml(&root().join(format!(".github/workflows/{name}.yml")))
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// Every use of an action of ours: program, command, place.
fn uses(workflow: &Value) -> Vec<(String, Option<String>, Place)> {
    let mut found = Vec::new();
    for (id, job) in workflow["jobs"].as_object().expect("jobs") {
        for (at, step) in steps(job).iter().enumerate() {
            let Some(program) = step["uses"].as_str().and_then(|uses| uses.strip_prefix("$/actions/")) else {
                continue;
            };
            let command = step["with"]["command"].as_str().map(str::to_owned);
            found.push((program.to_owned(), command, (id.clone(), at)));
        }
    }
    found
}

/// Where a line of the table stands in the workflow.
fn places(workflow: &Value, line: &PipelineStep) -> Vec<Place> {
    let is_it = |program: &str, command: Option<&str>| program == line.program && command == line.command;
    let found = uses(workflow).into_iter().filter(|(program, command, _)| is_it(program, command.as_deref()));
    // A command that stands there twice says which of its artifacts it writes.
    let writes_it = |(job, at): &Place| {
        let at = steps(&workflow["jobs"][job])[*at]["with"]["at"].as_str();
        at.is_none() || at == line.qualifier
    };
    found.map(|(_, _, place)| place).filter(writes_it).collect()
}

/// The jobs that have ended when a job starts.
fn before(workflow: &Value, job: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![job.to_owned()];
    while let Some(next) = open.pop() {
        let needs = match &workflow["jobs"][&next]["needs"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        open.extend(needs.into_iter().filter(|need| reached.insert(need.clone())));
    }
    reached
}

fn comes_before(workflow: &Value, first: &Place, second: &Place) -> bool {
    if first.0 == second.0 { first.1 < second.1 } else { before(workflow, &second.0).contains(&first.0) }
}

#[test]
fn every_line_of_the_table_stands_in_the_workflow_after_what_it_needs() {
    let workflow = workflow("deploy-production");
    let by_id: BTreeMap<&str, Vec<Place>> =
        PIPELINE.iter().map(|line| (line.id, places(&workflow, line))).collect();
    for line in PIPELINE {
        let expected = if line.repeat == Repeat::PerStage { 6 } else { 1 };
        assert_eq!(by_id[line.id].len(), expected, "{}", line.id);
        for need in line.needs {
            for (at, place) in by_id[line.id].iter().enumerate() {
                // A stage's own rollout for its gate; else the last one there is.
                let same = by_id[need].len() == by_id[line.id].len();
                let needed = if same { by_id[need].get(at) } else { by_id[need].last() };
                assert!(comes_before(&workflow, needed.unwrap(), place), "{} before {}", need, line.id);
            }
        }
    }
    // And nothing else changes anything: beside the table there is only what takes a release out again, and
    // what passes files on.
    let known = |program: &str, command: Option<&str>| {
        PIPELINE.iter().any(|line| line.program == program && line.command == command)
    };
    for (program, command, place) in uses(&workflow) {
        let undoes =
            matches!((program.as_str(), command.as_deref()), ("rollout", Some("abort")) | ("rollback", None));
        let passes_on = program == "deploy-record" && matches!(command.as_deref(), Some("keep" | "bring"));
        assert!(
            undoes || passes_on || known(&program, command.as_deref()),
            "{program} {command:?} at {place:?}"
        );
    }
}

#[test]
fn stages_alternate_and_the_withdrawal_stands_behind_all_of_them() {
    let workflow = workflow("deploy-production");
    let ids: Vec<&str> =
        steps(&workflow["jobs"]["rollout"]).iter().filter_map(|step| step["id"].as_str()).collect();
    let mut expected: Vec<String> =
        (1..=6).flat_map(|slot| [format!("rollout-{slot}"), format!("gate-{slot}")]).collect();
    expected.push("withdraw".to_owned());
    assert_eq!(ids, expected);
    for step in steps(&workflow["jobs"]["rollout"]).iter().filter(|step| step["id"] == "withdraw") {
        assert!(
            step["if"].as_str().unwrap().starts_with("always() && "),
            "a cancelled run is withdrawn, too"
        );
    }
}

#[test]
fn what_a_step_reads_was_kept_and_is_brought() {
    let workflow = workflow("deploy-production");
    for line in PIPELINE.iter().filter(|line| line.reads != ArtifactKind::ALL) {
        for kind in line.reads {
            let Some(writer) = PIPELINE.iter().find(|other| other.writes == *kind) else { continue };
            let reader = &places(&workflow, line)[0];
            let written = &places(&workflow, writer)[0];
            if written.0 == reader.0 {
                continue;
            }
            let uploads =
                steps(&workflow["jobs"][&written.0]).iter().filter(|step| step["with"]["path"].is_string());
            let kept = uploads.filter(|step| {
                let path = step["with"]["path"].as_str().unwrap();
                path.contains(&format!("/{kind}.*")) || path.contains(&format!("/{kind}-*.*"))
            });
            assert_eq!(kept.count(), 1, "{kind} of {} is kept once", writer.id);
            let vouched =
                workflow["jobs"][&reader.0]["env"]["DEPLOY_KIT_EXPECT"].as_str().unwrap_or_default();
            let vouches = format!("needs.{}.outputs.expect", written.0);
            assert!(vouched.contains(&vouches), "{} reads {kind}, for which nobody vouches", line.id);
            let brings = |step: &Value| step["with"]["pattern"].is_string();
            assert!(steps(&workflow["jobs"][&reader.0]).iter().any(brings), "{} brings {kind}", line.id);
        }
    }
}

#[test]
fn a_file_is_kept_by_one_job_only() {
    let workflow = workflow("deploy-production");
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (id, job) in workflow["jobs"].as_object().unwrap() {
        for step in steps(job)
            .iter()
            .filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("/upload-")))
        {
            // The guard's is fetched by name, after the others.
            if step["with"]["name"].as_str().unwrap().starts_with("guard-of-") {
                continue;
            }
            for path in step["with"]["path"].as_str().unwrap().lines() {
                // Two jobs withdraw and two build, but never both in one run.
                let one_of_two = ["/rollout-abort.", "/build-logs", "/history/"];
                if one_of_two.iter().any(|part| path.contains(part)) {
                    continue;
                }
                let other = owners.insert(path.to_owned(), id.clone());
                assert!(other.is_none(), "{path}: {id} and {other:?}");
            }
        }
    }
}

/// The artifacts of a public repository are open to everybody: what says more than the tag does, or than the
/// log of the build, passes through the store. An event that does not say whose repository it is, `schedule`
/// for one, counts as public.
#[test]
fn what_a_public_repository_would_show_goes_to_the_store_only() {
    for name in ["deploy-production", "rollback-production", "backup-scheduled", "restore-drill"] {
        let workflow = workflow(name);
        for (id, job) in workflow["jobs"].as_object().unwrap() {
            let uploads = steps(job)
                .iter()
                .filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("/upload-")));
            let guarded: Vec<bool> = uploads
                .map(|step| {
                    let kept = step["with"]["name"].as_str().unwrap();
                    let open = kept.starts_with("deployment-${{") || kept.starts_with("build-logs-");
                    let guard = step["if"].as_str().unwrap().contains("&& github.event.repository.private");
                    assert!(open || guard, "{name}: {id}: {kept}");
                    guard
                })
                .collect();
            let keeps = steps(job).iter().filter(|step| step["with"]["command"] == "keep").count();
            assert_eq!(keeps, usize::from(guarded.contains(&true)), "{name}: {id}");
        }
    }
}

#[test]
fn every_job_has_a_limit_and_no_more_rights_than_it_needs() {
    for name in ["deploy-production", "rollback-production", "backup-scheduled", "restore-drill"] {
        let workflow = workflow(name);
        assert_eq!(workflow["permissions"], serde_json::json!({}));
        for (id, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["timeout-minutes"].is_u64(), "{name}: {id}");
            let rights = job["permissions"].as_object().unwrap_or_else(|| panic!("{name}: {id}"));
            for (right, level) in rights {
                let allowed = match right.as_str() {
                    "contents" => level == "read",
                    "id-token" => level == "write",
                    // It alone asks GitHub something.
                    "actions" => level == "read" && id == "preflight",
                    _ => false,
                };
                assert!(allowed, "{name}: {id}: {right}: {level}");
            }
            let secret = job.to_string().contains("secrets.");
            let own = ["backup-scheduled", "restore-drill"].contains(&name);
            let expected = match own {
                true => "${{ inputs.github-environment || inputs.environment }}",
                false => "${{ inputs.environment }}",
            };
            assert!(!secret || job["environment"]["name"] == expected, "{name}: {id}");
        }
    }
}

#[test]
fn inputs_that_are_given_exist() {
    for name in
        ["deploy-production", "rollback-production", "deploy-staging", "backup-scheduled", "restore-drill"]
    {
        for (id, job) in workflow(name)["jobs"].as_object().unwrap() {
            for step in steps(job) {
                let Some(uses) = step["uses"].as_str() else { continue };
                let action = match uses.strip_prefix("$/actions/") {
                    Some(ours) => root().join(format!("actions/{ours}/action.yml")),
                    None => {
                        let theirs = uses.split(['/', '@']).nth(1).unwrap();
                        root().join(format!("tests/act/stand-ins/{theirs}/action.yml"))
                    }
                };
                let known = yaml(&action);
                for input in step["with"].as_object().into_iter().flatten().map(|(input, _)| input) {
                    assert!(
                        known["inputs"].get(input).is_some(),
                        "{name}: {id}: {uses} has no input {input}"
                    );
                }
            }
        }
    }
}

/// A caller that grants less than one job of the workflow asks for cannot start it at all.
#[test]
fn the_examples_grant_what_the_workflows_ask_for() {
    let mut calls = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let Ok(files) = std::fs::read_dir(entry.unwrap().path().join(".github/workflows")) else { continue };
        for file in files {
            let path = file.unwrap().path();
            for (id, job) in yaml(&path)["jobs"].as_object().unwrap() {
                let Some(called) = job["uses"].as_str().and_then(|uses| uses.split(['/', '@']).nth(4)) else {
                    continue;
                };
                let called = workflow(called.trim_end_matches(".yml"));
                for asking in called["jobs"].as_object().unwrap().values() {
                    for (right, level) in asking["permissions"].as_object().into_iter().flatten() {
                        assert_eq!(&job["permissions"][right], level, "{}: {id}: {right}", path.display());
                    }
                }
                calls += 1;
            }
        }
    }
    assert_eq!(calls, 6);
}

/// What runs on a schedule stands in its own way only, tells people whatever kept it from succeeding, and a drill
/// gets no key to the live database.
#[test]
fn what_runs_on_a_schedule_is_announced_when_it_fails() {
    for (name, step, program) in
        [("backup-scheduled", "backup", "db-backup"), ("restore-drill", "drill", "db-restore")]
    {
        let workflow = workflow(name);
        let job = &workflow["jobs"][step];
        assert_eq!(workflow["jobs"].as_object().unwrap().len(), 1, "{name}");
        assert_eq!(job["concurrency"]["cancel-in-progress"], false, "{name}");
        let group = job["concurrency"]["group"].as_str().unwrap();
        assert!(group.ends_with("${{ inputs.environment }}"), "{group}");
        let all: Vec<&Value> = steps(job).iter().collect();
        let work = all.iter().find(|one| one["id"] == step).unwrap();
        assert_eq!(work["uses"], format!("$/actions/{program}"));
        assert_eq!(work["env"].get("DATABASE_URL").is_some(), step == "backup", "{name}");
        let tells = all.iter().find(|one| one["uses"] == "$/actions/notify").unwrap();
        assert_eq!(tells["if"], format!("always() && steps.{step}.outputs.result != 'success'"));
        assert_eq!(tells["with"]["about"], step);
    }
}
