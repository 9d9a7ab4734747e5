//! Questions to a restored database.

use super::address::Address;
use super::connect::{self, Doing, Session};
use crate::DatabaseError;
use crate::assertions::{Ask, query};
use async_trait::async_trait;
use kit_core::Context;
use sqlx::AssertSqlSafe;
use std::time::Duration;

/// The database that is asked.
pub(super) struct Asked(pub(super) Address);

#[async_trait]
impl Ask for Asked {
    // Of several columns, a name alone would quietly be the first.
    fn statement(asked: &str) -> String {
        query(asked, "CAST((SELECT one.*) AS text)")
    }

    async fn ask(
        &self,
        cx: &Context,
        sql: String,
        limit: Duration,
    ) -> Result<Vec<Option<String>>, DatabaseError> {
        let display = self.0.display();
        let doing = Doing { action: "ask", database: &display, unfinished: "the assertions were asked" };
        let mut connection = connect::open(&self.0, Session::Asking { limit }, cx, doing).await?;
        // Prepared, which takes a single statement only.
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut connection);
        let rows = doing.run(cx, rows).await;
        connect::close(connection).await;
        rows
    }
}
