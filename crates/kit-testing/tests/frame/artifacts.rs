//! Whose artifacts are taken, and which are refused.

use crate::{ARTIFACT, REHEARSE, digest, released, step};
use kit_contract::{Reason, body::Smoke};
use kit_testing::{Ran, Sandbox};

const ID: &str = "deploy-0001";

/// Runs the second stage, which rests on the first; gives the artifact's reason, too.
fn second(sandbox: &Sandbox, args: &[&str]) -> (Ran, Reason) {
    let args =
        [&["--do", "ok", "--stage", "two", "--reads", "smoke-one", "--marker", "marker"], args].concat();
    let ran = sandbox.run(REHEARSE, &args);
    crate::valid::<Smoke>(sandbox, "smoke-two");
    let artifact = sandbox.artifact::<Smoke>("smoke-two");
    assert_eq!(ran.code, Some(i32::from(artifact.reason.exit_code())));
    (ran, artifact.reason)
}

fn first(sandbox: Sandbox) -> Sandbox {
    step(&sandbox, &["--do", "ok", "--deployment-id", ID], Reason::SmokePassed);
    sandbox
}

#[test]
fn alone_and_joined() {
    let (_, alone) = step(&Sandbox::new(), &["--do", "ok"], Reason::SmokePassed);
    assert!(alone.standalone && alone.deployment_id.is_standalone(), "{}", alone.deployment_id);

    let (_, given) = step(&Sandbox::new(), &["--do", "ok", "--deployment-id", ID], Reason::SmokePassed);
    assert_eq!((given.standalone, given.deployment_id.as_str()), (false, ID));
    let sandbox = Sandbox::new().env("DEPLOY_KIT_DEPLOYMENT_ID", ID);
    assert_eq!(step(&sandbox, &["--do", "ok"], Reason::SmokePassed).1.deployment_id.as_str(), ID);

    let (sandbox, id) = released(Sandbox::new());
    let (_, joined) = step(&sandbox, &["--do", "ok"], Reason::SmokePassed);
    assert_eq!((joined.standalone, joined.deployment_id.as_str()), (false, id.as_str()));
    // A usage error belongs to the deployment too.
    let (_, wrong) = step(&sandbox, &["--do", "ok", "--sped"], Reason::UsageError);
    assert_eq!((wrong.deployment_id.as_str(), wrong.attempt), (id.as_str(), 2));
}

#[test]
fn making_a_deployment_again_adopts_its_id() {
    let (sandbox, id) = released(Sandbox::new());
    let (_, again) = released(sandbox);
    assert_eq!(again, id);
}

#[test]
fn an_artifact_of_this_deployment_is_evidence() {
    let sandbox = first(Sandbox::new());
    let (_, reason) = second(&sandbox, &["--deployment-id", ID]);
    assert_eq!(reason, Reason::SmokePassed);
    let artifact = sandbox.artifact::<Smoke>("smoke-two");
    assert_eq!(artifact.evidence[0].artifact, "smoke-one");
    assert_eq!(artifact.evidence[0].sha256.as_str(), digest(&sandbox, ARTIFACT));
    assert!(artifact.unanchored, "nobody outside vouched for it");

    let vouched = format!("smoke-one:{}", digest(&sandbox, ARTIFACT));
    second(&sandbox, &["--deployment-id", ID, "--expect", &vouched]);
    assert!(!sandbox.artifact::<Smoke>("smoke-two").unanchored);
}

#[test]
fn missing_or_bad_artifacts_are_refused() {
    assert_eq!(second(&Sandbox::new(), &["--deployment-id", ID]).1, Reason::ArtifactMissing);

    let sandbox = first(Sandbox::new());
    let whole = sandbox.read(ARTIFACT);
    for cut in [0, 1, whole.len() / 2, whole.len() - 3] {
        sandbox.write(ARTIFACT, &whole[..cut]);
        assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::ArtifactInvalid, "cut at {cut}");
    }
    sandbox.write(ARTIFACT, whole.replace("deploy-kit/smoke/v1", "deploy-kit/gate/v1"));
    assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::ArtifactInvalid);

    let sandbox = Sandbox::new();
    step(&sandbox, &["--do", "verdict", "--deployment-id", ID], Reason::SmokeFailed);
    let (ran, reason) = second(&sandbox, &["--deployment-id", ID]);
    assert_eq!(reason, Reason::ArtifactNotGo);
    assert!(ran.stderr.contains("1 of 3 checks failed"), "{}", ran.stderr);
}

/// A result that says success beside a reason that does not is not green.
#[test]
fn a_forged_result_is_not_green() {
    let sandbox = Sandbox::new();
    step(&sandbox, &["--do", "verdict", "--deployment-id", ID], Reason::SmokeFailed);
    let forged = sandbox.read(ARTIFACT).replace("\"result\": \"failure\"", "\"result\": \"success\"");
    sandbox.write(ARTIFACT, forged);
    assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::ArtifactNotGo);
}

#[test]
fn foreign_artifacts_are_refused() {
    let sandbox = first(Sandbox::new());
    let (ran, reason) = second(&sandbox, &["--deployment-id", "deploy-0002"]);
    assert_eq!((ran.code, reason), (Some(3), Reason::ArtifactForeign));
    assert!(ran.stderr.contains(ID) && ran.stderr.contains("deploy-0002"), "{}", ran.stderr);

    let sandbox = first(Sandbox::new()).file("deploy.toml", "app = \"blog\"\n");
    assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::ArtifactForeign);

    let sandbox = first(Sandbox::new());
    assert_eq!(
        second(&sandbox, &["--deployment-id", ID, "--environment", "staging"]).1,
        Reason::ArtifactForeign
    );

    // A folder that belongs to another deployment altogether.
    let (sandbox, _) = released(Sandbox::new());
    for args in [["--deployment-id", "deploy-0002"], ["--environment", "staging"]] {
        let (_, artifact) = step(
            &sandbox,
            &[&["--do", "ok", "--marker", "marker"], args.as_slice()].concat(),
            Reason::ArtifactForeign,
        );
        assert!(artifact.standalone, "it is no part of that deployment");
    }
    sandbox.write("deploy.toml", "app = \"blog\"\n");
    step(&sandbox, &["--do", "ok", "--marker", "marker"], Reason::ArtifactForeign);
    assert!(!sandbox.has("marker"));
}

#[test]
fn a_broken_deployment_is_not_a_missing_one() {
    let (sandbox, _) = released(Sandbox::new());
    let path = ".deploy-kit/artifacts/deployment.json";
    let half = sandbox.read(path).chars().take(300).collect::<String>();
    sandbox.write(path, half);
    let (_, artifact) = step(&sandbox, &["--do", "ok", "--marker", "marker"], Reason::ArtifactInvalid);
    assert!(artifact.standalone && !sandbox.has("marker"));
}

#[test]
fn tampering_shows_by_the_digest_from_outside() {
    let sandbox = first(Sandbox::new());
    let expect = format!("smoke-one:{}", digest(&sandbox, ARTIFACT));
    sandbox.write(ARTIFACT, sandbox.read(ARTIFACT).replace("all is well", "all is fine"));
    let (ran, reason) = second(&sandbox, &["--deployment-id", ID, "--expect", &expect]);
    assert_eq!((ran.code, reason), (Some(3), Reason::ArtifactTampered));
    let sandbox = sandbox.env("DEPLOY_KIT_EXPECT", format!("backup:{}\n{expect}\n", "0".repeat(64)));
    assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::ArtifactTampered);
}

#[test]
fn tampering_shows_by_what_rests_on_it() {
    let sandbox = first(Sandbox::new());
    assert_eq!(second(&sandbox, &["--deployment-id", ID]).1, Reason::SmokePassed);
    let third = |sandbox: &Sandbox| {
        let args = ["--do", "ok", "--stage", "three", "--deployment-id", ID, "--reads", "smoke-two"];
        sandbox.run(REHEARSE, &args);
        sandbox.artifact::<Smoke>("smoke-three").reason
    };
    assert_eq!(third(&sandbox), Reason::SmokePassed);
    // Run again since: what stage two read lies in the history.
    step(&sandbox, &["--do", "ok", "--deployment-id", ID], Reason::SmokePassed);
    assert_eq!(third(&sandbox), Reason::SmokePassed);
    let history = ".deploy-kit/artifacts/history/smoke-one.1.json";
    sandbox.write(history, sandbox.read(history).replace("all is well", "all is fine"));
    assert_eq!(third(&sandbox), Reason::ArtifactTampered);
}

/// What somebody outside vouched for must be there.
#[test]
fn an_optional_artifact_that_was_vouched_for_may_not_vanish() {
    let sandbox = first(Sandbox::new());
    let expect = format!("smoke-one:{}", digest(&sandbox, ARTIFACT));
    std::fs::remove_file(sandbox.path().join(ARTIFACT)).unwrap();
    let args = ["--do", "ok", "--stage", "two", "--deployment-id", ID, "--glances", "smoke-one"];
    assert_eq!(sandbox.run(REHEARSE, &args).code, Some(0), "it need not be there");
    let ran = sandbox.run(REHEARSE, &[&args, ["--expect", expect.as_str()].as_slice()].concat());
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert_eq!(sandbox.artifact::<Smoke>("smoke-two").reason, Reason::ArtifactMissing);
}

/// History is never written over, also where attempts are counted anew.
#[test]
fn history_keeps_everything() {
    let sandbox = Sandbox::new();
    for id in ["deploy-0001", "deploy-0002", "deploy-0001", "deploy-0002"] {
        step(&sandbox, &["--do", "ok", "--deployment-id", id], Reason::SmokePassed);
    }
    let history = sandbox.files().into_iter().filter(|file| file.contains("history")).count();
    assert_eq!(history, 3, "{:?}", sandbox.files());
}
