//! Who can open a sealed backup.

use crate::{IDENTITY_INPUT, METHOD};
use age::{DecryptError, Decryptor, x25519};
use kit_contract::Reason;
use kit_contract::body::{ClientEncryption, DatabaseBackup};
use kit_core::{Secret, StepError};
use kit_database::gunzip::{ByteReader, Fault};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

/// One or more private keys. Cannot be printed.
#[derive(Clone)]
pub struct Identity(Vec<x25519::Identity>);

impl Identity {
    /// Reads what `age-keygen` writes: one key a line, beside comments.
    ///
    /// # Errors
    /// [`Reason::UsageError`] if a line is none, or there is none; the message repeats nothing of it.
    pub fn parse(secret: &Secret) -> Result<Self, StepError> {
        let lines = secret.expose().lines().map(str::trim).enumerate();
        let wrong = |what: String| {
            StepError::new(Reason::UsageError, format!("{IDENTITY_INPUT} {what}"))
                .hint("an identity is what `age-keygen` writes; its key begins with AGE-SECRET-KEY-1")
        };
        let mut keys = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let key = line.parse::<x25519::Identity>();
            keys.push(key.map_err(|problem| {
                wrong(format!("holds on line {} what is no identity of age: {problem}", index + 1))
            })?);
        }
        if keys.is_empty() { Err(wrong("holds no identity".to_owned())) } else { Ok(Self(keys)) }
    }

    /// A key that nobody has and that is gone with the process.
    pub fn one_time() -> Self {
        Self(vec![x25519::Identity::generate()])
    }

    /// The public keys that belong to it.
    pub fn public_keys(&self) -> Vec<String> {
        self.0.iter().map(|key| key.to_public().to_string()).collect()
    }

    /// True if it opens what is sealed for these public keys.
    pub fn opens(&self, recipients: &[String]) -> bool {
        self.public_keys().iter().any(|key| recipients.contains(key))
    }

    pub(crate) fn recipients(&self) -> Vec<x25519::Recipient> {
        self.0.iter().map(x25519::Identity::to_public).collect()
    }

    /// Opens what a store gives: reads the header, and gives the content as it comes, each 64 KiB of it only after
    /// they proved to be what was sealed. What is not, or is cut off, fails with [`ErrorKind::InvalidData`].
    pub(crate) async fn open(&self, source: ByteReader) -> Result<ByteReader, Fault> {
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        let decryptor = Decryptor::new_async(source.compat()).await.map_err(why)?;
        let reader = decryptor.decrypt_async(keys).map_err(why)?;
        Ok(Box::new(Opened(reader.compat())))
    }
}

fn why(error: DecryptError) -> Fault {
    let text = match error {
        DecryptError::Io(error)
            if !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) =>
        {
            return Fault::Store(error.to_string());
        }
        DecryptError::Io(_) => "its age header is cut off or broken",
        DecryptError::NoMatchingKeys => "it is sealed for others than the identity that was given",
        _ => "its age header is broken or was changed",
    };
    Fault::Content(text.to_owned())
}

/// Says of what is cut off that it is broken: to a reader, an early end looks like a store that failed.
struct Opened<R>(R);

impl<R: AsyncRead + Unpin> AsyncRead for Opened<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, buffer).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => std::io::Error::new(ErrorKind::InvalidData, "it is cut off"),
            ErrorKind::InvalidData => {
                std::io::Error::new(ErrorKind::InvalidData, "it is not what was sealed: changed or cut off")
            }
            _ => error,
        })
    }
}

/// The key for a backup, before anything of it is read. `None`: it is not sealed.
///
/// # Errors
/// As [`opener`].
pub fn key_for<'a>(
    backup: &DatabaseBackup,
    identity: Option<&'a Identity>,
) -> Result<Option<&'a Identity>, StepError> {
    opener(backup.database.as_str(), backup.details.encryption.as_ref(), identity)
}

/// The key for the backup of this name, which is sealed so, before anything of it is read. `None`: it is not sealed.
///
/// # Errors
/// [`Reason::SecretMissing`] if it is sealed and there is no identity, [`Reason::UsageError`] if the identity is that
/// of somebody else, [`Reason::ArtifactInvalid`] if it is sealed in a way that is not known here.
pub fn opener<'a>(
    name: &str,
    sealed: Option<&ClientEncryption>,
    identity: Option<&'a Identity>,
) -> Result<Option<&'a Identity>, StepError> {
    let Some(sealed) = sealed else { return Ok(None) };
    if sealed.method != METHOD {
        let message =
            format!("the backup of {name} is encrypted by {:?}, which is not known here", sealed.method);
        return Err(StepError::new(Reason::ArtifactInvalid, message)
            .hint("a newer version of this program may know it"));
    }
    let whose = sealed.recipients.join(", ");
    let Some(identity) = identity else {
        let message =
            format!("the backup of {name} is encrypted, and no identity is given that could open it");
        return Err(StepError::new(Reason::SecretMissing, message)
            .hint(format!(
                "give the identity with --{IDENTITY_INPUT}-file or DEPLOY_KIT_BACKUP_IDENTITY; nothing was touched"
            ))
            .hint(format!("it is encrypted to {whose}")));
    };
    if identity.opens(&sealed.recipients) {
        return Ok(Some(identity));
    }
    let message = format!(
        "the backup of {name} is encrypted to {whose}, and the identity that is given is that of {}",
        identity.public_keys().join(", ")
    );
    Err(StepError::new(Reason::UsageError, message)
        .hint("give the identity of one of them; nothing was touched"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_age_keygen_writes_and_is_never_repeated() {
        let one = x25519::Identity::generate();
        let text = format!(
            "# created: 2026-11-26\n# public key: {}\n{}\n",
            one.to_public(),
            age::secrecy::ExposeSecret::expose_secret(&one.to_string())
        );
        let identity = Identity::parse(&Secret::new(text)).unwrap();
        assert_eq!(identity.public_keys(), [one.to_public().to_string()]);
        assert!(identity.opens(&["age1other".to_owned(), one.to_public().to_string()]));
        assert!(!identity.opens(&Identity::one_time().public_keys()));
        for (text, says) in [
            ("", "holds no identity"),
            ("# a comment\n", "holds no identity"),
            ("\nhunter2", "on line 2"),
            (&*one.to_public().to_string(), "on line 1"),
        ] {
            let error = Identity::parse(&Secret::new(text)).err().unwrap().chain();
            assert!(error.contains(says) && (text.is_empty() || !error.contains(text.trim())), "{error}");
        }
    }
}
