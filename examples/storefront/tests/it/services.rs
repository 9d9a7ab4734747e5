use super::shop::Shop;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[tokio::test]
async fn each_route_fails_exactly_its_share() {
    let shop = Shop::open();
    let started = shop.start("catalog", "1.4.0", &["--fail-percent", "30"]);
    let url = started["url"].as_str().unwrap();
    // In turn: a counter over all routes would put the failures on one of them.
    let (mut health, mut products) = (0, 0);
    for _ in 0..200 {
        health += usize::from(shop.get(&format!("{url}/health")).await.status == 500);
        products += usize::from(shop.get(&format!("{url}/products")).await.status == 500);
    }
    assert_eq!((health, products), (60, 60));
}

#[tokio::test]
async fn version_2_is_healthy_only_after_its_migration_and_version_1_on_both_schemas() {
    let shop = Shop::with_stable();
    for service in ["catalog", "checkout"] {
        shop.start(service, "2.0.0", &[]);
        let answer = shop.visit_arm(&format!("/{service}/health"), "canary").await;
        assert_eq!((answer.status, &answer.body["status"]), (503, &json!("unhealthy")), "{answer:?}");
        assert!(answer.body["database"].as_str().unwrap().contains("discount_percent"), "{answer:?}");
    }
    shop.migrate().await;
    for (arm, version) in [("canary", "2.0.0"), ("stable", "1.4.0")] {
        for service in ["catalog", "checkout"] {
            let answer = shop.visit_arm(&format!("/{service}/health"), arm).await;
            let healthy =
                json!({ "status": "healthy", "version": version, "service": service, "database": "ok" });
            assert_eq!((answer.status, answer.body), (200, healthy));
        }
    }
    let new = shop.visit_arm("/catalog/products", "canary").await.body;
    let old = shop.visit_arm("/catalog/products", "stable").await.body;
    assert_eq!(
        new["products"][0],
        json!({ "id": 1, "name": "Lamp 001", "price_cents": 537, "discount_percent": 0 })
    );
    assert_eq!(old["products"][0], json!({ "id": 1, "name": "Lamp 001", "price_cents": 537 }));
}

#[tokio::test]
async fn orders_of_both_versions_are_counted_together() {
    let shop = Shop::with_canary().await;
    let before = shop.visit("/checkout/orders/summary").await.body;
    let order = |arm: &str, order| {
        let request = shop.client.post(format!("{}/checkout/orders", shop.users));
        shop.send(request.header("x-deploy-target", arm).json(&order))
    };
    for arm in ["stable", "canary"] {
        assert_eq!(order(arm, json!({ "product_id": 1, "quantity": 1 })).await.status, 201);
        assert_eq!(order(arm, json!({ "product_id": 9999, "quantity": 1 })).await.status, 404);
        assert_eq!(order(arm, json!({ "product_id": 1, "quantity": 0 })).await.status, 422);
    }
    let after = shop.visit("/checkout/orders/summary").await.body;
    let difference = |key: &str| after[key].as_i64().unwrap() - before[key].as_i64().unwrap();
    assert_eq!((difference("count"), difference("total_cents")), (2, 2 * 537));
}

#[tokio::test]
async fn without_its_database_a_service_runs_says_so_and_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_storefront-catalog"))
        .args(["--app-version", "1.4.0", "--database"])
        .arg(folder.path().join("missing.db"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let health = client.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(health.status(), 503);
    assert!(!folder.path().join("missing.db").exists(), "a service must not create the database");

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
