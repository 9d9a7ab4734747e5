//! The shop: a folder with a git repository, a database, a router and two services.

use crate::error::Error;
use crate::workspace::Workspace;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A running shop.
pub(crate) struct Shop {
    folder: PathBuf,
    programs: PathBuf,
    admin: String,
}

const SERVICES: [&str; 2] = ["catalog", "checkout"];

impl Shop {
    /// Makes the folder anew and starts version 1.4.0 in it.
    pub(crate) fn open(workspace: &Workspace) -> Result<Self, Error> {
        let folder = workspace.root.join("target/demo");
        // An absolute CARGO_TARGET_DIR replaces the root when it is joined to it.
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let programs = workspace.root.join(target).join("debug");
        end_former(&folder, &programs);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(Error::file("empty", &folder))?;
        }
        std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let mut shop = Self { folder, programs, admin: String::new() };
        println!("\n== the shop, in target/demo");
        shop.must("storefront-ctl", &["seed", "--database", "shop.db"])?;
        let router = shop.json(
            "storefront-ctl",
            &["start-router", "--state", "router.json", "--processes", "processes.json"],
        )?;
        shop.admin = text(&router, "admin");
        shop.start_version("1.4.0", "0")?;
        shop.write_repository(&workspace.root.join("examples/storefront"), &text(&router, "url"))?;
        Ok(shop)
    }

    /// Starts both services of one version; without traffic, unless it is the first.
    pub(crate) fn start_version(&self, version: &str, fail_percent: &str) -> Result<(), Error> {
        for service in SERVICES {
            let args = [
                "start",
                "--service",
                service,
                "--version",
                version,
                "--database",
                "shop.db",
                "--admin",
                &self.admin,
                "--processes",
                "processes.json",
                "--fail-percent",
                fail_percent,
            ];
            self.must("storefront-ctl", &args)?;
        }
        Ok(())
    }

    /// The user's repository: configuration and migrations, with a tag for each version.
    fn write_repository(&self, example: &Path, router: &str) -> Result<(), Error> {
        let source = example.join("deploy.toml");
        let config = std::fs::read_to_string(&source).map_err(Error::file("read", &source))?;
        let config = config.replace("{router}", router).replace("{admin}", &self.admin);
        let target = self.folder.join("deploy.toml");
        std::fs::write(&target, config).map_err(Error::file("write", &target))?;
        let migrations = self.folder.join("migrations");
        std::fs::create_dir_all(&migrations).map_err(Error::file("create", &migrations))?;
        let from = example.join("migrations");
        for entry in std::fs::read_dir(&from).map_err(Error::file("list", &from))? {
            let path = entry.map_err(Error::file("list", &from))?.path();
            let to = migrations.join(path.file_name().unwrap_or_default());
            std::fs::copy(&path, &to).map_err(Error::file("copy", &path))?;
        }
        self.git(&["init", "--quiet", "--initial-branch", "main"])?;
        self.git(&["add", "deploy.toml", "migrations"])?;
        self.git(&["commit", "--quiet", "--message", "The shop"])?;
        self.git(&["tag", "--annotate", "--message", "2.0.0", "v2.0.0"])
    }

    fn git(&self, args: &[&str]) -> Result<(), Error> {
        let identity =
            ["-c", "user.name=Shop", "-c", "user.email=shop@example.com", "-c", "commit.gpgsign=false"];
        let all: Vec<&str> = identity.into_iter().chain(args.iter().copied()).collect();
        self.must("git", &all)
    }

    /// Runs a command of deploy-kit in the shop, after printing it.
    pub(crate) fn deploy_kit(&self, args: &[&str]) -> Result<bool, Error> {
        println!("\n$ deploy-kit {}", args.join(" "));
        let status = self.command("deploy-kit", args).status().map_err(spawn("deploy-kit"))?;
        Ok(status.success())
    }

    /// Runs a command of deploy-kit and reads the JSON that it prints.
    pub(crate) fn deploy_kit_json(&self, args: &[&str]) -> Result<serde_json::Value, Error> {
        self.json("deploy-kit", args)
    }

    /// The command, ready to be started in the shop.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let path = self.programs.join(program);
        let mut command = if path.exists() { Command::new(path) } else { Command::new(program) };
        command
            .args(args)
            .current_dir(&self.folder)
            .env("PATH", self.path())
            .env("DATABASE_URL", format!("sqlite://{}", self.folder.join("shop.db").display()))
            // The demo is no CI job, whoever runs it.
            .env_remove("CI")
            .env_remove("GITHUB_ACTIONS");
        command
    }

    fn path(&self) -> OsString {
        let mut path = self.programs.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        path
    }

    /// What the router says of every service: name, stable version, share of the canary.
    pub(crate) fn observed(&self) -> Result<Vec<(String, String, f64)>, Error> {
        let status = self.json("deploy-kit", &["rollout", "status", "--json"])?;
        let services =
            status.get("services").and_then(|services| services.as_array()).cloned().unwrap_or_default();
        Ok(services
            .iter()
            .map(|service| {
                let percent = service.get("canary_percent").and_then(serde_json::Value::as_f64);
                (text(service, "name"), text(service, "stable_version"), percent.unwrap_or(f64::NAN))
            })
            .collect())
    }

    /// Reads a JSON file of the shop; `None` if it is not there (yet).
    pub(crate) fn file(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(self.folder.join(name)).ok()?).ok()
    }

    /// How to end what `--keep` left running.
    pub(crate) fn stop_command(&self) -> String {
        format!(
            "(cd {} && {}/storefront-ctl stop --all --processes processes.json)",
            self.folder.display(),
            self.programs.display()
        )
    }

    /// Ends every process of the shop.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.must("storefront-ctl", &["stop", "--all", "--processes", "processes.json"])
    }

    /// Runs a helper of the demo quietly; its failure ends the demo.
    fn must(&self, program: &'static str, args: &[&str]) -> Result<(), Error> {
        println!("$ {program} {}", args.join(" "));
        let status = self.command(program, args).stdout(Stdio::null()).status().map_err(spawn(program))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed { command: format!("{program} {}", args.join(" ")), status })
    }

    fn json(&self, program: &'static str, args: &[&str]) -> Result<serde_json::Value, Error> {
        println!("$ {program} {}", args.join(" "));
        let output = self.command(program, args).stderr(Stdio::inherit()).output().map_err(spawn(program))?;
        let command = format!("{program} {}", args.join(" "));
        if !output.status.success() {
            return Err(Error::Failed { command, status: output.status });
        }
        serde_json::from_slice(&output.stdout).map_err(|source| Error::Json { command, source })
    }
}

/// Ends what a former demo left running; there is nothing to do if it left nothing.
fn end_former(folder: &Path, programs: &Path) {
    if folder.join("processes.json").exists() {
        let _ = Command::new(programs.join("storefront-ctl"))
            .args(["stop", "--all", "--processes", "processes.json"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .status();
    }
}

fn text(value: &serde_json::Value, key: &str) -> String {
    value.get(key).and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

fn spawn(program: &str) -> impl FnOnce(std::io::Error) -> Error {
    let program = program.to_owned();
    move |source| Error::Spawn { program, source }
}
