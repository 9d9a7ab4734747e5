//! The registry: which checks there are, in the order in which people read them. One file each.

mod artifacts_kept;
mod backup_finished;
mod backup_possible;
mod chain_valid;
mod database_reachable;
mod endpoint_reachable;
mod image_present;
mod lock_free;
mod lock_ours;
mod migration_plan;
mod no_reviewers;
mod no_stop_request;
pub(crate) mod rollback_target;
mod router_answers;
mod secret_present;
mod service_reachable;
mod service_watched;
mod store_usable;
mod version_not_bad;

use crate::args::GoArgs;
use crate::run::Check;
use crate::world::World;
use std::sync::Arc;

/// The checks of `preflight`.
pub(crate) fn before_anything(world: &Arc<World>, args: &GoArgs) -> Vec<Check> {
    let mut checks = secret_present::checks(world);
    checks.extend(endpoint_reachable::checks(world));
    checks.extend(service_reachable::checks(world));
    checks.push(service_watched::check(world));
    checks.push(router_answers::check(world));
    checks.extend(database_reachable::checks(world));
    checks.extend(backup_possible::checks(world));
    checks.push(store_usable::check(world));
    checks.push(lock_free::check(world));
    checks.push(chain_valid::check(world));
    checks.extend(version_not_bad::check(world));
    checks.push(no_stop_request::check(world));
    checks.extend(image_present::checks(world, args));
    checks.extend(no_reviewers::check(world));
    checks.extend(artifacts_kept::check(world, args));
    checks
}

/// The checks of `preflight readiness`.
pub(crate) fn before_the_first_change(world: &Arc<World>) -> Vec<Check> {
    let mut checks =
        vec![rollback_target::check(world), backup_finished::check(world), lock_ours::check(world)];
    checks.push(router_answers::check(world));
    checks.extend(migration_plan::checks(world));
    checks.push(no_stop_request::check(world));
    checks
}
