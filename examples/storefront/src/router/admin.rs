//! The admin API.

use super::state::{Patch, Refusal};
use super::{ChangeError, Counts, Shared};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use std::collections::BTreeMap;
use std::sync::Arc;

type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/state", get(state))
        .route("/services", put(put_all))
        .route("/services/{name}", put(put_one))
        .route("/services/{name}/reset-counters", post(reset_counters))
        .with_state(shared)
}

async fn state(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.view()).into_response()
}

async fn put_all(State(shared): State<Arc<Shared>>, body: Body<BTreeMap<String, Patch>>) -> Response {
    match body {
        Ok(Json(patches)) => change(&shared, patches).await,
        Err(rejection) => problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    }
}

async fn put_one(State(shared): State<Arc<Shared>>, Path(name): Path<String>, body: Body<Patch>) -> Response {
    match body {
        Ok(Json(patch)) => change(&shared, BTreeMap::from([(name, patch)])).await,
        Err(rejection) => problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    }
}

async fn change(shared: &Arc<Shared>, patches: BTreeMap<String, Patch>) -> Response {
    match shared.change(patches).await {
        Ok(()) => Json(shared.view()).into_response(),
        Err(ChangeError::Refused(refusal)) => problem(status(&refusal), &refusal.to_string()),
        Err(ChangeError::NotWritten(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.explain()),
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownService(_) => StatusCode::NOT_FOUND,
        Refusal::Invalid(..) => StatusCode::BAD_REQUEST,
        Refusal::NoCanary(..) => StatusCode::CONFLICT,
    }
}

async fn reset_counters(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let mut live = shared.live();
    if !live.routes.contains_key(&name) {
        return problem(StatusCode::NOT_FOUND, &format!("no service {name:?}"));
    }
    let traffic = live.traffic.entry(name).or_default();
    (traffic.served, traffic.forced) = (Counts::default(), Counts::default());
    drop(live);
    Json(shared.view()).into_response()
}

pub(super) fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(serde_json::json!({ "error": message }))).into_response()
}
