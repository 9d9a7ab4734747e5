//! `secret_present:<VARIABLE>`: every secret that `deploy.toml` names is there and well-formed. Nothing of
//! its value is shown, not even its length.

use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use base64::Engine as _;
use kit_contract::config::{Config, SecretRef};
use std::sync::Arc;

/// What a secret is for, which settles what it must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The connection URL of a database.
    DatabaseUrl,
    /// The address of a channel.
    WebhookUrl,
    /// What signs a webhook.
    SigningSecret,
    /// Anything.
    Any,
}

/// One check per secret.
pub(crate) fn checks(world: &Arc<World>) -> Vec<Check> {
    let references: Vec<SecretRef> = world.cx.config().secret_refs().into_iter().cloned().collect();
    let check = |reference: SecretRef| {
        let id = format!("secret_present:{}", reference.env);
        let world = Arc::clone(world);
        Check::new(id, async move { look(&world, &reference) })
    };
    references.into_iter().map(check).collect()
}

fn look(world: &World, reference: &SecretRef) -> Finding {
    let name = &reference.env;
    let secret = match world.cx.secret_ref(reference) {
        Ok(secret) => secret,
        Err(error) => return error.into(),
    };
    let value = secret.expose();
    for shape in shapes(world.cx.config(), reference) {
        if let Err(problem) = fits(value.trim(), shape) {
            return Finding::fail(format!("{name} is set, but {problem}"))
                .hint(format!("look at what is stored as {name}; its value is never shown here"));
        }
    }
    if value.trim() != value {
        return Finding::warn(format!("{name} is set, with blanks or a line break around it"))
            .hint("store it again without them; most programs take them as part of the secret");
    }
    Finding::pass(format!("{name} is set"))
}

/// Everything that the file uses the secret for.
fn shapes(config: &Config, reference: &SecretRef) -> Vec<Shape> {
    let mut shapes = Vec::new();
    if config.databases.iter().any(|database| database.url == *reference) {
        shapes.push(Shape::DatabaseUrl);
    }
    if config.channels.iter().any(|channel| channel.url.as_ref() == Some(reference)) {
        shapes.push(Shape::WebhookUrl);
    }
    if config.channels.iter().any(|channel| channel.signing_secret.as_ref() == Some(reference)) {
        shapes.push(Shape::SigningSecret);
    }
    if shapes.is_empty() {
        shapes.push(Shape::Any);
    }
    shapes
}

/// What is wrong with it, without a word of it.
fn fits(value: &str, shape: Shape) -> Result<(), &'static str> {
    match shape {
        Shape::Any if value.is_empty() => Err("holds nothing but blanks"),
        Shape::Any => Ok(()),
        Shape::DatabaseUrl => match url::Url::parse(value) {
            Ok(_) => Ok(()),
            Err(_) => Err("is no URL; a database is named as sqlite:<path>, for example"),
        },
        Shape::WebhookUrl => webhook(value),
        Shape::SigningSecret => match value.strip_prefix("whsec_") {
            Some(encoded) if base64::engine::general_purpose::STANDARD.decode(encoded).is_err() => {
                Err("starts with whsec_, and the rest is not base64")
            }
            Some("") => Err("holds no key after whsec_"),
            None if value.is_empty() => Err("holds nothing but blanks"),
            _ => Ok(()),
        },
    }
}

/// As `notify` takes it: https, or http on this machine.
fn webhook(value: &str) -> Result<(), &'static str> {
    let url = url::Url::parse(value).map_err(|_| "is no address; write it in full, https://…")?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("is an address without a host"),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        _ => Err("is not an https address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_judged_without_showing_the_value() {
        for (value, shape, good) in [
            ("x", Shape::Any, true),
            ("", Shape::Any, false),
            ("sqlite:shop.db", Shape::DatabaseUrl, true),
            ("postgres://u:hunter2@db/shop", Shape::DatabaseUrl, true),
            ("hunter2", Shape::DatabaseUrl, false),
            ("https://hooks.example/hunter2", Shape::WebhookUrl, true),
            ("http://127.0.0.1:1/hunter2", Shape::WebhookUrl, true),
            ("http://[::1]:1/", Shape::WebhookUrl, true),
            ("http://hooks.example/hunter2", Shape::WebhookUrl, false),
            ("hooks.example/hunter2", Shape::WebhookUrl, false),
            ("mailto:hunter2@example.com", Shape::WebhookUrl, false),
            ("whsec_AAECAwQFBgcICQ==", Shape::SigningSecret, true),
            ("whsec_hunter2!", Shape::SigningSecret, false),
            ("whsec_", Shape::SigningSecret, false),
            ("any text", Shape::SigningSecret, true),
            ("", Shape::SigningSecret, false),
        ] {
            let seen = fits(value, shape);
            assert_eq!(seen.is_ok(), good, "{value} {shape:?}: {seen:?}");
            assert!(!seen.err().unwrap_or_default().contains("hunter2"));
        }
    }

    #[test]
    fn a_secret_is_judged_by_everything_it_is_used_for() {
        let text = "app = \"a\"\n[[databases]]\nname = \"db\"\nurl = { env = \"A\" }\n[[channels]]\nname = \"c\"\nkind \
                    = \"webhook\"\nurl = { env = \"A\" }\nsigning_secret = { env = \"B\" }\n[preflight]\nsecrets = \
                    [{ env = \"C\" }]";
        let config = Config::parse(text, &"production".parse().unwrap()).unwrap();
        let shapes_of = |name: &str| shapes(&config, &SecretRef { env: name.to_owned() });
        assert_eq!(shapes_of("A"), [Shape::DatabaseUrl, Shape::WebhookUrl]);
        assert_eq!(shapes_of("B"), [Shape::SigningSecret]);
        assert_eq!(shapes_of("C"), [Shape::Any]);
    }
}
