//! What runs on a schedule, outside any deploy, called as the example of a consumer calls it.

use crate::release::root;
use crate::world::{Run, World};
use kit_testing::http::{Reply, Server};
use kit_testing::{postgres, s3};
use serde_json::json;

const NIGHTLY: &str = "23 2 * * *";
const WEEKLY: &str = "41 4 * * 0";
/// As Slack's: whoever has it can post.
const HOOK: &str = "/services/T00000000/B00000000/hunter2hunter2hunter2xx";
const CONFIG: &str = "app = \"shop\"
[[databases]]
name = \"main\"
url = { env = \"DATABASE_URL\" }
[[channels]]
name = \"team\"
kind = \"slack\"
url = { env = \"SLACK_WEBHOOK_URL\" }
events = [\"failed\"]
";
/// What a caller sees of the two jobs.
const TOLD: &str = "
  told:
    needs: [backup, drill]
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - shell: bash
        run: |
          echo 'backup=${{ needs.backup.outputs.result }}/${{ needs.backup.outputs.proof }}'
          echo 'drill=${{ needs.drill.outputs.result }}/${{ needs.drill.outputs.subject }}'
";

/// What is in the owner's repository: a configuration, and the workflow of the example, which logs in to no cloud here.
/// `more` are lines for `with:` and `secrets:` of each of its two jobs.
fn push(world: &World, config: &str, more: [(&[&str], &[&str]); 2]) {
    let example = root().join("examples/azora/.github/workflows/backups.yml");
    let mut jobs = more.into_iter();
    let mut secrets: &[&str] = &[];
    let mut text = String::new();
    for line in std::fs::read_to_string(example).unwrap().lines() {
        let added = match line {
            "    with:" => {
                let (with, next) = jobs.next().expect("the example has two jobs");
                secrets = next;
                with
            }
            "    secrets:" => secrets,
            line if line.starts_with("      aws-") => continue,
            _ => &[],
        };
        for line in std::iter::once(line.to_owned()).chain(added.iter().map(|line| format!("      {line}"))) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text.push_str(TOLD);
    world.push_files(&[("deploy.toml", config), (".github/workflows/backups.yml", &text)]);
}

fn on_schedule(world: &World, schedule: &str, run: &str) -> Run {
    Run::of(world.act("schedule", "backups.yml", &json!({ "schedule": schedule }), run).wait())
}

fn by_hand(world: &World, run: &str) -> Run {
    Run::of(world.act("workflow_dispatch", "backups.yml", &world.by_hand(&json!({})), run).wait())
}

fn secrets(world: &World, secrets: &[(&str, &str)]) {
    let text: String = secrets.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    world.shop.sandbox.write("secrets.env", text);
}

/// The texts that were posted, in their order.
fn posted(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect()
}

/// The files of the store that end so.
fn files(world: &World, end: &str) -> Vec<String> {
    let is_one = |file: &String| file.starts_with("store/") && file.ends_with(end);
    world.shop.sandbox.files().into_iter().filter(is_one).collect()
}

#[test]
fn a_backup_at_night_tells_nobody_and_one_that_fails_or_does_not_come_back_tells_everybody() {
    let team = Server::start().always("POST", HOOK, Reply::new(200, "ok"));
    let world = World::closed();
    let store = world.at("store").display().to_string();
    push(&world, &format!("{CONFIG}[store]\nurl = \"file:{store}\"\npersistent = true\n"), [(&[], &[]); 2]);
    let database = format!("sqlite://{}", world.at("shop.db").display());
    let hook = team.url(HOOK);
    secrets(&world, &[("PROD_DATABASE_URL", &database), ("SLACK_WEBHOOK", &hook)]);

    let run = on_schedule(&world, NIGHTLY, "1");
    assert_eq!(run.ran.code, Some(0), "{}", run.log);
    assert_eq!((run.result("backup"), run.result("drill")), ("success", "skipped"), "{}", run.log);
    assert!(run.log.contains("backup=success/full"), "{}", run.log);
    // The event does not say whose repository it is, so the report goes to the store only.
    assert_eq!(world.names("1"), [""; 0]);
    let [report] = files(&world, "/backup.json").try_into().unwrap();
    assert!(report.starts_with("store/shop/production/deployments/"), "{report}");
    assert_eq!(posted(&team), [""; 0], "a success is not announced");

    // The database is gone, and of what is stored a byte turns.
    std::fs::remove_file(world.at("shop.db")).unwrap();
    let run = on_schedule(&world, NIGHTLY, "2");
    assert_eq!((run.ran.code, run.result("backup")), (Some(1), "failure"), "{}", run.log);
    let [object] = files(&world, ".sqlite.gz").try_into().unwrap();
    let mut bytes = std::fs::read(world.at(&object)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.shop.sandbox.write(&object, bytes);
    let run = on_schedule(&world, WEEKLY, "3");
    assert_eq!((run.ran.code, run.result("drill")), (Some(1), "failure"), "{}", run.log);
    assert!(run.log.contains("restore_mismatch"), "{}", run.log);
    assert_eq!(files(&world, "/drill.json").len(), 1, "the report is kept");
    let [backup, drill] = posted(&team).try_into().unwrap_or_else(|told| panic!("{told:?}: {}", run.log));
    assert!(backup.contains("backup") && backup.contains("shop.db"), "{backup}");
    assert!(drill.contains("restore drill") && drill.contains("its gzip data"), "{drill}");
}

#[test]
fn a_postgres_database_comes_back_from_a_bucket_in_the_job_that_has_no_key_to_it() {
    let team = Server::start().always("POST", HOOK, Reply::new(200, "ok"));
    let bucket = s3::Server::start();
    bucket.make_bucket("acme-backups");
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 1000) AS i");
    let world = World::closed();
    let made = world.shop.sandbox.command("age-keygen").args(["-o", "key.txt"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = world.shop.sandbox.read("key.txt");
    let line = |start: &str| key.lines().find_map(|line| line.strip_prefix(start)).unwrap().to_owned();
    let (public, identity) =
        (line("# public key: "), format!("AGE-SECRET-KEY-1{}", line("AGE-SECRET-KEY-1")));
    let config = format!(
        "{CONFIG}[store]\nurl = \"s3://acme-backups/prod\"\nregion = \"eu-central-1\"\nendpoint = \"{}\"\n\
         [backup.encryption]\nrecipients = [\"{public}\"]\n",
        bucket.endpoint()
    );
    const AWS: [&str; 2] = [
        "AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}",
        "AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}",
    ];
    let opens = [AWS[0], AWS[1], "BACKUP_IDENTITY: ${{ secrets.BACKUP_IDENTITY }}"];
    push(&world, &config, [(&[], &AWS), (&[], &opens)]);
    let hook = team.url(HOOK);
    let all = [
        ("PROD_DATABASE_URL", &*server.url("shop")),
        ("SLACK_WEBHOOK", &*hook),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("BACKUP_IDENTITY", &*identity),
    ];
    secrets(&world, &all);

    let run = by_hand(&world, "1");
    assert_eq!(run.ran.code, Some(0), "{}", run.log);
    assert_eq!((run.result("backup"), run.result("drill")), ("success", "success"), "{}", run.log);
    for said in ["backup=success/full", "drill=success/local-", "main: 1000 rows in 1 table"] {
        assert!(run.log.contains(said), "{said}: {}", run.log);
    }
    let kept = world.names("1");
    let begins = |name: &str| kept.iter().any(|one| one.starts_with(name));
    assert!(kept.len() == 2 && begins("backup-logs-local-") && begins("drill-logs-"), "{kept:?}");
    let listing = bucket.ask("GET", "/acme-backups?list-type=2", &[], "");
    assert!(listing.contains(".sql.gz.age") && !listing.contains("/deployments/"), "{listing}");
    assert_eq!(posted(&team), [""; 0]);

    // The runner cannot be set up: the drill never runs, and people hear of that, too.
    push(&world, &config, [(&[], &AWS), (&["setup-command: echo no such package >&2; exit 100"], &opens)]);
    let run = on_schedule(&world, WEEKLY, "2");
    assert_eq!(run.ran.code, Some(1), "{}", run.log);
    assert_eq!((run.result("backup"), run.result("drill")), ("skipped", "failure"), "{}", run.log);
    let [told] = posted(&team).try_into().unwrap_or_else(|told| panic!("{told:?}: {}", run.log));
    assert!(told.contains("restore drill"), "{told}");
}
