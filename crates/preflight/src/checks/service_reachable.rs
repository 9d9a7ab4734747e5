//! `endpoint_reachable:<service>`: the public address of a service answers. At the first deployment nothing
//! needs to answer yet.

use super::endpoint_reachable::{Reached, answered, reach};
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::display_url;
use std::sync::Arc;

/// One check per service that has an address.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let services = world.cx.config().services.clone();
    let check = |(name, url): (kit_contract::Name, String)| {
        let world = Arc::clone(world);
        Check::new(format!("endpoint_reachable:{name}"), async move { look(&world, &url).await })
    };
    services.into_iter().filter_map(|service| Some((service.name, service.url?))).map(check).collect()
}

async fn look(world: &World, url: &str) -> Finding {
    let why = match reach(world, url).await {
        Err(error) => return error.into(),
        Ok(Reached::Status(status)) => return answered(url, status),
        Ok(Reached::No(why)) => why,
    };
    let text = format!("{}: {why}", display_url(url));
    // Only a chain that was read can say that nothing was ever deployed.
    match world.chain().await {
        Ok(loaded) if loaded.state.good.is_empty() => {
            Finding::warn(format!("{text}; nothing was deployed here yet, so nothing need answer"))
        }
        _ => Finding::fail(text).hint(
            "is it down now, or not reachable from this runner? A release that repairs it needs an override",
        ),
    }
}
