//! A running shop in a sandbox: repository, database, router, version 1.4.0, and 2.0.0 beside it.

use kit_contract::AnyArtifact;
use kit_testing::git::Repository;
use kit_testing::{Ran, Sandbox, Started};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The shop. Its processes end with it.
pub(crate) struct Shop {
    pub(crate) sandbox: Sandbox,
    admin: String,
}

/// The folder of the programs under test, built if need be.
pub(crate) fn programs() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| kit_testing::programs_of(&["deploy-kit", "storefront"])).clone()
}

impl Shop {
    /// 1.4.0 serves and was adopted; 2.0.0 stands beside it without traffic.
    pub(crate) fn open() -> Self {
        Self::with(|config| config, "0")
    }

    /// The same with another configuration, and a canary that fails this share of its requests.
    pub(crate) fn with(change: impl FnOnce(String) -> String, fail_percent: &str) -> Self {
        Self::in_sandbox(Sandbox::new(), change, fail_percent)
    }

    /// The same in a sandbox with an environment of its own.
    pub(crate) fn in_sandbox(
        sandbox: Sandbox,
        change: impl FnOnce(String) -> String,
        fail_percent: &str,
    ) -> Self {
        let mut shop = Self::closed(sandbox);
        let router = shop.ctl(&["start-router", "--state", "router.json", "--processes", "processes.json"]);
        shop.admin = router["admin"].as_str().expect("an admin address").to_owned();
        shop.start("1.4.0", "0");
        shop.start("2.0.0", fail_percent);
        shop.write_repository(change, router["url"].as_str().expect("an address"));
        let adopted =
            shop.run(&["deploy-record", "adopt", "--running-version", "1.4.0", "--artifacts", "adopt"]);
        assert_eq!(adopted.code, Some(0), "{}", adopted.stderr);
        shop
    }

    /// One that has its database, and in which nothing runs.
    pub(crate) fn closed(sandbox: Sandbox) -> Self {
        let programs = programs();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let database = format!("sqlite://{}", sandbox.path().join("shop.db").display());
        let sandbox = sandbox.env("PATH", path).env("DATABASE_URL", database);
        let shop = Self { sandbox, admin: String::new() };
        shop.ctl(&["seed", "--database", "shop.db"]);
        shop
    }

    fn write_repository(&self, change: impl FnOnce(String) -> String, router: &str) {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/storefront");
        let config =
            std::fs::read_to_string(example.join("deploy.toml")).expect("the example's configuration");
        let config = config.replace("{router}", router).replace("{admin}", &self.admin);
        // Short enough that a test does not wait, long enough that every verdict has data.
        let config = config
            .replace("duration = \"5s\"", "duration = \"800ms\"")
            .replace("measure_baseline = \"2s\"", "measure_baseline = \"500ms\"")
            .replace("\"50ms\"", "\"10ms\"")
            // A busy machine probes more slowly; that must not decide a test about something else.
            .replace("min_samples = 50", "min_samples = 15");
        self.sandbox.write("deploy.toml", change(config));
        for entry in std::fs::read_dir(example.join("migrations")).expect("the example's migrations") {
            let path = entry.expect("the example's migrations").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            self.sandbox.write(&format!("migrations/{name}"), std::fs::read(&path).expect("a migration"));
        }
        let repository = Repository::init(self.sandbox.path());
        repository.git(&["add", "deploy.toml", "migrations"]);
        repository.commit("the shop");
        repository.annotated_tag("v2.0.0", "2.0.0");
    }

    /// Starts both services of a version: the first one becomes stable, each later one the canary.
    pub(crate) fn start(&self, version: &str, fail_percent: &str) {
        for service in ["catalog", "checkout"] {
            self.ctl(&[
                "start",
                "--service",
                service,
                "--version",
                version,
                "--database",
                "shop.db",
                "--admin",
                &self.admin,
                "--processes",
                "processes.json",
                "--fail-percent",
                fail_percent,
            ]);
        }
    }

    fn ctl(&self, args: &[&str]) -> Value {
        let ran = self.sandbox.run(programs().join("storefront-ctl"), args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or(Value::Null)
    }

    /// Runs a command of deploy-kit.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.sandbox.run(programs().join("deploy-kit"), args)
    }

    /// Starts a command of deploy-kit.
    pub(crate) fn start_kit(&self, args: &[&str]) -> Started {
        self.sandbox.start(programs().join("deploy-kit"), args)
    }

    /// Runs the first steps of a deploy of 2.0.0 into the folder `artifacts`, up to the backup.
    pub(crate) fn walk_to_the_backup(&self) {
        for step in [
            &["validate-tag", "--tag", "v2.0.0"][..],
            &["preflight"],
            &["deploy-record", "begin"],
            &["db-backup"],
        ] {
            let ran = self.run(&[step, &["--artifacts", "artifacts"]].concat());
            assert_eq!(ran.code, Some(0), "{step:?}: {}", ran.stderr);
        }
    }

    /// Deploys 2.0.0 into the folder `artifacts`.
    pub(crate) fn deploy(&self) -> Ran {
        self.run(&["deploy", "v2.0.0", "--artifacts", "artifacts"])
    }

    /// An artifact of the deploy; `None` if it was not written.
    pub(crate) fn artifact(&self, name: &str) -> Option<AnyArtifact> {
        let path = format!("artifacts/{name}.json");
        self.sandbox.has(&path).then(|| serde_json::from_str(&self.sandbox.read(&path)).expect("an artifact"))
    }

    /// Result and reason of an artifact, `missing` if there is none.
    pub(crate) fn reason(&self, name: &str) -> String {
        self.artifact(name).map_or_else(|| "missing".to_owned(), |artifact| artifact.reason.to_string())
    }

    /// The status of the record.
    pub(crate) fn recorded(&self) -> String {
        let record = self.artifact("record").expect("a record");
        record.body.expect("a body")["status"].as_str().expect("a status").to_owned()
    }

    /// What `deploy-kit status` says.
    pub(crate) fn status(&self) -> Value {
        let ran = self.run(&["status", "--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// Every service is observed at this stable version, and no canary has a share.
    pub(crate) fn assert_serves(&self, version: &str) {
        let ran = self.run(&["rollout", "status", "--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let services = status["services"].as_array().expect("services");
        assert_eq!(services.len(), 2);
        for service in services {
            assert_eq!(service["stable_version"], version, "{status:#}");
            assert_eq!(service["canary_percent"], 0.0, "{status:#}");
        }
    }

    /// The version that stands beside the stable one, if there is one.
    pub(crate) fn canary_version(&self) -> Option<String> {
        let ran = self.run(&["rollout", "status", "--json"]);
        let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        status["services"][0]["canary_version"].as_str().map(str::to_owned)
    }

    /// No deploy is open, nobody holds the lock, and the chain is whole.
    pub(crate) fn assert_closed(&self) {
        let status = self.status();
        assert_eq!(status["state"]["open"], Value::Null, "{status:#}");
        assert_eq!(status["lock"], Value::Null, "{status:#}");
        let verified = self.run(&["deploy-record", "verify"]);
        assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    }

    /// Versions of migrations that are recorded as applied.
    pub(crate) fn applied_migrations(&self) -> usize {
        let ran = self.run(&["migrate", "plan", "--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        plan["databases"][0]["applied"].as_array().expect("applied").len()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Without the list nothing was started.
        if self.sandbox.has("processes.json") {
            let _ = self
                .sandbox
                .run(programs().join("storefront-ctl"), &["stop", "--all", "--processes", "processes.json"]);
        }
    }
}
