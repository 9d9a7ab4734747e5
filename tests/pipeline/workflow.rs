//! The pipeline table and the programs agree.

use crate::shop::Shop;
use kit_contract::pipeline::PIPELINE;

#[test]
fn every_line_of_the_table_is_a_command_with_help_that_teaches() {
    let shop = Shop::open();
    for step in PIPELINE {
        let args: Vec<&str> = std::iter::once(step.program).chain(step.command).chain(["--help"]).collect();
        let ran = shop.run(&args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        for part in ["Examples:", "Exit codes:", "Writes:", "A second run", "DEPLOY_KIT_"] {
            assert!(ran.stdout.contains(part), "{args:?} lacks {part}:\n{}", ran.stdout);
        }
        assert!(ran.stdout.contains(step.writes.as_str()), "{args:?} does not name what it writes");
    }
}
