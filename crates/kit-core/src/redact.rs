//! What must never be shown, and how it is taken out of a text.

use base64::Engine as _;
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

/// What a secret is replaced with.
const SHOWN: &str = "***";
/// Shorter values would take innocent text apart and reveal themselves by the holes they leave.
const SHORTEST: usize = 4;

/// Knows every secret of the process, also in the forms in which secrets travel: line by line,
/// base64, percent-encoded, JSON-escaped. Clones share their knowledge.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<String>>>);

impl Redactor {
    /// Learns a secret. Values shorter than four bytes are not learnt.
    pub fn learn(&self, secret: &str) {
        let mut forms = BTreeSet::new();
        for part in std::iter::once(secret).chain(secret.lines()) {
            add_forms(part.trim(), &mut forms);
        }
        let Ok(mut known) = self.0.write() else { return };
        let fresh: Vec<String> = forms.into_iter().filter(|form| !known.contains(form)).collect();
        known.extend(fresh);
        // Longest first: a secret that holds another one must go as a whole.
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }

    /// Learns the password of a URL, decoded and as written, where there is one.
    pub fn learn_url(&self, text: &str) {
        self.learn(text);
        if let Ok(url) = url::Url::parse(text)
            && let Some(password) = url.password()
        {
            self.learn(password);
            self.learn(&percent_decode(password));
        }
    }

    /// The text with every known secret replaced.
    pub fn redact(&self, text: &str) -> String {
        let Ok(known) = self.0.read() else {
            // A writer panicked while it held the lock; what is known may be incomplete.
            return SHOWN.to_owned();
        };
        let mut shown = text.to_owned();
        for secret in known.iter().filter(|secret| text.contains(secret.as_str())) {
            shown = shown.replace(secret, SHOWN);
        }
        shown
    }
}

fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    if secret.len() < SHORTEST {
        return;
    }
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let path: String = percent.replace('+', "%20");
    let escaped = secret.escape_default().to_string();
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    forms.extend([secret.to_owned(), percent, path, escaped, json]);
    forms.insert(base64::engine::general_purpose::STANDARD.encode(secret));
    // Inside a longer base64 text the secret may start at any of three offsets; the characters that
    // depend on its neighbours are left out.
    for shift in 0..3_usize {
        let mut padded = vec![0_u8; shift];
        padded.extend_from_slice(secret.as_bytes());
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&padded);
        let first = (shift * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        if let Some(core) = encoded.get(first..last).filter(|core| core.len() >= 8) {
            forms.insert(core.to_owned());
        }
    }
}

fn percent_decode(text: &str) -> String {
    // `x=` keeps the parser from seeing a name; plus signs stay plus signs.
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Shows how many secrets are known, never which.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.read().map(|known| known.len()).unwrap_or_default();
        write!(f, "Redactor({count} forms)")
    }
}

#[cfg(test)]
mod tests {
    use super::Redactor;
    use base64::Engine as _;
    use proptest::prelude::*;

    #[test]
    fn forms_in_which_secrets_travel() {
        let redactor = Redactor::default();
        redactor.learn("p@ss word\"1");
        redactor.learn_url("postgres://user:s%40cret%21@db/shop");
        for text in [
            "p@ss word\"1",
            "p%40ss+word%221",
            "p%40ss%20word%221",
            r#"{"password":"p@ss word\"1"}"#,
            "cEBzcyB3b3JkIjE=",
            "s%40cret%21",
            "s@cret!",
        ] {
            let shown = redactor.redact(text);
            assert!(shown.contains("***"), "{text} -> {shown}");
            for bare in ["ss word", "ss+word", "cret"] {
                assert!(!shown.contains(bare), "{text} -> {shown}");
            }
        }
    }

    #[test]
    fn longest_first_and_short_values_left_alone() {
        let redactor = Redactor::default();
        redactor.learn("5");
        redactor.learn("hunter");
        redactor.learn("hunter2hunter");
        assert_eq!(redactor.redact("stage=5 hunter2hunter"), "stage=5 ***");
    }

    #[test]
    fn every_line_of_a_key_counts() {
        let redactor = Redactor::default();
        redactor.learn("-----BEGIN KEY-----\nAAAABBBB\n-----END KEY-----\n");
        assert_eq!(redactor.redact("x AAAABBBB y"), "x *** y");
    }

    proptest! {
        #[test]
        fn a_secret_is_never_shown_inside_base64(secret in "[a-zA-Z0-9]{12,40}", before in "[a-z]{0,7}", after in "[a-z]{0,7}") {
            let redactor = Redactor::default();
            redactor.learn(&secret);
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{before}{secret}{after}"));
            prop_assert!(redactor.redact(&encoded).contains("***"));
        }
    }
}
