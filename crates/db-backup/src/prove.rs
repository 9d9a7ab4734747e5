//! Climbs the ladder of proof: read back, schema restored, all of it restored and compared.

use crate::keys::Reader;
use crate::ladder::Rules;
use crate::place::{Place, Slot};
use crate::proof::differences;
use crate::read_back::{NotRestored, read_back, same_bytes};
use kit_contract::Name;
use kit_contract::body::{AssertionResult, Proof};
use kit_core::{Context, Rows, StepError};
use kit_database::assertions::{Unmet, unmet};
use kit_database::gunzip::Read;
use kit_database::{Database, DatabaseError, Depth, DumpReport};
use std::path::Path;

/// What is proved, and of what.
pub(crate) struct Attempt<'a> {
    pub(crate) place: &'a Place,
    pub(crate) slot: &'a Slot,
    pub(crate) name: &'a Name,
    pub(crate) database: &'a dyn Database,
    pub(crate) report: &'a DumpReport,
    pub(crate) stored: &'a Read,
    pub(crate) reader: Reader<'a>,
    pub(crate) scratch: &'a Path,
    /// Where its database tells how many rows have passed.
    pub(crate) rows: &'a Rows,
}

/// How far it came.
pub(crate) struct Proved {
    pub(crate) level: Proof,
    /// Why no further.
    pub(crate) limit: Option<String>,
    /// What came of the user's assertions; nothing, if all of it was not restored.
    pub(crate) assertions: Vec<AssertionResult>,
}

/// What came of restoring all of it.
enum Tried {
    /// It is what was dumped; what came of the user's assertions.
    Restored(Vec<AssertionResult>),
    /// It could not be tried, and why.
    Not(String),
}

/// Why the backup counts for nothing.
pub(crate) enum Disproved {
    /// It is worthless.
    Worthless(Vec<String>),
    /// It is what was dumped, and an assertion of the user's does not hold of it.
    Refuted(String),
    /// Nobody knows.
    Unknown(StepError),
}

impl From<NotRestored> for Disproved {
    fn from(not: NotRestored) -> Self {
        match not {
            NotRestored::Worthless(text) => Self::Worthless(vec![text]),
            NotRestored::Unavailable(text) => Self::Unknown(DatabaseError::Unavailable { what: text }.into()),
            NotRestored::Unknown(error) => Self::Unknown(error),
        }
    }
}

impl Attempt<'_> {
    /// Proves as far as the rules ask and this place allows.
    pub(crate) async fn prove(&self, cx: &Context, rules: &Rules) -> Result<Proved, Disproved> {
        let plan = rules.plan(self.report.uncompressed_bytes, self.report.schema_script.is_some());
        let mut limit = plan.limit;
        let mut assertions = Vec::new();
        if plan.level == Proof::Stream {
            return Ok(Proved { level: Proof::Stream, limit, assertions });
        }
        if plan.level == Proof::Full {
            let why = match self.full(cx, rules).await? {
                Tried::Restored(asked) => {
                    assertions = asked;
                    match unmet(&assertions) {
                        None => return Ok(Proved { level: Proof::Full, limit, assertions }),
                        Some(Unmet::Failed(text)) => return Err(Disproved::Refuted(text)),
                        Some(Unmet::Unavailable(text)) => text,
                    }
                }
                Tried::Not(why) => why,
            };
            cx.out.say(&format!("{}: no full proof: {why}", self.name));
            limit = Some(why);
        }
        let same = same_bytes(cx, self.place, self.slot, self.name, (self.stored, self.reader));
        if plan.level < Proof::Schema {
            same.await?;
            return Ok(Proved { level: Proof::Remote, limit, assertions });
        }
        // One waits for the store, the other for a server. Both to their end: the scratch place is tidied up.
        let (same, by_schema) = tokio::join!(same, self.schema(cx));
        same?;
        match by_schema? {
            None => Ok(Proved { level: Proof::Schema, limit, assertions }),
            Some(why) => Ok(Proved { level: Proof::Remote, limit: limit.or(Some(why)), assertions }),
        }
    }

    /// Restores all of it and compares.
    async fn full(&self, cx: &Context, rules: &Rules) -> Result<Tried, Disproved> {
        let needs = self.report.details.needs.as_ref();
        let read = read_back(
            cx,
            self.place,
            self.slot,
            (self.name, self.database, (self.stored.uncompressed_bytes, self.rows.clone())),
            (self.reader, needs, self.scratch, Depth::Content),
        );
        let restored = match rules.full_limit() {
            None => read.await,
            Some(limit) => match cx.clock.timeout(limit, read).await {
                Ok(restored) => restored,
                Err(elapsed) => {
                    let limit_s = elapsed.limit.as_secs();
                    return Ok(Tried::Not(format!("a full restore took longer than {limit_s} s")));
                }
            },
        };
        let restored = match restored {
            Ok(restored) => restored,
            Err(NotRestored::Unavailable(why)) => return Ok(Tried::Not(why)),
            Err(not) => return Err(not.into()),
        };
        let found = differences(self.stored, &self.report.inspection, &restored);
        if found.is_empty() {
            Ok(Tried::Restored(restored.assertions))
        } else {
            Err(Disproved::Worthless(found))
        }
    }

    /// Restores the schema alone, from what was read along while the backup was written. `Some`: it could not
    /// be tried, and why.
    async fn schema(&self, cx: &Context) -> Result<Option<String>, Disproved> {
        let Some(script) = &self.report.schema_script else {
            return Ok(Some("the schema of this engine cannot be restored by itself".to_owned()));
        };
        let mut reader = script.reader().map_err(|error| {
            Disproved::Unknown(
                DatabaseError::Transfer { action: "read", database: "the schema".to_owned(), source: error }
                    .into(),
            )
        })?;
        let needs = self.report.details.needs.as_ref();
        let scratch = match self.database.restore_scratch(cx, &mut reader, needs, self.scratch).await {
            Ok(scratch) => scratch,
            Err(DatabaseError::Unavailable { what }) => return Ok(Some(what)),
            Err(error @ (DatabaseError::Truncated { .. } | DatabaseError::Damaged { .. })) => {
                return Err(Disproved::Worthless(vec![StepError::from(error).chain()]));
            }
            Err(error) => return Err(Disproved::Unknown(error.into())),
        };
        let inspected = scratch.inspect(cx, Depth::Rows).await;
        if let Err(error) = scratch.close(cx).await {
            cx.out.say(&format!("warning: {}", StepError::from(error).chain()));
        }
        let inspected = inspected.map_err(|error| Disproved::Unknown(error.into()))?;
        if inspected.schema_sha256 == self.report.inspection.schema_sha256 {
            return Ok(None);
        }
        Err(Disproved::Worthless(vec!["the schemas differ".to_owned()]))
    }
}
