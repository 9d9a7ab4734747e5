//! A secret: a text that cannot be printed.

use secrecy::{ExposeSecret as _, SecretString};

/// A text that cannot be printed, compared or serialised by accident. Zeroed when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps `value`. Whoever makes a secret also lets the redactor learn it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value, for the one call that hands it to the outside system.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}
