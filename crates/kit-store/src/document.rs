//! JSON documents in a store.

use crate::{Key, StoreError};
use serde::{Serialize, de::DeserializeOwned, de::Error as _};

/// The bytes of a document: pretty, because people look at them, and ending in a line break.
pub(crate) fn to_bytes(key: &Key, document: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = serde_json::to_vec_pretty(document)
        .map_err(|source| StoreError::Unreadable { key: key.clone(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a document that must be of this schema.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], schema: &str) -> Result<T, serde_json::Error> {
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(found) if found == schema => serde_json::from_value(value),
        Some(found) => Err(serde_json::Error::custom(format!("it is of schema {found:?}, not {schema:?}"))),
        None => Err(serde_json::Error::custom("it names no schema")),
    }
}
