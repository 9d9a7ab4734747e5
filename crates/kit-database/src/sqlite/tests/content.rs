use super::Place;
use crate::{Database as _, Depth, Difference, compare};

const AWKWARD: &str = r#"
    PRAGMA user_version = 7; PRAGMA application_id = 42;
    CREATE TABLE "odd ""name"" with 'quotes'; --" ("a ""b""" TEXT, "select" INTEGER, "ü ✓" REAL);
    INSERT INTO "odd ""name"" with 'quotes'; --" VALUES ('x', 1, 1.5), (NULL, NULL, NULL), ('', -1, 9e999);
    CREATE TABLE "таблица" (k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID;
    INSERT INTO "таблица" VALUES ('b', x'00ff00'), ('A', ''), ('c', x'');
    CREATE TABLE pair (b INTEGER, a TEXT, note, PRIMARY KEY (a, b)) WITHOUT ROWID;
    INSERT INTO pair VALUES (2, 'x', 1), (1, 'x', 2), (1, 'w', 3);
    CREATE TABLE shadowed (rowid TEXT, _rowid_ TEXT, oid TEXT);
    INSERT INTO shadowed VALUES ('c', 'b', 'a'), ('a', 'b', 'c'), ('a', 'b', 'c');
    CREATE TABLE half_shadowed (rowid TEXT); INSERT INTO half_shadowed VALUES ('z'), ('y');
    CREATE TABLE price (net INTEGER, gross INTEGER GENERATED ALWAYS AS (net * 119 / 100) STORED,
        shown TEXT AS ('EUR ' || net) VIRTUAL);
    INSERT INTO price (net) VALUES (100), (-5), (9223372036854775807);
    CREATE TABLE empty (a, b);
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT);
    INSERT INTO counted (t) VALUES ('one'), ('two'), ('three'); DELETE FROM counted WHERE id = 3;
    CREATE TABLE gaps (t TEXT); INSERT INTO gaps VALUES ('a'), ('b'), ('c'); DELETE FROM gaps WHERE t = 'b';
    CREATE TABLE orphan (parent REFERENCES counted (id)); INSERT INTO orphan VALUES (99), (1);
    CREATE TABLE raw (t TEXT); INSERT INTO raw VALUES (CAST(x'fffe80' AS TEXT)), ('a' || char(0) || 'b');
    CREATE VIEW shown AS SELECT "a ""b""" AS a FROM "odd ""name"" with 'quotes'; --";
    CREATE TRIGGER log AFTER INSERT ON counted BEGIN INSERT INTO gaps VALUES (new.t); END;
    CREATE INDEX partial ON gaps (t) WHERE t > 'a';
    CREATE INDEX expression ON counted (lower(t));
    CREATE VIRTUAL TABLE words USING fts5 (title, body);
    INSERT INTO words VALUES ('Hello', 'the quick brown fox'), ('Bye', 'the lazy dog');
    CREATE VIRTUAL TABLE box USING rtree (id, x0, x1); INSERT INTO box VALUES (1, 0.0, 2.5);
    CREATE TABLE doc (body TEXT); INSERT INTO doc VALUES ('gone'), ('searched text');
    DELETE FROM doc WHERE body = 'gone';
    CREATE VIRTUAL TABLE search USING fts5 (body, content = 'doc');
    INSERT INTO search (rowid, body) SELECT rowid, body FROM doc;
    ANALYZE;
"#;

#[tokio::test]
async fn an_awkward_schema_comes_back_equal() {
    for encoding in ["UTF-8", "UTF-16le"] {
        let place = Place::with(&format!("PRAGMA encoding = '{encoding}'; {AWKWARD}")).await;
        let live = place.database().inspect(&place.cx, Depth::Content).await.unwrap();
        let dump = place.dump().await;
        let restored = place.restored(&dump, Depth::Content).await.unwrap();
        assert_eq!(compare(&live, &restored), [], "row ids included: full-text indexes refer to them");
        assert_eq!(restored.integrity, Ok(()));
        assert_eq!(restored.foreign_keys_violated, Ok(1), "what the source tolerates is not damage");
        let rows = |table: &str| restored.tables.iter().find(|state| state.table == table).map(|s| s.rows);
        assert_eq!(rows("odd \"name\" with 'quotes'; --"), Some(3));
        assert_eq!(rows("empty"), Some(0));
        assert_eq!(rows("sqlite_sequence"), Some(1));
        assert_eq!(rows("words_content"), Some(2));
        assert_eq!(rows("words"), None, "a virtual table's content is in its shadow tables");

        let beside = place.database().restore_beside(&place.cx, &mut &dump[..], None, "r1").await.unwrap();
        let beside = place.database().finish_beside(&place.cx, &beside).await.unwrap();
        place.database().swap(&place.cx, &beside).await.unwrap();
        assert_eq!(place.number("SELECT count(*) FROM words WHERE words MATCH 'lazy'").await, 1);
        let found = "SELECT count(*) FROM search WHERE search MATCH 'searched' AND body = 'searched text'";
        assert_eq!(place.number(found).await, 1);
        let next = "INSERT INTO counted (t) VALUES ('four') RETURNING id";
        assert_eq!(place.number(next).await, 4, "the sequence goes on where it was");
    }
}

/// The only table of a database in which one statement makes the difference.
async fn state(sql: &str) -> crate::Inspection {
    let place = Place::with(&format!("CREATE TABLE t (a, b, c); {sql}")).await;
    place.restored(&place.dump().await, Depth::Content).await.unwrap()
}

#[tokio::test]
async fn values_that_look_alike_are_told_apart() {
    let alike: Vec<&str> = vec![
        "INSERT INTO t VALUES (1, NULL, NULL)",
        "INSERT INTO t VALUES ('1', NULL, NULL)",
        "INSERT INTO t VALUES (1.0, NULL, NULL)",
        "INSERT INTO t VALUES (x'31', NULL, NULL)",
        "INSERT INTO t VALUES (NULL, 1, NULL)",
        "INSERT INTO t VALUES ('', '1', NULL)",
        "INSERT INTO t VALUES ('ab', 'c', NULL)",
        "INSERT INTO t VALUES ('a', 'bc', NULL)",
        "INSERT INTO t VALUES ('a', 'bc', NULL); UPDATE t SET rowid = 2",
        "INSERT INTO t VALUES (9007199254740993, 0, 0)",
        "INSERT INTO t VALUES (9007199254740992, 0, 0)",
        "INSERT INTO t VALUES (9007199254740992.0, 0, 0)",
    ];
    let mut states = Vec::new();
    for sql in &alike {
        states.push(state(sql).await);
    }
    for (i, one) in states.iter().enumerate() {
        for (j, two) in states.iter().enumerate() {
            let expected = if i == j { vec![] } else { vec![Difference::Content("t".to_owned())] };
            assert_eq!(compare(one, two), expected, "{} / {}", alike[i], alike[j]);
        }
    }
}

#[tokio::test]
async fn what_defines_the_schema_is_told_apart() {
    let plain = state("").await;
    for sql in [
        "CREATE INDEX i ON t (a)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
    ] {
        let other = state(sql).await;
        assert_eq!(compare(&plain, &other), [Difference::Schema], "{sql}");
    }
    let again = state("CREATE TABLE gone (x); DROP TABLE gone;").await;
    assert_eq!(compare(&plain, &again), [], "where things lie in the file does not matter");
}
