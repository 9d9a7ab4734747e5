//! Sealing as the bytes come.

use crate::{Identity, Recipients};
use age::stream::StreamWriter;
use age::{Encryptor, Recipient};
use kit_contract::Reason;
use kit_core::{ResultExt as _, StepError};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Seals a stream, piece by piece. What was sealed can be opened only once [`Sealer::finish`] gave its end: one that
/// stops before is found to be cut off by everybody who opens it.
pub struct Sealer {
    writer: StreamWriter<Sink>,
    sink: Sink,
}

/// What age has ready.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sealer {
    /// For these recipients, and for whoever is to read it back now.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(recipients: &Recipients, reader: Option<&Identity>) -> Result<Self, StepError> {
        let readers = reader.map(Identity::recipients).unwrap_or_default();
        let all = recipients.iter().chain(&readers).map(|one| one as &dyn Recipient);
        let failed = "the encryption of the backup cannot be begun";
        let sink = Sink::default();
        let encryptor = Encryptor::with_recipients(all).or_reason(Reason::InternalError, failed)?;
        let writer = encryptor.wrap_output(sink.clone()).or_reason(Reason::InternalError, failed)?;
        Ok(Self { writer, sink })
    }

    /// Takes a piece; gives what of it, and of those before, is sealed by now. May be empty.
    ///
    /// # Errors
    /// If age refuses more.
    pub fn seal(&mut self, piece: &[u8]) -> Result<Vec<u8>, StepError> {
        self.writer.write_all(piece).or_reason(Reason::InternalError, "the backup cannot be encrypted")?;
        Ok(self.sink.take())
    }

    /// The end, without which nothing can be opened.
    ///
    /// # Errors
    /// If age refuses it.
    pub fn finish(self) -> Result<Vec<u8>, StepError> {
        self.writer
            .finish()
            .or_reason(Reason::InternalError, "the encryption of the backup cannot be ended")?;
        Ok(self.sink.take())
    }
}
