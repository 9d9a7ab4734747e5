//! The actions of others, each at one commit. The comment is what a person reads and a bot updates.

/// Brings artifacts of the same run.
pub(crate) const DOWNLOAD: &str =
    "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1";
/// Keeps artifacts for later jobs.
pub(crate) const UPLOAD: &str = "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0";
