//! Makes what a dump does in transactions of its own a part of the one around it.
//!
//! `pg_dump` puts large objects between `BEGIN;` and `COMMIT;`, since they can be opened only within a transaction. Where
//! there is one already, that `COMMIT` would end it in the middle of the restore, and whatever fails afterwards could no
//! longer be taken back. So those two lines are blanked.

use super::scan::Scanner;
use crate::schema_file::Keep;

/// Takes a dump piece by piece, after the scanner that reads along.
#[derive(Debug, Default)]
pub(super) struct OneTransaction {
    /// The beginning of a line of which nobody knows yet what it is.
    held: Vec<u8>,
    /// Where it stands in the dump.
    position: u64,
}

impl OneTransaction {
    /// What can be handed on by now, with what `scanner` has just taken.
    pub(super) fn take<K: Keep>(&mut self, piece: Vec<u8>, scanner: &mut Scanner<K>) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        if bytes.is_empty() {
            bytes = piece;
        } else {
            bytes.extend_from_slice(&piece);
        }
        for line in scanner.take_transactions() {
            let start = usize::try_from(line.start.saturating_sub(self.position)).unwrap_or(usize::MAX);
            let end = usize::try_from(line.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
            if let Some(line) = bytes.get_mut(start..end) {
                line.fill(b' ');
            }
        }
        let known = bytes.len().saturating_sub(scanner.unfinished_bytes());
        self.held = bytes.split_off(known);
        self.position += bytes.len() as u64;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema_file::Nowhere;

    const DUMP: &str = "--
-- Name: liar(); Type: FUNCTION; Schema: public; Owner: ada
--

CREATE FUNCTION public.liar() RETURNS void LANGUAGE plpgsql AS $$
BEGIN;
COMMIT;
$$;

--
-- Data for Name: orders; Type: TABLE DATA; Schema: public; Owner: ada
--

COPY public.orders (note) FROM stdin;
BEGIN;
COMMIT;
\\.


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -
--

BEGIN;

SELECT pg_catalog.lo_open('16385', 131072);
SELECT pg_catalog.lowrite(0, '\\x0102');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: public; Owner: ada
--

COMMIT;
--
-- PostgreSQL database dump complete
--

";

    #[test]
    fn only_the_transaction_around_large_objects_is_blanked_whatever_the_pieces() {
        let blanked = DUMP.replacen("BEGIN;\n\nSELECT", "      \n\nSELECT", 1).replacen(
            "(0);\n\nCOMMIT;",
            "(0);\n\n       ",
            1,
        );
        for size in [1, 2, 3, 7, 50, 100_000] {
            let mut scanner = Scanner::new(Nowhere).finding_transactions();
            let mut one = OneTransaction::default();
            let mut passed = Vec::new();
            for piece in DUMP.as_bytes().chunks(size) {
                scanner.take(piece);
                passed.extend(one.take(piece.to_vec(), &mut scanner));
            }
            assert_eq!(String::from_utf8(passed).unwrap(), blanked, "{size}");
            assert_eq!(scanner.incomplete(), None);
        }
    }
}
