//! The script of a composite action, and the environment that its expressions give it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A composite action.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) folder: PathBuf,
    /// The script of its one `run` step.
    pub(crate) script: String,
    inputs: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

/// The document of a YAML file.
pub(crate) fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The object of a mapping whose values are plain.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

impl Action {
    pub(crate) fn read(folder: &Path) -> Self {
        let document = yaml(&folder.join("action.yml"));
        let steps = document["runs"]["steps"].as_array().expect("steps");
        let runs: Vec<&Value> = steps.iter().filter(|step| step.get("run").is_some()).collect();
        let [run] = runs.as_slice() else { panic!("{}: not one run step", folder.display()) };
        assert_eq!(run["shell"], "bash");
        let inputs = document["inputs"].as_object().expect("inputs").iter();
        let inputs = inputs
            .map(|(name, input)| (name.clone(), input["default"].as_str().unwrap_or_default().to_owned()));
        Self {
            folder: folder.to_owned(),
            script: run["run"].as_str().expect("a script").to_owned(),
            inputs: inputs.collect(),
            env: texts(&run["env"]),
        }
    }

    /// The environment of the script with these inputs, in a job with this environment. The runner sets no
    /// `INPUT_*` for a composite action.
    pub(crate) fn environment(
        &self,
        with: &[(&str, &str)],
        job: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut inputs = self.inputs.clone();
        for (name, value) in with {
            assert!(
                inputs.insert((*name).to_owned(), (*value).to_owned()).is_some(),
                "Unexpected input {name}"
            );
        }
        let lookup = |term: &str| -> String {
            let known = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
            match term.split_once('.') {
                Some(("inputs", name)) => {
                    inputs.get(name).unwrap_or_else(|| panic!("no input {name}")).clone()
                }
                Some(("env", name)) => known(job, name),
                Some(("github", "action_repository")) => "org/deploy-kit".to_owned(),
                _ => panic!("an expression that this harness does not know: {term}"),
            }
        };
        let value = |text: &String| evaluate(text, &lookup);
        self.env.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }
}

/// `${{ a || b }}` as a whole value: the first that is not empty.
fn evaluate(text: &str, lookup: &impl Fn(&str) -> String) -> String {
    let Some(expression) = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) else {
        assert!(!text.contains("${{"), "an expression inside a text: {text}");
        return text.to_owned();
    };
    let terms = expression.split("||").map(|term| lookup(term.trim()));
    terms.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
}
