//! JSON Schemas of everything that is published.

use crate::{Artifact, Body, body, chain::ChainEntry, config};
use schemars::{JsonSchema, generate::SchemaSettings};

/// The schema of a type that is written as text of a certain form.
macro_rules! text_schema {
    ($type:ident, $pattern:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_schema;

/// One published schema.
pub struct SchemaDocument {
    /// File name below `schemas/`.
    pub file_name: String,
    /// The document.
    pub json: serde_json::Value,
}

/// The schemas of all artifacts, of chain entries and of `deploy.toml`.
pub fn schemas() -> Vec<SchemaDocument> {
    vec![
        artifact::<body::Deployment>(),
        artifact::<body::Preflight>(),
        artifact::<body::Readiness>(),
        artifact::<body::Begin>(),
        artifact::<body::Backup>(),
        artifact::<body::Migration>(),
        artifact::<body::Rollout>(),
        artifact::<body::Gate>(),
        artifact::<body::Smoke>(),
        artifact::<body::Record>(),
        artifact::<body::Rollback>(),
        artifact::<body::Restore>(),
        artifact::<body::Drill>(),
        artifact::<body::Notice>(),
        document::<ChainEntry>("chain.v1.json"),
        document::<body::ExternalAnswer>("external-backup.v1.json"),
        document::<config::File>("deploy.toml.v1.json"),
    ]
}

fn artifact<B: Body>() -> SchemaDocument {
    let mut schema = document::<Artifact<B>>(&format!("{}.v1.json", B::KIND));
    // The type says "some text"; the published schema says which.
    if let Some(field) = schema.json.pointer_mut("/properties/schema") {
        *field = serde_json::json!({
            "const": B::KIND.schema(),
            "description": "Kind and version of the shape.",
        });
    }
    schema
}

fn document<T: JsonSchema>(file_name: &str) -> SchemaDocument {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    SchemaDocument { file_name: file_name.to_owned(), json: schema.to_value() }
}

#[cfg(test)]
mod tests {
    use super::schemas;
    use crate::ArtifactKind;

    #[test]
    fn every_kind_has_a_valid_schema() {
        let documents = schemas();
        for &kind in ArtifactKind::ALL {
            let file = format!("{kind}.v1.json");
            assert!(documents.iter().any(|document| document.file_name == file), "{file} is missing");
        }
        for document in documents {
            jsonschema::meta::validate(&document.json)
                .unwrap_or_else(|error| panic!("{}: {error}", document.file_name));
        }
    }
}
