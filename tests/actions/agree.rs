//! `action.yml`, its README and the program agree; nothing a user wrote is ever part of a script.

use crate::release::{built, programs, release, root};
use crate::runner::yaml;
use serde_json::Value;
use std::collections::BTreeSet;

fn actions() -> Vec<(String, Value)> {
    let names = programs().into_iter().filter(|name| name != "deploy-kit");
    names.map(|name| (name.clone(), yaml(&root().join(format!("actions/{name}/action.yml"))))).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

fn steps(action: &Value) -> &Vec<Value> {
    action["runs"]["steps"].as_array().expect("steps")
}

#[test]
fn every_script_is_one_line_that_becomes_the_program() {
    for (name, action) in actions().into_iter().chain([("root".to_owned(), yaml(&root().join("action.yml")))])
    {
        for step in steps(&action) {
            let Some(script) = step["run"].as_str() else {
                let uses = step["uses"].as_str().expect("run or uses");
                let (_, commit) = uses.split_once('@').expect("a pin");
                assert!(
                    commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()),
                    "{name}: {uses}"
                );
                continue;
            };
            assert!(
                script.starts_with("exec ") && !script.contains(['\n', '|', ';', '&']),
                "{name}: {script}"
            );
            assert!(!script.contains("${{"), "{name}: {script}");
            assert_eq!(step["shell"], "bash", "{name}");
        }
    }
}

#[test]
fn inputs_reach_the_program_as_its_own_variables() {
    let _ = release();
    for (name, action) in actions() {
        let run = steps(&action).iter().find(|step| step.get("run").is_some()).expect("a script");
        let env = run["env"].as_object().expect("an environment");
        let mut carried = BTreeSet::new();
        for input in
            keys(&action["inputs"]).iter().filter(|input| !["command", "transfer"].contains(&input.as_str()))
        {
            let variable = format!("DEPLOY_KIT_{}", input.replace('-', "_").to_uppercase());
            let expression = format!("${{{{ inputs.{input} || env.{variable} }}}}");
            assert_eq!(
                env.get(&variable).and_then(Value::as_str),
                Some(expression.as_str()),
                "{name}: {input}"
            );
            assert_eq!(
                action["inputs"][input]["default"], "",
                "{name}: a default would win over deploy.toml"
            );
            carried.insert(variable);
        }
        assert_eq!(
            keys(&run["env"]).len(),
            carried.len() + env.keys().filter(|key| !carried.contains(*key)).count()
        );
        let commands =
            run["run"].as_str().unwrap().split("\"$COMMAND\" ").nth(1).unwrap_or_default().to_owned();
        let mut understood = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        for command in std::iter::once("").chain(commands.split_whitespace()) {
            let help = help(&name, command);
            understood.extend(variables(&help, "[env: "));
            secrets.extend(variables(&help, "or set "));
        }
        let all: BTreeSet<String> = understood.union(&secrets).cloned().collect();
        assert_eq!(carried, all, "{name}");
    }
}

fn help(program: &str, command: &str) -> String {
    let mut run = std::process::Command::new(built().join(program));
    if !command.is_empty() {
        run.arg(command);
    }
    let output = run.arg("--help").output().expect("the program can be started");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // Long lines are wrapped, also between `[env:` and the name.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The variables that stand behind a word.
fn variables(help: &str, before: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect()
    };
    help.split(before).skip(1).map(name).filter(|name| name.starts_with("DEPLOY_KIT_")).collect()
}

#[test]
fn the_page_of_an_action_lists_its_inputs_and_outputs() {
    for (name, action) in actions() {
        let page = std::fs::read_to_string(root().join(format!("actions/{name}/README.md"))).unwrap();
        let named = keys(&action["inputs"]).into_iter().chain(keys(&action["outputs"]));
        for item in named {
            assert!(page.contains(&format!("| `{item}` |")), "{name}: {item}");
        }
        assert!(page.contains(&format!("uses: org/deploy-kit/{name}@v1")), "{name}");
        for output in keys(&action["outputs"]) {
            let value = format!("${{{{ steps.run.outputs.{output} }}}}");
            assert_eq!(action["outputs"][&output]["value"], value, "{name}");
        }
    }
}
