//! The plan, row by row.

use super::*;
use crate::known::History;
use kit_contract::chain::OpenDeploy;

fn id(text: &str) -> DeploymentId {
    text.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn service(stable: Option<&str>, percent: f64) -> Service {
    Service {
        name: "api".parse().unwrap(),
        canary_percent: percent,
        stable_version: stable.map(str::to_owned),
        stable_healthy: Some(true),
        canary_version: Some("2.0.0".into()),
        canary_healthy: Some(true),
    }
}

fn good(deployment: &str, version: &str) -> GoodVersion {
    GoodVersion {
        deployment_id: id(deployment),
        version: version.into(),
        services: Vec::new(),
        since: at(0),
        rollback_deadline: Some(at(3600)),
    }
}

/// These served, the last still does; this is being deployed.
fn known(good_ones: &[(&str, &str)], open: Option<(&str, &str)>, service: Service) -> Known {
    let all = good_ones.iter().chain(&open);
    let newest = all.clone().last().map(|(deployment, _)| id(deployment));
    let versions = all.map(|(deployment, version)| (id(deployment), (*version).to_owned())).collect();
    let state = State {
        good: good_ones.iter().map(|(deployment, version)| good(deployment, version)).collect(),
        open: open.map(|(deployment, version)| OpenDeploy {
            deployment_id: id(deployment),
            version: version.into(),
            services: Vec::new(),
            begun_at: at(0),
        }),
        ..State::default()
    };
    let history = Some(History { state, versions, newest });
    Known { history, services: Some(vec![service]), lock: LockSeen::Free, ..Known::default() }
}

/// 1.0.0 serves; 2.0.0 is being deployed.
fn half_way(percent: f64) -> Known {
    known(&[("deploy-1", "1.0.0")], Some(("deploy-2", "2.0.0")), service(Some("1.0.0"), percent))
}

/// 2.0.0 serves; 1.0.0 was before it.
fn promoted() -> Known {
    known(&[("deploy-1", "1.0.0"), ("deploy-2", "2.0.0")], None, service(Some("2.0.0"), 0.0))
}

fn api(version: &str) -> Vec<(Name, String)> {
    vec![("api".parse().unwrap(), version.to_owned())]
}

fn refused(known: &Known, now: i64) -> Reason {
    plan(known, at(now)).unwrap_err().reason
}

#[test]
fn a_dead_deploy_is_withdrawn_whatever_stands_against_it() {
    for lock in [LockSeen::Held(id("deploy-9")), LockSeen::Unreadable, LockSeen::NotAsked] {
        let known = Known { lock, schema: Schema::Unknown, ..half_way(50.0) };
        let plan = plan(&known, at(999_999)).unwrap();
        assert_eq!(plan.subject.id, id("deploy-2"));
        assert_eq!(plan.withdraw.len(), 1);
        assert!(plan.switch_back.is_empty());
        assert!(plan.close && !plan.mark_bad, "nobody has seen that it is bad");
        assert!(!plan.release, "the lock is not its own");
    }
}

#[test]
fn a_deploy_that_died_before_any_traffic_is_only_closed() {
    let known = Known { lock: LockSeen::Expired(id("deploy-2")), ..half_way(0.0) };
    let plan = plan(&known, at(0)).unwrap();
    assert!(plan.withdraw.is_empty() && plan.switch_back.is_empty());
    assert!(plan.close && plan.release && !plan.is_empty());
}

#[test]
fn a_promoted_release_is_switched_back_and_marked() {
    let plan = plan(&promoted(), at(10)).unwrap();
    assert_eq!(plan.subject, Subject { id: id("deploy-2"), version: Some("2.0.0".into()) });
    assert_eq!(plan.target, Some(id("deploy-1")));
    assert_eq!(plan.switch_back, api("1.0.0"));
    assert!(plan.close && plan.mark_bad && plan.passed_over.is_empty());
}

#[test]
fn a_router_that_knows_no_versions_is_asked_to_switch_what_the_chain_says() {
    let known = Known { services: Some(vec![service(None, 0.0)]), ..promoted() };
    assert_eq!(plan(&known, at(10)).unwrap().switch_back, api("1.0.0"));
    let known = Known { services: Some(vec![service(None, 5.0)]), ..half_way(5.0) };
    assert!(plan(&known, at(10)).unwrap().switch_back.is_empty());
}

#[test]
fn a_deploy_that_died_after_promotion_is_switched_back_too() {
    let known = Known { services: Some(vec![service(Some("2.0.0"), 0.0)]), ..half_way(0.0) };
    let plan = plan(&known, at(10)).unwrap();
    assert_eq!(plan.switch_back, api("1.0.0"));
    assert!(plan.close && !plan.mark_bad);
}

#[test]
fn the_guards_before_switching_back() {
    let ahead = || Schema::Ahead;
    assert_eq!(refused(&promoted(), 3601), Reason::WindowExpired);
    assert_eq!(refused(&Known { schema: ahead(), ..promoted() }, 0), Reason::SchemaAhead);
    assert_eq!(refused(&Known { schema: Schema::Unknown, ..promoted() }, 0), Reason::SchemaAhead);
    let held = LockSeen::Held(id("deploy-9"));
    assert_eq!(refused(&Known { lock: held.clone(), ..promoted() }, 0), Reason::LockHeld);
    assert_eq!(refused(&Known { lock: LockSeen::Unreadable, ..promoted() }, 0), Reason::LockHeld);

    let free = |known: Known| assert!(plan(&known, at(0)).is_ok());
    free(Known { lock: LockSeen::Held(id("deploy-2")), ..promoted() });
    free(Known { lock: LockSeen::Expired(id("deploy-9")), ..promoted() });
    free(Known { lock: LockSeen::NotAsked, ..promoted() });
    free(Known { schema: ahead(), accept_schema_ahead: true, ..promoted() });

    let forced = Known { force: true, lock: held, ..promoted() };
    assert!(plan(&forced, at(9999)).is_ok());
    assert_eq!(refused(&Known { schema: ahead(), ..forced }, 0), Reason::SchemaAhead, "not for the schema");
}

#[test]
fn the_first_deployment_has_nothing_to_return_to() {
    let first = known(&[("deploy-2", "2.0.0")], None, service(Some("2.0.0"), 0.0));
    assert_eq!(refused(&first, 0), Reason::NoTarget);
    let before = vec![("api".parse().unwrap(), "2.0.0".to_owned())];
    assert_eq!(refused(&Known { before, ..first }, 0), Reason::NoTarget, "the same version is no way back");
}

#[test]
fn what_nobody_knows_is_not_nothing() {
    assert_eq!(refused(&Known::default(), 0), Reason::StoreUnreachable);
    let empty = Known { history: Some(History::default()), ..Known::default() };
    assert_eq!(refused(&empty, 0), Reason::NothingToUndo);
    let asked = Some(id("deploy-2"));
    let blind =
        Known { asked: asked.clone(), services: Some(vec![service(Some("2.0.0"), 0.0)]), ..Known::default() };
    assert_eq!(refused(&blind, 0), Reason::StoreUnreachable, "it may have been promoted");
    assert_eq!(refused(&Known { asked, ..empty }, 0), Reason::UsageError);
    let driverless = Known { services: None, ..promoted() };
    assert_eq!(refused(&driverless, 0), Reason::ConfigInvalid, "nothing here can switch it back");
}

#[test]
fn without_the_store_the_artifacts_say_what_was_before() {
    let known = Known {
        local: Some((id("deploy-2"), Some("2.0.0".into()))),
        before: api("1.0.0"),
        services: Some(vec![service(Some("2.0.0"), 0.0)]),
        ..Known::default()
    };
    let plan = plan(&known, at(0)).unwrap();
    assert_eq!(plan.switch_back, api("1.0.0"));
    assert!(plan.close, "the chain has to be told once it can be");
}

#[test]
fn a_run_that_died_before_it_began_never_undoes_the_release_that_serves() {
    let known = Known { local: Some((id("deploy-3"), None)), ..promoted() };
    let plan = plan(&known, at(0)).unwrap();
    assert_eq!(plan.subject.id, id("deploy-3"));
    assert!(plan.is_empty());
}

#[test]
fn nor_the_deploy_that_runs() {
    let known = Known { local: Some((id("deploy-3"), None)), ..half_way(50.0) };
    assert_eq!(refused(&known, 0), Reason::UsageError);
    let named = Known { asked: Some(id("deploy-3")), ..known };
    assert!(!plan(&named, at(0)).unwrap().close);
}

#[test]
fn a_canary_beside_the_release_leaves_the_release_alone() {
    let known = Known { services: Some(vec![service(Some("2.0.0"), 5.0)]), ..promoted() };
    assert_eq!(refused(&known, 0), Reason::Withdrawn);
    let named = Known { asked: Some(id("deploy-2")), ..known };
    let plan = plan(&named, at(0)).unwrap();
    assert_eq!((plan.withdraw.len(), plan.switch_back), (1, api("1.0.0")));
}

/// A second `rollback`, or one after a deploy that failed by itself, must not undo the release before.
#[test]
fn the_release_before_is_only_undone_if_it_is_named() {
    let mut known = known(&[("deploy-0", "0.9.0"), ("deploy-1", "1.0.0")], None, service(Some("1.0.0"), 0.0));
    let history = known.history.as_mut().unwrap();
    history.versions.insert(id("deploy-2"), "2.0.0".into());
    history.newest = Some(id("deploy-2"));
    let drawn = plan(&known, at(0)).unwrap();
    assert_eq!(drawn.subject.id, id("deploy-2"));
    assert!(drawn.is_empty());
    known.asked = Some(id("deploy-1"));
    assert_eq!(plan(&known, at(0)).unwrap().switch_back, api("0.9.0"));
}

#[test]
fn a_release_that_no_longer_serves_is_not_undone_again() {
    let mut known = known(
        &[("deploy-1", "1.0.0"), ("deploy-2", "2.0.0"), ("deploy-3", "3.0.0")],
        None,
        service(Some("3.0.0"), 0.0),
    );
    known.asked = Some(id("deploy-2"));
    assert!(plan(&known, at(0)).unwrap().is_empty());
}

#[test]
fn a_bad_version_is_never_the_target_and_does_not_serve_afterwards() {
    let mut known = known(
        &[("deploy-1", "1.0.0"), ("deploy-x", "1.5.0"), ("deploy-2", "2.0.0")],
        None,
        service(Some("2.0.0"), 0.0),
    );
    known.history.as_mut().unwrap().state.bad_versions.insert("1.5.0".into(), "slow".into());
    let plan = plan(&known, at(0)).unwrap();
    assert_eq!((plan.target, plan.passed_over), (Some(id("deploy-1")), vec![id("deploy-x")]));
}

#[test]
fn what_was_switched_back_while_the_store_was_away_is_told_later() {
    let known = Known { services: Some(vec![service(Some("1.0.0"), 0.0)]), ..promoted() };
    let plan = plan(&known, at(999_999)).unwrap();
    assert!(plan.switch_back.is_empty() && plan.close && plan.mark_bad);
    assert_eq!(plan.target, Some(id("deploy-1")));
}

#[test]
fn a_redeploy_of_the_version_that_serves_is_only_withdrawn() {
    let known = known(
        &[("deploy-0", "1.0.0"), ("deploy-1", "2.0.0")],
        Some(("deploy-2", "2.0.0")),
        service(Some("2.0.0"), 5.0),
    );
    let plan = plan(&known, at(0)).unwrap();
    assert!(plan.switch_back.is_empty());
    assert_eq!(plan.withdraw.len(), 1);
}

#[test]
fn a_redeploy_of_an_older_version_that_was_promoted_is_switched_back() {
    let known = known(
        &[("deploy-0", "1.0.0"), ("deploy-1", "2.0.0")],
        Some(("deploy-2", "1.0.0")),
        service(Some("1.0.0"), 0.0),
    );
    assert_eq!(plan(&known, at(0)).unwrap().switch_back, api("2.0.0"));
}

#[test]
fn every_service_returns_to_its_own_version() {
    let mut known = promoted();
    let good = &mut known.history.as_mut().unwrap().state.good[0];
    good.services =
        vec![ServiceVersion { name: "api".parse().unwrap(), version: "1.0.0-api".into(), digest: None }];
    assert_eq!(plan(&known, at(0)).unwrap().switch_back, api("1.0.0-api"));
}
