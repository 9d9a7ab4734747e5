//! A folder for copies of databases.

use kit_contract::Reason;
use kit_core::fs::{self, FsError};
use kit_core::{Context, ScratchFolder, StepError};
use std::path::Path;

/// A folder in `within`, or in the system's folder for temporary files; readable by its owner alone, gone with the
/// returned value. What killed runs left there under this prefix goes, too. `room` says for how much `--scratch` has to
/// have room.
///
/// # Errors
/// [`Reason::UsageError`] if it cannot be made there.
pub fn scratch_folder(
    cx: &Context,
    within: Option<&Path>,
    prefix: &str,
    room: &str,
) -> Result<ScratchFolder, StepError> {
    let unusable = |error: FsError| {
        StepError::new(Reason::UsageError, "there is no place for scratch copies")
            .because(error)
            .hint(format!("--scratch names a folder with room for {room}"))
    };
    let system = std::env::temp_dir();
    let within = within.unwrap_or(&system);
    fs::create_folder(within).map_err(unusable)?;
    let (folder, removed) = ScratchFolder::new(within, prefix).map_err(unusable)?;
    for path in removed {
        cx.out.say(&format!("removed {}: a run that was killed left scratch copies there", path.display()));
    }
    Ok(folder)
}
