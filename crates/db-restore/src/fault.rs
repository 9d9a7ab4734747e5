//! Why a backup did not come back: it is worthless, or it could not be fetched or put anywhere. Pure.

use kit_contract::Reason;
use kit_contract::body::DatabaseBackup;
use kit_core::StepError;
use kit_database::DatabaseError;
use kit_database::gunzip::Fault;

/// It is not what was proved.
pub(crate) fn mismatch(backup: &DatabaseBackup, difference: &str) -> StepError {
    let message =
        format!("{} is not the backup of {} that was proved: {difference}", backup.location, backup.database);
    StepError::new(Reason::RestoreMismatch, message)
}

/// Its bytes, as they came.
pub(crate) fn of_fault(backup: &DatabaseBackup, fault: &Fault) -> StepError {
    match fault {
        Fault::Content(text) => mismatch(backup, text),
        Fault::Store(text) => {
            StepError::new(Reason::StoreUnreachable, "the backup cannot be read from the store")
                .because(text.clone())
        }
    }
}

/// What its database said. A `fault` of the bytes is the cause of whatever that was.
pub(crate) fn why_not(backup: &DatabaseBackup, fault: Option<&Fault>, error: DatabaseError) -> StepError {
    match (fault, error) {
        (Some(fault), _) => of_fault(backup, fault),
        (None, error @ (DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })) => {
            mismatch(backup, &StepError::from(error).chain())
        }
        (None, error) => error.into(),
    }
}
