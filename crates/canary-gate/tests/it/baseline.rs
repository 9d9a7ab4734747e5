//! The version that serves now, before and after the migration.

use super::{GATE, Service, down, good, service, three_in_ten};
use kit_contract::body::Gate;
use kit_contract::{Artifact, Reason};
use kit_testing::{Ran, Sandbox};
use serde_json::Value;

/// Before and after the migration the same address serves; what it does then is another server here.
#[test]
fn a_migration_that_breaks_the_old_version_is_named() {
    let (kept, broken) = (Service::start(good), Service::start(three_in_ten));
    let fast = ["--duration", "1500ms", "--interval", "10ms", "--timeout", "500ms"];
    let measure = |sandbox: &Sandbox, at: &str, server: &Service| -> (Ran, Artifact<Gate>) {
        sandbox.write(
            "deploy.toml",
            format!("app = \"shop\"\n{}", service("api", "http://127.0.0.1:1/", &server.url())),
        );
        let args: Vec<&str> = ["baseline", "--at", at].into_iter().chain(fast).collect();
        let ran = sandbox.run(GATE, &args);
        (ran, sandbox.artifact::<Gate>(&format!("gate-{at}")))
    };
    for (before, after, code, reason) in [
        (&kept, &kept, 0, Reason::BaselineKept),
        (&kept, &broken, 10, Reason::BaselineWorse),
        // It failed before as well, so the migration is not the cause.
        (&broken, &broken, 0, Reason::BaselineKept),
    ] {
        let sandbox = Sandbox::new();
        let (ran, artifact) = measure(&sandbox, "before-migration", before);
        assert_eq!((ran.code, artifact.reason), (Some(0), Reason::BaselineMeasured), "{}", ran.stderr);
        let (ran, artifact) = measure(&sandbox, "after-migration", after);
        assert_eq!((ran.code, artifact.reason), (Some(code), reason), "{}", ran.stderr);
        assert!(!artifact.message.contains("canary"), "{}", artifact.message);
        if code == 10 {
            let worse =
                "the migration, and the version that serves now is worse since: api: fails more often than";
            assert!(artifact.message.starts_with(worse), "{}", artifact.message);
        }
        let ticks = ".deploy-kit/artifacts/gate-after-migration.ticks.jsonl";
        let again = sandbox.run(GATE, &["replay", "--ticks", ticks, "--json"]);
        let said: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!((said["message"].as_str(), again.code), (Some(artifact.message.as_str()), Some(code)));
    }

    let sandbox = Sandbox::new();
    let (ran, _) = measure(&sandbox, "after-migration", &kept);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("nobody measured before the migration"), "{}", ran.stderr);
    let down = Service::start(down);
    let (ran, artifact) = measure(&sandbox, "before-migration", &down);
    assert_eq!((ran.code, artifact.reason), (Some(0), Reason::BaselineMeasured), "{}", ran.stderr);
    let (ran, artifact) = measure(&sandbox, "after-migration", &down);
    assert_eq!((ran.code, artifact.reason), (Some(0), Reason::BaselineNotCompared), "{}", ran.stderr);
}
