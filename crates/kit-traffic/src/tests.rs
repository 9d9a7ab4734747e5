//! Settling, switching and withdrawing, against a router that does what the test scripted.

use crate::{Router, Service, Shortfall, TrafficError, Want, settle, switch, withdraw};
use async_trait::async_trait;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Cause, Context, Env};
use std::sync::Mutex;
use std::time::Duration;

/// Answers looks from a script; the last line of it holds for ever.
struct Scripted {
    looks: Mutex<Vec<Result<f64, &'static str>>>,
    refuses: bool,
    told: Mutex<u32>,
}

fn scripted(looks: &[Result<f64, &'static str>]) -> Scripted {
    Scripted { looks: Mutex::new(looks.to_vec()), refuses: false, told: Mutex::new(0) }
}

fn refusal(problem: &str) -> TrafficError {
    TrafficError::Answer { program: "router".into(), problem: problem.into() }
}

fn service(canary_percent: f64) -> Service {
    Service {
        name: "api".parse().unwrap(),
        canary_percent,
        stable_version: Some(if canary_percent > 0.0 { "1.0.0" } else { "2.0.0" }.into()),
        stable_healthy: Some(true),
        canary_version: Some("2.0.0".into()),
        canary_healthy: None,
    }
}

impl Scripted {
    /// Says yes and claims that all is as it was asked, as a router may that never looks.
    fn tell(&self, claimed: f64) -> Result<Vec<Service>, TrafficError> {
        *self.told.lock().unwrap() += 1;
        if self.refuses { Err(refusal("it refused: no")) } else { Ok(vec![service(claimed)]) }
    }
}

#[async_trait]
impl Router for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    async fn observe(&self, _: &Context, _: &DeploymentId, _: &[Name]) -> Result<Vec<Service>, TrafficError> {
        let mut looks = self.looks.lock().unwrap();
        let look = if looks.len() > 1 { looks.remove(0) } else { looks[0] };
        look.map(|percent| vec![service(percent)]).map_err(refusal)
    }
    async fn shift(
        &self,
        _: &Context,
        _: &DeploymentId,
        wants: &[Want],
    ) -> Result<Vec<Service>, TrafficError> {
        self.tell(wants[0].canary_percent)
    }
    async fn abort(&self, _: &Context, _: &DeploymentId, _: &[Name]) -> Result<Vec<Service>, TrafficError> {
        self.tell(0.0)
    }
    async fn switch(
        &self,
        _: &Context,
        _: &DeploymentId,
        _: &[(Name, String)],
    ) -> Result<Vec<Service>, TrafficError> {
        self.tell(0.0)
    }
}

const LIMIT: Duration = Duration::from_secs(5);

fn id() -> DeploymentId {
    "deploy-1".parse().unwrap()
}

fn api() -> Vec<Name> {
    vec!["api".parse().unwrap()]
}

fn want(canary_percent: f64) -> Vec<Want> {
    vec![Want { service: "api".parse().unwrap(), canary_percent, version: None }]
}

#[tokio::test(start_paused = true)]
async fn settling_takes_the_last_look_and_nothing_else() {
    let (cx, _) = Context::for_test(Env::default());
    type Looks = &'static [Result<f64, &'static str>];
    let cases: [(Looks, Option<bool>); 5] = [
        (&[Ok(5.0)], Some(true)),
        (&[Ok(0.0), Err("busy"), Ok(5.0)], Some(true)),
        (&[Ok(0.0)], Some(false)),
        (&[Ok(0.0), Err("gone")], None),
        (&[Err("gone")], None),
    ];
    for (looks, expected) in cases {
        let seen = settle(&scripted(looks), &cx, &id(), &want(5.0), 0.5, LIMIT).await;
        assert_eq!(seen.ok().map(|seen| seen.missing.is_empty()), expected, "{looks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_settles_no_further() {
    let (cx, _) = Context::for_test(Env::default());
    cx.cancel.cancel(Cause::Interrupted);
    let seen = settle(&scripted(&[Ok(0.0), Ok(5.0)]), &cx, &id(), &want(5.0), 0.5, LIMIT).await.unwrap();
    assert_eq!(seen.why(), "api: 5 % asked for, 0 % observed");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_tried_until_it_is_observed() {
    let (cx, captured) = Context::for_test(Env::default());
    cx.cancel.cancel(Cause::Terminated);
    let router = scripted(&[Ok(5.0), Err("busy"), Ok(5.0), Ok(0.0)]);
    let seen = withdraw(&router, &cx, &id(), &api(), LIMIT).await.unwrap();
    assert_eq!(seen[0].canary_percent, 0.0);
    assert_eq!(*router.told.lock().unwrap(), 4);
    assert_eq!(captured.stderr().matches("not withdrawn yet").count(), 1, "said once");

    let refusing = Scripted { refuses: true, ..scripted(&[Ok(0.0)]) };
    assert!(withdraw(&refusing, &cx, &id(), &api(), LIMIT).await.is_ok(), "what is observed counts");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_is_not_observed_is_stuck_and_says_what_was_seen() {
    let (cx, _) = Context::for_test(Env::default());
    for (looks, refuses, expected) in [
        (&[Ok(0.4)], true, "api: 0 % asked for, 0.4 % observed; the traffic driver \"router\" gave"),
        (&[Err("gone")], false, "makes no sense: gone"),
    ] {
        let router = Scripted { refuses, ..scripted(looks) };
        let error = withdraw(&router, &cx, &id(), &api(), LIMIT).await.unwrap_err();
        assert_eq!((error.reason, error.reason.exit_code()), (Reason::WithdrawFailed, 30));
        assert!(error.chain().contains(expected), "{}", error.chain());
        assert!(error.hints[0].contains("by hand"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_what_is_observed_after_it() {
    let (cx, _) = Context::for_test(Env::default());
    let targets = [("api".parse().unwrap(), "2.0.0".to_owned())];
    let lying = scripted(&[Ok(100.0)]);
    let seen = switch(&lying, &cx, &id(), &targets, LIMIT).await.unwrap();
    assert!(matches!(seen.missing[..], [Shortfall::NotStable { .. }]), "{}", seen.why());
    let late = scripted(&[Ok(100.0), Err("busy"), Ok(0.0)]);
    assert!(switch(&late, &cx, &id(), &targets, LIMIT).await.unwrap().missing.is_empty());
    let refusing = Scripted { refuses: true, ..scripted(&[Ok(100.0), Ok(0.0)]) };
    let seen = switch(&refusing, &cx, &id(), &targets, LIMIT).await.unwrap();
    assert!(seen.why().ends_with("it refused: no"), "{}", seen.why());
    let silent = Scripted { refuses: true, ..scripted(&[Err("gone")]) };
    let error = switch(&silent, &cx, &id(), &targets, LIMIT).await.unwrap_err();
    assert!(error.chain().ends_with("it refused: no"), "{}", error.chain());
}
