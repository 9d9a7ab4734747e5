use super::{Place, needs};
use crate::assertions::tests::{none, told};
use crate::{Database as _, OpenOptions, ScratchPlace};
use kit_contract::config::{Expected, Span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_asked_and_can_be_changed_by_nothing() {
    let place = Place::with(
        "CREATE TABLE orders (total numeric, note text); INSERT INTO orders VALUES (3, 'ada@example.com'), (4.5, NULL);
         CREATE FUNCTION spoil() RETURNS integer LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 0';",
    );
    let mut assertions = vec![
        none("right", "SELECT count(*) FROM orders WHERE total < 0 -- all of them"),
        none("sum", "SELECT sum(total) - 7.5 FROM orders"),
        none("wrong", "SELECT note FROM orders WHERE total = 3"),
        none("null", "SELECT note FROM orders WHERE total > 4"),
        none("nothing", "SELECT 0 WHERE false"),
        none("two-rows", "SELECT 0 FROM orders"),
        none("two-columns", "SELECT 0, 0"),
        none("no-table", "SELECT count(*) FROM customers"),
        none("of-a-row", "SELECT note::integer FROM orders WHERE total = 3"),
        none("writes", "SELECT spoil()"),
        none("hides", "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone"),
        none("second", "SELECT 0; DELETE FROM orders"),
        none("slow", "SELECT count(pg_sleep(60))"),
    ];
    assertions[12].timeout = Span::from_ms(100);
    let mut truth = none("truth", "SELECT count(*) = 2 FROM public.orders");
    truth.expect = Expected::Truth(true);
    assertions.push(truth);
    let options = OpenOptions { scratch: ScratchPlace::Beside, assertions, ..Default::default() };
    let database = place.database_with("shop", options);
    let (dump, report) = place.dump().await;
    let needs = Some(needs(&report));
    let scratch =
        database.restore_scratch(&place.cx, &mut &dump[..], needs, place.folder.path()).await.unwrap();
    let expected = "right: Passed
sum: Passed
wrong: Failed (it gave another value than 0)
null: Failed (it gave NULL, not 0)
nothing: Unavailable (it gave no row)
two-rows: Unavailable (it gave more than one row)
two-columns: Unavailable (subquery must return only one column)
no-table: Unavailable (relation \"customers\" does not exist)
of-a-row: Unavailable (it failed with code 22P02)
writes: Unavailable (it failed with code 25006)
hides: Unavailable (it failed with code 0A000)
second: Unavailable (syntax error at or near \";\")
slow: Unavailable (it took longer than 100ms)
truth: Passed";
    assert_eq!(told(&scratch.assertions(&place.cx).await.unwrap()), expected);
    scratch.close(&place.cx).await.unwrap();
    let beside = database.restore_beside(&place.cx, &mut &dump[..], needs, "r1").await.unwrap();
    assert_eq!(told(&database.assertions_beside(&place.cx, &beside).await.unwrap()), expected);
    assert_eq!(place.server.sql(&beside.name, "SELECT count(*) FROM orders"), "2");
}
