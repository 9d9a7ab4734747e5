//! Commands that are shown do what they are shown for.

use super::{BINARY, ended, shop};

/// One database by its URL, under another name than the usual one, in another store than the usual one.
#[test]
fn what_is_shown_can_be_typed() {
    let sandbox = shop().env("DEPLOY_KIT_DATABASE_URL", "sqlite:main.db");
    let root = sandbox.path();
    std::fs::rename(root.join(".deploy-kit/store"), root.join("elsewhere")).unwrap();
    for file in
        sandbox.files().iter().filter(|file| file.starts_with("elsewhere/") && file.ends_with(".json"))
    {
        sandbox.write(file, sandbox.read(file).replace("\"database\":\"main\"", "\"database\":\"shop\""));
    }
    let after = |text: &str, shown: &str| -> Vec<String> {
        let (_, rest) = text.split_once(shown).unwrap_or_else(|| panic!("no {shown:?} in {text}"));
        rest.lines().next().unwrap().split_whitespace().map(str::to_owned).collect()
    };
    let mut args: Vec<String> =
        ["--deployment", "latest", "--store", "file:elsewhere"].map(str::to_owned).to_vec();
    let run = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        sandbox.run(BINARY, &args)
    };
    let unnamed = run(&args);
    ended(&sandbox, &unnamed, 10, "backup_not_found");
    args.extend(after(&unnamed.stderr, " has a backup of shop alone: "));
    let planned = run(&args);
    ended(&sandbox, &planned, 0, "restore_planned");
    // What cannot be shown is named.
    assert!(planned.stderr.contains("give database-url with it, as now"), "{}", planned.stderr);
    ended(&sandbox, &run(&after(&planned.stderr, "to do it: db-restore ")), 0, "restored");
}
