//! Did somebody agree to lose what was written since? Pure.

use kit_contract::{Name, Reason};
use kit_core::StepError;

/// Whether consent was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Nobody was asked to: this is a dry run.
    NotGiven,
    /// Every database was named, and no other.
    Given,
}

/// Compares what was typed with what would be restored. Half a consent is a mistake, not a dry run.
pub(crate) fn judge(confirmed: &[Name], databases: &[Name]) -> Result<Consent, StepError> {
    if confirmed.is_empty() {
        return Ok(Consent::NotGiven);
    }
    let same = databases.iter().all(|name| confirmed.contains(name))
        && confirmed.iter().all(|name| databases.contains(name));
    if same {
        return Ok(Consent::Given);
    }
    let message = format!("--confirm names {}, and {} would be restored", list(confirmed), list(databases));
    Err(StepError::new(Reason::ConsentRequired, message).hint(format!("to agree, give {}", flags(databases))))
}

/// What was typed at a terminal agrees, or not. Nothing but the name does, and no other way of writing it.
pub(crate) fn typed(answer: Option<&str>, database: &Name) -> Result<(), StepError> {
    let what = match answer {
        Some(answer) if answer == database.as_str() => return Ok(()),
        None | Some("") => "nothing was typed".to_owned(),
        Some(other) => format!("{other:?} was typed"),
    };
    let message = format!("{what}, and only {database} agrees: nothing was changed");
    Err(StepError::new(Reason::ConsentRequired, message))
}

/// The flags that would give consent.
pub(crate) fn flags(databases: &[Name]) -> String {
    databases.iter().map(|name| format!("--confirm {name}")).collect::<Vec<_>>().join(" ")
}

/// Names for people.
pub(crate) fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_the_right_names_are_a_consent() {
        let names =
            |text: &str| -> Vec<Name> { text.split_whitespace().map(|name| name.parse().unwrap()).collect() };
        for (confirmed, databases, expected) in [
            ("", "main", Ok(Consent::NotGiven)),
            ("main", "main", Ok(Consent::Given)),
            ("main main", "main", Ok(Consent::Given)),
            ("users main", "main users", Ok(Consent::Given)),
            ("users", "main", Err(Reason::ConsentRequired)),
            ("main", "main users", Err(Reason::ConsentRequired)),
            ("main users", "main", Err(Reason::ConsentRequired)),
        ] {
            let judged = judge(&names(confirmed), &names(databases)).map_err(|error| error.reason);
            assert_eq!(judged, expected, "{confirmed:?} for {databases:?}");
        }
        let main = &names("main")[0];
        assert!(typed(Some("main"), main).is_ok());
        for answer in [None, Some(""), Some("y"), Some("yes"), Some("Main"), Some("main2"), Some("mai")] {
            let error = typed(answer, main).unwrap_err();
            assert_eq!(error.reason, Reason::ConsentRequired, "{answer:?}");
        }
    }
}
