//! The two HTTP services. Both answer `/health` and `/metrics`; each has its own business routes.

use crate::error::{Context, Result, exit};
use crate::faults::{Faults, inject};
use crate::metrics::{self, Metrics};
use crate::{database, serve};
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// How many products one answer lists.
const PAGE: i64 = 20;

/// Which of the two services a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// Lists products.
    Catalog,
    /// Takes and sums up orders.
    Checkout,
}

impl Service {
    /// The name in URLs, in the router's state and in deploy.toml.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Checkout => "checkout",
        }
    }
}

/// A service of the demo shop.
#[derive(Debug, Parser)]
struct Args {
    /// Address to listen on; port 0 takes a free one and prints it
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// SQLite file that both services share
    #[arg(long)]
    database: PathBuf,
    /// Version this process says it is; from 2.0.0 on it needs the discounts migration
    #[arg(long)]
    app_version: semver::Version,
    #[command(flatten)]
    faults: Faults,
}

#[derive(Clone)]
struct App {
    service: Service,
    version: String,
    discounts: bool,
    database: SqlitePool,
}

/// Runs the service until SIGTERM or SIGINT.
pub fn main(service: Service) -> ExitCode {
    exit(run(service, Args::parse()))
}

#[tokio::main]
async fn run(service: Service, args: Args) -> Result<()> {
    let database = database::open(&args.database);
    let app = App {
        service,
        version: args.app_version.to_string(),
        discounts: args.app_version.major >= 2,
        database: database.clone(),
    };
    let stop = serve::Stop::on_signals()?;
    let (listener, address) = serve::bind(args.listen).await?;
    serve::announce(serve::LISTENING, address)?;
    let served = serve::serve(listener, routes(app, args.faults), stop).await;
    database.close().await;
    served
}

fn routes(app: App, faults: Faults) -> Router {
    let routes = Router::new().route("/health", inject(faults, get(health)));
    let routes = match app.service {
        Service::Catalog => routes.route("/products", inject(faults, get(products))),
        Service::Checkout => routes
            .route("/orders", inject(faults, post(place_order)))
            .route("/orders/summary", inject(faults, get(summary))),
    };
    let metrics = Arc::new(Metrics::new(app.service.name(), &app.version));
    let shown = get(metrics::show).with_state(Arc::clone(&metrics));
    routes.layer(from_fn_with_state(metrics, metrics::count)).route("/metrics", shown).with_state(app)
}

async fn health(State(app): State<App>) -> Response {
    let (code, status, database) = match check_database(&app).await {
        Ok(()) => (StatusCode::OK, "healthy", "ok".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", error.explain()),
    };
    let body = json!({
        "status": status, "version": app.version, "service": app.service.name(), "database": database
    });
    (code, Json(body)).into_response()
}

/// The database answers, and has what this version needs.
async fn check_database(app: &App) -> Result<()> {
    sqlx::query("SELECT 1").execute(&app.database).await.context("ask the database")?;
    let needed = match app.discounts {
        true => "SELECT price_cents, discount_percent FROM products LIMIT 1",
        false => "SELECT price_cents FROM products LIMIT 1",
    };
    sqlx::query(needed).execute(&app.database).await.context("find the schema this version needs")?;
    Ok(())
}

async fn products(State(app): State<App>) -> Answer {
    let sql = match app.discounts {
        true => "SELECT id, name, price_cents, discount_percent FROM products ORDER BY id LIMIT ?",
        false => "SELECT id, name, price_cents, 0 FROM products ORDER BY id LIMIT ?",
    };
    let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(sql).bind(PAGE).fetch_all(&app.database).await?;
    let product = |(id, name, price_cents, discount_percent)| match app.discounts {
        true => {
            json!({ "id": id, "name": name, "price_cents": price_cents, "discount_percent": discount_percent })
        }
        false => json!({ "id": id, "name": name, "price_cents": price_cents }),
    };
    let products: Vec<Value> = rows.into_iter().map(product).collect();
    Ok(Json(json!({ "products": products })).into_response())
}

async fn summary(State(app): State<App>) -> Answer {
    let sql = "SELECT count(*), coalesce(sum(total_cents), 0) FROM orders";
    let (count, total_cents): (i64, i64) = sqlx::query_as(sql).fetch_one(&app.database).await?;
    Ok(Json(json!({ "count": count, "total_cents": total_cents })).into_response())
}

#[derive(serde::Deserialize)]
struct NewOrder {
    product_id: i64,
    quantity: i64,
}

async fn place_order(State(app): State<App>, Json(order): Json<NewOrder>) -> Answer {
    if !(1..=100).contains(&order.quantity) {
        let body = json!({ "error": "quantity must be from 1 to 100" });
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response());
    }
    let sql = match app.discounts {
        true => {
            "INSERT INTO orders (product_id, quantity, total_cents) \
             SELECT id, ?2, price_cents * ?2 * (100 - discount_percent) / 100 FROM products WHERE id = ?1 \
             RETURNING id, total_cents"
        }
        false => {
            "INSERT INTO orders (product_id, quantity, total_cents) \
             SELECT id, ?2, price_cents * ?2 FROM products WHERE id = ?1 RETURNING id, total_cents"
        }
    };
    let query = sqlx::query_as(sql).bind(order.product_id).bind(order.quantity);
    let placed: Option<(i64, i64)> = query.fetch_optional(&app.database).await?;
    Ok(match placed {
        Some((id, total_cents)) => {
            (StatusCode::CREATED, Json(json!({ "id": id, "total_cents": total_cents }))).into_response()
        }
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "no such product" }))).into_response(),
    })
}

type Answer = std::result::Result<Response, DatabaseFailed>;

/// A query failed: 500, with the reason for whoever debugs the demo.
struct DatabaseFailed(sqlx::Error);

impl From<sqlx::Error> for DatabaseFailed {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for DatabaseFailed {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.0.to_string() }));
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
    }
}
