//! Every step as a subcommand of one program, and the commands around them.
//!
//! In Actions each step is a program of its own, so that a job downloads and can do only what it needs.
//! On a laptop, in another CI and in the tests, one program is handier; both run the same code.

mod commands;
mod reference;

use kit_step::Program;
use std::process::ExitCode;

/// Every step, in pipeline order.
pub fn steps() -> Vec<Program> {
    vec![
        validate_tag::program(),
        preflight::program(),
        db_backup::program(),
        migrate::program(),
        rollout::program(),
        canary_gate::program(),
        smoke_test::program(),
        deploy_record::program(),
        rollback::program(),
        db_restore::program(),
        notify::program(),
    ]
}

/// The commands around the steps.
fn own() -> Program {
    Program::new("deploy-kit", "Safe production deploys, step by step")
        .tool::<commands::Init>()
        .tool::<commands::Deploy>()
        .tool::<commands::Status>()
        .tool::<commands::StopCommand>()
        .tool::<commands::Unlock>()
        .tool::<commands::Explain>()
        .tool::<commands::ConfigCommand>()
}

/// The one call of `main.rs`.
pub fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if first == "__describe" {
        return describe();
    }
    // `help <step>` is `<step> --help`: only the step itself knows its inputs.
    let second = std::env::args().nth(2).unwrap_or_default();
    let wanted = if first == "help" { &second } else { &first };
    match steps().into_iter().find(|program| program.name == *wanted) {
        Some(program) if first == "help" => kit_step::help_of(&program),
        Some(program) => kit_step::main_with(&program, 1),
        None => kit_step::main_with(&with_steps_listed(own()), 0),
    }
}

/// Prints the generated files as JSON, for `cargo xtask generate`.
fn describe() -> ExitCode {
    let programs: Vec<_> = steps().iter().chain([&own()]).map(Program::describe).collect();
    let files: Vec<_> = reference::files(&programs)
        .into_iter()
        .map(|(path, content)| serde_json::json!({ "path": path, "content": content }))
        .collect();
    // Not through the writer for people: it would cut a line of this length, and nothing in it is foreign.
    let json = serde_json::json!({ "files": files }).to_string();
    match std::io::Write::write_all(&mut std::io::stdout(), json.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn with_steps_listed(program: Program) -> Program {
    program.listing(steps().iter().map(|step| (step.name.to_owned(), step.about.to_owned())).collect())
}
