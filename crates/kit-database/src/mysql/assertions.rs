//! Questions to a restored database.

use super::address::Address;
use super::clients::Product;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use crate::assertions::{Ask, query};
use async_trait::async_trait;
use kit_core::Context;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;
use std::time::Duration;

/// The database that is asked.
pub(super) struct Asked(pub(super) Address);

#[async_trait]
impl Ask for Asked {
    fn statement(asked: &str) -> String {
        query(asked, "CAST(value AS char)")
    }

    async fn ask(
        &self,
        cx: &Context,
        sql: String,
        limit: Duration,
    ) -> Result<Vec<Option<String>>, DatabaseError> {
        let display = self.0.place();
        let doing = Doing { action: "ask", database: &display, unfinished: "the assertions were asked" };
        let mut connection = connect::open(&self.0, Session::Asking, cx, doing).await?;
        let rows = doing.run(cx, answer(&mut connection, sql, limit)).await;
        connect::close(connection).await;
        rows
    }
}

async fn answer(
    connection: &mut MySqlConnection,
    sql: String,
    limit: Duration,
) -> Result<Vec<Option<String>>, sqlx::Error> {
    let longest = match connect::server(connection).await?.product {
        Product::MariaDb => format!("SET SESSION max_statement_time = {}", limit.as_secs_f64()),
        Product::Mysql => format!("SET SESSION max_execution_time = {}", limit.as_millis()),
    };
    connect::execute(connection, longest).await?;
    // Prepared, which takes a single statement only.
    sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await
}
