//! The real example service in two versions, behind a real HAProxy.

use kit_testing::{Sandbox, Started};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

fn programs() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| kit_testing::programs_of(&["storefront"])).clone()
}

/// Nobody listens there at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// How a test goes on once something is so.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30), "{what} does not come about");
        std::thread::yield_now();
    }
}

/// One GET request: status and body, if an answer came.
pub(crate) fn get(port: u16, target: &str, header: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {target} HTTP/1.1\r\nhost: shop.example\r\n{header}connection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// A version of the catalog. It ends with the test, or earlier.
pub(crate) struct Version {
    pub(crate) port: u16,
    _process: Started,
}

impl Version {
    pub(crate) fn start(sandbox: &Sandbox, version: &str, faults: &[&str]) -> Self {
        let database = sandbox.path().join("shop.db").display().to_string();
        if !sandbox.has("shop.db") {
            let seeded = sandbox.run(programs().join("storefront-ctl"), &["seed", "--database", &database]);
            assert_eq!(seeded.code, Some(0), "{}", seeded.stderr);
        }
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let args = ["--listen", &listen, "--database", &database, "--app-version", version];
        let args: Vec<&str> = args.into_iter().chain(faults.iter().copied()).collect();
        let process = sandbox.start(programs().join("storefront-catalog"), &args);
        process.wait_for_data("listening on ");
        Self { port, _process: process }
    }
}

/// Both versions behind HAProxy.
pub(crate) struct Shop {
    pub(crate) sandbox: Sandbox,
    pub(crate) stable: Option<Version>,
    pub(crate) canary: Option<Version>,
    /// Where users come in.
    pub(crate) port: u16,
    pub(crate) stats: u16,
    pub(crate) socket: String,
    _haproxy: Started,
}

impl Shop {
    pub(crate) fn open(faults: &[&str]) -> Self {
        let sandbox = Sandbox::new().file("haproxy.cfg", include_str!("haproxy.cfg"));
        let stable = Version::start(&sandbox, "1.4.0", &[]);
        let canary = Version::start(&sandbox, "1.5.0", faults);
        let (port, stats) = (free_port(), free_port());
        let socket = sandbox.path().join("stats.sock").display().to_string();
        let mut command = sandbox.command("/usr/sbin/haproxy");
        command.args(["-db", "-f", "haproxy.cfg"]).envs([
            ("USERS", port.to_string()),
            ("STATS", stats.to_string()),
            ("SOCKET", socket.clone()),
            ("STABLE", stable.port.to_string()),
            ("CANARY", canary.port.to_string()),
        ]);
        let haproxy = sandbox.start_command(command, Duration::from_secs(120));
        wait_until("HAProxy", || get(port, "/health", "").is_some_and(|(status, _)| status == 200));
        Self { sandbox, stable: Some(stable), canary: Some(canary), port, stats, socket, _haproxy: haproxy }
    }

    /// Users that ask as fast as answers come: of the six, one asks the canary.
    pub(crate) fn users(&self) -> Users {
        Users::of(self.port)
    }
}

/// They go with the test.
pub(crate) struct Users {
    stop: Arc<AtomicBool>,
    asking: Vec<JoinHandle<()>>,
}

impl Users {
    /// Users of whoever listens there.
    pub(crate) fn of(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let user = |number| {
            let stopped = Arc::clone(&stop);
            let arm = if number == 0 { "x-deploy-target: canary\r\n" } else { "" };
            std::thread::spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let _ = get(port, "/products", arm);
                }
            })
        };
        let asking = (0..6).map(user).collect();
        Self { stop, asking }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for asking in self.asking.drain(..) {
            let _ = asking.join();
        }
    }
}
