use super::{Config, ConfigError, Span};
use crate::{Name, Reason};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, &name("production"))
}

#[test]
fn the_smallest_file_is_enough() {
    let config = parse("app = \"shop\"\n").unwrap();
    assert_eq!(config.app, name("shop"));
    let percents: Vec<f64> = config.stages.iter().map(|stage| stage.percent).collect();
    assert_eq!(percents, [5.0, 50.0, 100.0]);
    assert_eq!(config.gate.timeout.to_string(), "5s");
}

#[test]
fn overlays_merge_tables_and_replace_arrays() {
    let text = r#"
app = "shop"
[gate]
interval = "1s"
timeout = "3s"
[[stages]]
name = "canary"
percent = 5
duration = "5m"
[[stages]]
name = "full"
percent = 100
duration = "15m"
[env.staging.gate]
timeout = "1s"
[[env.staging.stages]]
name = "all"
percent = 100
duration = "10s"
"#;
    let production = parse(text).unwrap();
    assert_eq!(production.stages.len(), 2);
    let staging = Config::parse(text, &name("staging")).unwrap();
    assert_eq!(staging.stages.len(), 1);
    assert_eq!(staging.gate.timeout.to_string(), "1s");
    assert_eq!(staging.gate.interval.to_string(), "1s", "keys beside the overlaid one stay");
}

/// Text, then line, then what the message and the hint must say.
#[test]
fn errors_name_the_place_the_value_and_the_nearest_choice() {
    let cases: &[(&str, usize, &[&str])] = &[
        ("app = \"shop\"\n[gatee]\n", 2, &["unknown key \"gatee\"", "did you mean \"gate\"?"]),
        ("app = \"shop\"\n[gate]\nintervall = \"1s\"\n", 3, &["gate", "\"intervall\"", "\"interval\""]),
        ("app = \"shop\"\n[env.staging.gate]\ntimeot = \"1s\"\n", 3, &["\"timeot\"", "\"timeout\""]),
        ("app = \"shop\"\n[env.other]\nservices = 3\n", 3, &["services", "invalid type: integer `3`"]),
        ("app = \"shop\"\n[gate]\ntimeout = 5\n", 3, &["gate.timeout", "invalid type: integer `5`"]),
        ("app = \"shop\"\n[gate]\ntimeout = \"5\"\n", 3, &["gate.timeout", "write it with units"]),
        ("app = \"Shop!\"\n", 1, &["app", "\"Shop!\"", "a-z, 0-9"]),
        ("app = \"shop\"\n[traffic]\ndriver = \"comand\"\n", 3, &["\"comand\"", "did you mean \"command\"?"]),
        ("app = \"shop\"\n[[services]]\n", 2, &["services[0]", "missing key \"name\""]),
        ("app = shop\n", 1, &["line 1, column 7"]),
        ("app = \"shop\"\nenv = 1\n", 2, &["one table per environment"]),
        ("app = \"shop\"\napp = \"b\"\n", 2, &["duplicate key"]),
    ];
    for (text, line, needles) in cases {
        let error = parse(text).unwrap_err();
        let shown = format!("{error}\n{}", error.hint.clone().unwrap_or_default());
        assert_eq!(error.at.map(|at| at.line), Some(*line), "{text}\n{shown}");
        for needle in *needles {
            assert!(shown.contains(needle), "{text}\n{shown}\nlacks {needle}");
        }
    }
}

#[test]
fn rules_over_several_values() {
    let cases = [
        ("app = \"a\"\nstages = []\n", "at least one stage"),
        ("app = \"a\"\n[[stages]]\nname=\"x\"\npercent=5\nduration=\"1s\"\n", "percent = 100"),
        ("app = \"a\"\n[[stages]]\nname=\"x\"\npercent=0\nduration=\"1s\"\n", "above 0"),
        ("app = \"a\"\n[[stages]]\nname=\"abort\"\npercent=100\nduration=\"1s\"\n", "\"abort\" is taken"),
        ("app = \"a\"\n[release]\ntag_pattern = \"v\"\n", "{version} exactly once"),
        ("app = \"a\"\n[[services]]\nname=\"x\"\n[[services]]\nname=\"x\"\n", "twice"),
        ("app = \"a\"\n[traffic]\ndriver=\"command\"\n", "needs a program"),
        ("app = \"a\"\n[[smoke.checks]]\nname=\"x\"\nurl=\"/health\"\n", "absolute"),
    ];
    for (text, needle) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(needle), "{text}: {error}");
    }
}

#[test]
fn assertions_have_one_right_answer() {
    let database = "app = \"a\"\n[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\n";
    let assertion = "[[databases.assertions]]\nname = \"paid\"\nsql = \"SELECT 1\"\n";
    for (value, expected) in [
        ("0", super::Expected::Number(0)),
        ("true", super::Expected::Truth(true)),
        ("'x'", super::Expected::Text("x".to_owned())),
    ] {
        let text = format!("{database}{assertion}expect = {value}\n");
        let config = parse(&text).unwrap();
        assert_eq!(config.databases[0].assertions[0].expect, expected);
        assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config, "{value}");
    }
    let external = "[databases.backup]\ncommand = [\"x\"]\n[backup]\nallow_external = true\n";
    let cases = [
        (assertion.to_owned(), "missing key \"expect\""),
        (format!("{assertion}expect = 1.5\n"), "round it in the statement"),
        (format!("{assertion}expect = []\n"), "true, false, a whole number or a text"),
        (format!("{assertion}expect = 1\ntimeout = \"0s\"\n"), "leaves no time"),
        (format!("{}expect = 1\n", assertion.replace("SELECT 1", " ; ")), "it asks nothing"),
        (format!("{assertion}expect = 1\n{assertion}expect = 2\n"), "\"paid\" stands there twice"),
        (format!("{assertion}expect = 1\n{external}"), "another tool makes its backups"),
    ];
    for (rest, needle) in cases {
        let error = parse(&format!("{database}{rest}")).unwrap_err().to_string();
        assert!(error.contains(needle), "{rest}: {error}");
    }
}

#[test]
fn a_way_to_a_database_names_a_program_and_checks_whom_it_meets() {
    let database = "app = \"a\"\n[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\n";
    let config =
        parse(&format!("{database}via = [\"ssh\", \"-W\", \"{{host}}:{{port}}\", \"bastion\"]\n")).unwrap();
    assert_eq!(config.databases[0].via.len(), 4);
    for (via, needle) in [
        ("[\"\"]", "it names no program"),
        ("[\"ssh\", \"-oStrictHostKeyChecking=No\"]", "whoever answers"),
        ("[\"ssh\", \"-o\", \"StrictHostKeyChecking = off\"]", "known_hosts"),
    ] {
        let error = parse(&format!("{database}via = {via}\n")).unwrap_err().to_string();
        assert!(error.contains(needle), "{via}: {error}");
    }
}

#[test]
fn programs_lie_in_a_folder_or_an_image() {
    let database = "app = \"a\"\n[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\n";
    for tools in
        ["\"opt/bin\"", "{ image = \"postgres:16\" }", "{ image = \"postgres\", engine = \"podman\" }"]
    {
        let config = parse(&format!("{database}tools = {tools}\n")).unwrap();
        assert!(config.databases[0].tools.is_some());
        assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config, "{tools}");
    }
    for (tools, needles) in [
        ("16", &["databases[0].tools", "a folder, or { image"][..]),
        (
            "{ image = \"--privileged\" }",
            &["databases.main.tools.image", "\"--privileged\" is no name", "\"postgres:16\""],
        ),
        ("{ imag = \"postgres:16\" }", &["line 5", "databases[0].tools", "unknown key \"imag\""]),
        ("{}", &["missing key \"image\""]),
        (
            "{ image = \"a\", engine = \"dokcer\" }",
            &["databases[0].tools.engine", "use one of docker, podman"],
        ),
    ] {
        let error = parse(&format!("{database}tools = {tools}\n")).unwrap_err().to_string();
        for needle in needles {
            assert!(error.contains(needle), "{tools}: {error}");
        }
    }
}

#[test]
fn a_rule_has_one_criterion_and_what_belongs_to_it() {
    let services = "app = \"a\"\n[[services]]\nname = \"api\"\n";
    let prometheus = "gauge.prometheus = { url = \"http://p:9090\", query = \"up\" }\n";
    let events = "[gate.rules.events.prometheus]\nurl = \"http://p:9090\"\ncanary = { requests = \"r\", events = \"e\" }\n";
    let baseline = "baseline = { requests = \"r\", events = \"e\" }\n";
    let cases = [
        (String::new(), "it has none: give exactly one of"),
        ("consecutive_failures = 3\np95_above = \"1s\"\n".to_owned(), "consecutive_failures and p95_above"),
        ("consecutive_failures = 0\n".to_owned(), "at least 1"),
        ("error_percent_above = 100\n".to_owned(), "use 0 to below 100"),
        ("error_percent_above = 5\nwindow = \"0s\"\n".to_owned(), "window is 0s"),
        ("error_percent_above = 5\nabove = 2\n".to_owned(), "belong to a gauge"),
        ("error_percent_above = 5\nfalls_percent = 2\n".to_owned(), "belongs to events"),
        ("error_percent_above = 5\nservice = \"apj\"\n".to_owned(), "did you mean \"api\"?"),
        (prometheus.to_owned(), "either above or below"),
        (format!("above = 1\nbelow = 2\n{prometheus}"), "either above or below"),
        (format!("above = nan\n{prometheus}"), "above is no number"),
        (format!("above = 1\nservice = \"api\"\n{prometheus}"), "service belongs to rules about requests"),
        (format!("above = 1\n{}", prometheus.replace("http", "gopher")), "gauge.prometheus.url"),
        ("above = 1\ngauge.command = { command = [] }\n".to_owned(), "command is empty"),
        (format!("falls_percent = 20\n{events}"), "the source has none"),
        (format!("{events}{baseline}"), "events need falls_percent"),
        (format!("falls_percent = 100\n{events}{baseline}"), "above 0 and below 100"),
    ];
    for (rule, needle) in cases {
        let text = format!("{services}[[gate.rules]]\nname = \"mine\"\n{rule}");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(needle) && error.contains("gate.rules.mine"), "{rule}: {error}");
    }
    let twice = format!("{services}[[gate.rules]]\nname = \"api\"\nconsecutive_failures = 3\n");
    assert!(parse(&twice).unwrap_err().to_string().contains("\"api\" stands there twice"));
    let good = format!(
        "{services}[[gate.rules]]\nname = \"errors\"\nerror_percent_above = 5\nfor = \"5m\"\n[[gate.rules]]\nname = \"memory\"\n\
         action = \"warn\"\nabove = 80\n{prometheus}[[gate.rules]]\nname = \"logins\"\naction = \"hold\"\nfalls_percent = 20\n{events}{baseline}"
    );
    let config = parse(&good).unwrap();
    assert_eq!(config.gate.rules.len(), 3);
    assert_eq!(
        (config.gate.rules[0].window, config.gate.rules[0].lasting),
        (Span::from_secs(60), Span::from_secs(300))
    );
    assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn the_canonical_form_reads_back_equal() {
    let text = "app = \"shop\"\n[[services]]\nname = \"api\"\nurl = \"https://shop.example\"\n[[databases]]\nname = \"main\"\nurl = { env = \"DATABASE_URL\" }\nmigrations = \"migrations\"\n[[smoke.checks]]\nname = \"health\"\nurl = \"https://shop.example/health\"\nexpect = { status = [200], json = { \"$.version\" = \"{version}\" } }\n";
    let config = parse(text).unwrap();
    let again = parse(&config.to_toml().unwrap()).unwrap();
    assert_eq!(again, config);
    assert_eq!(again.sha256().unwrap(), config.sha256().unwrap());
}

#[test]
fn backups_that_would_never_be_made_are_refused() {
    let database = "[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\n";
    let text = |when: &str, rest: &str| format!("app = \"shop\"\n{when}{database}{rest}");
    let pending = "[backup]\nwhen = \"pending_migrations\"\n";
    let error = parse(&text(pending, "")).unwrap_err().to_string();
    assert!(error.contains("would never make a backup: no database has migrations here"), "{error}");
    assert!(parse(&text(pending, "migrations = \"migrations\"\n")).is_ok());
    assert!(parse(&text("[backup]\nwhen = \"always\"\n", "")).is_ok());
    let error = parse(&text("[backup]\nwhen = \"pending\"\n", "")).unwrap_err().to_string();
    assert!(error.contains("pending_migrations"), "{error}");
}

#[test]
fn backups_are_encrypted_for_somebody_and_by_public_keys() {
    let text = |encryption: &str| format!("app = \"shop\"\n[backup.encryption]\n{encryption}\n");
    assert!(parse(&text("recipients = [\"age1abc\"]")).is_ok());
    let config = parse(&text("recipients_file = \"ops/recipients.txt\"")).unwrap();
    assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
    for (encryption, says) in [
        ("", "nobody is named who could open a backup"),
        ("recipients = []", "nobody is named"),
        ("recipients = [\"age1abc\", \"ssh-ed25519 AAAA\"]", "\"ssh-ed25519 AAAA\" is no public key"),
        ("recipients = [\"AGE-SECRET-KEY-1HUNTER2\"]", "a private key stands there"),
        ("recipient = \"age1abc\"", "unknown key \"recipient\""),
    ] {
        let error = parse(&text(encryption)).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("HUNTER2"), "{encryption}: {error}");
    }
}

#[test]
fn a_bundle_is_encrypted_unless_that_is_waived_by_name() {
    let database = "[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\n";
    let text = |bundle: &str, rest: &str| format!("app = \"shop\"\n[backup.bundle]\n{bundle}\n{rest}");
    let encrypted = format!("[backup.encryption]\nrecipients = [\"age1abc\"]\n{database}");
    let config = parse(&text("files = [\".env\", \"/etc/ssl/shop\"]", &encrypted)).unwrap();
    assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
    assert!(parse(&text("files = [\".env\"]\nunencrypted = true", database)).is_ok());
    for (bundle, rest, says) in [
        ("files = [\".env\"]", database, "backup.encryption is missing"),
        ("files = []", encrypted.as_str(), "no file is named"),
        ("files = [\"../.env\"]", &encrypted, "could be unpacked elsewhere"),
        ("files = [\".env\"]\nunencrypted = true", "", "none is configured"),
        ("files = [\".env\"]", &encrypted.replace("main", "bundle"), "as the bundle is"),
    ] {
        let error = parse(&text(bundle, rest)).unwrap_err().to_string();
        assert!(error.contains(says), "{bundle}: {error}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let text = "app = \"shop\"\n[[databases]]\nname = \"main\"\nurl = \"postgres://u:hunter2@h/db\"\n";
    let error = parse(text).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(error.at.unwrap().line, 4);
}

const EXTERNAL: &str = "app = \"shop\"\n[backup]\nallow_external = true\n[[databases]]\nname = \"main\"\nurl = { env = \"URL\" }\nbackup = { command = [\"ops/snapshot\"], least_claim = \"checked\" }\n";

#[test]
fn another_tools_backups_have_to_be_allowed() {
    assert!(parse(EXTERNAL).is_ok());
    let error = parse(&EXTERNAL.replace("true", "false")).unwrap_err().to_string();
    assert!(error.contains("databases.main.backup") && error.contains("nothing is proved here"), "{error}");
    let error = parse(&EXTERNAL.replace("\"ops/snapshot\"", "")).unwrap_err().to_string();
    assert!(error.contains("names no program"), "{error}");
}

#[test]
fn what_another_tool_says_is_judged_by_claim_age_and_expiry() {
    let config = parse(EXTERNAL).unwrap();
    let at = |second: i64| jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
    let backup = crate::body::ExternalBackup {
        kind: crate::body::ExternalKind::External,
        database: "main".parse().unwrap(),
        deployment_id: "1763712000-abc1234".parse().unwrap(),
        id: "20261126F".to_owned(),
        content_at: at(0),
        location: "s3://b/x".to_owned(),
        claim: crate::body::Claim::Checked,
        expires_at: Some(at(3000)),
        restore: "restore it".to_owned(),
        command: vec!["ops/snapshot".to_owned()],
        metadata_key: "k.json".to_owned(),
        recorded_at: at(1),
        adopted: false,
    };
    let weak = crate::body::ExternalBackup { claim: crate::body::Claim::Created, ..backup.clone() };
    let forever = crate::body::ExternalBackup { expires_at: None, ..backup.clone() };
    let mut forbidden = config.clone();
    forbidden.backup.allow_external = false;
    for (config, backup, now, expected) in [
        (&config, &backup, 10, None),
        (&config, &backup, -300, None),
        (&config, &backup, -301, Some((Reason::BackupTooOld, "in the future"))),
        (&config, &backup, 3000, Some((Reason::BackupTooOld, "removed its backup of main at"))),
        (&config, &forever, 3600, None),
        (&config, &forever, 3601, Some((Reason::BackupTooOld, "1h is allowed"))),
        (&config, &weak, 10, Some((Reason::BackupTooWeak, "was created, and checked is asked for"))),
        (&forbidden, &backup, 10, Some((Reason::BackupTooWeak, "does not allow"))),
    ] {
        let judged = config.backup.accepts_external(backup, config.databases.first(), at(now));
        match (judged, expected) {
            (Ok(()), None) => {}
            (Err((reason, text)), Some((wanted, part))) => {
                assert_eq!(reason, wanted, "{text}");
                assert!(text.contains(part), "{text}");
            }
            (judged, expected) => panic!("{now}: {judged:?} instead of {expected:?}"),
        }
    }
    assert!(
        config.backup.accepts_external(&backup, None, at(10)).is_err(),
        "a database that is not configured so"
    );
}
