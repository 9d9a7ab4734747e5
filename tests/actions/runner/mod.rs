//! A runner's side of the contract, for what act does otherwise than GitHub: ported from actions/runner
//! (`ScriptHandler.cs`, `ProcessInvoker.cs`, `FileCommandManager.cs`, `ActionCommandManager.cs`,
//! `JobExtension.cs`). It runs the script of an action's real `action.yml` with bash: pipes instead of a
//! terminal, closed input, no `INPUT_*`, and everything that is printed is searched for commands.

mod action;
mod masks;
mod process;

use action::Action;
pub(crate) use action::yaml;
use kit_testing::runner::{Command, parse_commands, parse_outputs};
pub(crate) use process::{Cancelled, Running};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// GitHub refuses a longer summary as a whole.
const SUMMARY_LIMIT_BYTES: usize = 1024 * 1024;
/// The runner keeps so many annotations of one level per step.
const ANNOTATIONS_PER_LEVEL: usize = 10;
/// And so much of each.
const ANNOTATION_LIMIT_CHARS: usize = 4096;

/// One job on one runner.
#[derive(Debug)]
pub(crate) struct Job {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
    masks: Vec<String>,
    steps: usize,
}

/// How a step ended, as the runner sees it.
#[derive(Debug)]
pub(crate) struct StepRun {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// True if the runner calls the step a success.
    pub(crate) success: bool,
    /// What later steps see.
    pub(crate) outputs: BTreeMap<String, String>,
    /// Level and message.
    pub(crate) annotations: Vec<(String, String)>,
    /// Both streams, masked.
    pub(crate) log: String,
    /// The summary; empty if it was refused.
    pub(crate) summary: String,
    /// What the runner itself has to complain about.
    pub(crate) complaints: Vec<String>,
    /// Folders that later steps have on their PATH.
    pub(crate) path: Vec<String>,
}

impl Job {
    /// A job whose tool cache is its own and empty.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("runner-").tempdir().expect("a temporary folder");
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).expect("a folder of the runner");
            path.to_str().expect("UTF-8").to_owned()
        };
        let env = [
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("HOME", at("home")),
            ("LANG", "C.UTF-8".to_owned()),
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.example".to_owned()),
            ("GITHUB_REPOSITORY", "octo/shop".to_owned()),
            ("GITHUB_RUN_ID", "4711".to_owned()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_ACTOR", "octocat".to_owned()),
            ("GITHUB_WORKSPACE", at("work")),
            ("RUNNER_TEMP", at("temp")),
            ("RUNNER_TOOL_CACHE", at("tools")),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { folder, env, masks: Vec::new(), steps: 0 }
    }

    /// The same with a variable of the job set.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a secret, which the runner masks from the start.
    pub(crate) fn secret(mut self, name: &str, value: &str) -> Self {
        self.mask(value);
        self.env(name, value)
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.folder.path().join("temp")
    }

    pub(crate) fn tool_cache(&self) -> PathBuf {
        self.folder.path().join("tools")
    }

    /// Runs the script of an action to its end.
    pub(crate) fn run(&mut self, action: &Path, with: &[(&str, &str)]) -> StepRun {
        let running = self.start(action, with);
        self.finish(running)
    }

    /// Starts the script of an action.
    pub(crate) fn start(&mut self, action: &Path, with: &[(&str, &str)]) -> Running {
        let action = Action::read(action);
        let mut env = self.env.clone();
        env.extend(action.environment(with, &self.env));
        self.start_script(&action.script, &env, Some(&action.folder))
    }

    /// Starts any script, as a `run:` step of a workflow.
    pub(crate) fn start_script(
        &mut self,
        script: &str,
        env: &BTreeMap<String, String>,
        action: Option<&Path>,
    ) -> Running {
        self.steps += 1;
        let temp = self.folder.path().join("temp");
        let mut env: BTreeMap<String, String> =
            self.env.iter().chain(env).map(|(k, v)| (k.clone(), v.clone())).collect();
        for (variable, name) in process::FILES {
            let path = temp.join(format!("{name}-{}", self.steps));
            std::fs::write(&path, "").expect("a file of the runner");
            env.insert(variable.to_owned(), path.to_str().expect("UTF-8").to_owned());
        }
        if let Some(action) = action {
            env.insert("GITHUB_ACTION_PATH".to_owned(), action.to_str().expect("UTF-8").to_owned());
        }
        Running::start(script, &temp.join(format!("{}.sh", self.steps)), env, &self.workspace())
    }

    /// Waits for the end and takes what the step has said.
    pub(crate) fn finish(&mut self, running: Running) -> StepRun {
        let ended = running.wait();
        let printed = format!("{}\n{}", ended.stdout, ended.stderr);
        let mut run = StepRun {
            code: ended.code,
            success: ended.code == Some(0),
            outputs: BTreeMap::new(),
            annotations: Vec::new(),
            log: String::new(),
            summary: String::new(),
            complaints: Vec::new(),
            path: ended.file("GITHUB_PATH").lines().map(str::to_owned).collect(),
        };
        for command in parse_commands(printed.as_bytes()) {
            self.obey(&command, &mut run);
        }
        match parse_outputs(&ended.file("GITHUB_OUTPUT")) {
            Ok(pairs) => run.outputs.extend(pairs),
            Err(error) => run.fails(format!("Unable to process file command 'output': {error}")),
        }
        match parse_outputs(&ended.file("GITHUB_ENV")) {
            Ok(pairs) if pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case("NODE_OPTIONS")) => {
                run.fails("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command".to_owned());
            }
            Ok(pairs) => self.env.extend(pairs),
            Err(error) => run.fails(format!("Unable to process file command 'env': {error}")),
        }
        let summary = ended.file("GITHUB_STEP_SUMMARY");
        if summary.len() > SUMMARY_LIMIT_BYTES {
            run.complaints.push("$GITHUB_STEP_SUMMARY upload aborted".to_owned());
        } else {
            run.summary = self.masked(&summary);
        }
        run.log = self.masked(&printed);
        run
    }

    /// What a job's output of this value would be to another job: one that holds a masked text is dropped.
    pub(crate) fn job_output(&self, value: &str) -> Option<String> {
        (!self.masks.iter().any(|mask| value.contains(mask.as_str()))).then(|| value.to_owned())
    }

    fn obey(&mut self, command: &Command, run: &mut StepRun) {
        let name = command.name.to_ascii_lowercase();
        match name.as_str() {
            "add-mask" => self.mask(&command.data),
            "set-output" => {
                let output = command.properties.get("name").cloned().unwrap_or_default();
                run.outputs.insert(output, command.data.clone());
            }
            "set-env" | "add-path" => run.fails(format!("The `{name}` command is disabled")),
            "error" | "warning" | "notice" => {
                let message: String = command.data.chars().take(ANNOTATION_LIMIT_CHARS).collect();
                if run.annotations.iter().filter(|(level, _)| *level == name).count() < ANNOTATIONS_PER_LEVEL
                {
                    run.annotations.push((name, self.masked(&message)));
                }
            }
            _ => {}
        }
    }

    /// Hides a value, whatever it is encoded as.
    fn mask(&mut self, value: &str) {
        self.masks.extend(masks::of(value));
    }

    fn masked(&self, text: &str) -> String {
        self.masks.iter().fold(text.to_owned(), |text, mask| text.replace(mask.as_str(), "***"))
    }
}

impl StepRun {
    fn fails(&mut self, why: String) {
        self.success = false;
        self.complaints.push(why);
    }

    /// The messages of one level, joined.
    pub(crate) fn said(&self, level: &str) -> String {
        let messages: Vec<&str> = self
            .annotations
            .iter()
            .filter(|(one, _)| one == level)
            .map(|(_, message)| message.as_str())
            .collect();
        messages.join("\n")
    }
}
