//! What the router keeps, and which changes it accepts. Pure.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// One process that serves a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backend {
    /// `http://host:port`, without a path.
    pub(crate) url: String,
    pub(crate) version: Option<String>,
}

/// Where the requests of one service go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) stable: Option<Backend>,
    pub(crate) canary: Option<Backend>,
    pub(crate) canary_percent: u8,
}

/// By service name.
pub(crate) type Routes = BTreeMap<String, Route>;

/// A change to one service. What is absent stays; `null` takes a backend away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patch {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) stable: Option<Option<Backend>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<Option<Backend>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary_percent: Option<u8>,
}

/// Tells `null` (take it away) from absent (leave it).
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Backend>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Why a change is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no service {0:?}; give it a stable backend to create it")]
    UnknownService(String),
    #[error("service {0:?}: {1}")]
    Invalid(String, String),
    #[error("service {0:?}: {1} % to the canary, but there is no canary")]
    NoCanary(String, u8),
}

/// The routes with all patches applied, or why not one of them is.
pub(super) fn apply(routes: &Routes, patches: BTreeMap<String, Patch>) -> Result<Routes, Refusal> {
    let mut after = routes.clone();
    for (name, patch) in patches {
        let known = routes.get(&name).cloned();
        let creates = matches!(patch.stable, Some(Some(_)));
        let mut route = match known {
            Some(route) => route,
            None if creates => Route::default(),
            None => return Err(Refusal::UnknownService(name)),
        };
        merge(&mut route, patch);
        check(&name, &route)?;
        after.insert(name, route);
    }
    Ok(after)
}

/// Whether routes read from a file are such as [`apply`] makes.
pub(super) fn check_all(routes: &Routes) -> Result<(), Refusal> {
    routes.iter().try_for_each(|(name, route)| check(name, route))
}

fn merge(route: &mut Route, patch: Patch) {
    if let Some(stable) = patch.stable {
        route.stable = stable;
    }
    if let Some(canary) = patch.canary {
        route.canary = canary;
    }
    if let Some(percent) = patch.canary_percent {
        route.canary_percent = percent;
    }
}

fn check(name: &str, route: &Route) -> Result<(), Refusal> {
    let invalid = |message: String| Refusal::Invalid(name.to_owned(), message);
    if name.is_empty() || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Err(invalid("the name must be of a-z, 0-9 and '-'".to_owned()));
    }
    for backend in [&route.stable, &route.canary].into_iter().flatten() {
        if !is_origin(&backend.url) {
            return Err(invalid(format!("{:?} is not of the form http://host:port", backend.url)));
        }
    }
    if route.canary_percent > 100 {
        return Err(invalid(format!("{} is not a percentage from 0 to 100", route.canary_percent)));
    }
    if route.canary_percent > 0 && route.canary.is_none() {
        return Err(Refusal::NoCanary(name.to_owned(), route.canary_percent));
    }
    Ok(())
}

/// The path of a request is appended, so the URL must end after host and port.
fn is_origin(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| url.scheme() == "http" && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(json: &str) -> BTreeMap<String, Patch> {
        serde_json::from_str(json).unwrap()
    }

    fn start() -> Routes {
        let both = r#"{"a": {"stable": {"url": "http://127.0.0.1:1", "version": "1.0.0"}},
            "b": {"stable": {"url": "http://127.0.0.1:2", "version": null},
                  "canary": {"url": "http://127.0.0.1:3", "version": "2.0.0"}}}"#;
        apply(&Routes::new(), patches(both)).unwrap()
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let after = apply(&start(), patches(r#"{"b": {"canary_percent": 5}}"#)).unwrap();
        assert_eq!(after["b"].canary_percent, 5);
        assert_eq!((&after["b"].stable, &after["a"]), (&start()["b"].stable, &start()["a"]));
        let after = apply(&after, patches(r#"{"b": {"canary": null, "canary_percent": 0}}"#)).unwrap();
        assert_eq!(after["b"].canary, None);
    }

    #[test]
    fn bad_changes_are_refused_with_their_reason() {
        for (json, reason) in [
            (r#"{"b": {"canary_percent": 5}, "a": {"canary_percent": 5}}"#, "there is no canary"),
            (r#"{"c": {"canary_percent": 0}}"#, "no service \"c\""),
            (r#"{"c": {"stable": null}}"#, "no service \"c\""),
            (r#"{"b": {"canary_percent": 101}}"#, "not a percentage"),
            (r#"{"a": {"stable": {"url": "http://127.0.0.1:1/x", "version": null}}}"#, "http://host:port"),
            (r#"{"a": {"stable": {"url": "file:///x", "version": null}}}"#, "http://host:port"),
            (r#"{"A/": {"stable": {"url": "http://127.0.0.1:1", "version": null}}}"#, "a-z"),
        ] {
            let refusal = apply(&start(), patches(json)).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{json}: {refusal}");
        }
    }

    #[test]
    fn a_canary_with_traffic_cannot_be_taken_away() {
        let running = apply(&start(), patches(r#"{"b": {"canary_percent": 5}}"#)).unwrap();
        let refused = apply(&running, patches(r#"{"b": {"canary": null}}"#)).unwrap_err();
        assert_eq!(refused, Refusal::NoCanary("b".to_owned(), 5));
    }
}
