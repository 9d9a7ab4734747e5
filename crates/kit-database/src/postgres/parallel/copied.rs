//! What connections of ours have copied, as the server says with each of its answers.
//!
//! Nobody has to count the rows of such a table once more, which would be to read all of it twice: it is whole if every
//! one of its pages was asked for once, and as many rows came as the server says that it has sent.

use super::super::ident::Qualified;
use super::plan::{Mixed, NO_END, Piece};
use kit_core::Rows;
use std::collections::BTreeMap;
use std::ops::Range;

/// The pieces that are done.
pub(super) struct Copied {
    tables: BTreeMap<Qualified, Pages>,
    planned: u64,
    done: u64,
    rows: u64,
    /// To whom it says how many rows there may be.
    told: Rows,
}

impl Copied {
    pub(super) fn new(pieces: &Mixed, told: Rows) -> Self {
        let tables = pieces.tables().map(|table| (table.clone(), Pages::default())).collect();
        told.estimated(None);
        Self { tables, planned: pieces.planned(), done: 0, rows: 0, told }
    }

    /// The tables that nobody has to count.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Qualified> {
        self.tables.keys()
    }

    /// The server says that it has sent all rows of a piece, so many.
    pub(super) fn add(&mut self, piece: &Piece, rows: u64) {
        self.tables.entry(piece.table.clone()).or_default().add(&piece.pages, rows);
        self.done += 1;
        self.rows += rows;
        // The tables are evenly mixed: the rest of them is like what there was.
        let about = u128::from(self.rows) * u128::from(self.planned) / u128::from(self.done);
        self.told.estimated(u64::try_from(about).ok());
    }

    /// The rows of every table, or what is not whole.
    pub(super) fn counted(&self) -> Result<BTreeMap<Qualified, u64>, String> {
        let count = |(table, pages): (&Qualified, &Pages)| match pages.problem() {
            None => Ok((table.clone(), pages.rows)),
            Some((page, how)) => Err(format!("the pages of table {table} from {page} on were {how}")),
        };
        self.tables.iter().map(count).collect()
    }
}

/// Those of a table.
#[derive(Default)]
struct Pages {
    /// Where what was copied begins, and where it ends: one range as soon as nothing is missing in between.
    ranges: BTreeMap<u64, u64>,
    /// A page that was asked for more than once.
    twice: Option<u64>,
    rows: u64,
}

impl Pages {
    fn add(&mut self, pages: &Range<u64>, rows: u64) {
        self.rows += rows;
        let before = self.ranges.range(..=pages.start).next_back().map(|(start, end)| (*start, *end));
        let after = self.ranges.range(pages.start..).next().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| end > pages.start) {
            self.twice = Some(pages.start);
        }
        if let Some((start, _)) = after.filter(|(start, _)| *start < pages.end) {
            self.twice = Some(start);
        }
        let mut whole = pages.clone();
        if let Some((start, _)) = before.filter(|(_, end)| *end == pages.start) {
            whole.start = start;
        }
        if let Some((start, end)) = after.filter(|(start, _)| *start == pages.end) {
            self.ranges.remove(&start);
            whole.end = end;
        }
        self.ranges.insert(whole.start, whole.end);
    }

    /// From which page on something is wrong, and what.
    fn problem(&self) -> Option<(u64, &'static str)> {
        if let Some(page) = self.twice {
            return Some((page, "copied more than once"));
        }
        match self.ranges.get(&0) {
            Some(&NO_END) => None,
            first => Some((first.copied().unwrap_or_default(), "not copied")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Large;
    use super::*;

    fn table(name: &str) -> Qualified {
        Qualified { schema: "public".to_owned(), name: name.to_owned() }
    }

    /// Of as many pieces as it has pages.
    fn large(name: &str, pages: u64) -> Large {
        Large { table: table(name), columns: "id".to_owned(), pages, size_bytes: pages }
    }

    fn counted(pieces: &[(Range<u64>, u64)]) -> Result<u64, String> {
        let mut copied = Copied::new(&Mixed::new(vec![large("a", 1)], 1), Rows::default());
        for (pages, rows) in pieces {
            let piece =
                Piece { table: table("a"), pages: pages.clone(), sql: String::new(), head: String::new() };
            copied.add(&piece, *rows);
        }
        copied.counted().map(|tables| tables[&table("a")])
    }

    #[test]
    fn only_what_was_copied_once_and_whole_has_a_count() {
        assert_eq!(counted(&[(0..NO_END, 7)]), Ok(7));
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let pieces = [(0..4, 1), (4..9, 20), (9..11, 300), (11..NO_END, 4000)];
            assert_eq!(counted(&order.map(|at| pieces[at].clone())), Ok(4321), "{order:?}");
        }
        for (pieces, from, how) in [
            (&[][..], 0, "not copied"),
            (&[(0..4, 1), (4..9, 1)], 9, "not copied"),
            (&[(5..NO_END, 1), (0..4, 1)], 4, "not copied"),
            (&[(1..NO_END, 1)], 0, "not copied"),
            (&[(0..4, 1), (0..4, 1), (4..NO_END, 1)], 0, "copied more than once"),
            (&[(4..NO_END, 1), (0..4, 1), (0..4, 1)], 0, "copied more than once"),
            (&[(0..4, 1), (3..NO_END, 1)], 3, "copied more than once"),
            (&[(3..NO_END, 1), (0..4, 1)], 3, "copied more than once"),
            (&[(0..NO_END, 1), (5..6, 1)], 5, "copied more than once"),
            (&[(5..6, 1), (0..NO_END, 1)], 5, "copied more than once"),
        ] {
            let expected = format!("the pages of table public.a from {from} on were {how}");
            assert_eq!(counted(pieces), Err(expected), "{pieces:?}");
        }
    }

    #[test]
    fn what_is_done_in_about_the_order_of_the_plan_takes_no_memory() {
        let mut copied = Copied::new(&Mixed::new(vec![large("a", 1000)], 1), Rows::default());
        let mut pieces = Mixed::new(vec![large("a", 1000)], 1);
        while let (Some(one), two) = (pieces.next(), pieces.next()) {
            two.iter().chain([&one]).for_each(|piece| copied.add(piece, 1));
            assert_eq!(copied.tables[&table("a")].ranges.len(), 1);
        }
        assert_eq!(copied.counted().unwrap()[&table("a")], 1000);
    }

    #[test]
    fn the_rest_is_taken_to_be_like_what_there_was() {
        let planned = || Mixed::new(vec![large("a", 2), large("b", 1), large("c", 1)], 1);
        let told = Rows::default();
        told.counted(0);
        let mut copied = Copied::new(&planned(), told.clone());
        assert_eq!(told.total(), None);
        let mut about = Vec::new();
        for (piece, rows) in planned().zip([100, 50, 90, 0]) {
            copied.add(&piece, rows);
            about.push(told.total());
        }
        assert_eq!(about, [Some((400, true)), Some((300, true)), Some((320, true)), Some((240, true))]);
        let rows: u64 = copied.counted().unwrap().into_values().sum();
        assert_eq!(rows, 240);
    }
}
