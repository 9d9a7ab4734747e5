//! `artifacts_kept`: GitHub keeps the artifacts for as long as it is asked to.

use crate::args::GoArgs;
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use std::sync::Arc;

/// What the runner says of the repository: it cuts every longer wish down to this, with a word in a log.
const LIMIT: &str = "GITHUB_RETENTION_DAYS";

/// Where a time is asked for and the runner names its limit.
pub(crate) fn check(world: &Arc<World>, args: &GoArgs) -> Option<Check> {
    let asked = args.retention_days?;
    let limit: u32 = world.cx.env.get(LIMIT)?.parse().ok()?;
    Some(Check::new("artifacts_kept", async move { judge(asked, limit) }))
}

fn judge(asked: u32, limit: u32) -> Finding {
    if asked <= limit {
        return Finding::pass(format!("GitHub keeps the artifacts for {asked} days"));
    }
    Finding::warn(format!("GitHub keeps the artifacts of this repository for {limit} days, not for {asked}"))
        .hint("the store keeps record and artifacts as long as you like; what GitHub keeps is set in Settings, Actions, General")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;

    #[test]
    fn a_wish_that_is_cut_down_is_said() {
        assert_eq!(judge(90, 90).outcome, CheckOutcome::Pass);
        let cut = judge(365, 90);
        assert_eq!(cut.outcome, CheckOutcome::Warn);
        assert!(cut.message.contains("for 90 days, not for 365"), "{}", cut.message);
    }
}
