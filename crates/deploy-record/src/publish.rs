//! Puts artifacts and record into the store.

use crate::gather::Files;
use crate::store::Memory;
use kit_contract::{ArtifactKind, ArtifactName, DeploymentId};
use kit_core::StepError;
use kit_store::{Key, StoreError};

/// Publishes everything under one attempt, the record last: where it lies, the rest lies too.
///
/// Nothing is ever written over. An attempt under which something else lies, from a run whose folder was
/// lost, is left alone; the next free one is taken.
pub(crate) async fn publish(
    memory: &Memory,
    id: &DeploymentId,
    first_attempt: u32,
    files: &Files,
    record: &[u8],
) -> Result<(), StepError> {
    let mut attempt = first_attempt;
    while !publish_as(memory, id, attempt, files, record).await? {
        attempt = attempt.saturating_add(1);
    }
    Ok(())
}

/// False if something else lies there.
async fn publish_as(
    memory: &Memory,
    id: &DeploymentId,
    attempt: u32,
    files: &Files,
    record: &[u8],
) -> Result<bool, StepError> {
    for (name, bytes) in files {
        if !put(memory, &memory.layout.artifact(id, attempt, name), bytes).await? {
            return Ok(false);
        }
    }
    let name = ArtifactName::only(ArtifactKind::Record);
    put(memory, &memory.layout.artifact(id, attempt, &name), record).await
}

/// True if the object is there and holds these bytes.
async fn put(memory: &Memory, key: &Key, bytes: &[u8]) -> Result<bool, StepError> {
    match memory.store.create(key, bytes).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists { .. }) => {
            Ok(memory.store.get(key).await?.is_some_and(|object| object.bytes == bytes))
        }
        Err(error) => Err(error.into()),
    }
}
