//! From an address to a store.

use crate::{FileStore, Store, StoreError};
use async_trait::async_trait;
use kit_contract::config::{StoreConfig, nearest};
use kit_core::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "file";
/// Schemes that exist but need a crate which not every step links.
const ELSEWHERE: [&str; 1] = ["s3"];

/// Opens stores of one more kind. A step hands in those that it was built with.
#[async_trait]
pub trait Opener: Send + Sync {
    /// The scheme of their addresses, for example `s3`.
    fn scheme(&self) -> &'static str;

    /// Opens the store at `url`, which has that scheme; `config` says the rest, its own `url` aside.
    ///
    /// # Errors
    /// If the address is wrong, or the store cannot be reached.
    async fn open(&self, url: &str, config: &StoreConfig, cx: &Context)
    -> Result<Arc<dyn Store>, StoreError>;
}

/// Opens the store at `flag`, or at the `url` of the configuration if there is no flag: `file:<folder>`
/// (relative to `base`), or an address that one of `extra` can open. In CI a folder is refused unless
/// `persistent` says that it outlives the job.
///
/// # Errors
/// [`StoreError::NotPersistent`], [`StoreError::Unsupported`], [`StoreError::Address`], or what the
/// opener says.
pub async fn open(
    flag: Option<&str>,
    config: &StoreConfig,
    cx: &Context,
    base: &Path,
    extra: &[&dyn Opener],
) -> Result<Arc<dyn Store>, StoreError> {
    let url = flag.unwrap_or(&config.url);
    let scheme = scheme_of(url, extra)?;
    if scheme == FILE {
        let folder = folder_of(url)?;
        if cx.env.in_ci() && !config.persistent {
            return Err(StoreError::NotPersistent { address: format!("{FILE}:{}", folder.display()) });
        }
        return Ok(Arc::new(FileStore::new(base.join(folder))));
    }
    match extra.iter().find(|opener| opener.scheme() == scheme) {
        Some(opener) => opener.open(url, config, cx).await,
        None => Err(StoreError::Unsupported { scheme }),
    }
}

/// The scheme, if there is such a kind of store. Messages show the scheme alone: what follows it may
/// hold credentials.
fn scheme_of(url: &str, extra: &[&dyn Opener]) -> Result<String, StoreError> {
    let mut known: Vec<&str> = std::iter::once(FILE).chain(ELSEWHERE).collect();
    known.extend(extra.iter().map(|opener| opener.scheme()));
    known.sort_unstable();
    known.dedup();
    let allowed = known.iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(" or ");
    let Some((scheme, _)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Err(StoreError::Address {
            message: format!("the store's address must begin with {allowed}"),
            hint: Some("for a folder write file:<folder>, for example file:.deploy-kit/store".to_owned()),
        });
    };
    let scheme = scheme.to_ascii_lowercase();
    if known.contains(&scheme.as_str()) {
        return Ok(scheme);
    }
    Err(StoreError::Address {
        message: format!("there are no {scheme}: stores; the address must begin with {allowed}"),
        hint: nearest(&scheme, &known).map(|near| format!("did you mean {near}:?")),
    })
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// `file:folder`, `file:/folder` and `file:///folder` (RFC 8089, with relative folders added).
fn folder_of(url: &str) -> Result<PathBuf, StoreError> {
    let path = url.split_once(':').map_or("", |(_, path)| path);
    let wrong = |message: &str, hint: &str| {
        Err(StoreError::Address { message: message.to_owned(), hint: Some(hint.to_owned()) })
    };
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => {
            return wrong(
                "a file: address with two slashes names a host",
                "write file:<folder> or file:///<folder>",
            );
        }
        None => path,
    };
    if path.is_empty() {
        return wrong("the address file: names no folder", "for example file:.deploy-kit/store");
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use kit_core::Env;

    struct Remote;

    #[async_trait]
    impl Opener for Remote {
        fn scheme(&self) -> &'static str {
            "s3"
        }
        async fn open(&self, _: &str, _: &StoreConfig, _: &Context) -> Result<Arc<dyn Store>, StoreError> {
            Ok(Arc::new(MemoryStore::default()))
        }
    }

    async fn address(
        url: &str,
        persistent: bool,
        env: &Env,
        extra: &[&dyn Opener],
    ) -> Result<String, StoreError> {
        let (cx, _) = Context::for_test(env.clone());
        let config = StoreConfig { url: url.to_owned(), persistent, ..StoreConfig::default() };
        open(None, &config, &cx, Path::new("/base"), extra).await.map(|store| store.describe())
    }

    #[tokio::test]
    async fn folders_and_their_forms() {
        let laptop = Env::default();
        for (url, expected) in [
            ("file:.deploy-kit/store", "file:/base/.deploy-kit/store"),
            ("file:/srv/store", "file:/srv/store"),
            ("file:///srv/store", "file:/srv/store"),
            ("FILE:store", "file:/base/store"),
        ] {
            assert_eq!(address(url, false, &laptop, &[]).await.unwrap(), expected);
        }
        for bad in ["file:", "file://", "file://host/store", "file://store"] {
            let error = address(bad, false, &laptop, &[]).await.unwrap_err();
            assert!(matches!(error, StoreError::Address { .. }), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn the_flag_stands_above_the_configuration() {
        let (cx, _) = Context::for_test(Env::default());
        let config = StoreConfig { url: "file:configured".to_owned(), ..StoreConfig::default() };
        for (flag, expected) in [(None, "file:/base/configured"), (Some("file:flag"), "file:/base/flag")] {
            let store = open(flag, &config, &cx, Path::new("/base"), &[]).await.unwrap();
            assert_eq!(store.describe(), expected);
        }
    }

    #[tokio::test]
    async fn a_folder_in_ci_must_be_said_to_persist() {
        for env in [Env::from([("CI", "true")]), Env::from([("GITHUB_ACTIONS", "true")])] {
            let error = address("file:store", false, &env, &[]).await.unwrap_err();
            assert!(matches!(error, StoreError::NotPersistent { .. }), "{error}");
            assert!(error.hint().unwrap().contains("store.persistent = true"));
            assert_eq!(address("file:store", true, &env, &[]).await.unwrap(), "file:/base/store");
        }
    }

    #[tokio::test]
    async fn other_schemes_need_their_opener() {
        let env = Env::from([("CI", "true")]);
        let url = "s3://key:hunter2@bucket/prefix";
        let error = address(url, false, &env, &[]).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unsupported { scheme } if scheme == "s3"), "{error}");
        assert_eq!(address(url, false, &env, &[&Remote]).await.unwrap(), "memory:");
        for (bad, hint) in [
            ("fiel:store", "did you mean file:?"),
            ("s4://key:hunter2@bucket", "did you mean s3:?"),
            ("./store", "for a folder write file:<folder>, for example file:.deploy-kit/store"),
            ("", "for a folder write file:<folder>, for example file:.deploy-kit/store"),
        ] {
            let error = address(bad, false, &env, &[]).await.unwrap_err();
            assert_eq!(error.hint().as_deref(), Some(hint), "{bad}");
            assert!(error.to_string().contains("file: or s3:"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
