use super::{Place, needs};
use crate::assertions::tests::{none, told};
use crate::{Database as _, OpenOptions, ScratchPlace};
use kit_contract::config::{Expected, Span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_asked_and_can_be_changed_by_nothing() {
    let place = Place::with(
        "CREATE TABLE orders (total decimal(9, 2), note text);
         INSERT INTO orders VALUES (3, 'ada@example.com'), (4.5, NULL);
         DELIMITER ;;
         CREATE FUNCTION spoil() RETURNS int DETERMINISTIC BEGIN DELETE FROM orders; RETURN 0; END;;
         DELIMITER ;",
    );
    let mut assertions = vec![
        none("right", "SELECT count(*) FROM orders WHERE total < 0 # all of them"),
        none("sum", "SELECT sum(total) - 7.5 FROM orders"),
        none("wrong", "SELECT note FROM orders WHERE total = 3"),
        none("null", "SELECT note FROM orders WHERE total > 4"),
        none("nothing", "SELECT 0 FROM orders WHERE false"),
        none("two-rows", "SELECT 0 FROM orders"),
        none("two-columns", "SELECT 0, 0"),
        none("no-table", "SELECT count(*) FROM customers"),
        none("writes", "SELECT spoil()"),
        none("slow", "SELECT SLEEP(60)"),
    ];
    assertions[9].timeout = Span::from_ms(100);
    let mut more = [
        none("text", "SELECT note FROM orders WHERE total = 3"),
        none("truth", "SELECT count(*) = 2 FROM orders"),
    ];
    more[0].expect = Expected::Text("ada@example.com".to_owned());
    more[1].expect = Expected::Truth(true);
    assertions.extend(more);
    let options = OpenOptions { scratch: ScratchPlace::Beside, assertions, ..Default::default() };
    let database = place.database_with(&place.server.url("shop"), options);
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
two-columns: Unavailable (it failed with code HY000)
no-table: Unavailable (Table 'shop_deploy_kit_scratch.customers' doesn't exist)
writes: Unavailable (it failed with code 25006)
slow: Unavailable (it took longer than 100ms)
text: Passed
truth: Passed";
    assert_eq!(told(&scratch.assertions(&place.cx).await.unwrap()), expected);
    scratch.close(&place.cx).await.unwrap();
    let beside = database.restore_beside(&place.cx, &mut &dump[..], needs, "r1").await.unwrap();
    let expected = expected.replace("shop_deploy_kit_scratch", &beside.name);
    assert_eq!(told(&database.assertions_beside(&place.cx, &beside).await.unwrap()), expected);
    assert_eq!(place.server.sql(&beside.name, "SELECT count(*) FROM orders"), "2");
}
