//! A dump: the snapshot of the whole server, read along while it comes.

use super::RedisDatabase;
use super::connect::{self, Connection, Doing};
use super::info::{Info, Product, Series};
use super::rdb::{Content, Keys, Nobody};
use super::sync::{self, Reading};
use crate::pieces::Pieces;
use crate::{DatabaseError, Dump, DumpReport, EngineError, Inspection, TableState};
use async_trait::async_trait;
use jiff::Timestamp;
use kit_contract::Sha256;
use kit_contract::body::{BackupDetails, Extension, RestoreNeeds};
use kit_core::Context;
use tokio::io::AsyncRead;

/// Servers whose snapshots can be read: from the first series to the first that is too new.
const KNOWN: &[(Series, (u32, u32))] = &[
    (Series { product: Product::Redis, number: (7, 0) }, (7, 3)),
    (Series { product: Product::Valkey, number: (7, 2) }, (9, 0)),
];
/// A Redis has none; this stands where others have one.
const NO_SCHEMA: &[u8] = b"redis: no schema";

pub(super) struct RedisDump {
    display: String,
    version: String,
    method: String,
    number: u64,
    snapshot_at: Timestamp,
    size_bytes: Option<u64>,
    details: BackupDetails,
    pieces: Pieces,
    reading: Reading<Nobody>,
}

/// A connection to a server that can be dumped, and what it says of itself.
async fn ready(
    database: &RedisDatabase,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<(Connection, Info), DatabaseError> {
    let reaching = Doing { action: "reach", ..doing };
    let mut connection = connect::open(&database.address, cx, reaching).await?;
    let info = reaching.run(cx, connection.info()).await?;
    check(&info).map_err(|problem| match problem {
        Problem::Never(problem) => {
            DatabaseError::Refused { problem: format!("{} {problem}", doing.database) }
        }
        Problem::Now(problem) => doing.because(problem),
    })?;
    Ok((connection, info))
}

#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// It cannot be dumped by us.
    Never(String),
    /// Not as it is now.
    Now(&'static str),
}

/// Whether the server can be dumped. Pure.
fn check(info: &Info) -> Result<(), Problem> {
    let series = info.series();
    let known = KNOWN.iter().find(|(first, _)| first.product == series.product);
    let fits = known.is_some_and(|(first, too_new)| (first.number..*too_new).contains(&series.number));
    if !fits {
        return Err(Problem::Never(format!(
            "is {} {}; Redis 7.0 and 7.2 and Valkey 7.2 to 8 can be backed up: the snapshots of others are written in \
             another way. Let another tool make its backups ([[databases]] backup)",
            series.product.name(),
            info.version()
        )));
    }
    if info.is_cluster() {
        return Err(Problem::Never(
            "is one node of a cluster: its snapshot would be a part of the data only. Let another tool make its \
             backups ([[databases]] backup)"
                .to_owned(),
        ));
    }
    if info.is_loading() {
        return Err(Problem::Now("it is still loading its data"));
    }
    if info.is_cut_off() {
        return Err(Problem::Now("it is a replica that has lost its master, so that what it has is old"));
    }
    Ok(())
}

/// Whether a dump could begin. What the user may not do is asked of the server, where it tells.
pub(super) async fn can_begin(database: &RedisDatabase, cx: &Context) -> Result<(), DatabaseError> {
    let display = database.address.display();
    let doing = Doing { action: "dump", database: &display, unfinished: "nothing was asked for" };
    let (mut connection, _) = ready(database, cx, doing).await?;
    let user = database.address.user.as_deref().unwrap_or("default");
    for command in [&["REPLCONF", "rdb-only", "1"][..], &["PSYNC", "?", "-1"]] {
        let ask = [&["ACL", "DRYRUN", user], command].concat();
        match doing.run(cx, async { Ok(connection.ask(&ask).await) }).await? {
            Ok(said) => {
                let said = said.text().unwrap_or_default();
                if said != "OK" {
                    return Err(doing.said(rights(&said)));
                }
            }
            Err(connect::Failed::Refused(_)) => {
                cx.out.say(&format!(
                    "whether its user may copy {display} is known only once it is tried: to be told before, he needs \
                     +acl|dryrun"
                ));
                break;
            }
            Err(broken) => return Err(doing.failed(&broken)),
        }
    }
    Ok(())
}

fn rights(said: &str) -> EngineError {
    let text = format!("{}: ACL SETUSER <user> +psync +replconf +info is needed", kit_core::sanitise(said));
    EngineError { text: text.into(), code: Some("NOPERM".into()) }
}

pub(super) async fn begin(database: &RedisDatabase, cx: &Context) -> Result<RedisDump, DatabaseError> {
    let display = database.address.display();
    let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
    let (mut connection, info) = ready(database, cx, doing).await?;
    let modules = modules(&mut connection, cx, doing).await?;
    // A little earlier than the server's own snapshot: never later than what the dump can vouch for.
    let snapshot_at = cx.clock.now();
    let coming = sync::begin(connection, cx, doing).await.map_err(|error| match error {
        DatabaseError::Dump { source, .. } if source.code.as_deref() == Some("NOPERM") => {
            doing.said(rights(&source.text))
        }
        error => error,
    })?;
    let details = BackupDetails {
        log_position: Some(coming.position.clone()),
        needs: Some(needs(&info, modules)),
        ..BackupDetails::default()
    };
    let size_bytes = coming.size_bytes();
    let (pieces, reading) = coming.read(cx, Nobody);
    let (version, method) = (info.version().to_owned(), method_of(info.series()));
    let number = database.address.number;
    Ok(RedisDump { display, version, method, number, snapshot_at, size_bytes, details, pieces, reading })
}

/// Modules of the server. Who may not ask for them is told by the restore that one is missing.
async fn modules(
    connection: &mut Connection,
    cx: &Context,
    doing: Doing<'_>,
) -> Result<Vec<Extension>, DatabaseError> {
    use super::resp::Reply;
    let said = match doing.run(cx, async { Ok(connection.ask(&["MODULE", "LIST"]).await) }).await? {
        Ok(Reply::Several(said)) => said,
        Ok(_) | Err(connect::Failed::Refused(_)) => return Ok(Vec::new()),
        Err(broken) => return Err(doing.failed(&broken)),
    };
    let one = |module: &Reply| {
        let Reply::Several(pairs) = module else { return None };
        let of = |name: &str| {
            pairs.chunks(2).find(|pair| pair.first().and_then(Reply::text).as_deref() == Some(name))?.get(1)
        };
        let version = of("ver").and_then(Reply::number).unwrap_or_default();
        Some(Extension { name: of("name")?.text()?, version: version.to_string() })
    };
    Ok(said.iter().filter_map(one).collect())
}

fn needs(info: &Info, modules: Vec<Extension>) -> RestoreNeeds {
    RestoreNeeds {
        server_major: info.series().number.0,
        series: Some(info.series().to_string()),
        encoding: String::new(),
        collate: String::new(),
        ctype: String::new(),
        icu_locale: None,
        roles: Vec::new(),
        extensions: modules,
        longest_statement_bytes: None,
    }
}

/// How content is digested. Streams are written in another way by each series.
pub(super) fn method_of(series: Series) -> String {
    format!("rdb-keys-1 {series}")
}

/// What people see of one database: its keys are the rows of its only table.
pub(super) fn inspection(number: u64, keys: &crate::rows::RowDigest, method: Option<String>) -> Inspection {
    Inspection {
        integrity: Ok(()),
        foreign_keys_violated: Ok(0),
        schema_sha256: Sha256::of(NO_SCHEMA),
        tables: vec![TableState {
            table: format!("db{number}"),
            rows: keys.rows(),
            content_sha256: method.is_some().then(|| keys.sha256()),
        }],
        beyond_tables_sha256: None,
        content_method: method,
    }
}

/// The same of a database whose keys were only counted.
pub(super) fn counted(number: u64, rows: u64) -> Inspection {
    let mut counted = inspection(number, &Keys::default().all(), None);
    counted.tables.iter_mut().for_each(|table| table.rows = rows);
    counted
}

#[async_trait]
impl Dump for RedisDump {
    fn snapshot_at(&self) -> Timestamp {
        self.snapshot_at
    }

    fn engine_version(&self) -> &str {
        &self.version
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    fn reader(&mut self) -> &mut (dyn AsyncRead + Send + Unpin) {
        &mut self.pieces
    }

    async fn finish(self: Box<Self>, cx: &Context) -> Result<DumpReport, DatabaseError> {
        let Self { display, method, number, details, pieces, reading, .. } = *self;
        let doing = Doing { action: "dump", database: &display, unfinished: "the database was dumped" };
        let whole = pieces.was_read_whole();
        drop(pieces);
        let (content, bytes) = reading.finish(cx, doing).await?;
        if !whole || content.bytes != bytes {
            return Err(doing.truncated("it was not read to its end".to_owned()));
        }
        say_what_is_not_proved(cx, &display, number, &content);
        Ok(DumpReport {
            inspection: inspection(number, &content.keys(number).all(), Some(method)),
            uncompressed_bytes: bytes,
            schema_script: None,
            details,
        })
    }
}

fn say_what_is_not_proved(cx: &Context, display: &str, number: u64, content: &Content) {
    if !content.has_sum {
        cx.out.say(&format!(
            "the snapshot of {display} has no checksum (`rdbchecksum no`): what became of it between the server's memory \
             and here nobody can check"
        ));
    }
    let others: Vec<String> = content
        .databases
        .keys()
        .filter(|other| **other != number)
        .map(|other| format!("db{other} ({} keys)", content.keys(*other).all().rows()))
        .collect();
    if !others.is_empty() {
        cx.out.say(&format!(
            "the snapshot of {display} is one of the whole server and holds {}, too; db-restore brings back db{number} only",
            others.join(" and ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_servers_can_be_dumped() {
        let redis = |version: &str, more: &str| {
            check(&Info::parse(&format!(
                "redis_version:{version}\nredis_mode:standalone\nrole:master\n{more}"
            )))
        };
        for version in ["7.0.0", "7.0.15", "7.2.11"] {
            assert_eq!(redis(version, ""), Ok(()), "{version}");
        }
        for version in ["6.2.14", "7.4.0", "8.0.1", ""] {
            assert!(matches!(redis(version, ""), Err(Problem::Never(_))), "{version}");
        }
        assert_eq!(redis("7.2.4", "valkey_version:8.1.0"), Ok(()));
        assert!(redis("7.2.4", "valkey_version:9.0.0").is_err());
        assert!(matches!(redis("7.0.1", "cluster_enabled:1"), Err(Problem::Never(_))));
        assert!(matches!(redis("7.0.1", "loading:1"), Err(Problem::Now(_))));
        assert_eq!(redis("7.0.1", "role:slave\nmaster_link_status:up"), Ok(()));
        assert!(matches!(redis("7.0.1", "role:slave\nmaster_link_status:down"), Err(Problem::Now(_))));
    }
}
