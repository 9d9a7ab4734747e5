//! A program and its commands: from the command line to the exit code.

use crate::execute::{StepCommand, ToolCommand};
use crate::prepare::print_parser_message;
use crate::{CommandSpec, Step, Tool, finish, inputs, run, secrets};
use kit_contract::{ArtifactKind, Reason};
use kit_core::{Clock, Context, Env, Out, Redactor};
use std::marker::PhantomData;
use std::process::ExitCode;

/// A program: a name and its commands.
pub struct Program {
    /// Its name, which is also that of its crate, binary and action.
    pub name: &'static str,
    /// One line: what it is for.
    pub about: &'static str,
    commands: Vec<Box<dyn AnyCommand>>,
    /// Commands that whoever calls this runs instead of us; listed in the help.
    foreign: Vec<(String, String)>,
}

impl Program {
    /// A program without commands yet.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, commands: Vec::new(), foreign: Vec::new() }
    }

    /// Adds a command that writes an artifact.
    #[must_use]
    pub fn step<S: Step>(mut self) -> Self {
        self.commands.push(Box::new(StepCommand::<S>(PhantomData)));
        self
    }

    /// Adds a command that prints data.
    #[must_use]
    pub fn tool<T: Tool>(mut self) -> Self {
        self.commands.push(Box::new(ToolCommand::<T>(PhantomData)));
        self
    }

    /// Lists commands in the help that whoever calls this runs itself: name and one line each.
    #[must_use]
    pub fn listing(mut self, foreign: Vec<(String, String)>) -> Self {
        self.foreign = foreign;
        self
    }

    pub(crate) fn commands(&self) -> impl Iterator<Item = &dyn AnyCommand> {
        self.commands.iter().map(AsRef::as_ref)
    }

    /// Runs with these arguments (without the program's name) and this context. Gives the exit code.
    pub fn run(&self, args: &[String], cx: &Context) -> u8 {
        run::catch_panics();
        secrets::learn_environment(cx);
        secrets::learn_arguments(cx, args);
        // `help <command>` is `<command> --help`: only the command itself knows its inputs.
        if let [help, command] = args
            && help == "help"
            && self.commands().any(|one| one.spec().command == Some(command.as_str()))
        {
            return self.run(&[command.clone(), "--help".to_owned()], cx);
        }
        let named = args
            .first()
            .and_then(|first| self.commands().find(|command| command.spec().command == Some(first.as_str())));
        let default = self.commands().find(|command| command.spec().command.is_none());
        match (named, default) {
            (Some(command), _) => command.execute(self, args.get(1..).unwrap_or_default(), cx),
            (None, Some(command)) => command.execute(self, args, cx),
            (None, None) => self.without_command(args, cx),
        }
    }

    /// Help or a usage error for a program that must be told which of its commands to run.
    fn without_command(&self, args: &[String], cx: &Context) -> u8 {
        let mut parser = clap::Command::new(self.name)
            .about(self.about)
            .version(finish::tool_info().version)
            .subcommand_required(true)
            .arg_required_else_help(true);
        for (name, about) in &self.foreign {
            parser = parser.subcommand(clap::Command::new(name.clone()).about(about.clone()));
        }
        for command in self.commands() {
            let spec = command.spec();
            parser =
                parser.subcommand(clap::Command::new(spec.command.unwrap_or_default()).about(spec.about));
        }
        match parser.try_get_matches_from(std::iter::once(self.name.to_owned()).chain(args.iter().cloned())) {
            Ok(_) => Reason::UsageError.exit_code(),
            Err(error) => print_parser_message(cx, &error),
        }
    }

    /// The parser of one command, with these defaults injected.
    pub(crate) fn parser(
        &self,
        command: &dyn AnyCommand,
        env: &Env,
        config: &[(&'static str, String)],
    ) -> (clap::Command, inputs::Injected) {
        let spec = command.spec();
        let full_name = full_name(self.name, &spec);
        // The texts are set after the inputs: deriving them sets texts of its own.
        let parser = command
            .augment(clap::Command::new(full_name.clone()))
            .bin_name(full_name)
            .about(spec.about)
            .version(finish::tool_info().version)
            .long_about(format!("{}\n\n{}", spec.about, spec.details))
            .after_long_help(crate::describe::long_help(self, command))
            .term_width(100)
            .disable_help_subcommand(true);
        inputs::complete(parser, &spec, env, config)
    }
}

/// `deploy-record begin`, or just `smoke-test`.
pub(crate) fn full_name(program: &str, spec: &CommandSpec) -> String {
    spec.command.map_or_else(|| program.to_owned(), |command| format!("{program} {command}"))
}

/// The one call of every `main.rs`.
pub fn main(program: &Program) -> ExitCode {
    main_with(program, 0)
}

/// [`main`] for a program that runs as a subcommand: `skip` arguments belong to whoever called it.
pub fn main_with(program: &Program, skip: usize) -> ExitCode {
    run_with(program, std::env::args_os().skip(1 + skip))
}

/// The help of a program whose name stands second, as in `deploy-kit help deploy-record begin`.
pub fn help_of(program: &Program) -> ExitCode {
    run_with(program, std::env::args_os().skip(3).chain(["--help".into()]))
}

fn run_with(program: &Program, args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let env = Env::capture();
    let redactor = Redactor::default();
    let out = Out::process(redactor.clone(), env.in_github_actions());
    let cx = Context { env, clock: Clock::system(), cancel: kit_core::Cancel::default(), redactor, out };
    match args.map(std::ffi::OsString::into_string).collect::<Result<Vec<String>, _>>() {
        Ok(args) => ExitCode::from(run::guard(|| program.run(&args, &cx)).unwrap_or_else(|error| {
            finish::say_failure(&cx, program.name, &error);
            error.reason.exit_code()
        })),
        Err(_) => {
            cx.out.say(&format!("{}: an argument is not UTF-8 text", program.name));
            ExitCode::from(Reason::UsageError.exit_code())
        }
    }
}

/// A command whose types are hidden.
pub(crate) trait AnyCommand: Send + Sync {
    fn spec(&self) -> CommandSpec;
    /// The kind of artifact it writes; `None` for a tool.
    fn writes(&self) -> Option<ArtifactKind>;
    fn augment(&self, parser: clap::Command) -> clap::Command;
    fn execute(&self, program: &Program, args: &[String], cx: &Context) -> u8;
}
