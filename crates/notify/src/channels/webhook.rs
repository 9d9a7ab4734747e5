//! A generic webhook, as Standard Webhooks 1.0 says (standardwebhooks.com, "Spec"): body, id, signature.

use super::{event_word, fit, fit_lines};
use crate::message::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kit_contract::Sha256 as Digest;
use kit_core::Secret;
use serde_json::json;
use std::collections::BTreeMap;

/// The specification asks for less than 20 KB; text may take two bytes and more per unit.
const LINES_LIMIT: usize = 5000;
const LINE_LIMIT: usize = 1000;
const PREFIX: &str = "whsec_";

/// The request body: the same bytes at every try, since they are signed.
pub(crate) fn payload(message: &Message) -> serde_json::Value {
    json!({
        "type": format!("deploy-kit.{}", event_word(message.event)),
        "timestamp": message.at,
        "data": {
            "app": message.app,
            "environment": message.environment,
            "deployment_id": message.deployment_id,
            "version": message.version.as_deref().map(|version| fit(version, LINE_LIMIT, whole)),
            "reason": message.reason,
            "title": fit(&message.title, LINE_LIMIT, whole),
            "lines": fit_lines(&message.lines, LINE_LIMIT, LINES_LIMIT, whole),
            "url": message.url.as_deref().filter(|url| url.len() <= LINE_LIMIT),
            "rollback_until": message.rollback_until,
        }
    })
}

/// JSON escapes for itself.
const fn whole(_: char) -> Option<&'static str> {
    None
}

/// The id of a message to a channel: the same at every try and in every run of `notify`, so that the
/// receiver can tell that it has it already. The same event of a later attempt is another message.
pub(crate) fn id(message: &Message, channel: &kit_contract::Name) -> String {
    let Message { app, environment, deployment_id, attempt, event, .. } = message;
    let text = format!("{app}/{environment}/{deployment_id}/{attempt}/{}/{channel}", event_word(*event));
    let digest = Digest::of(text.as_bytes()).to_string();
    format!("msg_{}", digest.get(..32).unwrap_or(&digest))
}

/// The key behind a signing secret: `whsec_` and base64, or any other text as it is.
///
/// # Errors
/// If it starts with `whsec_` and the rest is no base64. The message never holds the secret.
pub(crate) fn key(secret: &Secret) -> Result<Vec<u8>, &'static str> {
    let text = secret.expose().trim();
    let bytes = match text.strip_prefix(PREFIX) {
        None => text.as_bytes().to_vec(),
        Some(encoded) => {
            STANDARD.decode(encoded).map_err(|_| "starts with whsec_, but the rest is not base64")?
        }
    };
    if bytes.is_empty() { Err("holds no key") } else { Ok(bytes) }
}

/// The headers of one try at `now_s`, in Unix seconds. Without a key there is no signature.
pub(crate) fn headers(id: &str, now_s: i64, body: &str, key: Option<&[u8]>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::from([
        ("content-type".to_owned(), "application/json".to_owned()),
        ("webhook-id".to_owned(), id.to_owned()),
        ("webhook-timestamp".to_owned(), now_s.to_string()),
    ]);
    if let Some(signature) = key.and_then(|key| sign(key, id, now_s, body)) {
        headers.insert("webhook-signature".to_owned(), signature);
    }
    headers
}

/// `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`.
fn sign(key: &[u8], id: &str, now_s: i64, body: &str) -> Option<String> {
    // HMAC takes keys of any length, so this is never `None`.
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{now_s}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let headers = headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            Some(&key(&secret).unwrap()),
        );
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
    }

    /// HMAC-SHA256 by its definition (RFC 2104), from the hash alone.
    fn hmac_by_definition(key: &[u8], text: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        let mut block = [0_u8; 64];
        if key.len() > 64 {
            block[..32].copy_from_slice(&sha2::Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let pad = |byte: u8| block.iter().map(|part| part ^ byte).collect::<Vec<u8>>();
        let inner = sha2::Sha256::digest([pad(0x36), text.to_vec()].concat());
        sha2::Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
    }

    #[test]
    fn any_text_is_a_key_and_the_formula_holds() {
        for secret in ["s3cret", &"long".repeat(40), "whsec_AAECAwQFBgcICQ=="] {
            let key = key(&Secret::new(secret)).unwrap();
            let mac = hmac_by_definition(&key, b"msg_1.1700000000.{}");
            let expected = format!("v1,{}", STANDARD.encode(mac));
            assert_eq!(headers("msg_1", 1_700_000_000, "{}", Some(&key))["webhook-signature"], expected);
        }
        assert!(!headers("msg_1", 0, "{}", None).contains_key("webhook-signature"));
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_being_shown() {
        assert_eq!(
            key(&Secret::new("whsec_not base64!")),
            Err("starts with whsec_, but the rest is not base64")
        );
        assert_eq!(key(&Secret::new("whsec_")), Err("holds no key"));
        assert_eq!(key(&Secret::new("  ")), Err("holds no key"));
    }
}
