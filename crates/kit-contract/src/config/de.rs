//! Deserialises the position-keeping tree. Every error gets the place of the value it is about.

use super::error::ConfigError;
use super::tree::{Entry, Node, Position, Value};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

/// Adds the place to an error that has none yet, and the path segment in any case.
fn placed(mut error: ConfigError, at: Position, segment: Option<&str>) -> ConfigError {
    error.at.get_or_insert(at);
    if let Some(segment) = segment {
        error.path = match error.path.as_str() {
            "" => segment.to_owned(),
            path if path.starts_with('[') => format!("{segment}{path}"),
            path => format!("{segment}.{path}"),
        };
    }
    error
}

impl<'de> Deserializer<'de> for Node {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let at = self.at;
        match self.value {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), index: 0 }),
            Value::Table(entries) => visitor.visit_map(Entries { entries: entries.into_iter(), next: None }),
        }
        .map_err(|error| placed(error, at, None))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let at = self.at;
        visitor.visit_some(self).map_err(|error| placed(error, at, None))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let at = self.at;
        visitor.visit_newtype_struct(self).map_err(|error| placed(error, at, None))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let at = self.at;
        match self.value {
            // `percent = 5` is as good as `percent = 5.0`; i64 values of configuration size are exact.
            #[allow(clippy::cast_precision_loss)]
            Value::Integer(number) => {
                visitor.visit_f64(number as f64).map_err(|error| placed(error, at, None))
            }
            value => Self { value, at }.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let at = self.at;
        let result = match self.value {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            Value::Table(mut entries) if entries.len() == 1 => match entries.pop_first() {
                Some((tag, entry)) => visitor.visit_enum(Variant { tag, entry }),
                None => return Err(ConfigError::at("expected one key", at)),
            },
            _ => return Err(ConfigError::at("expected a string, or a table with exactly one key", at)),
        };
        result.map_err(|error| placed(error, at, None))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ConfigError> for Node {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

struct Items {
    items: std::vec::IntoIter<Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = ConfigError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConfigError> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let segment = format!("[{}]", self.index);
        self.index += 1;
        let at = node.at;
        seed.deserialize(node).map(Some).map_err(|error| placed(error, at, Some(&segment)))
    }
}

struct Entries {
    entries: std::collections::btree_map::IntoIter<String, Entry>,
    next: Option<(String, Node)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = ConfigError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        let Some((key, entry)) = self.entries.next() else { return Ok(None) };
        let key_node = Node { value: Value::String(key.clone()), at: entry.key_at };
        self.next = Some((key, entry.node));
        seed.deserialize(key_node).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ConfigError> {
        let (key, node) =
            self.next.take().ok_or_else(|| de::Error::custom("value asked for before its key"))?;
        let at = node.at;
        seed.deserialize(node).map_err(|error| placed(error, at, Some(&key)))
    }
}

struct Variant {
    tag: String,
    entry: Entry,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = ConfigError;
    type Variant = Content;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content), ConfigError> {
        let key = Node { value: Value::String(self.tag.clone()), at: self.entry.key_at };
        Ok((seed.deserialize(key)?, Content { tag: self.tag, node: self.entry.node }))
    }
}

struct Content {
    tag: String,
    node: Node,
}

impl<'de> VariantAccess<'de> for Content {
    type Error = ConfigError;
    fn unit_variant(self) -> Result<(), ConfigError> {
        Err(ConfigError::at(format!("{:?} takes no value", self.tag), self.node.at))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ConfigError> {
        let at = self.node.at;
        seed.deserialize(self.node).map_err(|error| placed(error, at, Some(&self.tag)))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ConfigError> {
        self.node.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let at = self.node.at;
        let tag = self.tag;
        self.node.deserialize_any(visitor).map_err(|error| placed(error, at, Some(&tag)))
    }
}
