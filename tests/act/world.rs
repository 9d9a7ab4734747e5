//! A shop, its owner's repository, and a runner.

use crate::release::{REPOSITORY, VERSION, release, root};
use crate::runner::yaml;
use crate::shop::{Shop, programs};
use kit_testing::git::Repository;
use kit_testing::{Ran, Sandbox, Started};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The actions of others that workflows use, by the pin in the workflow, and what stands in for each.
const STAND_INS: [&str; 4] =
    ["checkout", "upload-artifact", "download-artifact", "configure-aws-credentials"];

/// Longest time that a run may take; no test waits for it to pass.
const LIMIT: Duration = Duration::from_secs(240);

/// Everything.
pub(crate) struct World {
    pub(crate) shop: Shop,
    /// Whether only some people can read the owner's repository.
    private: bool,
}

/// What a run of a workflow left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) ran: Ran,
    /// Result by job.
    pub(crate) jobs: BTreeMap<String, String>,
    /// What was said, without the envelope of the log.
    pub(crate) log: String,
}

impl World {
    /// 1.4.0 serves, 2.0.0 stands by; the owner's repository has the tag v2.0.0.
    pub(crate) fn open(change: impl FnOnce(String) -> String, fail_percent: &str) -> Self {
        let shop = Shop::with(|config| config, fail_percent);
        let world = Self { shop, private: true };
        world.write_secrets();
        world.write_caller(change);
        world.write_stand_ins();
        world
    }

    /// A shop in which nothing runs; the owner's repository is empty and nobody else can read it.
    pub(crate) fn closed() -> Self {
        let world = Self { shop: Shop::closed(Sandbox::new()), private: true };
        let repository = Repository::init(world.at("caller"));
        repository.git(&["remote", "add", "origin", "https://github.com/octo/shop.git"]);
        world.write_stand_ins();
        world
    }

    /// The same where everybody can read the owner's repository.
    pub(crate) fn public(self) -> Self {
        Self { private: false, ..self }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.shop.sandbox.path().join(path)
    }

    /// The repository of the shop's owner: configuration, migrations, and the workflows of the example.
    fn write_caller(&self, change: impl FnOnce(String) -> String) {
        let sandbox = &self.shop.sandbox;
        // Every job has a folder of its own: what outlives it is named in full.
        let here = sandbox.path().display();
        let config = sandbox
            .read("deploy.toml")
            .replace("url = \"file:store\"", &format!("url = \"file:{here}/store\"\npersistent = true"))
            .replace("\"processes.json\"", &format!("\"{here}/processes.json\""))
            // Data enough for a verdict also on a machine that has other work.
            .replace("duration = \"800ms\"", "duration = \"1500ms\"")
            .replace("min_samples = 50", "min_samples = 20");
        sandbox.write("caller/deploy.toml", change(config));
        copy(&self.at("migrations"), &self.at("caller/migrations"));
        let workflows = root().join("examples/storefront/.github/workflows");
        for entry in std::fs::read_dir(workflows).expect("the example's workflows") {
            let path = entry.expect("a workflow").path();
            // act does not know the queue; on GitHub it keeps a waiting release from being dropped.
            let text = std::fs::read_to_string(&path).expect("a workflow").replace("  queue: max\n", "");
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            sandbox.write(&format!("caller/.github/workflows/{name}"), text);
        }
        let repository = Repository::init(self.at("caller"));
        repository.git(&["remote", "add", "origin", "https://github.com/octo/shop.git"]);
        repository.commit("the shop");
        repository.annotated_tag("v2.0.0", "2.0.0");
    }

    fn write_stand_ins(&self) {
        let source = root().join("tests/act/stand-ins");
        for name in STAND_INS {
            let into = self.at(&format!("stand-ins/{name}"));
            copy(&source.join(name), &into);
            std::fs::copy(source.join("lib.mjs"), into.join("lib.mjs")).expect("a file");
        }
    }

    /// Pushes files to `main`.
    pub(crate) fn push_files(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            self.shop.sandbox.write(&format!("caller/{path}"), text);
        }
        Repository::init(self.at("caller")).commit("what was changed");
    }

    /// Changes a file of the repository before the tag.
    pub(crate) fn commit(&self, path: &str, text: &str) {
        self.shop.sandbox.write(&format!("caller/{path}"), text);
        let repository = Repository::init(self.at("caller"));
        repository.git(&["tag", "--delete", "v2.0.0"]);
        repository.commit(path);
        repository.annotated_tag("v2.0.0", "2.0.0");
    }

    pub(crate) fn write_secrets(&self) {
        let database = self.at("shop.db");
        self.shop.sandbox.write("secrets.env", format!("DATABASE_URL=sqlite://{}\n", database.display()));
    }

    /// The event of the push of the tag.
    pub(crate) fn push(&self) -> Value {
        let sha = Repository::init(self.at("caller")).git(&["rev-parse", "v2.0.0^{commit}"]);
        let repository = self.repository();
        serde_json::json!({ "ref": "refs/tags/v2.0.0", "after": sha, "repository": repository })
    }

    /// Pushes the tag: the run of the example's `deploy.yml`.
    pub(crate) fn start_deploy(&self) -> Started {
        self.act("push", "deploy.yml", &self.push(), "1")
    }

    pub(crate) fn deploy(&self) -> Run {
        Run::of(self.start_deploy().wait())
    }

    /// Runs the same run again.
    pub(crate) fn deploy_attempt(&self, attempt: &str) -> Run {
        Run::of(self.act_attempt("push", "deploy.yml", &self.push(), "1", attempt).wait())
    }

    /// How the newest deployment ended, as its record says.
    pub(crate) fn last_status(&self) -> String {
        let ran = self.shop.run(&["deploy-record", "show", &self.last_id(), "--json"]);
        let record: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        record["status"].as_str().unwrap_or_else(|| panic!("no status: {record}")).to_owned()
    }

    /// The names of the artifacts of a run, without the deployment in them.
    pub(crate) fn kept(&self, run: &str) -> Vec<String> {
        let suffix = format!("-{}", self.last_id());
        self.names(run).iter().filter_map(|name| Some(name.strip_suffix(&suffix)?.to_owned())).collect()
    }

    /// The names of the artifacts of a run.
    pub(crate) fn names(&self, run: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(&format!("artifacts/{run}"))).expect("artifacts");
        let names = entries.map(|entry| entry.expect("an artifact").file_name());
        let mut names: Vec<String> = names.filter_map(|name| Some(name.to_str()?.to_owned())).collect();
        names.sort();
        names
    }

    /// The newest deployment that has a record. Ids begin with the time, so they sort by it.
    fn last_id(&self) -> String {
        let folder = self.at("store/storefront/production/deployments");
        let entries = std::fs::read_dir(folder).expect("deployments").map(|entry| entry.expect("one").path());
        let attempts = ["1/record.json", "2/record.json"];
        let recorded = entries.filter(|path| attempts.iter().any(|record| path.join(record).exists()));
        let newest = recorded.max().expect("a deployment");
        newest.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned()
    }

    /// An artifact as `deploy-record finish` published it.
    pub(crate) fn published(&self, name: &str) -> Value {
        let path = format!("store/storefront/production/deployments/{}/1/{name}.json", self.last_id());
        serde_json::from_str(&self.shop.sandbox.read(&path)).expect("JSON")
    }

    /// The run of the example's `rollback.yml`.
    pub(crate) fn rollback(&self, inputs: &Value) -> Run {
        Run::of(self.act("workflow_dispatch", "rollback.yml", &self.by_hand(inputs), "2").wait())
    }

    /// The event of a person who starts a workflow.
    pub(crate) fn by_hand(&self, inputs: &Value) -> Value {
        serde_json::json!({ "ref": "refs/heads/main", "inputs": inputs, "repository": self.repository() })
    }

    fn repository(&self) -> Value {
        serde_json::json!({ "private": self.private, "full_name": "octo/shop" })
    }

    /// Adds inputs to the call of an example's workflow, one per line.
    pub(crate) fn call_with(&self, workflow: &str, lines: &[&str]) {
        let path = format!(".github/workflows/{workflow}");
        let all: String = lines.iter().map(|line| format!("      {line}\n")).collect();
        let example = root().join("examples/storefront").join(&path);
        let text = std::fs::read_to_string(example).expect("a workflow").replace("  queue: max\n", "");
        self.commit(&path, &text.replace("    with:\n", &format!("    with:\n{all}")));
    }

    /// Lets what GitHub does and act cannot happen to the deploy of the next runs.
    pub(crate) fn change_deploy(&self, change: impl FnOnce(&mut Value)) {
        let tree = self.at("tree");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(release().compat_tree("act")).arg(&tree).status();
        assert!(copied.expect("cp is there").success());
        let file = tree.join(".github/workflows/deploy-production.yml");
        let mut workflow = yaml(&file);
        change(&mut workflow);
        // Every JSON document is a YAML document.
        std::fs::write(file, workflow.to_string()).expect("a workflow");
    }

    /// The next run is "Re-run failed jobs" of this one: a job that succeeded, and needs none that did not,
    /// does not run; later jobs see the outputs that it had.
    pub(crate) fn only_failed_jobs_of(&self, run: &Run) {
        self.change_deploy(|workflow| {
            let jobs = workflow["jobs"].as_object_mut().expect("jobs");
            let needs = |job: &Value| -> Vec<String> {
                let one_or_many =
                    job["needs"].as_array().cloned().unwrap_or_else(|| vec![job["needs"].clone()]);
                one_or_many.iter().filter_map(|need| Some(need.as_str()?.to_owned())).collect()
            };
            let failed = |id: &&String| !["success", "skipped"].contains(&run.result(id));
            let mut runs: Vec<String> = jobs.keys().filter(failed).cloned().collect();
            loop {
                let after = |(id, job): (&String, &Value)| {
                    (!runs.contains(id) && needs(job).iter().any(|need| runs.contains(need)))
                        .then(|| id.clone())
                };
                let more: Vec<String> = jobs.iter().filter_map(after).collect();
                if more.is_empty() {
                    break;
                }
                runs.extend(more);
            }
            runs.extend(jobs.keys().filter(|id| run.result(id) == "skipped").cloned());
            for (id, job) in jobs.iter_mut().filter(|(id, _)| !runs.contains(id)) {
                let steps: Vec<Value> =
                    run.outputs(id).into_iter().map(|(step, outputs)| said_before(&step, &outputs)).collect();
                job["steps"] = if steps.is_empty() {
                    serde_json::json!([{ "shell": "bash", "run": "exec true" }])
                } else {
                    steps.into()
                };
            }
        });
    }

    /// Starts act in the owner's repository.
    pub(crate) fn act(&self, trigger: &str, workflow: &str, event: &Value, run: &str) -> Started {
        self.act_attempt(trigger, workflow, event, run, "1")
    }

    fn act_attempt(&self, trigger: &str, workflow: &str, event: &Value, run: &str, attempt: &str) -> Started {
        let sandbox = &self.shop.sandbox;
        let file = |name: &str| self.at(name).to_str().expect("UTF-8").to_owned();
        sandbox.write(&format!("event-{run}.json"), event.to_string());
        sandbox.write(&format!("home-{run}/.config/act/actrc"), "");
        std::fs::create_dir_all(self.at(&format!("artifacts/{run}")))
            .expect("a folder of the artifact server");
        let mut command = std::process::Command::new(root().join("target/venv/bin/act"));
        command.env_clear().current_dir(self.at("caller"));
        let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap_or_default());
        command.envs([
            ("PATH", path),
            ("HOME", file(&format!("home-{run}"))),
            ("LANG", "C.UTF-8".to_owned()),
        ]);
        command.env("XDG_CACHE_HOME", file(&format!("home-{run}/.cache")));
        command.args([trigger, "--workflows", &format!(".github/workflows/{workflow}"), "--json"]);
        command.args([
            "--eventpath",
            &file(&format!("event-{run}.json")),
            "--secret-file",
            &file("secrets.env"),
        ]);
        command.args(["--platform", "ubuntu-24.04=-self-hosted", "--no-skip-checkout", "--no-cache-server"]);
        command.args(["--pull=false", "--artifact-server-addr", "127.0.0.1"]);
        command.args(["--artifact-server-port", &free_port(), "--artifact-server-path", &file("artifacts")]);
        for (name, value) in [
            ("ACT_TEST_REPO", file("caller")),
            ("DEPLOY_KIT_OFFLINE_DIR", release().assets().to_str().expect("UTF-8").to_owned()),
            // What costs a second to make is made once for all tests.
            ("DEPLOY_KIT_CACHE", kit_testing::cache().display().to_string()),
            ("GITHUB_RUN_ID", run.to_owned()),
            ("GITHUB_RUN_ATTEMPT", attempt.to_owned()),
        ] {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let changed = self.at("tree");
        let tree = if changed.exists() { changed } else { release().compat_tree("act") };
        for tag in ["v1".to_owned(), format!("v{VERSION}")] {
            command.args(["--local-repository", &format!("{REPOSITORY}@{tag}={}", tree.display())]);
        }
        for (pin, name) in pins(&release().compat_tree("act")) {
            command.args(["--local-repository", &format!("{pin}={}", file(&format!("stand-ins/{name}")))]);
        }
        sandbox.start_command(command, LIMIT)
    }
}

/// A step that says what another one said in an earlier attempt.
fn said_before(step: &str, outputs: &BTreeMap<String, String>) -> Value {
    let said: String = outputs.iter().map(|(name, value)| format!("{name}<<E\n{value}\nE\n")).collect();
    let script = "printf %s \"$SAID\" >>\"$GITHUB_OUTPUT\"";
    serde_json::json!({ "id": step, "shell": "bash", "env": { "SAID": said }, "run": script })
}

impl Run {
    /// What the steps of a job have said, by step and name.
    fn outputs(&self, job: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut outputs: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let events = self.ran.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for event in events.filter(|event| event["command"] == "set-output" && event["jobID"] == job) {
            let [step] = event["stepID"].as_array().map_or(&[][..], Vec::as_slice) else { continue };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            outputs.entry(text(step)).or_default().insert(text(&event["name"]), text(&event["arg"]));
        }
        outputs
    }

    /// The result of a job; one of which nothing was heard was skipped.
    pub(crate) fn result(&self, job: &str) -> &str {
        self.jobs.get(job).map_or("skipped", String::as_str)
    }

    pub(crate) fn of(ran: Ran) -> Self {
        let mut jobs = BTreeMap::new();
        let mut log = String::new();
        for line in ran.stdout.lines().chain(ran.stderr.lines()) {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                log.push_str(line);
                log.push('\n');
                continue;
            };
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            log.push_str(&format!("[{}] {}\n", text("jobID"), text("msg").trim_end()));
            if let Some(result) = line["jobResult"].as_str() {
                jobs.insert(text("jobID"), result.to_owned());
            }
        }
        Self { ran, jobs, log }
    }
}

/// Every action of others that the tree uses at a commit, with the name of what stands in for it.
fn pins(tree: &Path) -> Vec<(String, String)> {
    let mut pins = Vec::new();
    let workflow = tree.join(".github/workflows/deploy-production.yml");
    let action = tree.join("rollout/action.yml");
    for file in [workflow, action] {
        for line in std::fs::read_to_string(file).expect("a file of the release").lines() {
            let Some((_, uses)) = line.split_once("uses: ") else { continue };
            let pin = uses.split(' ').next().unwrap_or_default().to_owned();
            let name = pin.split(['/', '@']).nth(1).unwrap_or_default().to_owned();
            if STAND_INS.contains(&name.as_str()) && !pins.iter().any(|(known, _)| *known == pin) {
                pins.push((pin, name));
            }
        }
    }
    pins
}

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port().to_string()
}

fn copy(from: &Path, into: &Path) {
    std::fs::create_dir_all(into).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, into.join(path.file_name().expect("a name"))).expect("a file");
    }
}
