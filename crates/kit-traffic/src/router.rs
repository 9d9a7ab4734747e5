//! The trait.

use crate::Service;
use async_trait::async_trait;
use kit_contract::{DeploymentId, Name, Reason};
use kit_core::{Context, StepError};

/// The share that the canary of one service is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// The service.
    pub service: Name,
    /// In percent.
    pub canary_percent: f64,
    /// The version that is deployed, where it is known.
    pub version: Option<String>,
}

/// Moves traffic. Every method may be called again and again; each gives what is so afterwards, for
/// exactly the services that were named.
#[async_trait]
pub trait Router: Send + Sync {
    /// Its name, for artifacts and messages.
    fn name(&self) -> &'static str;

    /// What is so now.
    ///
    /// # Errors
    /// If the router cannot be asked.
    async fn observe(
        &self,
        cx: &Context,
        id: &DeploymentId,
        services: &[Name],
    ) -> Result<Vec<Service>, TrafficError>;

    /// Gives every canary its share, in one change.
    ///
    /// # Errors
    /// If the router refused; nothing, or any part, may have changed.
    async fn shift(
        &self,
        cx: &Context,
        id: &DeploymentId,
        wants: &[Want],
    ) -> Result<Vec<Service>, TrafficError>;

    /// Takes every canary to zero, from any half-done state.
    ///
    /// # Errors
    /// If the router refused; canaries may still serve.
    async fn abort(
        &self,
        cx: &Context,
        id: &DeploymentId,
        services: &[Name],
    ) -> Result<Vec<Service>, TrafficError>;

    /// Makes these versions the stable ones.
    ///
    /// # Errors
    /// If the router refused; some services may have switched.
    async fn switch(
        &self,
        cx: &Context,
        id: &DeploymentId,
        targets: &[(Name, String)],
    ) -> Result<Vec<Service>, TrafficError>;
}

/// A router could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The program could not be run, or failed.
    #[error("the traffic driver {program:?} failed")]
    Program {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: Box<kit_exec::ExecError>,
    },
    /// The program's answer makes no sense.
    #[error("the traffic driver {program:?} gave an answer that makes no sense: {problem}")]
    Answer {
        /// The program.
        program: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl TrafficError {
    /// It and everything below it, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut below = std::error::Error::source(self);
        while let Some(error) = below {
            text.push_str(&format!(": {error}"));
            below = error.source();
        }
        text
    }

    /// As the failure of a step.
    pub fn into_step_error(self, reason: Reason, message: impl Into<String>) -> StepError {
        StepError::new(reason, message).because(self)
    }
}
