use super::shop::Shop;
use serde_json::{Value, json};

fn observed(name: &str, percent: u8, stable: &str, canary: Option<&str>) -> Value {
    json!({ "name": name, "canary_percent": percent, "stable_version": stable, "stable_healthy": true,
        "canary_version": canary, "canary_healthy": canary.map(|_| true) })
}

fn both(percent: u8, stable: &str, canary: Option<&str>) -> Value {
    json!([observed("catalog", percent, stable, canary), observed("checkout", percent, stable, canary)])
}

fn asked(percent: f64) -> Value {
    json!([{ "name": "catalog", "canary_percent": percent, "version": "2.0.0" },
        { "name": "checkout", "canary_percent": percent, "version": "2.0.0" }])
}

#[tokio::test]
async fn a_release_is_shifted_promoted_and_rolled_back() {
    let shop = Shop::with_canary().await;
    let names = json!([{ "name": "catalog" }, { "name": "checkout" }]);
    let to = |version: &str| json!([{ "name": "catalog", "version": version }, { "name": "checkout", "version": version }]);
    let canary = Some("2.0.0");
    for (action, services, expected) in [
        ("observe", names.clone(), both(0, "1.4.0", canary)),
        ("shift", asked(5.0), both(5, "1.4.0", canary)),
        ("observe", json!([]), both(5, "1.4.0", canary)),
        ("shift", asked(100.0), both(100, "1.4.0", canary)),
        ("abort", names.clone(), both(0, "1.4.0", canary)),
        ("shift", asked(100.0), both(100, "1.4.0", canary)),
        ("switch", to("2.0.0"), both(0, "2.0.0", None)),
        ("current", names.clone(), both(0, "2.0.0", None)),
        ("switch", to("1.4.0"), both(0, "1.4.0", None)),
        ("switch", to("1.4.0"), both(0, "1.4.0", None)),
    ] {
        let (code, answer) = shop.drive(action, services);
        assert_eq!((code, &answer["services"]), (0, &expected), "{action}: {answer}");
    }
    assert_eq!(shop.visit("/catalog/health").await.body["version"], "1.4.0");
}

#[tokio::test]
async fn abort_works_from_a_half_state_and_past_what_is_unknown() {
    let shop = Shop::with_canary().await;
    let half = json!({ "catalog": { "canary_percent": 50 }, "checkout": { "canary_percent": 5 } });
    assert_eq!(shop.put("/services", half.clone()).await.status, 200);
    let (code, answer) = shop.drive("abort", json!([{ "name": "checkout" }, { "name": "catalog" }]));
    assert_eq!(code, 0);
    let named = json!([
        observed("checkout", 0, "1.4.0", Some("2.0.0")),
        observed("catalog", 0, "1.4.0", Some("2.0.0"))
    ]);
    assert_eq!(answer["services"], named);

    assert_eq!(shop.put("/services", half).await.status, 200);
    let (code, answer) = shop.drive("abort", json!([{ "name": "cellar" }, { "name": "catalog" }]));
    assert_eq!(code, 1);
    assert!(answer["error"].as_str().unwrap().contains("cellar"), "{answer}");
    assert_eq!(shop.state("catalog").await["canary_percent"], 0);
    assert_eq!(shop.state("checkout").await["canary_percent"], 5, "it was not named");
}

#[tokio::test]
async fn what_cannot_be_done_is_an_error_and_changes_nothing() {
    let shop = Shop::with_canary().await;
    for (action, services, reason) in [
        ("shift", json!([]), "no services"),
        ("shift", asked(2.5), "whole numbers"),
        ("shift", asked(101.0), "whole numbers"),
        ("shift", json!([{ "name": "catalog" }]), "canary_percent of \"catalog\" is missing"),
        (
            "shift",
            json!([{ "name": "catalog", "canary_percent": 5, "version": "3.0.0" }]),
            "is 2.0.0, not 3.0.0",
        ),
        (
            "shift",
            json!([{ "name": "catalog", "canary_percent": 5 }, { "name": "cellar", "canary_percent": 5 }]),
            "no service \"cellar\"",
        ),
        ("switch", json!([{ "name": "catalog" }]), "version of \"catalog\" is missing"),
        (
            "switch",
            json!([{ "name": "catalog", "version": "2.0.0" }, { "name": "checkout", "version": "9.0.0" }]),
            "checkout 9.0.0 was not started",
        ),
        ("promote", json!([{ "name": "catalog" }]), "understand the request"),
        ("observe", json!([{ "name": "cellar" }]), "no service \"cellar\""),
    ] {
        let (code, answer) = shop.drive(action, services);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(code == 1 && error.contains(reason), "{action}: {answer}");
        let (_, now) = shop.drive("observe", json!([]));
        assert_eq!(now["services"], both(0, "1.4.0", Some("2.0.0")), "{action}");
    }
    for request in ["", "{", r#"{"schema": "deploy-kit/traffic/v9", "action": "observe", "services": []}"#] {
        let (code, answer) = shop.drive_text(request);
        assert!(code == 1 && answer["error"].is_string(), "{request}: {answer}");
    }
}

#[tokio::test]
async fn unhealthy_is_false_and_unknown_is_null() {
    let shop = Shop::with_stable();
    shop.migrate().await;
    shop.start("catalog", "2.0.0", &["--fail-percent", "100"]);
    shop.start("checkout", "2.0.0", &[]);
    shop.stop(&["--service", "checkout", "--version", "2.0.0"]);
    let (code, answer) = shop.drive("observe", json!([]));
    assert_eq!(code, 0);
    assert_eq!(answer["services"][0]["canary_healthy"], json!(false));
    assert_eq!(answer["services"][1]["canary_healthy"], Value::Null);
    assert_eq!(answer["services"][1]["canary_version"], "2.0.0");

    for (service, reason) in [("catalog", "not healthy"), ("checkout", "was not started")] {
        let (code, answer) = shop.drive("switch", json!([{ "name": service, "version": "2.0.0" }]));
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(code == 1 && error.contains(reason), "{answer}");
        assert_eq!(shop.state(service).await["stable"]["version"], "1.4.0");
    }
}

#[tokio::test]
async fn a_backend_that_is_not_what_it_is_taken_for_is_not_healthy() {
    let shop = Shop::with_canary().await;
    let (catalog, checkout) = (shop.state("catalog").await, shop.state("checkout").await);
    for (url, version, healthy) in [
        (&catalog["canary"]["url"], "2.0.0", true),
        (&catalog["canary"]["url"], "2.0.1", false),
        (&checkout["canary"]["url"], "2.0.0", false),
    ] {
        let canary = json!({ "canary": { "url": url, "version": version } });
        assert_eq!(shop.put("/services/catalog", canary).await.status, 200);
        let (_, answer) = shop.drive("observe", json!([{ "name": "catalog" }]));
        assert_eq!(answer["services"][0]["canary_healthy"], healthy, "{url} {version}");
    }
}

#[test]
fn without_the_router_nothing_is_confirmed() {
    let shop = Shop::open();
    shop.stop(&["--service", "router"]);
    for action in ["observe", "shift", "abort", "switch", "current"] {
        let (code, answer) = shop.drive(action, asked(0.0));
        assert_eq!(code, 1, "{action}");
        assert!(answer["error"].as_str().unwrap().starts_with("ask the router"), "{answer}");
    }
}
