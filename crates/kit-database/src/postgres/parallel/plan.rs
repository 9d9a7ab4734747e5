//! Which tables are copied in pieces, and which pieces. Pure.

use super::super::ident::Qualified;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
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

/// The pieces of all tables, evenly mixed. Short rows keep the server busy and long ones the compression; one table
/// after the other would have one wait for the other. And however many connections there are, they end at about the same
/// time.
///
/// Each is made when it is asked for: a large database has a million of them.
pub(super) struct Mixed {
    /// The largest first.
    tables: Vec<Cut>,
    /// The next piece of each: its place, its table and its number. Where two share a place, the larger table is first.
    next: BinaryHeap<Reverse<(u128, usize, u64)>>,
}

impl Mixed {
    pub(super) fn new(mut tables: Vec<Large>, piece_bytes: u64) -> Self {
        tables
            .sort_by(|one, two| two.size_bytes.cmp(&one.size_bytes).then_with(|| one.table.cmp(&two.table)));
        let tables: Vec<Cut> = tables.into_iter().map(|large| Cut::new(large, piece_bytes)).collect();
        let first = tables.iter().enumerate().map(|(table, cut)| Reverse((cut.place(0), table, 0)));
        Self { next: first.collect(), tables }
    }

    /// The tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Qualified> {
        self.tables.iter().map(|cut| &cut.large.table)
    }

    /// How many pieces there are, with those that were given away.
    pub(super) fn planned(&self) -> u64 {
        self.tables.iter().map(|cut| cut.count).sum()
    }
}

impl Iterator for Mixed {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let Reverse((_, table, number)) = self.next.pop()?;
        let cut = self.tables.get(table)?;
        if number + 1 < cut.count {
            self.next.push(Reverse((cut.place(number + 1), table, number + 1)));
        }
        Some(cut.piece(number))
    }
}

/// A table and how it is cut.
struct Cut {
    large: Large,
    /// Pages of a piece.
    step: u64,
    count: u64,
}

impl Cut {
    fn new(large: Large, piece_bytes: u64) -> Self {
        let wanted = large.size_bytes.div_ceil(piece_bytes.max(1)).clamp(1, large.pages.max(1));
        let step = large.pages.div_ceil(wanted).max(1);
        Self { count: large.pages.div_ceil(step).max(1), step, large }
    }

    /// How much of the table stands before the middle of a piece.
    fn place(&self, number: u64) -> u128 {
        ((2 * u128::from(number) + 1) << 64) / (2 * u128::from(self.count))
    }

    fn piece(&self, number: u64) -> Piece {
        let Large { table, columns, .. } = &self.large;
        let from = number * self.step;
        let mut sql = format!("COPY (SELECT {columns} FROM ONLY {} WHERE ctid >= '({from},0)'", table.sql());
        // Pages that came since hold nothing that the snapshot sees, but the last piece need not rely on that.
        let to = if number + 1 < self.count { from + self.step } else { NO_END };
        if to != NO_END {
            let _ = write!(sql, " AND ctid < '({to},0)'");
        }
        sql.push_str(") TO STDOUT");
        Piece { table: table.clone(), pages: from..to, sql, head: head(&self.large) }
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

    fn of_table(large: &Large, piece_bytes: u64) -> Vec<Piece> {
        let mixed = Mixed::new(vec![large.clone()], piece_bytes);
        let planned = mixed.planned();
        let pieces: Vec<Piece> = mixed.collect();
        assert_eq!(pieces.len() as u64, planned);
        pieces
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
        let mixed = Mixed::new(vec![named("small", 2), named("large", 6)], 1);
        assert_eq!(mixed.tables().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["large", "small"]);
        let pieces: Vec<Piece> = mixed.collect();
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
