//! `s3://<bucket>/<prefix>`: pure.

use kit_store::{Key, StoreError};

/// The store's own prefix and a key share the 1024 bytes that S3 allows; keys take up to 512.
const LONGEST_PREFIX_BYTES: usize = 400;

/// Where a store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The bucket.
    pub(crate) bucket: String,
    /// Empty, or ending in a slash: what every key in the bucket begins with.
    pub(crate) prefix: String,
}

impl Address {
    /// Reads an address. What it refuses it does not repeat: there may be credentials in it.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |message: String| {
            Err(StoreError::Address {
                message,
                hint: Some("for example s3://acme-deploys/shop; more in [store] of deploy.toml".to_owned()),
            })
        };
        let Some((_, rest)) = url.split_once("://") else {
            return wrong("an s3 address is written s3://<bucket>/<prefix>".to_owned());
        };
        if rest.contains('@') {
            return wrong(
                "an s3: address holds no credentials; they come from the chain of the AWS SDK".to_owned(),
            );
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return wrong(format!(
                "{bucket:?} is no name of a bucket: 3 to 63 lower-case letters, digits, '-' and '.'"
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        if prefix.len() > LONGEST_PREFIX_BYTES || prefix.parse::<Key>().is_err() {
            return wrong(format!(
                "the prefix of an s3: address is made of letters, digits, '.', '_' and '-' joined by '/', at \
                 most {LONGEST_PREFIX_BYTES} bytes"
            ));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }

    /// The name of an object in the bucket.
    pub(crate) fn object(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The address as people write it.
    pub(crate) fn shown(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        if prefix.is_empty() {
            format!("s3://{}", self.bucket)
        } else {
            format!("s3://{}/{prefix}", self.bucket)
        }
    }
}

/// The rules for buckets (S3, "Bucket naming rules"), as far as they concern the characters.
fn is_bucket(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        && ends(bytes.first())
        && ends(bytes.last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_how_they_are_shown() {
        for (url, bucket, prefix, shown) in [
            ("s3://acme-deploys", "acme-deploys", "", "s3://acme-deploys"),
            ("s3://acme-deploys/", "acme-deploys", "", "s3://acme-deploys"),
            ("S3://acme.deploys/a/b/", "acme.deploys", "a/b/", "s3://acme.deploys/a/b"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.bucket.as_str(), address.prefix.as_str()), (bucket, prefix), "{url}");
            assert_eq!(address.shown(), shown);
            assert_eq!(address.object("k/l"), format!("{prefix}k/l"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_credentials() {
        for bad in [
            "s3:acme",
            "s3://",
            "s3:///prefix",
            "s3://AKIA:hunter2@acme/x",
            "s3://Acme",
            "s3://ab",
            "s3://-acme",
            "s3://a..b",
            "s3://127.0.0.1/x",
            "s3://acme/a//b",
            "s3://acme/../b",
            "s3://acme/a b",
            "s3://acme/a?x=hunter2",
            &format!("s3://acme/{}", "a".repeat(401)),
        ] {
            let error = Address::parse(bad).unwrap_err();
            assert!(matches!(error, StoreError::Address { hint: Some(_), .. }), "{bad}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
