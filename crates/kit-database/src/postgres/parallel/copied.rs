//! What connections of ours have copied, as the server says with each of its answers. Pure.
//!
//! Nobody has to count the rows of such a table once more, which would be to read all of it twice: it is whole if every
//! one of its pages was asked for once, and as many rows came as the server says that it has sent.

use super::super::ident::Qualified;
use super::plan::{NO_END, Piece};
use kit_core::Rows;
use std::collections::BTreeMap;
use std::ops::Range;

/// The pieces that are done.
pub(super) struct Copied {
    tables: BTreeMap<Qualified, Vec<(Range<u64>, u64)>>,
    planned: usize,
    done: usize,
    rows: u64,
    /// To whom it says how many rows there may be.
    told: Rows,
}

impl Copied {
    pub(super) fn new(planned: &[Piece], told: Rows) -> Self {
        let tables = planned.iter().map(|piece| (piece.table.clone(), Vec::new())).collect();
        Self { tables, planned: planned.len(), done: 0, rows: 0, told }
    }

    /// The tables that nobody has to count.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Qualified> {
        self.tables.keys()
    }

    /// The server says that it has sent all rows of a piece, so many.
    pub(super) fn add(&mut self, piece: &Piece, rows: u64) {
        self.tables.entry(piece.table.clone()).or_default().push((piece.pages.clone(), rows));
        self.done += 1;
        self.rows += rows;
        // The tables are evenly mixed: the rest of them is like what there was.
        let about = u128::from(self.rows) * self.planned as u128 / self.done as u128;
        self.told.estimated(u64::try_from(about).unwrap_or(u64::MAX));
    }

    /// The rows of every table, or what is not whole.
    pub(super) fn counted(&self) -> Result<BTreeMap<Qualified, u64>, String> {
        let count = |(table, pieces): (&Qualified, &Vec<(Range<u64>, u64)>)| {
            let mut in_order: Vec<&Range<u64>> = pieces.iter().map(|(pages, _)| pages).collect();
            in_order.sort_unstable_by_key(|pages| (pages.start, pages.end));
            let mut next = 0;
            for pages in in_order {
                if pages.start != next {
                    return Err(format!(
                        "its pages of table {table} were not copied once each, from {next} on"
                    ));
                }
                next = pages.end;
            }
            match next {
                NO_END => Ok((table.clone(), pieces.iter().map(|(_, rows)| rows).sum())),
                _ => Err(format!("its pages of table {table} were not copied, from {next} on")),
            }
        };
        self.tables.iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Qualified {
        Qualified { schema: "public".to_owned(), name: name.to_owned() }
    }

    fn piece(name: &str, pages: Range<u64>) -> Piece {
        Piece { table: table(name), pages, sql: String::new(), head: String::new() }
    }

    fn counted(pieces: &[(Range<u64>, u64)]) -> Result<u64, String> {
        let mut copied = Copied::new(&[piece("a", 0..NO_END)], Rows::default());
        for (pages, rows) in pieces {
            copied.add(&piece("a", pages.clone()), *rows);
        }
        copied.counted().map(|tables| tables[&table("a")])
    }

    #[test]
    fn only_what_was_copied_once_and_whole_has_a_count() {
        assert_eq!(counted(&[(0..NO_END, 7)]), Ok(7));
        assert_eq!(counted(&[(4..9, 1), (0..4, 20), (9..NO_END, 300)]), Ok(321));
        for (pieces, from) in [
            (&[][..], 0),
            (&[(0..4, 1), (4..9, 1)], 9),
            (&[(0..4, 1), (5..NO_END, 1)], 4),
            (&[(1..NO_END, 1)], 0),
            (&[(0..4, 1), (0..4, 1), (4..NO_END, 1)], 4),
            (&[(0..4, 1), (3..NO_END, 1)], 4),
            (&[(0..NO_END, 1), (0..NO_END, 1)], NO_END),
        ] {
            let problem = counted(pieces).unwrap_err();
            assert!(problem.ends_with(&format!("from {from} on")), "{pieces:?}: {problem}");
        }
    }

    #[test]
    fn the_rest_is_taken_to_be_like_what_there_was() {
        let planned = [piece("a", 0..4), piece("b", 0..NO_END), piece("a", 4..NO_END), piece("c", 0..NO_END)];
        let told = Rows::default();
        let mut copied = Copied::new(&planned, told.clone());
        let mut about = Vec::new();
        for (piece, rows) in planned.iter().zip([100, 50, 90, 0]) {
            copied.add(piece, rows);
            about.push(told.total());
        }
        assert_eq!(about, [Some((400, true)), Some((300, true)), Some((320, true)), Some((240, true))]);
        let rows: Vec<u64> = copied.counted().unwrap().into_values().collect();
        assert_eq!(rows, [190, 50, 0]);
    }
}
