//! Was what the demo promises observed?

use super::shop::Shop;
use crate::error::Error;

/// The new version serves everything, and the record says success.
pub(super) fn deployed(shop: &Shop) -> Result<bool, Error> {
    let mut promises = Promises::default();
    promises.traffic(shop, "2.0.0")?;
    promises.record(shop, "success");
    promises.chain(shop)?;
    promises.history(shop)?;
    Ok(promises.kept)
}

/// The old version serves everything, and the record says that the new one was withdrawn.
pub(super) fn withdrawn(shop: &Shop) -> Result<bool, Error> {
    let mut promises = Promises::default();
    promises.traffic(shop, "1.4.0")?;
    promises.record(shop, "rolled_back");
    promises.chain(shop)?;
    promises.history(shop)?;
    Ok(promises.kept)
}

/// After a rollback: one version serves everything, and nothing is open or locked.
pub(super) fn put_right(shop: &Shop, version: &str) -> Result<bool, Error> {
    let mut promises = Promises::default();
    promises.traffic(shop, version)?;
    promises.chain(shop)?;
    promises.history(shop)?;
    Ok(promises.kept)
}

struct Promises {
    kept: bool,
}

impl Default for Promises {
    fn default() -> Self {
        println!("\n== observed");
        Self { kept: true }
    }
}

impl Promises {
    fn check(&mut self, holds: bool, what: &str) {
        println!("  {} {what}", if holds { "yes:" } else { "NO: " });
        self.kept &= holds;
    }

    /// Every service has this stable version, and no canary has a share.
    fn traffic(&mut self, shop: &Shop, version: &str) -> Result<(), Error> {
        let observed = shop.observed()?;
        self.check(observed.len() == 2, "the router knows both services");
        for (service, stable, percent) in observed {
            self.check(
                stable == version && percent == 0.0,
                &format!("{service}: stable {stable} (promised {version}), canary {percent} %"),
            );
        }
        Ok(())
    }

    fn record(&mut self, shop: &Shop, status: &str) {
        let record = shop.file("artifacts/record.json");
        let found =
            record.as_ref().and_then(|record| record.pointer("/body/status")?.as_str().map(str::to_owned));
        let found = found.unwrap_or_else(|| "nothing".to_owned());
        self.check(found == status, &format!("the record says {found} (promised {status})"));
        println!("       target/demo/artifacts/record.json, target/demo/artifacts/rollback.md");
    }

    /// No deploy is open, the lock is free, and the history is whole.
    fn chain(&mut self, shop: &Shop) -> Result<(), Error> {
        let status = shop.deploy_kit_json(&["status", "--json"])?;
        self.check(
            status.pointer("/state/open").is_some_and(serde_json::Value::is_null),
            "no deploy is open",
        );
        self.check(status.get("lock").is_some_and(serde_json::Value::is_null), "the lock is free");
        let whole = shop.deploy_kit(&["deploy-record", "verify"])?;
        self.check(whole, "the chain is whole");
        Ok(())
    }

    fn history(&mut self, shop: &Shop) -> Result<(), Error> {
        let listed = shop.deploy_kit(&["deploy-record", "list"])?;
        self.check(listed, "the history can be read");
        Ok(())
    }
}
