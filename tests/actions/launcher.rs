//! The launcher: verified programs or none.

use crate::https::Server;
use crate::release::{platform, release};
use crate::runner::{Job, StepRun};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// A job that takes its programs from the folder of assets.
pub(crate) fn offline() -> Job {
    Job::new().env("DEPLOY_KIT_OFFLINE_DIR", release().assets().to_str().unwrap())
}

fn asset(program: &str) -> String {
    format!("{program}-{}", platform())
}

/// The program in the tool cache of a job.
fn cached(job: &Job, program: &str) -> PathBuf {
    let sums = std::fs::read_to_string(release().tree().join("SHA256SUMS")).unwrap();
    let line = sums.lines().find(|line| line.ends_with(&format!("  {}", asset(program)))).unwrap();
    job.tool_cache().join(format!("deploy-kit/sha256-{}/{program}", line.split(' ').next().unwrap()))
}

/// Runs an action that does nothing but look: it refuses for want of a deployment, by its own words.
fn smoke(job: &mut Job) -> StepRun {
    job.run(&release().action("smoke-test"), &[("environment", "no such name")])
}

fn assert_ran(ran: &StepRun) {
    assert_eq!(ran.code, Some(2), "{}", ran.log);
    assert!(ran.said("error").contains("--environment"), "the program itself speaks: {}", ran.log);
}

/// Nothing of ours ran: the launcher's own refusal.
fn assert_refused(ran: &StepRun, code: i32, because: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.log);
    assert!(!ran.success && ran.outputs.is_empty(), "{}", ran.log);
    assert!(ran.said("error").contains(because), "{}", ran.log);
}

#[test]
fn a_program_is_fetched_once_and_checked_at_every_use() {
    let mut job = offline();
    assert_ran(&smoke(&mut job));
    let file = cached(&job, "smoke-test");
    // The second run finds it: without the folder of assets nothing could be fetched.
    let mut job = job.env("DEPLOY_KIT_OFFLINE_DIR", "/nonexistent");
    assert_ran(&smoke(&mut job));

    std::fs::write(&file, "#!/bin/sh\necho '::error::pwned'\n").unwrap();
    let ran = smoke(&mut job);
    assert_refused(&ran, 20, "/nonexistent");
    assert!(ran.said("warning").contains("not the program that was put there"), "{}", ran.log);
    assert!(!ran.log.contains("pwned"));

    let mut job = job.env("DEPLOY_KIT_OFFLINE_DIR", release().assets().to_str().unwrap());
    assert_ran(&smoke(&mut job));
    let parts = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(parts, 1, "nothing half-fetched is left");
}

/// Whatever computes the SHA-256: one that cannot is no reason to believe, nor to refuse.
#[test]
fn a_digest_is_computed_by_whoever_can() {
    for (script, ran) in
        [("exit 1", true), ("echo 'unknown option' >&2; exit 1", true), ("echo deadbeef", false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let openssl = folder.path().join("openssl");
        std::fs::write(&openssl, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&openssl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let seen = smoke(&mut offline().env("PATH", path));
        if ran {
            assert_ran(&seen);
        } else {
            assert_refused(&seen, 3, "is not the one that was released");
        }
    }
}

#[test]
fn a_program_that_is_not_the_released_one_never_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(asset("smoke-test"));
    std::fs::write(&file, "#!/bin/sh\necho '::set-output name=result::success'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut job = offline().env("DEPLOY_KIT_OFFLINE_DIR", folder.path().to_str().unwrap());
    assert_refused(&smoke(&mut job), 3, "is not the one that was released");
    assert!(!cached(&job, "smoke-test").exists());
}

#[test]
fn an_unknown_machine_is_told_which_there_are() {
    for machine in ["Linux riscv64", "MINGW64_NT-10.0 x86_64", "FreeBSD amd64"] {
        let folder = tempfile::tempdir().unwrap();
        let uname = folder.path().join("uname");
        std::fs::write(&uname, format!("#!/bin/sh\necho '{machine}'\n")).unwrap();
        std::fs::set_permissions(&uname, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut job = offline().env("PATH", path);
        assert_refused(&smoke(&mut job), 2, &format!("for {machine}; there is one for: {}", platform()));
    }
}

#[test]
fn a_download_is_repeated_until_the_server_recovers() {
    let program = std::fs::read(release().assets().join(asset("smoke-test"))).unwrap();
    let server = Server::start(vec![(503, b"busy".to_vec()), (200, program)]);
    let mut job = server.trusted(Job::new());
    assert_ran(&smoke(&mut job));
    assert_eq!(server.requests(), vec![format!("GET /{} HTTP/1.1", asset("smoke-test")); 2]);
}

#[test]
fn a_download_that_is_refused_or_tampered_with_ends_the_step() {
    let server = Server::start(vec![(404, b"no".to_vec())]);
    assert_refused(&smoke(&mut server.trusted(Job::new())), 20, "cannot be fetched");
    let server = Server::start(vec![(200, b"#!/bin/sh\necho '::error::pwned'\n".to_vec())]);
    let ran = smoke(&mut server.trusted(Job::new()));
    assert_refused(&ran, 3, "is not the one that was released");
    assert!(!ran.log.contains("pwned"));
}

#[test]
fn only_https_is_fetched_from_and_the_running_action_names_the_repository() {
    let mut job = Job::new().env("DEPLOY_KIT_MIRROR", "http://127.0.0.1:9");
    assert_refused(&smoke(&mut job), 2, "not an https address");
    let server = Server::start(vec![(404, Vec::new())]);
    let trusted = server.trusted(Job::new()).env("DEPLOY_KIT_MIRROR", "");
    let mut at_home = trusted.env("GITHUB_SERVER_URL", server.address());
    assert_refused(&smoke(&mut at_home), 20, "cannot be fetched");
    let path = format!("/org/deploy-kit/releases/download/v1.2.3/{}", asset("smoke-test"));
    assert_eq!(server.requests(), [format!("GET {path} HTTP/1.1")]);
    job = Job::new().env("GITHUB_SERVER_URL", "http://127.0.0.1:9");
    assert_refused(&smoke(&mut job), 2, "not an https address");
}

#[test]
fn a_command_is_one_of_the_list() {
    for bad in ["abrot", "--help", "abort promote", "status", "__describe", "abort\n::error::x"] {
        let ran = offline().run(&release().action("rollout"), &[("command", bad)]);
        assert_refused(&ran, 2, "use one of: abort promote");
        assert!(!ran.annotations.iter().any(|(_, message)| message == "x"), "{}", ran.log);
    }
    let ran =
        offline().run(&release().action("rollout"), &[("command", "abort"), ("environment", "no such")]);
    assert_ran(&ran);
}

#[test]
fn the_action_at_the_root_puts_programs_on_path() {
    let mut job = offline();
    let ran = job.run(&release().tree(), &[("programs", "smoke-test\n deploy-kit ")]);
    assert!(ran.success, "{}", ran.log);
    let [folder] = ran.path.as_slice() else { panic!("one folder: {:?}", ran.path) };
    let said = std::process::Command::new(format!("{folder}/deploy-kit")).arg("--version").output().unwrap();
    assert!(said.status.success() && std::path::Path::new(folder).join("smoke-test").exists());
    for (input, value, because) in [
        ("programs", "smoke-tset", "there is no program \"smoke-tset\""),
        ("programs", "../evil", "no name of a program"),
        ("from", "internet", "and not from \"internet\""),
    ] {
        let ran = offline().run(&release().tree(), &[(input, value)]);
        assert_refused(&ran, 2, because);
        assert_eq!(ran.path, [""; 0], "{}", ran.log);
    }
}

#[test]
fn a_program_can_be_built_from_the_commit_of_the_release() {
    let folder = tempfile::tempdir().unwrap();
    let cargo = folder.path().join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\necho \"$@\" >>\"$RUNNER_TEMP/cargo\"\n").unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut job = Job::new().env("PATH", path);
    let ran = job.run(&release().tree(), &[("from", "source"), ("programs", "rollout notify")]);
    assert!(ran.success && ran.path.len() == 1, "{}", ran.log);
    let asked = std::fs::read_to_string(job.temp().join("cargo")).unwrap();
    let source = std::fs::read_to_string(release().tree().join("SOURCE")).unwrap();
    let line = |program: &str| {
        let root = ran.path[0].strip_suffix("/bin").unwrap();
        let from = format!("--git https://github.example/org/deploy-kit --rev {}", source.trim());
        format!("install --locked {from} --root {root} {program}\n")
    };
    assert_eq!(asked, line("rollout") + &line("notify"));
}
