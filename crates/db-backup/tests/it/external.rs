//! Backups by another tool: what its program answers, and what the programs of the documentation answer.

use super::{ID, METADATA, ended, shop};
use kit_contract::body::{Backup, Claim, ExternalBackup, Proof};
use kit_testing::Sandbox;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const BINARY: &str = env!("CARGO_BIN_EXE_db-backup");
/// Without the URL of the database, which such a backup does not need.
const CONFIG: &str = "app = \"shop\"\n[backup]\nallow_external = true\n[[databases]]\nname = \"main\"\n\
                      url = { env = \"ANOTHER_URL\" }\nbackup = { command = [\"ops/tool\"], timeout = \"2s\" }\n";

fn external(tool: &str) -> Sandbox {
    let sandbox = shop().file("deploy.toml", CONFIG);
    program(&sandbox, "ops/tool", tool);
    sandbox
}

fn program(sandbox: &Sandbox, file: &str, text: &str) {
    sandbox.write(file, format!("#!/bin/sh\n{text}\n"));
    let path = sandbox.path().join(file);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn says(content_at: jiff::Timestamp) -> String {
    let answer = json!({
        "schema": "deploy-kit/external-backup/v1", "id": "one", "content_at": content_at,
        "location": "elsewhere", "claim": "created", "restore": "tool --restore one",
    });
    format!("echo \"made for $DEPLOY_KIT_BACKUP_DEPLOYMENT\" >&2; echo again >> made; echo '{answer}'")
}

#[test]
fn its_word_is_written_down_as_its_word() {
    let sandbox = external(&says(jiff::Timestamp::now()));
    let ran = sandbox.run(BINARY, &[]);
    let artifact = ended(&sandbox, &ran, 0, "external_backup");
    assert!(ran.stderr.contains(&format!("made for {ID}")), "{}", ran.stderr);
    assert!(artifact["message"].as_str().unwrap().contains("proof: external"), "{artifact}");
    let body = sandbox.artifact::<Backup>("backup").body.unwrap();
    assert_eq!((body.weakest_proof(), body.external[0].claim), (Proof::External, Claim::Created));
    let stored: ExternalBackup = serde_json::from_str(&sandbox.read(METADATA)).unwrap();
    assert_eq!(stored, body.external[0]);
    // Again: what was written down holds, and the tool is not asked for another one.
    ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "external_backup");
    assert!(sandbox.artifact::<Backup>("backup").body.unwrap().external[0].adopted);
    assert_eq!(sandbox.read("made"), "again\n");
    // Its metadata stands in nobody's way.
    let pruned = sandbox.run(BINARY, &["prune"]);
    assert!(pruned.code == Some(0) && !pruned.stdout.contains("left alone"), "{}", pruned.stdout);
}

#[test]
fn anything_but_a_good_answer_is_no_backup() {
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_mins(61);
    for (tool, code, reason, part) in [
        ("echo done", 20, "external_invalid", "stdout is not it"),
        ("true", 20, "external_invalid", "stdout is empty"),
        ("echo 'quota exceeded' >&2; exit 3", 20, "command_failed", "quota exceeded"),
        ("sleep 60", 21, "deadline_exceeded", "ops/tool"),
        (&says(now - hour), 10, "backup_too_old", "and 1h is allowed"),
        (&says(now + hour), 10, "backup_too_old", "in the future"),
        (&format!("{}; exit 1", says(now)), 20, "command_failed", "made for"),
    ] {
        let sandbox = external(tool);
        let ran = sandbox.run(BINARY, &[]);
        ended(&sandbox, &ran, code, reason);
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
        assert!(!sandbox.has(METADATA), "{tool}");
    }
    let sandbox = external("true");
    std::fs::remove_file(sandbox.path().join("ops/tool")).unwrap();
    ended(&sandbox, &sandbox.run(BINARY, &[]), 20, "tool_missing");
    sandbox.write("deploy.toml", CONFIG.replace("allow_external = true", ""));
    ended(&sandbox, &sandbox.run(BINARY, &[]), 2, "config_invalid");
}

/// The programs of docs/external-backups.md, with stand-ins that answer as the real tools do.
#[test]
fn the_programs_of_the_documentation_answer_as_they_must() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/external-backups.md");
    let page = std::fs::read_to_string(page).unwrap();
    let scripts: Vec<&str> =
        page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let now = jiff::Timestamp::now();
    let (second, ago) = (now.as_second(), now.as_second() - 5000);
    let pgbackrest = json!([{"name": "main", "backup": [
        {"label": "20261125F", "error": false, "timestamp": {"start": ago, "stop": ago}},
        {"label": "20261125F_20261126I", "error": false, "timestamp": {"start": second, "stop": second}},
    ]}]);
    let wal_g = json!([
        {"backup_name": "base_02", "time": now, "start_time": now, "finish_time": now},
        {"backup_name": "base_01", "time": "2020-07-26T18:36:36.757Z", "finish_time": "2020-07-26T18:36:31.852791Z"},
    ]);
    let rds = json!({"DBSnapshots": [{
        "DBSnapshotIdentifier": format!("deploy-kit-{ID}-main"), "Status": "available", "SnapshotCreateTime": now,
        "DBSnapshotArn": "arn:aws:rds:eu-central-1:1:snapshot:x",
    }]});
    let printing = |when: &str, answer: &serde_json::Value| {
        format!("case \"$*\" in *{when}*) echo '{answer}';; *) echo working;; esac")
    };
    for (index, (tool, when, answer, id)) in [
        ("pgbackrest", "info", &pgbackrest, "20261125F_20261126I".to_owned()),
        ("wal-g", "backup-list", &wal_g, "base_02".to_owned()),
        ("aws", "describe-db-snapshots", &rds, format!("deploy-kit-{ID}-main")),
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = shop().file("deploy.toml", &CONFIG.replace("\"ops/tool\"", "\"ops/tool\", \"main\""));
        program(&sandbox, "ops/tool", scripts[index].trim_start_matches("#!/bin/sh\n"));
        program(&sandbox, &format!("bin/{tool}"), &printing(when, answer));
        let path = format!("{}:/usr/bin:/bin", sandbox.path().join("bin").display());
        let sandbox = sandbox.env("PATH", path);
        ended(&sandbox, &sandbox.run(BINARY, &[]), 0, "external_backup");
        let backup = sandbox.artifact::<Backup>("backup").body.unwrap().external.remove(0);
        assert_eq!(backup.id, id, "{tool}");
        assert!(now.duration_since(backup.content_at).as_secs() < 5, "{tool}: {}", backup.content_at);
        assert!(backup.restore.contains(&id), "{tool}: {}", backup.restore);
    }
    assert_eq!(scripts.len(), 3);
}
