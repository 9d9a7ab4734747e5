//! Where a database engine's own programs are.

use super::ConfigError;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where programs are that are not simply installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tools {
    /// In this folder.
    Folder(String),
    /// In an image: each runs in a container of its own.
    Image(ToolsImage),
}

/// An image that has programs in it, and what runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsImage {
    /// Its name: `postgres:16`, or, so that nobody can change it, `postgres@sha256:…`.
    pub image: String,
    /// The program that runs containers. Absent: `docker` if that is installed, else `podman`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<ContainerEngine>,
}

/// A program that runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl ContainerEngine {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// What the program is called.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl Tools {
    pub(super) fn check(&self, path: &str) -> Result<(), ConfigError> {
        let Self::Image(tools) = self else { return Ok(()) };
        let Some(problem) = problem(&tools.image) else { return Ok(()) };
        let message =
            format!("{:?} is no name of an image ({problem}): use one like \"postgres:16\"", tools.image);
        Err(ConfigError::rule(format!("{path}.image"), message))
    }
}

/// What is wrong with a reference, by the grammar of github.com/distribution/reference as far as it keeps one from
/// being something else on a command line.
fn problem(image: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    let (last, tag) = last.split_once(':').unwrap_or((last, "latest"));
    if image.is_empty() {
        return Some("it is empty");
    }
    if !image.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Some("it begins with no letter and no digit");
    }
    if !image.bytes().all(allowed) {
        return Some("only letters, digits and . _ - / : @ may be in it");
    }
    if last.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some("names of images are lower-case");
    }
    if last.is_empty() || tag.is_empty() || tag.contains(':') {
        return Some("a name or a tag is missing");
    }
    let is_digest = |digest: &str| {
        digest.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    digest.filter(|digest| !is_digest(digest)).map(|_| "a digest is sha256: and 64 digits")
}

impl Serialize for Tools {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Folder(folder) => serializer.serialize_str(folder),
            Self::Image(image) => image.serialize(serializer),
        }
    }
}

/// By hand, because an untagged enum forgets which key was wrong.
impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToolsVisitor)
    }
}

struct ToolsVisitor;

impl<'de> Visitor<'de> for ToolsVisitor {
    type Value = Tools;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a folder, or { image = \"…\" }")
    }

    fn visit_str<E: Error>(self, folder: &str) -> Result<Tools, E> {
        Ok(Tools::Folder(folder.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tools, A::Error> {
        ToolsImage::deserialize(MapAccessDeserializer::new(map)).map(Tools::Image)
    }
}

impl JsonSchema for Tools {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tools".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let image = generator.subschema_for::<ToolsImage>();
        schemars::json_schema!({
            "description": "Where programs are that are not simply installed: a folder, or an image.",
            "anyOf": [{ "type": "string" }, image],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn names_of_images() {
        let digest = format!("postgres@sha256:{}", "0a".repeat(32));
        for image in [
            "postgres",
            "postgres:16",
            "docker.io/library/postgres:16-alpine",
            "Registry.internal:5000/db/tools:1.2_3",
            "localhost:5000/tools",
            &digest,
        ] {
            assert_eq!(problem(image), None, "{image}");
        }
        for (image, expected) in [
            ("", "empty"),
            ("--privileged", "begins with"),
            ("postgres:16 sh", "only letters"),
            ("postgres:$TAG", "only letters"),
            ("postgres:16\n", "only letters"),
            ("Postgres:16", "lower-case"),
            ("postgres:", "a tag is missing"),
            ("a/", "a name or a tag"),
            ("postgres:1:2", "a tag is missing"),
            ("postgres@sha256:12", "64 digits"),
            ("postgres@md5:12", "64 digits"),
        ] {
            assert!(
                problem(image).is_some_and(|said| said.contains(expected)),
                "{image}: {:?}",
                problem(image)
            );
        }
    }
}
