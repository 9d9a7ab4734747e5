//! What of a dump is not rows, kept in a file while the dump is read along.

use crate::{DatabaseError, SchemaScript};
use kit_core::fs::FsError;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Takes what is not rows: the schema.
pub(crate) trait Keep: Send {
    /// The next bytes of it.
    fn keep(&mut self, bytes: &[u8]);
}

/// For whoever needs no schema.
pub(crate) struct Nowhere;

impl Keep for Nowhere {
    fn keep(&mut self, _: &[u8]) {}
}

/// Keeps the schema in a file.
pub(crate) struct SchemaFile {
    file: BufWriter<std::fs::File>,
    failed: Option<std::io::Error>,
}

impl SchemaFile {
    pub(crate) fn new(scratch: &Path) -> Result<Self, DatabaseError> {
        kit_core::fs::create_folder(scratch)?;
        let named = |source| FsError { action: "make a file in", path: scratch.to_owned(), source };
        let file = tempfile::tempfile_in(scratch).map_err(named)?;
        Ok(Self { file: BufWriter::new(file), failed: None })
    }

    pub(crate) fn finish(self) -> Result<SchemaScript, DatabaseError> {
        let written = match self.failed {
            Some(error) => Err(error),
            None => self.file.into_inner().map_err(std::io::IntoInnerError::into_error),
        };
        let named = |source| FsError { action: "write to", path: "the scratch folder".into(), source };
        Ok(SchemaScript(written.map_err(named)?))
    }
}

impl Keep for SchemaFile {
    fn keep(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
    }
}
