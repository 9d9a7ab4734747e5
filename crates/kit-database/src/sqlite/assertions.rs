//! Questions to a restored file.

use super::connect::{self, Access, Doing};
use super::inspect::NO_WAIT;
use crate::DatabaseError;
use crate::assertions::{Ask, query};
use async_trait::async_trait;
use kit_core::{Cancel, Cause, Context};
use sqlx::AssertSqlSafe;
use std::path::PathBuf;
use std::time::Duration;

/// The file that is asked.
pub(super) struct Asked(pub(super) PathBuf);

#[async_trait]
impl Ask for Asked {
    fn statement(asked: &str) -> String {
        query(asked, "CAST(value AS text)")
    }

    async fn ask(
        &self,
        cx: &Context,
        sql: String,
        limit: Duration,
    ) -> Result<Vec<Option<String>>, DatabaseError> {
        let doing = Doing { action: "ask", database: "the restored database", waited: NO_WAIT };
        // SQLite looks at one flag only: whoever cancels the step sets it, too.
        let stop = Cancel::default();
        let mut connection = connect::open(&self.0, Access::Immutable, NO_WAIT, Some(&stop))
            .await
            .map_err(|error| doing.failed(error, cx))?;
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection);
        let rows = cx.cancel.unless(cx.clock.timeout(limit, rows)).await;
        stop.cancel(Cause::Deadline);
        connect::close(connection).await;
        match rows {
            None => Err(DatabaseError::Cancelled {
                unfinished: "the assertions were asked",
                cause: cx.cancel.cause(),
            }),
            Some(Err(elapsed)) => Err(DatabaseError::NoAnswer {
                database: doing.database.to_owned(),
                limit_ms: elapsed.limit.as_millis(),
            }),
            Some(Ok(rows)) => rows.map_err(|error| doing.failed(error, cx)),
        }
    }
}
