//! Proves by use that a store honours the conditions which chain and lock rest on.

use crate::{Key, Layout, Store, StoreError, Version};

/// Tries create-if-absent, compare-and-swap and compare-and-delete on an object with a random name,
/// and removes it again. A store that ignores a condition, as some that speak S3 do, says yes to what
/// it must refuse.
///
/// # Errors
/// [`StoreError::Unsuitable`] if a condition is ignored or a good write is refused;
/// [`StoreError::Unreachable`] if the store could not be asked.
pub async fn self_proof(store: &dyn Store, layout: &Layout) -> Result<(), StoreError> {
    let random = kit_core::random_hex(8)
        .map_err(|source| StoreError::unreachable("try out", layout.prefix(), store.describe(), source))?;
    let key = layout.scratch(&random);
    let proved = prove(store, &key).await;
    if proved.is_err() {
        // What the proof found out matters more than whether the scratch object is still there.
        if let Ok(Some(meta)) = store.head(&key).await {
            let _ = store.delete(&key, &meta.version).await;
        }
    }
    proved
}

async fn prove(store: &dyn Store, key: &Key) -> Result<(), StoreError> {
    let unsuitable = |what| StoreError::Unsuitable { address: store.describe(), what };

    let first = store.create(key, b"1\n").await?;
    must_refuse(store.create(key, b"2\n").await)
        .map_err(|error| error.unwrap_or_else(|| unsuitable("it created an object over an existing one")))?;
    check_content(store, key, b"1\n", &first).await?;

    let second = store.replace(key, b"2\n", &first).await.map_err(|error| {
        if error.is_conflict() { unsuitable("it refused a good replacement") } else { error }
    })?;
    must_refuse(store.replace(key, b"3\n", &first).await)
        .map_err(|error| error.unwrap_or_else(|| unsuitable("it replaced an object that had changed")))?;
    check_content(store, key, b"2\n", &second).await?;

    must_refuse(store.delete(key, &first).await)
        .map_err(|error| error.unwrap_or_else(|| unsuitable("it deleted an object that had changed")))?;
    check_content(store, key, b"2\n", &second).await?;

    store.delete(key, &second).await.map_err(|error| {
        if error.is_conflict() { unsuitable("it refused a good deletion") } else { error }
    })?;
    match store.head(key).await? {
        None => Ok(()),
        Some(_) => Err(unsuitable("it still shows an object that was deleted")),
    }
}

/// Fine if it was refused for the condition; `Err(None)` if it was done; another failure as it is.
fn must_refuse<T>(answer: Result<T, StoreError>) -> Result<(), Option<StoreError>> {
    match answer {
        Ok(_) => Err(None),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(Some(error)),
    }
}

/// A store may say no and write all the same, or show old content after a write.
async fn check_content(
    store: &dyn Store,
    key: &Key,
    expected: &[u8],
    version: &Version,
) -> Result<(), StoreError> {
    match store.get(key).await? {
        Some(object) if object.bytes == expected && object.version == *version => Ok(()),
        _ => Err(StoreError::Unsuitable {
            address: store.describe(),
            what: "it does not show what was written last",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Op};

    fn layout() -> Layout {
        Layout::new("shop".parse().unwrap(), "production".parse().unwrap())
    }

    #[tokio::test]
    async fn a_good_store_passes_and_is_left_clean() {
        let store = MemoryStore::default();
        self_proof(&store, &layout()).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn each_ignored_condition_is_found_and_the_store_left_clean() {
        for (op, expected) in [
            (Op::Create, "created an object over"),
            (Op::Replace, "replaced an object that had changed"),
            (Op::Delete, "deleted an object that had changed"),
        ] {
            let store = MemoryStore::ignoring_conditions_of(op);
            let error = self_proof(&store, &layout()).await.unwrap_err();
            assert!(
                matches!(&error, StoreError::Unsuitable { what, .. } if what.contains(expected)),
                "{error}"
            );
            assert_eq!(store.list("").await.unwrap(), Vec::<String>::new(), "{op:?}");
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_unreachable_not_unsuitable() {
        for op in [Op::Create, Op::Replace, Op::Delete, Op::Get, Op::Head] {
            let store = MemoryStore::default();
            store.fail_next(op, 1);
            let error = self_proof(&store, &layout()).await.unwrap_err();
            assert!(matches!(error, StoreError::Unreachable { .. }), "{op:?}: {error}");
        }
    }
}
