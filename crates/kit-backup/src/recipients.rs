//! For whom a backup is sealed: public keys, which anybody may read.

use crate::METHOD;
use age::x25519::Recipient;
use kit_contract::Reason;
use kit_contract::body::ClientEncryption;
use kit_contract::config::BackupEncryption;
use kit_core::StepError;

/// At least one public key.
#[derive(Clone)]
pub struct Recipients(Vec<Recipient>);

impl Recipients {
    /// The keys of the configuration, and those of its file, one a line, where it names one.
    ///
    /// # Errors
    /// [`Reason::ConfigInvalid`] if one is no public key of age, or there is none.
    pub fn new(config: &BackupEncryption, file: Option<&str>) -> Result<Self, StepError> {
        let mut recipients: Vec<Recipient> = Vec::new();
        for key in &config.recipients {
            add(&mut recipients, key, || format!("backup.encryption.recipients holds {key:?}"))?;
        }
        for (index, line) in file.unwrap_or_default().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line is not repeated: somebody may have taken the wrong file.
            add(&mut recipients, line, || {
                let name = config.recipients_file.as_deref().unwrap_or_default();
                format!("line {} of {name} (backup.encryption.recipients_file) is a text", index + 1)
            })?;
        }
        if recipients.is_empty() {
            let message = "backup.encryption names nobody who could open a backup";
            return Err(StepError::new(Reason::ConfigInvalid, message).hint(ADVICE));
        }
        Ok(Self(recipients))
    }

    /// The keys, as metadata and people know them.
    pub fn keys(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// As the metadata of a backup says it.
    pub fn describe(&self) -> ClientEncryption {
        ClientEncryption { method: METHOD.to_owned(), recipients: self.keys() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.0.iter()
    }
}

const ADVICE: &str = "a public key begins with age1; `age-keygen -o key.txt` makes one and prints it";

fn add(recipients: &mut Vec<Recipient>, key: &str, what: impl Fn() -> String) -> Result<(), StepError> {
    let recipient: Recipient = key.parse().map_err(|problem: &str| {
        StepError::new(Reason::ConfigInvalid, format!("{} that is no public key of age: {problem}", what()))
            .hint(ADVICE)
    })?;
    if !recipients.contains(&recipient) {
        recipients.push(recipient);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    fn of(recipients: &[&str], file: Option<&str>) -> Result<Vec<String>, String> {
        let config = BackupEncryption {
            recipients: recipients.iter().map(|key| (*key).to_owned()).collect(),
            recipients_file: file.map(|_| "ops/recipients.txt".to_owned()),
        };
        Recipients::new(&config, file).map(|found| found.keys()).map_err(|error| {
            assert_eq!(error.reason, Reason::ConfigInvalid);
            error.chain()
        })
    }

    #[test]
    fn keys_come_from_both_places_once_each() {
        let other = crate::Identity::one_time().public_keys().remove(0);
        let file = format!("# of the night shift\n\n{other}\n{ONE}\n");
        assert_eq!(of(&[ONE], Some(&file)).unwrap(), [ONE, &other]);
        assert_eq!(of(&[ONE], None).unwrap(), [ONE]);
    }

    #[test]
    fn what_is_no_public_key_is_named_and_a_file_is_not_repeated() {
        let wrong = ONE.replace("ql3z", "ql3y");
        assert!(of(&[&wrong], None).unwrap_err().contains(&wrong));
        let secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        for (text, says) in [(secret, "line 2 of ops/recipients.txt"), ("ssh-ed25519 AAAA", "line 2 of")] {
            let error = of(&[], Some(&format!("# x\n{text}\n"))).unwrap_err();
            assert!(error.contains(says) && !error.contains(text), "{error}");
        }
        assert!(of(&[], Some("# nobody\n")).unwrap_err().contains("names nobody"));
    }
}
