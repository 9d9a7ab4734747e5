//! Engines that run containers: docker's, started for one test, and podman, which needs no server. Images are made from
//! programs of this machine, so that no registry is needed.

use crate::database::{Daemon, must};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The client programs of PostgreSQL and MariaDB as Debian has them.
pub fn clients() -> Vec<PathBuf> {
    let postgres = crate::postgres::Server::programs();
    let of_postgres = ["pg_dump", "psql", "pg_restore"].map(|name| postgres.join(name));
    let of_mariadb = ["mariadb-dump", "mariadb"].map(|name| Path::new("/usr/bin").join(name));
    of_postgres.into_iter().chain(of_mariadb).collect()
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

    /// Makes an image of these programs, with the libraries that they need.
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

    /// Ends it, as a service that was stopped.
    pub fn stop(&mut self) {
        self.daemon.stop();
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

    /// Makes an image of these programs, with the libraries that they need.
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
    let mut files: Vec<PathBuf> = programs.to_vec();
    files.extend(programs.iter().flat_map(|program| libraries(program)));
    files.sort();
    files.dedup();
    let mut tar = Command::new("tar");
    // What links lead to, under the names of the links.
    tar.args(["--create", "--dereference", "--directory=/"])
        .args(files.iter().map(|file| file.strip_prefix("/").expect("it is absolute")))
        .stdout(import.stdin.take().expect("stdin is a pipe"));
    assert!(tar.status().expect("tar can be run").success(), "{tar:?}");
    // It ends only when nobody holds its input any more.
    drop(tar);
    assert!(import.wait().expect("it is a child of ours").success(), "an image of {} files", files.len());
}

/// The libraries that a program needs, and what loads them, by ldd(1).
fn libraries(program: &Path) -> Vec<PathBuf> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    must(ldd).split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
