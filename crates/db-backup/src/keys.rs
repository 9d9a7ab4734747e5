//! For whom backups are encrypted, and with which key this run reads back what it stored.

use kit_backup::{IDENTITY_INPUT, Identity, Recipients, Sealer};
use kit_contract::body::ClientEncryption;
use kit_contract::{Name, Reason};
use kit_core::{ResultExt as _, StepError, fs};
use kit_step::ToolContext;

/// A key has 62 letters; a longer file is not one of keys.
const LIMIT_BYTES: u64 = 1 << 20;

/// The keys of this run.
#[derive(Default)]
pub(crate) struct Keys {
    /// Absent: backups are not encrypted.
    recipients: Option<Recipients>,
    /// What a person gave to read them back.
    identity: Option<Identity>,
}

/// How one backup is encrypted.
pub(crate) struct Lock {
    recipients: Recipients,
    /// Reads it back in this run: the identity that was given, or a key that is gone with the process.
    pub(crate) reader: Identity,
}

impl Lock {
    /// What encrypts one stream.
    pub(crate) fn sealer(&self) -> Result<Sealer, StepError> {
        Sealer::new(&self.recipients, (!self.reader.opens(&self.recipients.keys())).then_some(&self.reader))
    }

    /// As the metadata says it.
    pub(crate) fn describe(&self) -> ClientEncryption {
        self.recipients.describe()
    }
}

impl Keys {
    /// Those of configuration and input. An identity that could open nothing of what is encrypted now is refused.
    pub(crate) fn of(cx: &ToolContext) -> Result<Self, StepError> {
        let identity = cx.secret(IDENTITY_INPUT).map(|secret| Identity::parse(&secret)).transpose()?;
        let Some(config) = &cx.config().backup.encryption else {
            return Ok(Self { recipients: None, identity });
        };
        let file = config.recipients_file.as_ref().map(|path| {
            fs::read_text(&cx.resolve(path), LIMIT_BYTES)
                .or_reason(Reason::ConfigInvalid, "backup.encryption.recipients_file cannot be read")
        });
        let recipients = Recipients::new(config, file.transpose()?.as_deref())?;
        if let Some(identity) = &identity
            && !identity.opens(&recipients.keys())
        {
            let message = format!(
                "{IDENTITY_INPUT} is the identity of {}, which is none of the recipients of backup.encryption ({})",
                identity.public_keys().join(", "),
                recipients.keys().join(", ")
            );
            return Err(StepError::new(Reason::UsageError, message)
                .hint("leave it out: a backup that is made now is read back without it"));
        }
        Ok(Self { recipients: Some(recipients), identity })
    }

    /// The extension of what is stored: `sql.gz`, `sql.gz.age`.
    pub(crate) fn extension(&self, plain: &str) -> String {
        let sealed = if self.recipients.is_some() { ".age" } else { "" };
        format!("{plain}.gz{sealed}")
    }

    /// For a backup that is made now; `None` if it is not to be encrypted.
    pub(crate) fn lock(&self) -> Option<Lock> {
        let recipients = self.recipients.clone()?;
        Some(Lock { recipients, reader: self.identity.clone().unwrap_or_else(Identity::one_time) })
    }

    /// Refuses a finished backup that is not encrypted although it should be.
    pub(crate) fn accept(
        &self,
        name: &Name,
        sealed: Option<&ClientEncryption>,
        metadata: &str,
    ) -> Result<(), StepError> {
        if self.recipients.is_none() || sealed.is_some() {
            return Ok(());
        }
        let message = format!(
            "an earlier run of this deployment made the backup of {name} without encryption, which backup.encryption \
             asks for by now"
        );
        Err(StepError::new(Reason::BackupMismatch, message)
            .hint(format!("remove {metadata} to have the next run make it anew; remove the copy, too")))
    }

    /// Opens a backup of an earlier run, if this run can.
    pub(crate) fn reader_of(&self, sealed: Option<&ClientEncryption>) -> Reader<'_> {
        match (sealed, &self.identity) {
            (None, _) => Reader::Plain,
            (Some(sealed), Some(identity)) if identity.opens(&sealed.recipients) => Reader::With(identity),
            (Some(_), _) => Reader::Nobody,
        }
    }
}

/// Who can read a stored backup back.
#[derive(Clone, Copy)]
pub(crate) enum Reader<'a> {
    /// Everybody: it is not encrypted.
    Plain,
    /// Whoever has this.
    With(&'a Identity),
    /// Nobody here: its bytes can be compared, and not what they hold.
    Nobody,
}

impl<'a> Reader<'a> {
    /// The reader of what was encrypted by this lock, or by none.
    pub(crate) fn of(lock: Option<&'a Lock>) -> Self {
        lock.map_or(Self::Plain, |lock| Self::With(&lock.reader))
    }
}
