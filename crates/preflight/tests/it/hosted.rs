//! What is asked of others than the user's own systems: a registry, GitHub.

use crate::{BINARY, CONFIG, check, good, in_deployment};
use kit_contract::Sha256;
use kit_testing::Sandbox;
use kit_testing::http::{Reply, Server};
use serde_json::json;

const MANIFEST: &str = r#"{"schemaVersion": 2}"#;

/// In GitHub Actions, whose disk dies with the job; this store does not.
fn hosted() -> Sandbox {
    good().github_actions().file("deploy.toml", &format!("{CONFIG}[store]\npersistent = true\n"))
}

fn asked(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let ran = sandbox.run(BINARY, args);
    // The runner hides what it is told to hide.
    let shown = |line: &&str| !line.starts_with("::add-mask::");
    let printed: String = ran.printed().lines().filter(shown).map(|line| format!("{line}\n")).collect();
    assert!(!printed.contains("hunter2"), "{printed}");
    (ran.code, sandbox.artifact_json("preflight"), printed)
}

#[test]
fn an_image_that_was_built_before_is_found_by_its_digest() {
    let server = Server::start()
        .expect("GET", "/v2/azora/shop/manifests/v2.0.0", Reply::new(200, MANIFEST))
        .expect("GET", "/v2/azora/jobs/manifests/2.0.0", Reply::new(200, MANIFEST));
    let host = server.url("").replace("http://", "");
    let (shop, jobs) = (format!("{host}/azora/shop:{{tag}}"), format!("{host}/azora/jobs:{{version}}"));
    let sandbox = in_deployment(hosted());
    let (code, artifact, printed) = asked(&sandbox, &["--image", &shop, "--image", &jobs]);
    assert_eq!(code, Some(0), "{printed}");
    let digest = format!("sha256:{}", Sha256::of(MANIFEST.as_bytes()));
    assert_eq!(
        artifact["body"]["images"],
        json!([
            {"image": format!("{host}/azora/shop:v2.0.0"), "digest": digest},
            {"image": format!("{host}/azora/jobs:2.0.0"), "digest": digest},
        ])
    );
    assert_eq!(sandbox.outputs()["image-digests"], format!("{digest}\n{digest}"));
}

#[test]
fn a_registry_is_asked_as_it_wants_to_be() {
    let challenge = "Bearer realm=\"{realm}\",service=\"here\"";
    let server = Server::start().expect(
        "GET",
        "/token?scope=repository%3Ashop%3Apull&service=here",
        Reply::json(200, &json!({"token": "abc"})),
    );
    let realm = challenge.replace("{realm}", &server.url("/token"));
    let server = server
        .expect("GET", "/v2/shop/manifests/1", Reply::new(401, "").header("www-authenticate", &realm))
        .expect("GET", "/v2/shop/manifests/1", Reply::new(200, MANIFEST));
    let image = server.url("/shop:1").replace("http://", "");
    let sandbox = good().env("DEPLOY_KIT_REGISTRY_PASSWORD", "hunter2hunter2");
    let (code, artifact, printed) = asked(&sandbox, &["--image", &image, "--registry-username", "ada"]);
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(check(&artifact, "image_present:1").0, "pass");
    let sent: Vec<_> =
        server.requests().into_iter().map(|request| request.headers.get("authorization").cloned()).collect();
    // base64 of ada:hunter2hunter2
    let login = "Basic YWRhOmh1bnRlcjJodW50ZXIy".to_owned();
    assert_eq!(sent, [None, Some(login), Some("Bearer abc".to_owned())]);
}

#[test]
fn an_image_that_is_not_there_stops_the_deploy_and_an_unknown_one_is_not_there_either() {
    for (status, code, outcome, said) in [
        (404, 10, "fail", "is not in its registry"),
        (500, 11, "unavailable", "answered 500"),
        (403, 11, "unavailable", "answered 403"),
    ] {
        let server = Server::start().expect("GET", "/v2/shop/manifests/1", Reply::new(status, ""));
        let image = server.url("/shop:1").replace("http://", "");
        let (ended, artifact, printed) = asked(&good(), &["--image", &image]);
        let (seen, message) = check(&artifact, "image_present:1");
        assert_eq!((ended, seen.as_str()), (Some(code), outcome), "{printed}");
        assert!(message.contains(said), "{message}");
    }
    let (ended, artifact, printed) = asked(&good(), &["--image", "https://ghcr.io/azora/shop"]);
    assert_eq!((ended, check(&artifact, "image_present:1").0.as_str()), (Some(10), "fail"), "{printed}");
}

/// In GitHub Actions, with this answer to who has to review.
fn reviewed(status: u16, rules: &serde_json::Value) -> (Sandbox, Server) {
    let reply = Reply::json(status, &json!({"name": "production", "protection_rules": rules}));
    let server = Server::start().expect("GET", "/repos/octo/shop/environments/production", reply);
    let sandbox = hosted()
        .env("GITHUB_API_URL", server.url(""))
        .env("GITHUB_REPOSITORY", "octo/shop")
        .env("GITHUB_TOKEN", "hunter2hunter2");
    (sandbox, server)
}

#[test]
fn reviewers_on_the_working_environment_are_refused() {
    let (sandbox, server) = reviewed(200, &json!([{"type": "required_reviewers", "reviewers": []}]));
    let (code, artifact, printed) = asked(&sandbox, &[]);
    assert_eq!((code, check(&artifact, "no_reviewers").0.as_str()), (Some(10), "fail"), "{printed}");
    assert!(printed.contains("::error") && printed.contains("has reviewers"), "{printed}");
    assert!(printed.contains("production-approval"), "{printed}");
    assert_eq!(server.requests()[0].headers["authorization"], "Bearer hunter2hunter2");
}

#[test]
fn who_cannot_ask_for_reviewers_warns_and_goes_on() {
    let (sandbox, _server) = reviewed(403, &json!([]));
    let (code, artifact, printed) = asked(&sandbox, &["--retention-days", "365"]);
    assert_eq!((code, check(&artifact, "no_reviewers").0.as_str()), (Some(0), "warn"), "{printed}");
    assert!(printed.contains("::warning") && printed.contains("it is not known"), "{printed}");
    let sandbox = hosted().env("GITHUB_RETENTION_DAYS", "90");
    let (code, artifact, printed) = asked(&sandbox, &["--retention-days", "365"]);
    assert_eq!((code, check(&artifact, "artifacts_kept").0.as_str()), (Some(0), "warn"), "{printed}");
    assert!(printed.contains("for 90 days, not for 365"), "{printed}");
    let (sandbox, _server) = reviewed(200, &json!([{"type": "branch_policy"}]));
    assert_eq!(check(&asked(&sandbox, &[]).1, "no_reviewers").0, "pass");
}
