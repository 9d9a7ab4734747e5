//! Engines that run containers: docker's, started for one test, and podman, which needs no server. Images are made from
//! programs of this machine, so that no registry is needed.

use crate::database::{Daemon, must};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// PostgreSQL's client programs as Debian has them.
pub fn clients() -> Vec<PathBuf> {
    ["pg_dump", "psql", "pg_restore"].map(|name| crate::postgres::Server::programs().join(name)).to_vec()
}

/// PostgreSQL's server programs, with the clients and what they all read.
pub fn postgres() -> Vec<PathBuf> {
    let programs = crate::postgres::Server::programs();
    let version = programs.parent().expect("it has one");
    let share = Path::new("/usr/share/postgresql").join(version.file_name().expect("it has one"));
    let mut files =
        ["postgres", "initdb", "pg_dump", "psql", "pg_restore"].map(|name| programs.join(name)).to_vec();
    files.extend(["plpgsql.so", "dict_snowball.so"].map(|name| version.join("lib").join(name)));
    files.push(share);
    files.extend(["/bin/sh", "/usr/share/zoneinfo/UTC", "/usr/lib/locale/C.utf8"].map(PathBuf::from));
    files
}

/// MariaDB's server programs, with the clients and what they all run and read.
pub fn mariadb() -> Vec<PathBuf> {
    let server =
        ["/usr/sbin/mariadbd", "/usr/bin/my_print_defaults", "/usr/bin/resolveip", "/usr/share/mysql"];
    let clients = ["/usr/bin/mariadb-install-db", "/usr/bin/mariadb-dump", "/usr/bin/mariadb"];
    // What the script that makes its data folder calls.
    let called =
        ["sh", "dirname", "basename", "sed", "cat", "mkdir", "chmod", "chown", "rm", "hostname", "id"];
    let called = called.map(|name| Path::new("/bin").join(name));
    server.iter().chain(&clients).map(PathBuf::from).chain(called).collect()
}

/// A docker engine of its own, on a socket in a folder of its own. Ended when dropped, with all its containers.
#[derive(Debug)]
pub struct Engine {
    daemon: Daemon,
    host: String,
}

impl Engine {
    /// Starts one, which has no images.
    ///
    /// # Panics
    /// If it cannot be started: it has to be installed, and needs root.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("dk-").tempdir_in("/tmp").expect("a temporary folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let host = format!("unix://{}", place("s"));
        let mut dockerd = Command::new("/usr/sbin/dockerd");
        let path = std::env::var("PATH").unwrap_or_default();
        dockerd
            // Where what runs the containers is.
            .env("PATH", format!("{path}:/usr/sbin"))
            .args(["--host", &host, "--data-root", &place("data"), "--exec-root", &place("exec")])
            .args(["--pidfile", &place("pid")])
            // Networks of its own would change the machine's; every container here uses that of the machine.
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        let daemon = Daemon::start(dockerd, folder, "API listen on", Signal::TERM);
        Self { daemon, host }
    }

    /// The variable by which clients find it, and its value.
    pub fn variable(&self) -> (&'static str, &str) {
        ("DOCKER_HOST", &self.host)
    }

    /// Makes an image of these programs, with the libraries that they need, and folders, with all in them.
    pub fn image(&self, name: &str, programs: &[PathBuf]) {
        let mut import = Command::new("docker");
        import.env(self.variable().0, self.variable().1);
        import_image(import, name, programs);
    }

    /// Runs docker's client; gives what it printed.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        let mut docker = Command::new("docker");
        docker.env(self.variable().0, self.variable().1).args(arguments);
        must(docker)
    }

    /// Names of all containers that there are, whatever their state.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        self.docker(&["ps", "--all", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let folder = self.daemon.folder.path().to_owned();
        let place = |name: &str| folder.join(name);
        // With a word it takes seconds, which only containers are worth that a failed test left behind.
        if std::thread::panicking() {
            self.daemon.stop();
        } else {
            let pid = std::fs::read_to_string(place("exec/containerd/containerd.pid")).unwrap_or_default();
            self.daemon.kill();
            if let Ok(pid) = pid.trim().parse() {
                crate::signal(pid, Signal::KILL);
            }
        }
        // What it leaves mounted would keep its folder from being removed.
        for left in ["exec/netns/default", "data"] {
            let _ = Command::new("umount").arg(place(left)).stderr(Stdio::null()).status();
        }
    }
}

/// A podman with images of its own.
#[derive(Debug)]
pub struct Podman {
    folder: tempfile::TempDir,
}

impl Podman {
    /// One that has no images.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dk-").tempdir_in("/tmp").expect("a temporary folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            place("store"),
            place("run")
        );
        // What a container asks of the machine, and this one may not have itself.
        let containers = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                          [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n";
        std::fs::write(place("storage.conf"), storage).expect("it can be written");
        std::fs::write(place("containers.conf"), containers).expect("it can be written");
        Self { folder }
    }

    /// The variables by which it finds its images, and their values.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let place = |name: &str| self.folder.path().join(name).display().to_string();
        [("CONTAINERS_STORAGE_CONF", place("storage.conf")), ("CONTAINERS_CONF", place("containers.conf"))]
    }

    /// Makes an image of these programs, with the libraries that they need, and folders, with all in them.
    pub fn image(&self, name: &str, programs: &[PathBuf]) {
        let mut import = Command::new("podman");
        import.envs(self.variables());
        import_image(import, name, programs);
    }
}

impl Default for Podman {
    fn default() -> Self {
        Self::new()
    }
}

fn import_image(mut import: Command, name: &str, programs: &[PathBuf]) {
    let mut folders: Vec<_> =
        programs.iter().filter_map(|file| Some(file.parent()?.display().to_string())).collect();
    folders.push("/usr/bin".to_owned());
    folders.dedup();
    import.arg("import").arg(format!("--change=ENV PATH={}", folders.join(":"))).args(["-", name]);
    let mut import = import
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{import:?}: {error}: cargo xtask test --only tools --install"));
    let mut files: Vec<PathBuf> = programs.iter().flat_map(|path| all_in(path)).collect();
    files.extend(programs.iter().filter(|path| path.is_file()).flat_map(|program| libraries(program)));
    // Folders by themselves, so that everybody may pass through them.
    let above: Vec<PathBuf> =
        files.iter().flat_map(|file| file.ancestors().skip(1)).map(Path::to_owned).collect();
    files.extend(above.into_iter().filter(|folder| folder.parent().is_some()));
    files.sort();
    files.dedup();
    let mut tar = Command::new("tar");
    // What links lead to, under the names of the links.
    tar.args(["--create", "--dereference", "--no-recursion", "--directory=/"])
        .args(files.iter().map(|file| file.strip_prefix("/").expect("it is absolute")))
        .stdout(import.stdin.take().expect("stdin is a pipe"));
    assert!(tar.status().expect("tar can be run").success(), "{tar:?}");
    // It ends only when nobody holds its input any more.
    drop(tar);
    assert!(import.wait().expect("it is a child of ours").success(), "an image of {} files", files.len());
}

/// A file, or a folder and all that is in it.
fn all_in(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    if let Ok(entries) = std::fs::read_dir(path) {
        all.extend(entries.flat_map(|entry| all_in(&entry.expect("it can be listed").path())));
    }
    all
}

/// The libraries that a program needs, and what loads them, by ldd(1).
fn libraries(program: &Path) -> Vec<PathBuf> {
    // Of a script it knows none.
    let output = Command::new("ldd").arg(program).stdin(Stdio::null()).output().expect("ldd can be run");
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}
