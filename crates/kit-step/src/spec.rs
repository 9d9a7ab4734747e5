//! What a command is: the facts from which help, documents and actions are made.

use kit_contract::{ArtifactKind, config::Span};

/// One example for `--help`.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What it does.
    pub what: &'static str,
    /// The command line, starting with the program.
    pub line: &'static str,
}

/// One kind of artifact that a command reads.
#[derive(Clone, Copy, Debug)]
pub struct ReadSpec {
    /// The kind.
    pub kind: ArtifactKind,
    /// True if the step refuses to run without it.
    pub required: bool,
    /// What for.
    pub what_for: &'static str,
}

/// One output of its own that a command gives to later steps.
#[derive(Clone, Copy, Debug)]
pub struct OutputSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub help: &'static str,
}

/// A secret that a command takes. There is never a flag that holds its value.
#[derive(Clone, Copy, Debug)]
pub struct SecretSpec {
    /// Its name, in kebab case: `database-url` is read from `DEPLOY_KIT_DATABASE_URL` or from the file
    /// that `--database-url-file` names.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
}

/// Which deployment a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityRule {
    /// The one that is given, or that `deployment.json` names; else it runs alone.
    Joins,
    /// As [`IdentityRule::Joins`], but nothing that is found can keep it from running: for what must never
    /// be refused.
    JoinsOrNot,
    /// It makes the id.
    Creates,
    /// It has an id of its own and names the other deployment in its artifact.
    Own,
}

/// What qualifies the name of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// The value of this input: `stage` gives `gate-<stage>`.
    Input(&'static str),
    /// Always this: `rollout-promote`.
    Fixed(&'static str),
}

/// What a command is.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Its name; `None` for the command that runs if none is named.
    pub command: Option<&'static str>,
    /// One line: what it does.
    pub about: &'static str,
    /// A paragraph: what it is for and what it guarantees.
    pub details: &'static str,
    /// Examples that work.
    pub examples: &'static [Example],
    /// What it reads.
    pub reads: &'static [ReadSpec],
    /// What qualifies the artifact's name, where a deployment has several of the kind.
    pub qualifier: Option<Qualifier>,
    /// Its own outputs.
    pub outputs: &'static [OutputSpec],
    /// Its secrets.
    pub secrets: &'static [SecretSpec],
    /// Which deployment it belongs to.
    pub identity: IdentityRule,
    /// What a second run for the same deployment does.
    pub rerun: &'static str,
    /// How long it may run unless `--deadline` says otherwise.
    pub deadline: Span,
}
