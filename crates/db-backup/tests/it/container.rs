//! Dump programs in containers: a run that ends, in whatever way, leaves none behind.

use super::{ID, deployment, ended};
use kit_testing::containers::{Engine, clients};
use kit_testing::postgres::Server;
use kit_testing::{Sandbox, Signal, Started};
use std::process::{Child, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
const METADATA: &str = ".deploy-kit/store/shop/production/backup-1763712000-abc1234.json";
const CONFIG: &str = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = { env = \"MAIN_URL\" }\n\
                      tools = { image = \"clients:15\" }\ndump_jobs = 0\n";
const WAITS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'";

/// Whoever locks a table has `pg_dump` wait for it, which does not come to that if we ask for sizes before.
struct Locked(Child);

impl Locked {
    fn new(server: &Server) -> Self {
        let mut psql = server.command("psql", "shop");
        psql.args(["-c", "BEGIN", "-c", "LOCK TABLE orders", "-c", "SELECT pg_sleep(60)"])
            .stdout(Stdio::null());
        let child = psql.spawn().unwrap();
        let locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while server.sql("postgres", locked) == "0" {}
        Self(child)
    }

    fn release(mut self, server: &Server) {
        server.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
        );
        self.0.wait().unwrap();
    }
}

#[test]
fn whoever_is_ended_leaves_no_container_and_a_killed_runs_is_removed_by_the_next() {
    let engine = Engine::start();
    engine.image("clients:15", &clients());
    let server = Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 1000) AS i");
    let (name, host) = engine.variable();
    let sandbox = Sandbox::new()
        .file("deploy.toml", CONFIG)
        .file(".deploy-kit/artifacts/deployment.json", &deployment(ID, "release_accepted"))
        .env(name, host)
        .env("MAIN_URL", server.url("shop"));
    let waiting = || -> Started {
        let started = sandbox.start(BINARY, &[]);
        // The server may not have noticed yet that the one before is gone, which waited, too.
        while server.sql("postgres", WAITS) == "0" || engine.containers().is_empty() {}
        started
    };

    let locked = Locked::new(&server);
    let started = waiting();
    let [container] = engine.containers().try_into().unwrap();
    // Names of variables are arguments; the password is none.
    let arguments = all_arguments();
    assert!(arguments.contains("--env=PGPASSWORD"), "{arguments}");
    assert!(!arguments.contains(server.password()), "{arguments}");
    let labels = engine.docker(&[
        "inspect",
        "--format",
        "{{json .Config.Labels}} {{.HostConfig.LogConfig.Type}}",
        &container,
    ]);
    assert!(labels.contains("deploy-kit.owner") && labels.trim().ends_with(" none"), "{labels}");
    started.signal(Signal::TERM);
    assert_eq!(started.wait().code, Some(143));
    assert_eq!(engine.containers(), Vec::<String>::new());
    assert!(!sandbox.has(METADATA));

    let started = waiting();
    let [orphan] = engine.containers().try_into().unwrap();
    started.signal(Signal::KILL);
    assert_eq!(started.wait().code, None);
    // Somebody else's stays, even if it bears our label: its owner is no folder of this machine.
    let label = "--label=deploy-kit.owner=/tmp/deploy-kit-docker-elsewhere";
    engine.docker(&["create", "--name=theirs", label, "--network=host", "--entrypoint=psql", "clients:15"]);
    assert!(engine.containers().contains(&orphan), "who is killed removes nothing");
    let started = sandbox.start(BINARY, &["--proof", "remote"]);
    while engine.containers().contains(&orphan) {}
    locked.release(&server);
    let ran = started.wait();
    ended(&sandbox, &ran, 0, "verified_remote");
    assert!(
        ran.stderr.contains("docker: 1 container(s) removed that a killed run had left"),
        "{}",
        ran.stderr
    );
    assert_eq!(engine.containers(), ["theirs"]);
    assert!(!ran.printed().contains(server.password()));
}

/// Of all processes of this machine.
fn all_arguments() -> String {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let bytes = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    });
    processes.collect::<Vec<_>>().join("\n")
}
