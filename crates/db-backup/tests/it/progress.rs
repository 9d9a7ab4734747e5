//! What a person at a terminal sees of a backup while it is made.

use super::BINARY;
use super::bucket::Shop;

/// One line that is rewritten, with bytes and rows, and nothing of it stays.
pub(super) fn is_seen_at_a_terminal(shop: &Shop) {
    // The bucket takes no more than that for a while: what stands still is told, too.
    shop.proxy.hold_after(1_000_000);
    let terminal = shop.sandbox.start_at_terminal(BINARY, &["--proof", "stream"]);
    terminal.wait_for(" of about 120000 rows, ");
    shop.proxy.heal();
    let ran = terminal.wait();
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let drawn: Vec<&str> = ran.stdout.split("\r\u{1b}[K").collect();
    let (progress, rest): (Vec<&str>, Vec<&str>) =
        drawn.iter().partition(|text| text.contains("main: copying: "));
    // How often it is drawn is a matter of how long the rest takes.
    assert!(!progress.is_empty(), "{}", ran.stdout);
    for text in progress {
        assert!(!text.contains('\n') && text.contains(" MiB, ") || text.contains(" B, "), "{text:?}");
    }
    assert!(rest.concat().contains("main: 120000 rows in 1 table, "), "{}", ran.stdout);
}
