//! Which tables are copied in pieces, and which pieces. Pure.

use super::super::ident::Qualified;
use std::fmt::Write as _;
use std::ops::Range;

/// What is large, and how large a piece of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Sizes {
    /// Smaller tables are left to `pg_dump`.
    pub(in super::super) smallest_bytes: u64,
    /// About as much of a table is copied by one statement. A restore runs as many.
    pub(in super::super) piece_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { smallest_bytes: 8 << 20, piece_bytes: 4 << 20 }
    }
}

/// A plain table on a heap that `pg_dump` would copy row by row.
#[derive(Clone, Debug)]
pub(super) struct Large {
    pub(super) table: Qualified,
    /// As SQL, without generated ones; never empty.
    pub(super) columns: String,
    /// Of its heap alone.
    pub(super) pages: u64,
    /// With everything that its rows have elsewhere (TOAST).
    pub(super) size_bytes: u64,
}

/// One `COPY … TO STDOUT` of ours, and what stands before and behind its rows in the dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) table: Qualified,
    /// The pages whose rows it gives; those of the last piece have no end.
    pub(super) pages: Range<u64>,
    pub(super) sql: String,
    pub(super) head: String,
}

/// Behind every page that a table may have.
pub(super) const NO_END: u64 = u64::MAX;

/// What stands behind the rows.
pub(super) const TAIL: &str = "\\.\n\n\n";

/// The pieces of all of them, evenly mixed. Short rows keep the server busy and long ones the compression; one table
/// after the other would have one wait for the other. And however many connections there are, they end at about the same
/// time.
pub(super) fn pieces(mut tables: Vec<Large>, piece_bytes: u64) -> Vec<Piece> {
    tables.sort_by(|one, two| two.size_bytes.cmp(&one.size_bytes).then_with(|| one.table.cmp(&two.table)));
    let mut pieces: Vec<(u128, Piece)> = Vec::new();
    for large in &tables {
        let of_table = of_table(large, piece_bytes);
        let count = of_table.len().max(1) as u128;
        // How much of the table stands before the middle of the piece.
        let place = |index: usize| ((2 * index as u128 + 1) << 64) / (2 * count);
        pieces.extend(of_table.into_iter().enumerate().map(|(index, piece)| (place(index), piece)));
    }
    // Stable: where pieces of two tables share a place, the larger table is first.
    pieces.sort_by_key(|(place, _)| *place);
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn of_table(large: &Large, piece_bytes: u64) -> Vec<Piece> {
    let count = large.size_bytes.div_ceil(piece_bytes.max(1)).clamp(1, large.pages.max(1));
    let step = large.pages.div_ceil(count).max(1);
    let mut pieces = Vec::new();
    let mut from = 0;
    loop {
        let to = from + step;
        // Pages that came since hold nothing that the snapshot sees, but the last piece need not rely on that.
        let is_last = to >= large.pages;
        let mut sql = format!("COPY (SELECT {} FROM ONLY {}", large.columns, large.table.sql());
        let _ = write!(sql, " WHERE ctid >= '({from},0)'");
        if !is_last {
            let _ = write!(sql, " AND ctid < '({to},0)'");
        }
        sql.push_str(") TO STDOUT");
        let pages = from..if is_last { NO_END } else { to };
        pieces.push(Piece { table: large.table.clone(), pages, sql, head: head(large) });
        if is_last {
            return pieces;
        }
        from = to;
    }
}

/// As `pg_dump` begins the rows of a table.
fn head(large: &Large) -> String {
    let one_line = |text: &str| text.replace(['\n', '\r'], " ");
    let Qualified { schema, name } = &large.table;
    format!(
        "--\n-- Data for Name: {}; Type: TABLE DATA; Schema: {}; Owner: -\n--\n\nCOPY {} ({}) FROM stdin;\n",
        one_line(name),
        one_line(schema),
        large.table.sql(),
        large.columns
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(pages: u64, size_bytes: u64) -> Large {
        let table = Qualified { schema: "public".to_owned(), name: "a\nb".to_owned() };
        Large { table, columns: "id, \"b c\"".to_owned(), pages, size_bytes }
    }

    #[test]
    fn every_page_is_in_exactly_one_piece() {
        for (pages, size_bytes) in
            [(1, 1), (3, 100 << 20), (1024, 8 << 20), (1000, 9 << 20), (0, 0), (7, 9 << 20)]
        {
            let pieces = of_table(&large(pages, size_bytes), 4 << 20);
            let mut next = 0;
            for (index, piece) in pieces.iter().enumerate() {
                assert!(piece.sql.contains(&format!("ctid >= '({next},0)'")), "{}", piece.sql);
                assert_eq!(piece.pages.start, next);
                match piece.sql.split_once(" AND ctid < '(") {
                    Some((_, rest)) => {
                        next = rest.split_once(',').unwrap().0.parse().unwrap();
                        assert_eq!(piece.pages.end, next);
                    }
                    None => assert_eq!((index + 1, piece.pages.end), (pieces.len(), NO_END)),
                }
            }
            assert!(next < pages.max(1), "no piece is empty by construction: {next} of {pages}");
            assert!(pieces.len() as u64 <= (size_bytes / (4 << 20) + 1).max(1));
        }
    }

    #[test]
    fn tables_are_evenly_mixed_and_each_keeps_its_order() {
        let named = |name: &str, pages| {
            let table = Qualified { schema: "public".to_owned(), name: name.to_owned() };
            Large { table, ..large(pages, pages) }
        };
        let pieces = pieces(vec![named("small", 2), named("large", 6)], 1);
        let order: Vec<&str> = pieces.iter().map(|piece| piece.table.name.as_str()).collect();
        assert_eq!(order, ["large", "large", "small", "large", "large", "large", "small", "large"]);
        for name in ["small", "large"] {
            let of_one: Vec<&Piece> = pieces.iter().filter(|piece| piece.table.name == name).collect();
            for (index, piece) in of_one.iter().enumerate() {
                assert!(piece.sql.contains(&format!("ctid >= '({index},0)'")), "{}", piece.sql);
            }
        }
    }

    #[test]
    fn the_head_is_what_pg_dump_writes_and_its_comment_stays_on_its_line() {
        let head = &of_table(&large(1, 1), 1)[0].head;
        assert!(head.starts_with(
            "--\n-- Data for Name: a b; Type: TABLE DATA; Schema: public; Owner: -\n--\n\nCOPY "
        ));
        assert!(head.ends_with("COPY \"public\".\"a\nb\" (id, \"b c\") FROM stdin;\n"));
    }
}
