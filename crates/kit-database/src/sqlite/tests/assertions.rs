use super::Place;
use crate::assertions::tests::{none, told};
use crate::sqlite::SqliteDatabase;
use crate::{Database as _, DatabaseError};
use kit_contract::config::{Expected, Span};
use kit_core::Cause;

#[tokio::test]
async fn a_restored_file_is_asked_and_can_be_changed_by_nothing() {
    let place = Place::with(
        "CREATE TABLE orders (total, note TEXT); INSERT INTO orders VALUES (3, 'ada@example.com'), (4.5, NULL)",
    )
    .await;
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let mut questions = vec![
        none("right", "SELECT count(*) FROM orders WHERE total < 0; "),
        none("wrong", "SELECT note FROM orders -- whose?"),
        none("null", "SELECT note FROM orders WHERE total > 4"),
        none("nothing", "SELECT 0 WHERE false"),
        none("two-rows", "SELECT 0 FROM orders"),
        none("two-columns", "SELECT 0, 0"),
        none("no-table", "SELECT count(*) FROM customers"),
        none("writes", "DELETE FROM orders RETURNING 0"),
        none("second", "SELECT 0; DELETE FROM orders"),
        none("endless", endless),
    ];
    questions[1].sql.push_str("\n  WHERE total = 3");
    questions[9].timeout = Span::from_ms(50);
    let mut more = [
        none("text", "SELECT note FROM orders WHERE total = 3"),
        none("truth", "SELECT count(*) = 2 FROM orders"),
    ];
    more[0].expect = Expected::Text("ada@example.com".to_owned());
    more[1].expect = Expected::Truth(true);
    questions.extend(more);
    let database = SqliteDatabase { questions, ..place.database() };
    let dump = place.dump().await;
    let scratch = database.restore_scratch(&place.cx, &mut &dump[..], None, &place.scratch()).await.unwrap();
    let expected = "right: Passed
wrong: Failed (it gave another value than 0)
null: Failed (it gave NULL, not 0)
nothing: Unavailable (it gave no row)
two-rows: Unavailable (it gave more than one row)
two-columns: Unavailable (table deploy_kit_assertion has 2 values for 1 columns)
no-table: Unavailable (no such table: customers)
writes: Unavailable (near \"DELETE\": syntax error)
second: Unavailable (near \";\": syntax error)
endless: Unavailable (it took longer than 50ms)
text: Passed
truth: Passed";
    assert_eq!(told(&scratch.assertions(&place.cx).await.unwrap()), expected);
    scratch.close(&place.cx).await.unwrap();
    let beside = database.restore_beside(&place.cx, &mut &dump[..], None, "r1").await.unwrap();
    assert_eq!(told(&database.assertions_beside(&place.cx, &beside).await.unwrap()), expected);
    place.cx.cancel.cancel(Cause::Terminated);
    let error = database.assertions_beside(&place.cx, &beside).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Cancelled { .. }), "{error}");
}
