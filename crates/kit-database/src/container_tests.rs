//! Programs of a real image, run by a real engine, against real servers.

use crate::{Database, Depth, OpenOptions, Tools, open_for_restore};
use kit_contract::config::{self, ContainerEngine, ToolsImage};
use kit_contract::{Reason, body::RestoreNeeds};
use kit_core::{Captured, Clock, Context, Env, Secret, StepError};
use kit_testing::containers::{self, Engine, Podman};
use kit_testing::{mariadb, postgres};
use tokio::io::AsyncReadExt as _;

const IMAGE: &str = "postgres:15";
const IMAGE_OF_MARIADB: &str = "mariadb:10";

fn tools(image: &str, engine: Option<ContainerEngine>) -> Option<Tools> {
    let image = config::Tools::Image(ToolsImage { image: image.to_owned(), engine });
    Some(Tools::of(&image, |folder| panic!("{folder} is no folder")))
}

fn context(variables: &[(&str, &str)]) -> (Context, Captured) {
    // No cache: what is made by an image that is made anew each time is not worth keeping.
    let env: Env = [("PATH", std::env!("PATH"))]
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let (cx, log) = Context::for_test(env);
    // Children live in real time.
    (Context { clock: Clock::system(), ..cx }, log)
}

async fn open(cx: &Context, url: &str, options: OpenOptions) -> Box<dyn Database> {
    open_for_restore(&Secret::new(url), "$URL", options, cx).await.unwrap()
}

/// Dumps a database, overwrites another with that, and gives the dump with what it needs.
async fn there_and_back(cx: &Context, from: &str, to: &str, options: OpenOptions) -> (Vec<u8>, RestoreNeeds) {
    let folder = tempfile::tempdir().unwrap();
    let live = open(cx, from, options.clone()).await;
    let mut dump = live.begin_dump(cx, folder.path()).await.unwrap();
    let mut bytes = Vec::new();
    dump.reader().read_to_end(&mut bytes).await.unwrap();
    let needs = dump.finish(cx).await.unwrap().details.needs.unwrap();
    let other = open(cx, to, options).await;
    other.restore_in_place(cx, &mut bytes.as_slice(), Some(&needs)).await.unwrap();
    (bytes, needs)
}

/// The same, and tries the restore: the server for that is of the image, too, so that a runner with nothing but an
/// engine gets as far as one on which the server is installed.
async fn proved(cx: &Context, engine: &Engine, from: &str, to: &str, options: OpenOptions) {
    let (dump, needs) = there_and_back(cx, from, to, options.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let database = open(cx, from, options).await;
    let mut reader = dump.as_slice();
    let scratch = database.restore_scratch(cx, &mut reader, Some(&needs), folder.path()).await.unwrap();
    assert_eq!(engine.containers().len(), 1, "the server, which this machine has as well");
    let tables = scratch.inspect(cx, Depth::Rows).await.unwrap().tables;
    assert_eq!(tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [5000]);
    scratch.close(cx).await.unwrap();
    assert_eq!(engine.containers(), Vec::<String>::new(), "none is left");
}

async fn refusal(cx: &Context, url: &str, tools: Option<Tools>) -> (Reason, String) {
    let options = OpenOptions { tools, ..OpenOptions::default() };
    let database = open(cx, url, options).await;
    let error = StepError::from(database.can_be_dumped(cx).await.unwrap_err());
    (error.reason, error.chain())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_runs_the_programs_of_an_image_and_what_it_fails_at_is_no_verdict() {
    let engine = Engine::start();
    engine.image(IMAGE, &containers::postgres());
    engine.image(IMAGE_OF_MARIADB, &containers::mariadb());
    engine.image("bare:1", &["/usr/bin/env".into()]);
    let (cx, log) = context(&[engine.variable()]);
    let here = tools(IMAGE, None);
    let server = postgres_is_proved(&cx, &engine, here.clone()).await;
    let mariadb = mariadb_is_proved(&cx, &engine).await;

    // What the rules say of it names the image.
    let newer = postgres::Server::start_newer();
    let (reason, text) = refusal(&cx, &newer.url("postgres"), here.clone()).await;
    assert_eq!(reason, Reason::ToolMissing);
    let (newer, older) = (newer.major(), server.major());
    let expected =
        format!("the server is PostgreSQL {newer}, and the image postgres:15 has pg_dump {older}.");
    assert!(text.starts_with(&expected), "{text}");
    let (reason, text) = refusal(&cx, &server.url("shop"), tools("bare:1", None)).await;
    assert_eq!(reason, Reason::ToolMissing);
    assert_eq!(text, format!("the image bare:1 has no pg_dump, and the server is PostgreSQL {older}"));
    let (reason, text) = refusal(&cx, &mariadb.url("shop"), tools("bare:1", None)).await;
    assert!(reason == Reason::ToolMissing && text.contains("are not in the image bare:1"), "{text}");
    // Nobody can have this one: the name is reserved (RFC 6761).
    let absent = "registry.invalid/tools:1";
    assert!(!log.stderr().contains("pulls the image"), "{}", log.stderr());
    let (reason, text) = refusal(&cx, &server.url("shop"), tools(absent, None)).await;
    assert_eq!(reason, Reason::CommandFailed);
    let expected = format!("the image {absent} is not here, and docker cannot pull it: ");
    assert!(text.starts_with(&expected) && text.len() > expected.len(), "{text}");
    assert!(log.stderr().contains(&format!("docker pulls the image {absent}")), "{}", log.stderr());
    // An engine that is gone says nothing about anything.
    let (gone, _) = context(&[("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
    let (reason, text) = refusal(&gone, &server.url("shop"), tools(IMAGE, None)).await;
    assert_eq!(reason, Reason::CommandFailed);
    assert!(text.starts_with("docker does not answer, so no program of the image postgres:15"), "{text}");
    // Neither does one that goes away once all was found.
    let (reason, text) = refusal_of_dump(&gone, &server.url("shop"), here).await;
    assert_eq!(reason, Reason::CommandFailed);
    assert!(text.starts_with("docker could not run `pg_dump` of the image postgres:15: "), "{text}");
    let nothing = Context { clock: Clock::system(), ..Context::for_test(Env::default()).0 };
    let (reason, text) = refusal(&nothing, &server.url("shop"), tools(IMAGE, None)).await;
    assert_eq!(reason, Reason::ToolMissing);
    assert!(text.starts_with("there is no docker or podman here to run programs of the image"), "{text}");
}

async fn postgres_is_proved(cx: &Context, engine: &Engine, tools: Option<Tools>) -> postgres::Server {
    let server = postgres::Server::start();
    for name in ["shop", "other"] {
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
    }
    let rows = "CREATE TABLE t (n int PRIMARY KEY, text text);
        INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 5000) AS i";
    server.sql("shop", rows);
    let sum = "SELECT count(*), md5(string_agg(text, '' ORDER BY n)) FROM t";
    // Over TCP with a password, and over a socket, whose folder the container has to have.
    let socket = server.socket_url("other");
    let options = OpenOptions { tools, ..OpenOptions::default() };
    proved(cx, engine, &server.url("shop"), &socket, options.clone()).await;
    assert_eq!(server.sql("other", sum), server.sql("shop", sum));
    // A folder that the program writes, and another reads.
    let directory = OpenOptions { format: config::DumpFormat::Directory, ..options };
    let live = open(cx, &socket, directory).await;
    let folder = tempfile::tempdir().unwrap();
    let mut dump = live.begin_dump(cx, folder.path()).await.unwrap();
    tokio::io::copy(dump.reader(), &mut tokio::io::sink()).await.unwrap();
    let tables = dump.finish(cx).await.unwrap().inspection.tables;
    assert_eq!(tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [5000]);
    server
}

async fn mariadb_is_proved(cx: &Context, engine: &Engine) -> mariadb::Server {
    let server = mariadb::Server::start();
    for name in ["shop", "other"] {
        server.sql("mysql", &format!("CREATE DATABASE {name}"));
    }
    server.sql("shop", "CREATE TABLE t (n int PRIMARY KEY, text text)");
    server.sql("shop", "INSERT INTO t SELECT seq, repeat(md5(seq), 20) FROM seq_1_to_5000");
    let sum = "SELECT count(*), sum(crc32(text)), sum(n * crc32(text)) FROM t";
    let options = OpenOptions { tools: tools(IMAGE_OF_MARIADB, None), ..OpenOptions::default() };
    proved(cx, engine, &server.url("shop"), &server.socket_url("other"), options).await;
    assert_eq!(server.sql("other", sum), server.sql("shop", sum));
    server
}

async fn refusal_of_dump(cx: &Context, url: &str, tools: Option<Tools>) -> (Reason, String) {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions { tools, ..OpenOptions::default() };
    let database = open(cx, url, options).await;
    let mut dump = database.begin_dump(cx, folder.path()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = dump.reader().read_to_end(&mut bytes).await;
    let error = StepError::from(dump.finish(cx).await.map(|_| ()).unwrap_err());
    (error.reason, error.chain())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_runs_them_too() {
    let podman = Podman::new();
    let programs = ["pg_dump", "psql"].map(|name| postgres::Server::programs().join(name));
    podman.image(IMAGE, &programs);
    let variables = podman.variables();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (cx, _) = context(&variables);
    let server = postgres::Server::start();
    server.sql("postgres", "CREATE DATABASE shop");
    server.sql("shop", "CREATE TABLE t AS SELECT 42 AS n");
    server.sql("postgres", "CREATE DATABASE other");
    let here = tools(IMAGE, Some(ContainerEngine::Podman));
    let options = OpenOptions { tools: here, ..OpenOptions::default() };
    there_and_back(&cx, &server.url("shop"), &server.url("other"), options).await;
    assert_eq!(server.sql("other", "SELECT n FROM t"), "42");
}
