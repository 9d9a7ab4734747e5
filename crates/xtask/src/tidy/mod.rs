//! `cargo xtask tidy`: the house rules. One file per rule, each a pure function from text or from the
//! dependency graph to findings; only this file reads the tree.

mod deny_list;
mod finding;
mod graph;
mod heavy;
mod layers;
mod layout;
mod licences;
mod manifest;
mod shell;
mod sizes;
mod sleeps;
mod spdx;
mod tree;
mod words;

use std::fs;

use crate::error::Error;
use crate::workspace::Workspace;
use finding::{Finding, Level};
use graph::Graph;

/// Rules over one text file: its path from the root, with `/`, and its content.
const FILE_RULES: [fn(&str, &str) -> Vec<Finding>; 6] =
    [words::check, layout::check, sizes::check, sleeps::check, shell::check, manifest::check];

/// Rules over the resolved dependencies.
const GRAPH_RULES: [fn(&Graph) -> Vec<Finding>; 2] = [layers::check, licences::check];

/// True when no rule is violated; notes do not count.
pub(crate) fn run(workspace: &Workspace) -> Result<bool, Error> {
    let mut findings = Vec::new();
    let paths = tree::list(workspace)?;
    for path in &paths {
        match tree::read(workspace, path)? {
            tree::Content::Text(text) => {
                findings.extend(FILE_RULES.iter().flat_map(|rule| rule(path, &text)));
            }
            tree::Content::Binary { size_bytes } => findings.extend(sizes::check_binary(path, size_bytes)),
            tree::Content::Absent => {}
        }
    }
    let deny = workspace.root.join("deny.toml");
    let deny = fs::read_to_string(&deny).map_err(Error::file("read", &deny))?;
    findings.extend(deny_list::check(&deny)?);

    let graph = Graph::from_metadata(&workspace.metadata(true)?)?;
    findings.extend(GRAPH_RULES.iter().flat_map(|rule| rule(&graph)));
    for package in graph.members().filter(|package| package.is_product()) {
        findings.extend(heavy::check(&package.name, &linked(workspace, &package.name)?));
    }

    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let violations = findings.iter().filter(|finding| finding.level == Level::Violation).count();
    println!(
        "tidy: {} files, {} packages: {violations} violations, {} notes",
        paths.len(),
        graph.packages.len(),
        findings.len() - violations
    );
    Ok(violations == 0)
}

/// What a crate links when it is built alone, on any platform.
fn linked(workspace: &Workspace, name: &str) -> Result<Graph, Error> {
    let stdout = workspace.output(&[
        "cargo",
        "tree",
        "--locked",
        "--quiet",
        "--package",
        name,
        "--edges",
        "normal",
        "--target",
        "all",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ])?;
    let graph = Graph::from_tree(&String::from_utf8_lossy(&stdout));
    // A tree that could not be read holds nothing heavy either: that must not pass.
    match graph.packages.first() {
        Some(first) if first.name == name => Ok(graph),
        _ => Err(Error::Tree { package: name.to_owned() }),
    }
}
