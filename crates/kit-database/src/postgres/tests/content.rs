use super::copy_out::{OTHER_LOOKS, VALUES};
use super::parallel::in_small_pieces;
use super::{Place, needs};
use crate::{Database as _, Depth, Difference, OpenOptions, ScratchPlace, compare};
use kit_contract::config::DumpFormat;

/// What has made dumps of others fall over. Tabs as arrows.
pub(super) const AWKWARD: &str = r#"
    CREATE ROLE ada; CREATE ROLE "O'Neil ""x"" role";
    CREATE SCHEMA "odd ""schema"" $1";
    CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore;
    CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE TYPE span AS RANGE (subtype = timestamptz);
    CREATE TYPE pair AS (a integer, b text);
    CREATE TABLE "odd ""schema"" $1"."Tab""le→with 'quotes'; --" ("a ""b""" text, "select" integer, "ü ✓" real, "two
lines" text);
    INSERT INTO "odd ""schema"" $1"."Tab""le→with 'quotes'; --" VALUES
        (E'x\ty\n\\.\n', 1, 1.5, E'\\.'), (NULL, NULL, 'NaN', ''), ('', -1, 'Infinity', E'\\N'), (E'\\.', 0, '-0', E'\r\n');
    CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
        status varchar(10) CHECK (status IN ('new', 'old')), feel mood DEFAULT 'happy', tags hstore, doc jsonb,
        born date, seen timestamptz, ip inet, bits bytea, many integer[], spans span, duo pair, amount numeric(20, 8),
        upper_name text GENERATED ALWAYS AS (upper(name)) STORED, positive positive);
    INSERT INTO customers (name, status, tags, doc, born, seen, ip, bits, many, spans, duo, amount, positive)
        SELECT 'customer ' || i, 'new', hstore('k', i::text), jsonb_build_object('n', i, 't', E'a\nb\\'), '2024-02-29',
            '2024-01-01 00:00:00.123456+00'::timestamptz + i * interval '1 hour', '10.0.0.1', decode('00ff5c2e0a', 'hex'),
            ARRAY[i, NULL, -i], span(now() - interval '1 day', NULL), ROW(i, 'x,"y')::pair, i / 3.0, i
        FROM generate_series(1, 500) AS i;
    CREATE INDEX customers_trgm ON customers USING gin (name gin_trgm_ops);
    CREATE UNIQUE INDEX customers_partial ON customers (lower(name)) WHERE status = 'new';
    CREATE TABLE measured (at timestamptz NOT NULL, v double precision) PARTITION BY RANGE (at);
    CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
    CREATE TABLE measured_new PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO (MAXVALUE) PARTITION BY HASH (v);
    CREATE TABLE measured_new_0 PARTITION OF measured_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE measured_new_1 PARTITION OF measured_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE INDEX ON measured (at);
    INSERT INTO measured SELECT '2023-12-01'::timestamptz + i * interval '1 hour', random() FROM generate_series(1, 2000) AS i;
    CREATE TABLE parent (a integer); CREATE TABLE child (b integer) INHERITS (parent);
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
    CREATE TABLE circle_a (id integer PRIMARY KEY, b integer);
    CREATE TABLE circle_b (id integer PRIMARY KEY, a integer REFERENCES circle_a (id) DEFERRABLE INITIALLY DEFERRED);
    ALTER TABLE circle_a ADD FOREIGN KEY (b) REFERENCES circle_b (id) DEFERRABLE INITIALLY DEFERRED;
    BEGIN; INSERT INTO circle_a VALUES (1, 2); INSERT INTO circle_b VALUES (2, 1); COMMIT;
    CREATE TABLE orders (id serial PRIMARY KEY, customer bigint REFERENCES customers ON DELETE CASCADE, note text);
    INSERT INTO orders (customer, note) SELECT 1 + i % 500, repeat('x', i % 3000) FROM generate_series(1, 300) AS i;
    ALTER TABLE orders ADD CONSTRAINT later CHECK (note <> 'forbidden') NOT VALID;
    CREATE TABLE secrets (owner text, what text);
    INSERT INTO secrets VALUES ('ada', 'a'), ('bob', 'b');
    ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
    CREATE POLICY mine ON secrets FOR SELECT TO ada USING (owner = current_user);
    GRANT SELECT ON secrets TO ada, "O'Neil ""x"" role"; ALTER TABLE orders OWNER TO ada;
    CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
    CREATE UNLOGGED TABLE quick (a integer); INSERT INTO quick VALUES (1);
    CREATE TABLE "user" ("user" integer); INSERT INTO "user" VALUES (7);
    CREATE VIEW shown AS SELECT c.name, o.note FROM customers c JOIN orders o ON o.customer = c.id;
    CREATE MATERIALIZED VIEW summed AS SELECT status, count(*) AS n FROM customers GROUP BY status;
    CREATE MATERIALIZED VIEW never AS SELECT 1 AS one WITH NO DATA;
    CREATE FUNCTION liar() RETURNS text LANGUAGE sql AS $f$ SELECT '
COPY public.fake (a) FROM stdin;
1
\.
-- PostgreSQL database dump complete
'$f$;
    CREATE PROCEDURE does() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
    CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touched();
    ALTER TABLE orders DISABLE TRIGGER touch;
    CREATE RULE no_delete AS ON DELETE TO nothing DO INSTEAD NOTHING;
    CREATE SEQUENCE "Odd seq's" START 100 INCREMENT -5 MINVALUE -1000 MAXVALUE 1000 CYCLE; SELECT nextval('"Odd seq''s"');
    CREATE SEQUENCE unused;
    CREATE STATISTICS s (dependencies) ON status, feel FROM customers;
    CREATE PUBLICATION pub FOR TABLE orders;
    SELECT lo_from_bytea(4711, decode('00010203', 'hex')), lo_from_bytea(4712, convert_to(repeat('large ', 5000), 'UTF8'));
    COMMENT ON TABLE orders IS 'a comment
-- Data for Name: fake; Type: TABLE DATA; Schema: public; Owner: x';
"#;

/// What was dumped in the encoding of the database was compared with what was read in ours: every letter beyond ASCII
/// made a good backup look worthless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_another_encoding_is_the_same_one_when_it_comes_back() {
    let place = Place::new();
    for (encoding, name, row) in [
        ("LATIN1", r#"U&"Gr\00F6\00DFe""#, r"U&'Gr\00F6\00DFe'"),
        ("EUC_JP", r#"U&"\65E5\672C""#, r"U&'\65E5\672C'"),
        ("SQL_ASCII", "\"Größe\"", "'Größe'"),
        ("UTF8", "\"Größe\"", "'Größe'"),
    ] {
        place.server.sql("postgres", "DROP DATABASE IF EXISTS shop");
        place.server.sql(
            "postgres",
            &format!(
                "CREATE DATABASE shop TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            ),
        );
        place
            .server
            .sql("shop", &format!("CREATE TABLE {name} (a text); INSERT INTO {name} VALUES ({row}), ('z')"));
        if encoding == "UTF8" {
            // Which pg_dump follows unless told otherwise.
            place.server.sql("postgres", "ALTER DATABASE shop SET client_encoding = 'LATIN1'");
        }
        let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
        for format in [DumpFormat::Plain, DumpFormat::Custom] {
            let database = place.database_with("shop", OpenOptions { format, ..Default::default() });
            let (dump, report) = place.try_dump(&database).await.unwrap();
            assert_eq!(compare(&live, &report.inspection), [], "{encoding} {format:?}");
            let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
            assert_eq!(compare(&live, &restored), [], "{encoding} {format:?}");
        }
    }
}

/// Rows that were written as a database has it were compared with rows as everybody else has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_database_makes_its_values_look_like_changes_none() {
    let place = Place::with(VALUES);
    place.server.sql("postgres", OTHER_LOOKS);
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    let custom = OpenOptions { format: DumpFormat::Custom, ..Default::default() };
    for (what, database) in [
        ("one pg_dump", place.database("shop")),
        ("several connections", in_small_pieces(&place, 2)),
        ("an archive", place.database_with("shop", custom)),
    ] {
        let (dump, report) = place.try_dump(&database).await.unwrap();
        assert_eq!(compare(&live, &report.inspection), [], "{what}");
        let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
        assert_eq!(compare(&live, &restored), [], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_awkward_schema_comes_back_equal_by_us_and_by_plain_psql() {
    let place = Place::with(&AWKWARD.replace('→', "\t"));
    let (dump, report) = place.dump().await;
    let live = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &report.inspection), [], "what was read along is what the server says");
    let rows = |table: &str| {
        let found = report.inspection.tables.iter().find(|state| state.table == table);
        found.unwrap_or_else(|| panic!("{table}: {:?}", report.inspection.table_rows())).rows
    };
    assert_eq!(rows("\"odd \"\"schema\"\" $1\".\"Tab\"\"le\twith 'quotes'; --\""), 4);
    assert_eq!((rows("public.nothing"), rows("public.parent"), rows("public.child")), (2, 1, 1));
    assert_eq!(
        rows("public.measured_new_0") + rows("public.measured_new_1") + rows("public.measured_old"),
        2000
    );
    assert_eq!(rows("public.secrets"), 2, "no policy hides rows from a backup");
    assert!(!report.inspection.tables.iter().any(|state| state.table == "public.measured"));

    let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);

    // As a user without us would do it.
    place.restore_by_hand(&dump, "plain");
    let plain = place.database("plain").inspect(&place.cx, Depth::Content).await.unwrap();
    assert_eq!(compare(&live, &plain), []);
    assert_eq!(place.server.sql("plain", "SELECT nextval('orders_id_seq')"), "301");
    assert_eq!(place.server.sql("plain", "SELECT length(convert_from(lo_get(4712), 'UTF8'))"), "30000");
    drop(report);
    assert_eq!(place.left(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_alone_is_proved_from_what_was_read_along() {
    let place = Place::with(&AWKWARD.replace('→', "\t"));
    let (dump, report) = place.dump().await;
    let script = report.schema_script.as_ref().unwrap();
    let mut reader = script.reader().unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut text).await.unwrap();
    assert!(text.len() < dump.len() / 4, "{} of {}", text.len(), dump.len());
    let restored = place.restored(text.as_bytes(), needs(&report), Depth::Rows).await.unwrap();
    assert_eq!(restored.schema_sha256, report.inspection.schema_sha256);
    assert_eq!(restored.row_count(), 0);
    let names = |tables: &[crate::TableState]| -> Vec<String> {
        tables.iter().map(|state| state.table.clone()).collect()
    };
    assert_eq!(names(&restored.tables), names(&report.inspection.tables));
}

/// The other places in which a restore can be tried leave nothing behind either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_can_be_tried_beside_the_source_and_on_a_server_that_is_named() {
    let place = Place::with("CREATE TABLE t (a integer); INSERT INTO t SELECT generate_series(1, 100)");
    let other = kit_testing::postgres::Server::start();
    let (dump, report) = place.dump().await;
    let named = ScratchPlace::Server(kit_core::Secret::new(other.url("postgres")));
    for scratch in [ScratchPlace::Beside, named] {
        let database = place.database_with("shop", OpenOptions { scratch, ..Default::default() });
        let restored = place.restored_by(&database, &dump, needs(&report), Depth::Content).await.unwrap();
        assert_eq!(compare(&report.inspection, &restored), []);
        assert_eq!(database.options.rows.so_far(), 100);
        // What cannot be restored leaves nothing there, too.
        let cut = &dump[..dump.len() / 2];
        place.restored_by(&database, cut, needs(&report), Depth::Rows).await.unwrap_err();
    }
    for server in [&place.server, &other] {
        let left = server.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE '%scratch%'");
        assert_eq!(left, "");
    }
}

/// Whoever makes a table keeps it locked until the end of the transaction, and a server has room for so many locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_many_tables_comes_back_in_one_transaction() {
    let place = Place::with(
        "DO $$ BEGIN FOR i IN 1..700 LOOP EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a text UNIQUE)', i);
         END LOOP; END $$",
    );
    let (dump, report) = place.dump().await;
    assert_eq!(report.inspection.tables.len(), 700);
    let restored = place.restored(&dump, needs(&report), Depth::Content).await.unwrap();
    assert_eq!(compare(&report.inspection, &restored), []);
}

/// The server gives away a gigabyte at once, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_of_every_length_are_told_apart_to_their_last_byte() {
    let place = Place::with(
        "SELECT lo_from_bytea(1, ''), lo_from_bytea(2, 'x'), lo_create(3), lo_create(4);
         SELECT lo_put(3, 16777215, 'x'), lo_put(4, 16777216, 'x')",
    );
    let mut found = std::collections::BTreeSet::new();
    for change in [
        "SELECT",
        "SELECT lo_put(1, 0, 'y')",
        "SELECT lo_put(2, 1, 'y')",
        "SELECT lo_put(3, 16777215, 'y')",
        "SELECT lo_put(3, 16777216, 'y')",
        "SELECT lo_put(4, 16777216, 'y')",
        // Nothing is stored of what was never written.
        "SELECT lo_put(lo_create(5), 1100000000, 'x')",
    ] {
        place.server.sql("shop", change);
        let inspection = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
        assert!(found.insert(inspection.beyond_tables_sha256.unwrap().to_string()), "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_found() {
    let place = Place::with(
        "CREATE TABLE t (id serial PRIMARY KEY, a text); INSERT INTO t (a) VALUES ('one'), ('two');
         CREATE VIEW v AS SELECT a FROM t; SELECT lo_from_bytea(1, 'x');",
    );
    let source = place.database("shop").inspect(&place.cx, Depth::Content).await.unwrap();
    type Expected = fn(&[Difference]) -> bool;
    let changes: [(&str, Expected); 10] = [
        ("UPDATE t SET a = 'other' WHERE id = 1", |found| matches!(found, [Difference::Content(_)])),
        ("DELETE FROM t WHERE id = 1", |found| matches!(found, [Difference::Rows { .. }])),
        ("SELECT setval('t_id_seq', 99)", |found| matches!(found, [Difference::BeyondTables])),
        ("SELECT lo_put(1, 0, 'y')", |found| matches!(found, [Difference::BeyondTables])),
        ("CREATE INDEX ON t (a)", |found| matches!(found, [Difference::Schema])),
        ("ALTER TABLE t ALTER a SET NOT NULL", |found| matches!(found, [Difference::Schema])),
        ("DROP VIEW v", |found| matches!(found, [Difference::Schema])),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", |found| {
            matches!(found, [Difference::Schema])
        }),
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", |found| matches!(found, [Difference::Schema])),
        ("CREATE TABLE u ()", |found| matches!(found, [Difference::Schema, Difference::TableUnexpected(_)])),
    ];
    for (sql, expected) in changes {
        place.server.sql("postgres", "CREATE DATABASE other TEMPLATE shop");
        place.server.sql("other", sql);
        let other = place.database("other").inspect(&place.cx, Depth::Content).await.unwrap();
        let found = compare(&source, &other);
        assert!(expected(&found), "{sql}: {found:?}");
        place.server.sql("postgres", "DROP DATABASE other");
    }
}
