use super::*;

#[derive(Debug, Default)]
struct Kept(Vec<u8>);

impl Keep for Kept {
    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Tabs as arrows.
const TEXT: &str = r#"--
-- PostgreSQL database dump
--

\restrict abc

SET row_security = off;

--
-- Name: liar(); Type: FUNCTION; Schema: public; Owner: ada
--

CREATE FUNCTION public.liar() RETURNS text LANGUAGE sql AS $$
COPY public.fake (a) FROM stdin;
1
\.
-- PostgreSQL database dump complete
SELECT pg_catalog.setval('public.fake', 7, true);
$$;

--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: ada
--

COPY public.orders (id, "to
gether") FROM stdin;
1→one
2→\\.
3→SELECT
\.


--
-- Data for Name: Odd; Type: TABLE DATA; Schema: public; Owner: ada
--

COPY public."Odd" (a) FROM stdin;
\.


--
-- Data for Name: none; Type: TABLE DATA; Schema: public; Owner: ada
--

COPY public."none"  FROM stdin;


\.


--
-- Name: orders_id_seq; Type: SEQUENCE SET; Schema: public; Owner: ada
--

SELECT pg_catalog.setval('public.orders_id_seq', 3, true);


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('16385', 131072);
SELECT pg_catalog.lowrite(0, '\x0102');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--

\unrestrict abc

"#;

fn dump() -> String {
    TEXT.replace('→', "\t")
}

fn scan(dump: &[u8], size: usize) -> Result<(Content, Kept), String> {
    let mut scanner = Scanner::new(Kept::default());
    dump.chunks(size).for_each(|piece| scanner.take(piece));
    let incomplete = scanner.incomplete();
    let finished = scanner.finish();
    assert_eq!(finished.as_ref().err(), incomplete.as_ref());
    finished
}

#[test]
fn rows_positions_and_schema_whatever_the_pieces() {
    for size in [1, 2, 3, 5, 16, 64, 100_000] {
        let (content, kept) = scan(dump().as_bytes(), size).unwrap();
        let rows: Vec<(String, u64)> =
            content.tables.iter().map(|(table, digest)| (table.to_string(), digest.rows())).collect();
        let expected = [("public.\"Odd\"", 0), ("public.none", 2), ("public.orders", 3)];
        assert_eq!(rows, expected.map(|(table, rows)| (table.to_owned(), rows)), "{size}");
        let positions: Vec<String> =
            content.sequences.iter().map(|(name, at)| format!("{name} {at}")).collect();
        assert_eq!(positions, ["public.orders_id_seq 3, true"]);
        assert_eq!(content.bytes, dump().len() as u64);
        let kept = String::from_utf8(kept.0).unwrap();
        assert!(kept.contains("COPY public.orders (id, \"to\ngether\") FROM stdin;\n\\.\n"), "{kept}");
        assert!(!kept.contains("1\tone") && !kept.contains("lowrite"), "{kept}");
        assert!(kept.ends_with("\\unrestrict abc\n\n"), "{kept}");
    }
}

/// At every byte it may break off.
#[test]
fn a_dump_that_broke_off_is_never_whole() {
    let complete = dump().find("-- PostgreSQL database dump complete\n--\n\n\\unrestrict").unwrap()
        + "-- PostgreSQL database dump complete\n".len();
    for length in 0..dump().len() {
        // Behind the trailer nothing is missing but ornament.
        let is_whole = length >= complete && dump()[..length].ends_with('\n');
        assert_eq!(scan(&dump().as_bytes()[..length], 7).is_ok(), is_whole, "{length}");
    }
}

/// What `pg_dump` leaves when its server dies: a COPY block that is closed, and nothing behind it.
#[test]
fn a_closed_block_at_the_end_is_no_end() {
    let cut = dump().find("-- Data for Name: Odd").unwrap();
    let error = scan(&dump().as_bytes()[..cut], 64).unwrap_err();
    assert!(error.contains("the line is missing"), "{error}");
    let inside = dump().find("3\tSELECT").unwrap();
    let error = scan(&dump().as_bytes()[..inside], 64).unwrap_err();
    assert_eq!(error, "it ends among the rows of table public.orders");
    let more = format!("{}SELECT 1;\n", dump());
    assert!(scan(more.as_bytes(), 64).is_err(), "something stands behind the end");
}
