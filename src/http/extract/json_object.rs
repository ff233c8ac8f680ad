//! Deserialization of JSON objects from objects only.
//!
//! Derived implementations also accept a list with the fields in order. No client means that, and the API description
//! does not allow it. Bodies are read as an [`Object`]; fields that hold objects use one of the functions here.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that is deserialized from a JSON object only.
#[derive(Debug)]
pub(in crate::http) struct Object<T>(pub(in crate::http) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Deserializes a field that holds an object.
pub(in crate::http) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// Deserializes a field that holds an object or null.
pub(in crate::http) fn object_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// Deserializes a list of objects.
pub(in crate::http) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|Object(value)| value).collect())
}

/// Deserializes a map of objects; null means an empty map.
pub(in crate::http) fn named_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let named = Option::<BTreeMap<String, Object<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(named.into_iter().map(|(name, Object(value))| (name, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        #[serde(default)]
        name: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Kind {
        Named { name: String },
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Whole {
        #[serde(deserialize_with = "object_or_null")]
        one: Option<Part>,
        #[serde(deserialize_with = "objects")]
        many: Vec<Kind>,
        #[serde(deserialize_with = "named_objects")]
        named: BTreeMap<String, Part>,
    }

    fn read(text: &str) -> Result<Whole, String> {
        serde_json::from_str::<Object<Whole>>(text)
            .map(|Object(whole)| whole)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_rejected_in_place_of_objects() {
        for text in [
            "[]",
            "[null, [], {}]",
            "null",
            r#"{"one": []}"#,
            r#"{"one": [null]}"#,
            r#"{"many": [["named", {"name": "a"}]]}"#,
            r#"{"named": {"a": []}}"#,
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("expected an object"), "{text}: {refused}");
        }
    }

    #[test]
    fn objects_are_accepted() {
        assert_eq!(read(r#"{"named": null, "more": []}"#), Ok(Whole::default()));
        let part = |name: &str| Part { name: Some(name.to_owned()) };
        let whole = Whole {
            one: Some(part("a")),
            many: vec![Kind::Named { name: "b".to_owned() }],
            named: [("c".to_owned(), part("d"))].into(),
        };
        let text = r#"{"one": {"name": "a"}, "many": [{"type": "named", "name": "b"}], "named": {"c": {"name": "d"}}}"#;
        assert_eq!(read(text), Ok(whole));
    }
}
