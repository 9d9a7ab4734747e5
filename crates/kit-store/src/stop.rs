//! The red button: requests to stop, which a running deploy looks for at every tick.

use crate::{Layout, Store, StoreError, Version, document};
use jiff::Timestamp;
use kit_contract::DeploymentId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const SCHEMA: &str = "deploy-kit/stop/v1";
/// How often a write starts again because somebody else was faster.
const ATTEMPTS: u32 = 10;
/// Written instead of a deployment id; too short to be one.
const CURRENT: &str = "current";

/// Which deploy is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StopSubject {
    /// Whichever runs, also one that begins later: until somebody clears the request.
    Current,
    /// This one.
    Deployment(DeploymentId),
}

impl TryFrom<String> for StopSubject {
    type Error = kit_contract::IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == CURRENT { Ok(Self::Current) } else { text.try_into().map(Self::Deployment) }
    }
}

impl From<StopSubject> for String {
    fn from(subject: StopSubject) -> Self {
        match subject {
            StopSubject::Current => CURRENT.to_owned(),
            StopSubject::Deployment(id) => id.into(),
        }
    }
}

/// A request to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Which deploy.
    pub subject: StopSubject,
    /// Who asks, where known.
    pub requested_by: Option<String>,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// The deployment that asks, if it is one: a rollback stops others, never itself.
    pub by_deployment: Option<DeploymentId>,
}

impl StopRequest {
    /// True if this deployment has to stop.
    pub fn stops(&self, deployment: &DeploymentId) -> bool {
        if self.by_deployment.as_ref() == Some(deployment) {
            return false;
        }
        match &self.subject {
            StopSubject::Current => true,
            StopSubject::Deployment(subject) => subject == deployment,
        }
    }
}

/// All requests that stand. They are kept side by side, so that none is lost to another.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    schema: String,
    requests: Vec<StopRequest>,
}

/// What was read: the requests, or why it is not known which there are.
type Parsed = Result<Vec<StopRequest>, serde_json::Error>;

/// The requests to stop for one app in one environment.
#[derive(Clone)]
pub struct Stop {
    store: Arc<dyn Store>,
    layout: Layout,
}

impl Stop {
    /// The requests for this app in this environment.
    pub fn new(store: Arc<dyn Store>, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// Asks to stop. It stands until [`Stop::clear`]; an equal request that stands already is enough.
    /// Contents that cannot be understood are written over: the button must work.
    ///
    /// # Errors
    /// If the store could not be asked; the request may stand all the same.
    pub async fn request(&self, request: StopRequest) -> Result<(), StoreError> {
        self.change(|requests| {
            let mut requests = requests.unwrap_or_default();
            let same = |other: &StopRequest| {
                other.subject == request.subject && other.by_deployment == request.by_deployment
            };
            if !requests.iter().any(same) {
                requests.push(request.clone());
            }
            Ok(requests)
        })
        .await
    }

    /// The first request that stops this deployment, or `None` if there is none. Requests for other
    /// deployments do not count.
    ///
    /// # Errors
    /// If the store could not be asked, or what it holds cannot be understood: then nobody knows whether
    /// to stop.
    pub async fn check(&self, deployment: &DeploymentId) -> Result<Option<StopRequest>, StoreError> {
        let Some((document, _)) = self.find().await? else { return Ok(None) };
        Ok(self.understood(document)?.into_iter().find(|request| request.stops(deployment)))
    }

    /// Every request that stands.
    ///
    /// # Errors
    /// As [`Stop::check`].
    pub async fn list(&self) -> Result<Vec<StopRequest>, StoreError> {
        match self.find().await? {
            None => Ok(Vec::new()),
            Some((document, _)) => self.understood(document),
        }
    }

    /// Removes the requests that stopped this deployment, now that it has ended. Requests for others
    /// stay.
    ///
    /// # Errors
    /// As [`Stop::check`].
    pub async fn clear(&self, ended: &DeploymentId) -> Result<(), StoreError> {
        self.change(|requests| {
            let mut requests = self.understood(requests)?;
            requests.retain(|request| !request.stops(ended));
            Ok(requests)
        })
        .await
    }

    /// Reads, changes and writes; again from the start if somebody else wrote in between. An object
    /// without requests is removed.
    async fn change(
        &self,
        change: impl Fn(Parsed) -> Result<Vec<StopRequest>, StoreError>,
    ) -> Result<(), StoreError> {
        let key = self.layout.stop();
        for _ in 0..ATTEMPTS {
            let (before, version) = match self.find().await? {
                None => (Ok(Vec::new()), None),
                Some((document, version)) => (document, Some(version)),
            };
            let requests = change(before)?;
            let empty = requests.is_empty();
            let bytes = document::to_bytes(&key, &Document { schema: SCHEMA.to_owned(), requests })?;
            let written = match version {
                None if empty => return Ok(()),
                None => self.store.create(&key, &bytes).await.map(drop),
                Some(version) if empty => self.store.delete(&key, &version).await,
                Some(version) => self.store.replace(&key, &bytes, &version).await.map(drop),
            };
            match written {
                Err(error) if error.is_conflict() => {}
                done => return done,
            }
        }
        Err(StoreError::Contended { key, attempts: ATTEMPTS })
    }

    async fn find(&self) -> Result<Option<(Parsed, Version)>, StoreError> {
        let object = self.store.get(&self.layout.stop()).await?;
        Ok(object.map(|object| {
            let document = document::parse::<Document>(&object.bytes, SCHEMA);
            (document.map(|document| document.requests), object.version)
        }))
    }

    fn understood(&self, parsed: Parsed) -> Result<Vec<StopRequest>, StoreError> {
        parsed.map_err(|source| StoreError::Unreadable { key: self.layout.stop(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Op};

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn request(subject: StopSubject, by: Option<&str>) -> StopRequest {
        StopRequest {
            subject,
            requested_by: Some("ada".into()),
            why: "errors".into(),
            at: Timestamp::UNIX_EPOCH,
            by_deployment: by.map(id),
        }
    }

    fn stop() -> (MemoryStore, Stop) {
        let store = MemoryStore::default();
        let layout = Layout::new("shop".parse().unwrap(), "production".parse().unwrap());
        (store.clone(), Stop::new(Arc::new(store), layout))
    }

    #[tokio::test]
    async fn a_request_stops_its_deployment_until_that_has_ended() {
        let (store, stop) = stop();
        assert_eq!(stop.check(&id("deploy-1")).await.unwrap(), None);
        let asked = request(StopSubject::Deployment(id("deploy-1")), Some("rollback-1"));
        stop.request(asked.clone()).await.unwrap();
        stop.request(asked.clone()).await.unwrap();
        assert_eq!(stop.check(&id("deploy-1")).await.unwrap(), Some(asked));
        assert_eq!(stop.check(&id("deploy-2")).await.unwrap(), None, "a stale request stops nobody else");
        stop.clear(&id("deploy-2")).await.unwrap();
        assert_eq!(stop.list().await.unwrap().len(), 1);
        stop.clear(&id("deploy-1")).await.unwrap();
        assert_eq!(stop.check(&id("deploy-1")).await.unwrap(), None);
        assert_eq!(store.bytes(&"shop/production/stop.json".parse().unwrap()), None);
    }

    #[tokio::test]
    async fn current_stops_whoever_runs_but_not_who_asks() {
        let (_, stop) = stop();
        stop.request(request(StopSubject::Current, Some("rollback-1"))).await.unwrap();
        assert!(stop.check(&id("deploy-1")).await.unwrap().is_some());
        assert_eq!(stop.check(&id("rollback-1")).await.unwrap(), None);
        stop.clear(&id("deploy-1")).await.unwrap();
        assert_eq!(stop.check(&id("deploy-2")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn no_request_is_lost_to_another() {
        let (_, stop) = stop();
        let asks = (0..4).map(|n| {
            let (stop, subject) = (stop.clone(), StopSubject::Deployment(id(&format!("deploy-{n}"))));
            tokio::spawn(async move { stop.request(request(subject, None)).await })
        });
        for asked in asks.collect::<Vec<_>>() {
            asked.await.unwrap().unwrap();
        }
        for n in 0..4 {
            assert!(stop.check(&id(&format!("deploy-{n}"))).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn not_knowing_is_an_error_and_the_button_works_all_the_same() {
        let (store, stop) = stop();
        store.fail_next(Op::Get, 1);
        assert!(matches!(stop.check(&id("deploy-1")).await, Err(StoreError::Unreachable { .. })));
        store.overwrite(&"shop/production/stop.json".parse().unwrap(), "{}");
        assert!(matches!(stop.check(&id("deploy-1")).await, Err(StoreError::Unreadable { .. })));
        stop.request(request(StopSubject::Deployment(id("deploy-1")), None)).await.unwrap();
        assert!(stop.check(&id("deploy-1")).await.unwrap().is_some());
    }

    #[test]
    fn a_subject_is_current_or_an_id() {
        for (text, subject) in
            [("\"current\"", StopSubject::Current), ("\"deploy-1\"", StopSubject::Deployment(id("deploy-1")))]
        {
            assert_eq!(serde_json::from_str::<StopSubject>(text).unwrap(), subject);
            assert_eq!(serde_json::to_string(&subject).unwrap(), text);
        }
        assert!(serde_json::from_str::<StopSubject>("\"all\"").is_err());
    }
}
