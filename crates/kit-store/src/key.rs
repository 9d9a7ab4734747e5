//! Keys: where an object lies in a store.

/// Longest key. S3 allows 1024 bytes, of which the store's own prefix takes some.
const LONGEST_BYTES: usize = 512;

/// The key of an object, relative to the store: segments of `[A-Za-z0-9._-]+` joined by `/`, at most
/// 512 bytes. No segment starts with a dot: that rules out `..`, and leaves such names to the store's
/// own files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// The text is not a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a key: use segments of letters, digits, '.', '_' and '-' joined by '/', none of them \
     empty or starting with '.', at most 512 bytes"
)]
pub struct KeyError(String);

impl KeyError {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

impl Key {
    /// A key made only of parts that are valid by their type, and short.
    pub(crate) fn of_valid_parts(text: String) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "{text:?}");
        Self(text)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() <= LONGEST_BYTES && text.split('/').all(is_segment) {
            return Ok(Self(text));
        }
        Err(KeyError::of(&text))
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Checks the beginning of a key, as `list` takes it: a key whose last segment may be cut or empty.
/// The empty text is the beginning of every key.
///
/// # Errors
/// If no key begins like this.
pub fn check_prefix(prefix: &str) -> Result<(), KeyError> {
    let (folders, last) = match prefix.rsplit_once('/') {
        Some((folders, last)) => (Some(folders), last),
        None => (None, prefix),
    };
    let folders_fit = folders.is_none_or(|folders| folders.split('/').all(is_segment));
    let last_fits = last.is_empty() || is_segment(last);
    if prefix.len() <= LONGEST_BYTES && folders_fit && last_fits {
        return Ok(());
    }
    Err(KeyError::of(prefix))
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_strict() {
        for good in ["a", "shop/production/head.json", "A_b-c.d/0", &"a".repeat(512)] {
            assert!(good.parse::<Key>().is_ok(), "{good}");
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", ".lock", "a/.tmp1", "a b", "a\\b", "ä", &"a".repeat(513)]
        {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
        for good in ["", "a/", "shop/production/backup-", "a/b"] {
            assert_eq!(check_prefix(good), Ok(()), "{good}");
        }
        for bad in ["/", "../", "a//", ".", "a/..", "a b/"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_key_never_leaves_the_store(text in "[a./_-]{0,12}") {
            if let Ok(key) = text.parse::<Key>() {
                let path = std::path::Path::new(key.as_str());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
