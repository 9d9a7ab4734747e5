//! The program as it is run: a real chain and lock in a folder, and a router that can be made to fail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test prepares files and starts the program from outside"
)]

mod dead;
mod released;
mod trouble;

use jiff::{SignedDuration, Timestamp};
use kit_contract::body::{DeploymentKind, Rollback, ServiceVersion, UndoOutcome};
use kit_contract::chain::{ChainEvent, State};
use kit_contract::{Artifact, Reason, Sha256};
use kit_store::{Chain, FileStore, Layout, Lock, LockOwner, Stop};
use kit_testing::{FakeRouter, Ran, Sandbox};
use std::sync::Arc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rollback");
/// The files of app and environment in the store.
const SHOP: &str = "store/shop/production";

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A shop whose router may take this long to settle.
fn shop(settle: &str) -> Shop {
    let sandbox = Sandbox::new();
    let router = FakeRouter::new(&sandbox, &["api", "web"]);
    let config = format!("app = \"shop\"\n[store]\nurl = \"file:store\"\n{}", router.config(settle));
    Shop { sandbox: sandbox.file("deploy.toml", &config), router }
}

struct Shop {
    sandbox: Sandbox,
    router: FakeRouter,
}

impl Shop {
    fn store(&self) -> (Arc<FileStore>, Layout) {
        let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
        (Arc::new(FileStore::new(self.sandbox.path().join("store"))), layout)
    }

    fn append(&self, id: &str, event: ChainEvent) {
        let (store, layout) = self.store();
        block_on(Chain::new(store, layout).append(event, id.parse().unwrap(), Timestamp::now(), None))
            .unwrap();
    }

    fn begun(&self, id: &str, version: &str) {
        let service = |name: &str| ServiceVersion {
            name: name.parse().unwrap(),
            version: version.to_owned(),
            digest: None,
        };
        self.append(
            id,
            ChainEvent::Begun {
                version: version.to_owned(),
                sha: "a".repeat(40),
                kind: DeploymentKind::Release,
                services: vec![service("api"), service("web")],
                config_sha256: Sha256::of(b""),
            },
        );
    }

    /// A deploy that succeeded and may be rolled back for this many minutes from now on.
    fn released(&self, id: &str, version: &str, window_min: i64) {
        self.begun(id, version);
        let rollback_deadline = Timestamp::now() + SignedDuration::from_mins(window_min);
        self.append(id, ChainEvent::Deployed { record_sha256: Sha256::of(b""), rollback_deadline });
    }

    fn lock(&self, id: &str) {
        let (store, layout) = self.store();
        let owner = LockOwner { deployment_id: id.parse().unwrap(), run_id: None, attempt: 1, actor: None };
        block_on(Lock::new(store, layout).acquire(&owner, Timestamp::now())).unwrap();
    }

    /// 1.0.0 serves; the deploy of 2.0.0 died with this share.
    fn dead_at(&self, percent: f64) {
        self.released("deploy-0001", "1.0.0", 60);
        self.begun("deploy-0002", "2.0.0");
        self.lock("deploy-0002");
        self.shift(percent);
    }

    /// 2.0.0 serves everything; 1.0.0 stands by.
    fn promoted(&self) {
        for service in ["api", "web"] {
            self.router.set(service, "stable", "2.0.0".into());
            self.router.set(service, "canary", serde_json::Value::Null);
            self.router.set(service, "standby", serde_json::json!(["1.0.0"]));
        }
    }

    fn shift(&self, percent: f64) {
        for service in ["api", "web"] {
            self.router.set(service, "percent", percent.into());
        }
    }

    fn state(&self) -> State {
        let (store, layout) = self.store();
        block_on(Chain::new(store, layout).load()).unwrap().state
    }

    /// The kinds of events in the chain, oldest first.
    fn events(&self) -> Vec<String> {
        let (store, layout) = self.store();
        let entries = block_on(Chain::new(store, layout).load()).unwrap().entries;
        let kind = |event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned();
        entries.into_iter().map(|(entry, _)| kind(entry.event)).collect()
    }

    fn is_locked(&self) -> bool {
        self.sandbox.has(&format!("{SHOP}/lock.json"))
    }

    fn is_asked_to_stop(&self, id: &str) -> bool {
        let (store, layout) = self.store();
        block_on(Stop::new(store, layout).check(&id.parse().unwrap())).unwrap().is_some()
    }

    fn run(&self, args: &[&str], reason: Reason) -> Artifact<Rollback> {
        let all: Vec<&str> = ["--reason", "checkout is slow"].iter().chain(args).copied().collect();
        let ran = self.sandbox.run(PROGRAM, &all);
        self.check(&ran, reason)
    }

    fn check(&self, ran: &Ran, reason: Reason) -> Artifact<Rollback> {
        let artifact = self.sandbox.artifact::<Rollback>("rollback");
        assert_eq!(artifact.reason, reason, "{}", ran.printed());
        assert_eq!(ran.code, Some(i32::from(reason.exit_code())), "{}", ran.printed());
        artifact
    }

    /// A store that cannot be asked: a link to itself fails for root as well.
    fn break_store(&self) {
        let store = self.sandbox.path().join("store");
        std::fs::rename(&store, self.sandbox.path().join("aside")).unwrap();
        std::os::unix::fs::symlink("store", store).unwrap();
    }

    fn mend_store(&self) {
        let store = self.sandbox.path().join("store");
        std::fs::remove_file(&store).unwrap();
        std::fs::rename(self.sandbox.path().join("aside"), store).unwrap();
    }
}

/// Every action and how it ended.
fn actions(artifact: &Artifact<Rollback>) -> Vec<(&str, UndoOutcome)> {
    let body = artifact.body.as_ref().unwrap();
    body.actions.iter().map(|action| (action.action.as_str(), action.outcome)).collect()
}

fn serving(artifact: &Artifact<Rollback>) -> Vec<Option<String>> {
    artifact.body.as_ref().unwrap().observed.iter().map(|service| service.version.clone()).collect()
}
