//! Files beside the databases: packed, compressed, encrypted, stored, read back and compared. Nothing of what they hold
//! is ever shown.

use crate::keys::{Keys, Lock, Reader};
use crate::member::{self, BLOCK_BYTES};
use crate::place::{Place, Slot};
use crate::read_back::{NotRestored, same_bytes};
use kit_contract::body::{BundleBackup, BundleKind};
use kit_contract::config::{BUNDLE, Bundle};
use kit_contract::{Name, Reason, Sha256};
use kit_core::{ResultExt as _, StepError};
use kit_database::gunzip::Read;
use kit_step::ToolContext;
use std::path::{Path, PathBuf};

/// The files of a configuration are small; what is larger belongs elsewhere.
const LIMIT_BYTES: u64 = 64 << 20;

/// Makes the bundle, or takes the one that an earlier run of this deployment made.
pub(crate) async fn back_up(
    cx: &ToolContext,
    place: &Place,
    (config, keys): (&Bundle, &Keys),
) -> Result<BundleBackup, StepError> {
    let name: Name = BUNDLE.parse().or_reason(Reason::InternalError, "a name of our own is invalid")?;
    let slot = place.bundle_slot(&name, &keys.extension("tar"))?;
    match place.bundle(&slot).await? {
        Some(promised) => adopt(cx, place, &slot, &name, (promised, keys)).await,
        None => make(cx, place, slot, &name, (config, keys)).await,
    }
}

async fn make(
    cx: &ToolContext,
    place: &Place,
    slot: Slot,
    name: &Name,
    (config, keys): (&Bundle, &Keys),
) -> Result<BundleBackup, StepError> {
    let slot = place.clear(cx, slot).await?;
    let snapshot_at = cx.clock.now();
    let paths: Vec<(String, PathBuf)> =
        config.files.iter().map(|file| (file.clone(), cx.resolve(file))).collect();
    let packing = tokio::task::spawn_blocking(move || pack(&paths));
    let packed = packing.await.or_reason(Reason::InternalError, "the packing ended in a bug")??;
    let lock = keys.lock();
    let bytes = seal(&packed.archive, lock.as_ref())?;
    let stored = Read {
        sha256: Sha256::of(&bytes),
        size_bytes: bytes.len() as u64,
        uncompressed_bytes: packed.archive.len() as u64,
    };
    place.store.create_stream(&slot.key, &mut bytes.as_slice()).await?;
    if let Err(not) = same_bytes(cx, place, &slot, name, (&stored, Reader::of(lock.as_ref()))).await {
        return Err(match not {
            NotRestored::Worthless(found) => mismatch(&found).hint(place.discard(&slot).await),
            NotRestored::Unavailable(what) => StepError::new(Reason::ProofUnavailable, what),
            NotRestored::Unknown(error) => error,
        });
    }
    let backup = BundleBackup {
        kind: BundleKind::Bundle,
        location: place.location(&slot.key),
        key: slot.key.to_string(),
        metadata_key: slot.metadata.to_string(),
        sha256: stored.sha256,
        size_bytes: stored.size_bytes,
        uncompressed_bytes: stored.uncompressed_bytes,
        files: packed.files,
        encryption: lock.as_ref().map(Lock::describe),
        snapshot_at,
        verified_at: cx.clock.now(),
        adopted: false,
    };
    place.commit(cx, &slot, &backup).await?;
    Ok(backup)
}

/// Its bytes must be what they were; and they are encrypted, if that is asked for by now.
async fn adopt(
    cx: &ToolContext,
    place: &Place,
    slot: &Slot,
    name: &Name,
    (promised, keys): (BundleBackup, &Keys),
) -> Result<BundleBackup, StepError> {
    let metadata = place.location(&slot.metadata);
    let Some(slot) = slot.finished(&promised.key).filter(|_| promised.metadata_key == slot.metadata.as_str())
    else {
        return Err(StepError::new(
            Reason::ArtifactInvalid,
            format!("{metadata} does not vouch for the bundle"),
        )
        .hint("nothing but db-backup may write there; find out who did"));
    };
    keys.accept(name, promised.encryption.as_ref(), &metadata)?;
    let stored = kit_backup::promised_bundle(&promised);
    let reader = keys.reader_of(promised.encryption.as_ref());
    match same_bytes(cx, place, &slot, name, (&stored, reader)).await {
        Ok(()) => Ok(BundleBackup { adopted: true, verified_at: cx.clock.now(), ..promised }),
        Err(NotRestored::Worthless(found)) => Err(mismatch(&found)
            .hint(format!("it is left as it is. Remove {metadata} to have the next run make it anew"))),
        Err(NotRestored::Unavailable(what)) => Err(StepError::new(Reason::ProofUnavailable, what)),
        Err(NotRestored::Unknown(error)) => Err(error),
    }
}

fn mismatch(found: &str) -> StepError {
    StepError::new(Reason::BackupMismatch, format!("the bundle is not what was packed: {found}"))
}

struct Packed {
    archive: Vec<u8>,
    files: u64,
}

/// Packs the files into a tar archive, under the names by which the configuration knows them.
fn pack(paths: &[(String, PathBuf)]) -> Result<Packed, StepError> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut packed = (0, 0);
    for (name, path) in paths {
        add(&mut archive, Path::new(name.trim_start_matches('/')), path, &mut packed)?;
    }
    let archive = archive.into_inner().or_reason(Reason::InternalError, "the bundle cannot be packed")?;
    Ok(Packed { archive, files: packed.0 })
}

fn add(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &Path,
    path: &Path,
    packed: &mut (u64, u64),
) -> Result<(), StepError> {
    let failed = format!("{} of backup.bundle cannot be read", name.display());
    let found = std::fs::metadata(path).or_reason(Reason::ConfigInvalid, failed.clone())?;
    if found.is_dir() {
        let names = kit_core::fs::list(path).or_reason(Reason::ConfigInvalid, failed)?.unwrap_or_default();
        return names.iter().try_for_each(|entry| add(archive, &name.join(entry), &path.join(entry), packed));
    }
    packed.0 += 1;
    packed.1 += found.len();
    if packed.1 > LIMIT_BYTES {
        let message = format!("backup.bundle holds more than {} MiB", LIMIT_BYTES >> 20);
        return Err(StepError::new(Reason::ConfigInvalid, message)
            .hint("it is for what configures a machine, not for its data"));
    }
    archive.append_path_with_name(path, name).or_reason(Reason::ConfigInvalid, failed)
}

fn seal(archive: &[u8], lock: Option<&Lock>) -> Result<Vec<u8>, StepError> {
    let mut bytes = Vec::new();
    for block in archive.chunks(BLOCK_BYTES) {
        let made = member::make(block, 6);
        bytes.extend(made.or_reason(Reason::InternalError, "the bundle was not compressed faithfully")?);
    }
    let Some(lock) = lock else { return Ok(bytes) };
    let mut sealer = lock.sealer()?;
    let mut sealed = sealer.seal(&bytes)?;
    sealed.extend(sealer.finish()?);
    Ok(sealed)
}
