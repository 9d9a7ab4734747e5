//! `store_usable`: the store outlives this job, and keeps the conditions that chain and lock rest on.
//! Proved by use, on an object with a random name that is removed again. How a bucket is set up is looked
//! at, too: what the configuration asks for and the bucket cannot do fails, what is unwise is a warning.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use kit_core::StepError;
use kit_store::Remark;
use std::sync::Arc;

/// The check.
pub(crate) fn check(world: &Arc<World>) -> Check {
    let world = Arc::clone(world);
    Check::new("store_usable", async move { look(&world).await.unwrap_or_else(Finding::from) })
}

async fn look(world: &World) -> Result<Finding, StepError> {
    let store = world.store().await?;
    kit_store::self_proof(&*store, &world.layout()).await?;
    Ok(judge(&store.describe(), store.examine().await?))
}

fn judge(address: &str, remarks: Vec<Remark>) -> Finding {
    let usable = format!("{address} honours conditional writes");
    if remarks.is_empty() {
        return Finding::pass(usable);
    }
    let what: Vec<&str> = remarks.iter().map(|remark| remark.what.as_str()).collect();
    let message = format!("{usable}; {}", what.join("; "));
    let refused = remarks.iter().any(|remark| remark.refuses);
    let finding = if refused { Finding::fail(message) } else { Finding::warn(message) };
    remarks.into_iter().fold(finding, |finding, remark| finding.hint(remark.hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit_contract::body::CheckOutcome;

    #[test]
    fn what_is_unwise_warns_and_what_cannot_be_kept_refuses() {
        let remark =
            |refuses, what: &str| Remark { refuses, what: what.to_owned(), hint: format!("mend {what}") };
        let table = [
            (vec![], CheckOutcome::Pass, "s3://b honours conditional writes"),
            (vec![remark(false, "a")], CheckOutcome::Warn, "s3://b honours conditional writes; a"),
            (
                vec![remark(false, "a"), remark(true, "b")],
                CheckOutcome::Fail,
                "s3://b honours conditional writes; a; b",
            ),
        ];
        for (remarks, outcome, message) in table {
            let hints = remarks.len();
            let finding = judge("s3://b", remarks);
            assert_eq!((finding.outcome, finding.message.as_str()), (outcome, message));
            assert_eq!(finding.hints.len(), hints);
        }
    }
}
