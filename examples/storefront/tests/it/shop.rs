//! A shop of its own for each test: folder, database, router. Everything it started ends with it.

use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub(crate) const CTL: &str = env!("CARGO_BIN_EXE_storefront-ctl");
pub(crate) const SCHEMA: &str = "deploy-kit/traffic/v1";

pub(crate) struct Shop {
    folder: tempfile::TempDir,
    pub(crate) admin: String,
    pub(crate) users: String,
    pub(crate) client: reqwest::Client,
}

/// An answer of the router or of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) served_by: Option<String>,
    pub(crate) served_version: Option<String>,
    pub(crate) body: Value,
}

impl Shop {
    /// Seeded, with a running router that knows no service yet.
    pub(crate) fn open() -> Self {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut shop = Self { folder, admin: String::new(), users: String::new(), client };
        shop.succeed(&["seed", "--database", &shop.path("shop.db")]);
        shop.start_router();
        shop
    }

    /// With version 1.4.0 of both services stable.
    pub(crate) fn with_stable() -> Self {
        let shop = Self::open();
        shop.start("catalog", "1.4.0", &[]);
        shop.start("checkout", "1.4.0", &[]);
        shop
    }

    /// With version 2.0.0 of both as canary, on the schema it needs.
    pub(crate) async fn with_canary() -> Self {
        let shop = Self::with_stable();
        shop.migrate().await;
        shop.start("catalog", "2.0.0", &[]);
        shop.start("checkout", "2.0.0", &[]);
        shop
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn processes(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("processes.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn start_router(&mut self) {
        let (state, processes) = (self.path("router.json"), self.path("processes.json"));
        let started = self.succeed(&["start-router", "--state", &state, "--processes", &processes]);
        self.admin = started["admin"].as_str().unwrap().to_owned();
        self.users = started["url"].as_str().unwrap().to_owned();
    }

    pub(crate) fn start_arguments(&self, service: &str, version: &str) -> Vec<String> {
        let named = [("--service", service), ("--version", version), ("--admin", &self.admin)];
        let named = named.map(|(flag, value)| (flag, value.to_owned()));
        let paths = [("--database", "shop.db"), ("--processes", "processes.json")];
        let paths = paths.map(|(flag, name)| (flag, self.path(name)));
        let flags = named.into_iter().chain(paths).flat_map(|(flag, value)| [flag.to_owned(), value]);
        std::iter::once("start".to_owned()).chain(flags).collect()
    }

    pub(crate) fn start(&self, service: &str, version: &str, more: &[&str]) -> Value {
        let arguments = self.start_arguments(service, version);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.succeed(&arguments)
    }

    pub(crate) fn stop(&self, which: &[&str]) -> Value {
        let processes = self.path("processes.json");
        self.succeed(&[&["stop", "--processes", &processes], which].concat())
    }

    /// Runs `storefront-ctl`, which must succeed, and returns what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Value {
        let output = Command::new(CTL).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Calls the driver as a deploy does; exit code and answer.
    pub(crate) fn drive(&self, action: &str, services: Value) -> (i32, Value) {
        let request = json!({ "schema": SCHEMA, "action": action, "services": services,
            "deployment_id": "1763712000-abc1234" });
        self.drive_text(&request.to_string())
    }

    pub(crate) fn drive_text(&self, request: &str) -> (i32, Value) {
        let output = self.run_driver(request);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["schema"], SCHEMA);
        (output.status.code().unwrap(), answer)
    }

    fn run_driver(&self, request: &str) -> Output {
        let mut child = Command::new(CTL)
            .args(["--admin", &self.admin, "--processes", &self.path("processes.json")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Applies what is pending in the migrations folder, as a deploy does.
    pub(crate) async fn migrate(&self) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", self.path("shop.db"))).await.unwrap();
        let applied: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations").fetch_all(&pool).await.unwrap();
        assert_eq!(applied, [20260101000000], "only the first is applied by seeding");
        sqlx::migrate::Migrator::new(folder).await.unwrap().run(&pool).await.unwrap();
        pool.close().await;
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(self.client.get(url)).await
    }

    /// A user's request.
    pub(crate) async fn visit(&self, path: &str) -> Answer {
        self.get(&format!("{}{path}", self.users)).await
    }

    /// A request that names its arm.
    pub(crate) async fn visit_arm(&self, path: &str, arm: &str) -> Answer {
        self.send(self.client.get(format!("{}{path}", self.users)).header("x-deploy-target", arm)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.client.put(format!("{}{path}", self.admin)).json(&body)).await
    }

    pub(crate) async fn state(&self, service: &str) -> Value {
        self.get(&format!("{}/state", self.admin)).await.body["services"][service].clone()
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let (served_by, served_version) = (header("x-served-by"), header("x-served-version"));
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
        Answer { status, served_by, served_version, body }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let processes = self.path("processes.json");
        let stopped = Command::new(CTL).args(["stop", "--all", "--processes", &processes]).output();
        if !std::thread::panicking() {
            let stopped = stopped.unwrap();
            assert!(stopped.status.success(), "{stopped:?}");
        }
    }
}
