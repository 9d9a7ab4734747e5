//! `image_present:<n>`: the n-th image that is said to be built already is in its registry; its digest is kept,
//! because a tag may move.

use super::endpoint_reachable::LIMIT;
use crate::args::GoArgs;
use crate::finding::Finding;
use crate::run::Check;
use crate::world::World;
use base64::Engine as _;
use kit_contract::body::Image;
use kit_contract::{Reason, Sha256};
use kit_core::{Secret, StepError};
use kit_probe::{Answer, Options, Outcome, Prober, Request};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a registry may answer with: an image, or a list of images by platform.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// Where an image lies. Rules of `distribution/reference`: the first part is a host if it looks like one.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// With scheme.
    registry: String,
    repository: String,
    /// A tag or a digest.
    reference: String,
}

/// One check per image.
pub(crate) fn checks(world: &Arc<World>, args: &GoArgs) -> Vec<Check> {
    let check = |(index, image): (usize, &String)| {
        let (world, image, name) = (Arc::clone(world), image.clone(), args.registry_username.clone());
        Check::new(format!("image_present:{}", index + 1), async move {
            match look(&world, index, &image, name.as_deref()).await {
                Ok(finding) => finding,
                Err(error) => error.into(),
            }
        })
    };
    args.image.iter().filter(|image| !image.trim().is_empty()).enumerate().map(check).collect()
}

async fn look(world: &World, index: usize, text: &str, name: Option<&str>) -> Result<Finding, StepError> {
    let mut image = text.trim().to_owned();
    if let Some(deployment) = &world.deployment {
        image = image.replace("{version}", &deployment.version.to_string()).replace("{tag}", &deployment.tag);
    }
    let place = place(&image)?;
    let prober = Prober::new(world.cx.context(), Options::default())?;
    let url = format!("{}/v2/{}/manifests/{}", place.registry, place.repository, place.reference);
    let mut answer = ask(&prober, &url, None).await?;
    if answer.status == 401 {
        let password = world.cx.secret("registry-password");
        let login = name.zip(password.as_ref()).map(|(name, password)| basic(name, password));
        if let Some(authorization) = authorize(&prober, &answer, &place, login.as_deref()).await? {
            answer = ask(&prober, &url, Some(&authorization)).await?;
        }
    }
    Ok(match answer.status {
        200 if !answer.body_truncated => {
            let digest = format!("sha256:{}", Sha256::of(&answer.body));
            world.found(index, Image { image: image.clone(), digest: digest.clone() });
            Finding::pass(format!("{image} is there: {digest}"))
        }
        404 => Finding::fail(format!("{image} is not in its registry"))
            .hint("is it built and pushed before this deploy starts? build-command builds it within the deploy"),
        401 | 403 => Finding::unavailable(format!("the registry of {image} answered {}", answer.status))
            .hint("registry-username and registry-password are who asks; without them, only public images are seen"),
        status => Finding::unavailable(format!("the registry of {image} answered {status}")),
    })
}

fn place(image: &str) -> Result<Place, StepError> {
    let wrong = || {
        StepError::new(Reason::UsageError, format!("image {image:?} is no name of an image"))
            .hint("for example ghcr.io/azora/shop:{version}")
    };
    let (name, reference) = match image.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        },
    };
    let looks_like_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let (host, repository) = match name.split_once('/') {
        Some((host, rest)) if looks_like_host(host) => (host, rest.to_owned()),
        Some(_) => ("registry-1.docker.io", name.to_owned()),
        None => ("registry-1.docker.io", format!("library/{name}")),
    };
    let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let fits = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
            && !text.contains("..")
    };
    let empty_part = name.is_empty() || repository.split('/').any(str::is_empty);
    if empty_part || !fits(host, ".-:") || !fits(&repository, "._-/") || !fits(reference, "._-:") {
        return Err(wrong());
    }
    let bare = host.split(':').next().unwrap_or_default();
    let scheme = if matches!(bare, "localhost" | "127.0.0.1") { "http" } else { "https" };
    Ok(Place { registry: format!("{scheme}://{host}"), repository, reference: reference.to_owned() })
}

fn basic(name: &str, password: &Secret) -> String {
    let both = format!("{name}:{}", password.expose());
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
}

async fn ask(prober: &Prober, url: &str, authorization: Option<&str>) -> Result<Answer, StepError> {
    let mut headers = BTreeMap::from([("accept".to_owned(), MANIFESTS.to_owned())]);
    headers.extend(authorization.map(|value| ("authorization".to_owned(), value.to_owned())));
    match prober.probe(&Request::new("GET", url, &headers, None, LIMIT)?).await {
        Outcome::Answer(answer) => Ok(answer),
        Outcome::NoAnswer(none) => Err(StepError::new(Reason::ChecksUnavailable, none.message)),
        Outcome::Cancelled => {
            Err(StepError::new(Reason::Interrupted, "stopped before the registry answered"))
        }
    }
}

/// How the registry wants to be asked: with name and password, or with a token that another place gives
/// (distribution, "Token Authentication Specification"). `None` if it wants what nobody has.
async fn authorize(
    prober: &Prober,
    refused: &Answer,
    place: &Place,
    login: Option<&str>,
) -> Result<Option<String>, StepError> {
    let challenge = refused.headers.iter().find(|(name, _)| name == "www-authenticate");
    let Some((scheme, rest)) = challenge.and_then(|(_, value)| value.split_once(' ')) else {
        return Ok(None);
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Ok(login.map(str::to_owned));
    }
    let Some(realm) = parameter(rest, "realm").filter(|realm| may_see_a_password(realm)) else {
        return Ok(None);
    };
    let mut url = url::Url::parse(&realm).map_err(|_| {
        StepError::new(Reason::ChecksUnavailable, "the registry names no address to log in at")
    })?;
    url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", place.repository));
    if let Some(service) = parameter(rest, "service") {
        url.query_pairs_mut().append_pair("service", &service);
    }
    let answer = ask(prober, url.as_str(), login).await?;
    let given: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let token = ["token", "access_token"].iter().find_map(|key| given.get(key)?.as_str());
    Ok(token.map(|token| format!("Bearer {token}")))
}

fn may_see_a_password(realm: &str) -> bool {
    realm.starts_with("https://") || realm.starts_with("http://127.0.0.1:")
}

/// `realm` of `realm="https://…",service="…"`.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
    rest.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (image, registry, repository, reference) in [
            ("ghcr.io/azora/shop:1.2.3", "https://ghcr.io", "azora/shop", "1.2.3"),
            ("azora/shop:v1", "https://registry-1.docker.io", "azora/shop", "v1"),
            ("docker.io/azora/shop", "https://registry-1.docker.io", "azora/shop", "latest"),
            ("nginx", "https://registry-1.docker.io", "library/nginx", "latest"),
            ("127.0.0.1:5000/shop:2", "http://127.0.0.1:5000", "shop", "2"),
            ("ghcr.io/a/b@sha256:abc", "https://ghcr.io", "a/b", "sha256:abc"),
        ] {
            let (registry, repository) = (registry.to_owned(), repository.to_owned());
            let expected = Place { registry, repository, reference: reference.to_owned() };
            assert_eq!(place(image).unwrap(), expected, "{image}");
        }
        for bad in ["", "ghcr.io/", "a/../b:1", "a b", "a:1?x=", "a:{version}", "https://ghcr.io/a:1"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_for_https_only() {
        assert!(may_see_a_password("https://auth.docker.io/token"));
        assert!(!may_see_a_password("http://auth.docker.io/token"));
        assert_eq!(parameter(r#"realm="https://a/t",service="s""#, "service").as_deref(), Some("s"));
    }
}
