//! Which migrations belong before the release, and which after the rollback window. Pure.

use kit_contract::body::MigrationPhase;
use kit_database::{MigrationFile, MigrationStatus};

/// The input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Phase {
    /// Before traffic is shifted: everything the old version can live with
    Pre,
    /// After the rollback window: files named `….contract.sql` or `…_contract.sql`
    Post,
}

impl Phase {
    /// As artifacts have it.
    pub(crate) const fn of_contract(self) -> MigrationPhase {
        match self {
            Self::Pre => MigrationPhase::Pre,
            Self::Post => MigrationPhase::Post,
        }
    }

    /// The phase that a file belongs to, by its name. A description has its underscores as blanks.
    pub(crate) fn of(file: &MigrationFile) -> Self {
        let description = file.description.as_str();
        let contracts = description == "contract"
            || description.ends_with(".contract")
            || description.ends_with(" contract");
        if contracts { Self::Post } else { Self::Pre }
    }

    /// The pending migrations of this phase, in order.
    pub(crate) fn pending(self, status: &MigrationStatus) -> Vec<&MigrationFile> {
        status.pending.iter().filter(|file| Self::of(file) == self).collect()
    }

    /// The other phase.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Pre => Self::Post,
            Self::Post => Self::Pre,
        }
    }

    /// The value of the input.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_ends_in_contract_waits() {
        for (description, expected) in [
            ("initial", Phase::Pre),
            ("drop discounts.contract", Phase::Post),
            ("drop discounts contract", Phase::Post),
            ("contract", Phase::Post),
            ("contract table", Phase::Pre),
            ("subcontract", Phase::Pre),
            ("contract.sql", Phase::Pre),
        ] {
            let file = MigrationFile {
                version: 1,
                description: description.to_owned(),
                checksum: String::new(),
                no_transaction: false,
            };
            assert_eq!(Phase::of(&file), expected, "{description}");
        }
    }
}
