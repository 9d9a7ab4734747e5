//! An ssh server for one test.

use crate::database::{Daemon, free_port, must};
use rustix::process::Signal;
use std::process::Command;

/// A server on a free port of the loopback that lets whoever runs the test in, by a key. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    port: u16,
}

impl Server {
    /// Starts one.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("dk-ssh-").tempdir_in("/tmp").expect("a temporary folder");
        if rustix::process::geteuid().is_root() {
            // Where a process of the server without rights is shut in; the service of the system would make it.
            std::fs::create_dir_all("/run/sshd").expect("root can make it");
        }
        for name in ["host", "user", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(folder.path().join(name));
            must(keygen);
        }
        let port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = [
            format!("Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no"),
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password"
                .to_owned(),
            format!("HostKey {}\nAuthorizedKeysFile {}\n", path("host"), path("user.pub")),
        ];
        std::fs::write(folder.path().join("sshd_config"), config.join("\n")).expect("it can be written");
        for (file, key) in [("known", "host.pub"), ("known-stranger", "stranger.pub")] {
            let key = std::fs::read_to_string(folder.path().join(key)).expect("ssh-keygen wrote it");
            std::fs::write(folder.path().join(file), format!("[127.0.0.1]:{port} {key}"))
                .expect("it can be written");
        }
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", &path("sshd_config")]);
        Self { daemon: Daemon::start(sshd, folder, "Server listening on", Signal::TERM), port }
    }

    /// What leads through it to the server of a URL. A configuration of the machine's has no say.
    pub fn way(&self) -> Vec<String> {
        self.way_to("known")
    }

    /// The same for somebody who takes another key for that of the server.
    pub fn way_of_a_stranger(&self) -> Vec<String> {
        self.way_to("known-stranger")
    }

    fn way_to(&self, known: &str) -> Vec<String> {
        let path = |name: &str| self.daemon.folder.path().join(name).display().to_string();
        let (port, known) = (self.port.to_string(), format!("UserKnownHostsFile={}", path(known)));
        let key = path("user");
        ["ssh", "-F", "none", "-i", &key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", &known]
            .into_iter()
            .chain(["-p", &port, "-W", "{host}:{port}", "127.0.0.1"])
            .map(str::to_owned)
            .collect()
    }
}
