use super::shop::Shop;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn five_percent_of_a_thousand_are_exactly_fifty() {
    let shop = Shop::with_canary().await;
    let five = json!({ "catalog": { "canary_percent": 5 }, "checkout": { "canary_percent": 5 } });
    assert_eq!(shop.put("/services", five).await.status, 200);
    for (service, path) in [("catalog", "/catalog/products"), ("checkout", "/checkout/orders/summary")] {
        let mut arms = BTreeMap::new();
        for _ in 0..1000 {
            let answer = shop.visit(path).await;
            assert_eq!(answer.status, 200);
            *arms.entry((answer.served_by.unwrap(), answer.served_version.unwrap())).or_insert(0) += 1;
        }
        let arm = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(arms, BTreeMap::from([(arm("canary", "2.0.0"), 50), (arm("stable", "1.4.0"), 950)]));
        assert_eq!(shop.state(service).await["served"], json!({ "stable": 950, "canary": 50 }));
    }
}

#[tokio::test]
async fn a_request_may_name_its_arm_and_does_not_count_for_the_split() {
    let shop = Shop::with_canary().await;
    for (arm, version) in [("canary", "2.0.0"), ("stable", "1.4.0"), ("canary", "2.0.0")] {
        let answer = shop.visit_arm("/catalog/health", arm).await;
        assert_eq!((answer.status, answer.served_by.as_deref()), (200, Some(arm)));
        assert_eq!(answer.body["version"], version);
        assert_eq!(answer.served_version.as_deref(), Some(version));
    }
    assert_eq!(shop.visit_arm("/catalog/health", "both").await.status, 400);
    let state = shop.state("catalog").await;
    assert_eq!(state["served"], json!({ "stable": 0, "canary": 0 }));
    assert_eq!(state["forced"], json!({ "stable": 1, "canary": 2 }));

    let reset = shop.client.post(format!("{}/services/catalog/reset-counters", shop.admin));
    assert_eq!(shop.send(reset).await.status, 200);
    assert_eq!(shop.state("catalog").await["forced"], json!({ "stable": 0, "canary": 0 }));
}

#[tokio::test]
async fn what_cannot_be_reached_is_502_and_what_is_unknown_404() {
    let shop = Shop::with_canary().await;
    shop.stop(&["--service", "catalog", "--version", "2.0.0"]);
    let answer = shop.visit_arm("/catalog/health", "canary").await;
    assert_eq!((answer.status, answer.served_by.as_deref()), (502, Some("canary")));
    assert_eq!(shop.visit("/catalog/health").await.status, 200);

    let taken_away = shop.put("/services/catalog", json!({ "canary": null })).await;
    assert_eq!(taken_away.status, 200);
    assert_eq!(shop.visit_arm("/catalog/health", "canary").await.status, 502);
    assert_eq!(shop.visit("/basement/health").await.status, 404);
    assert_eq!(shop.visit("/").await.status, 404);
}

#[tokio::test]
async fn bodies_pass_both_ways_and_have_a_limit() {
    let shop = Shop::with_stable();
    let url = format!("{}/checkout/orders", shop.users);
    let order = json!({ "product_id": 1, "quantity": 2 });
    let placed = shop.send(shop.client.post(&url).json(&order)).await;
    assert_eq!((placed.status, &placed.body["total_cents"]), (201, &json!(2 * 537)));
    let large = shop.send(shop.client.post(&url).body(vec![b' '; 1024 * 1024 + 1])).await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn weights_and_backends_survive_a_restart() {
    let mut shop = Shop::with_canary().await;
    assert_eq!(shop.put("/services/catalog", json!({ "canary_percent": 50 })).await.status, 200);
    let before = (shop.state("catalog").await, shop.state("checkout").await);
    shop.stop(&["--service", "router"]);
    shop.start_router();
    assert_eq!((shop.state("catalog").await, shop.state("checkout").await), before);
    let mut canaries = 0;
    for _ in 0..100 {
        canaries += usize::from(shop.visit("/catalog/health").await.served_by.unwrap() == "canary");
    }
    assert_eq!(canaries, 50);
}

#[tokio::test]
async fn a_broken_state_file_is_not_taken_for_an_empty_one() {
    let shop = Shop::open();
    shop.stop(&["--service", "router"]);
    let (state, processes) = (shop.path("router.json"), shop.path("processes.json"));
    for broken in ["{", r#"{"catalog": {"stable": null, "canary": null, "canary_percent": 5}}"#] {
        std::fs::write(&state, broken).unwrap();
        let arguments = ["start-router", "--state", &state, "--processes", &processes];
        let output = std::process::Command::new(super::shop::CTL).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("router.json"), "{said}");
    }
}

#[tokio::test]
async fn a_change_happens_whole_or_not_at_all() {
    let shop = Shop::with_canary().await;
    assert_eq!(shop.put("/services/checkout", json!({ "canary": null })).await.status, 200);
    for (path, body, status) in [
        (
            "/services",
            json!({ "catalog": { "canary_percent": 5 }, "checkout": { "canary_percent": 5 } }),
            409,
        ),
        ("/services", json!({ "catalog": { "canary_percent": 5 }, "cellar": { "canary_percent": 0 } }), 404),
        ("/services", json!({ "catalog": { "canary_percent": 5 }, "checkout": { "weight": 5 } }), 400),
        ("/services/checkout", json!({ "canary_percent": 5 }), 409),
        ("/services/catalog", json!({ "canary_percent": 101 }), 400),
        ("/services/catalog", json!({ "canary_percent": 2.5 }), 400),
    ] {
        let answer = shop.put(path, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body["error"].is_string(), "{answer:?}");
        assert_eq!(shop.state("catalog").await["canary_percent"], 0);
    }
}
