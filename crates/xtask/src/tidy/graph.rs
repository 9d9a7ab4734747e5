//! The resolved dependencies, reduced to what the rules ask: normal dependencies only, for all platforms.
//!
//! Two sources: the metadata of the whole workspace, where the features of all crates are united and weak
//! ones count as asked for, so that it holds edges that no program links; and the tree of one crate, which
//! is exactly what that crate links. Rules about what is linked need the second.

use std::collections::{BTreeMap, VecDeque};

use cargo_metadata::{DependencyKind, Metadata};

use crate::error::Error;

/// One package of the lock file.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Folder from the root of the workspace; none for a package from outside.
    pub(crate) folder: Option<String>,
    /// SPDX expression, as the package states it.
    pub(crate) license: Option<String>,
    /// Indices into [`Graph::packages`], without development and build dependencies.
    pub(crate) normal: Vec<usize>,
}

impl Package {
    /// Part of the product: under `crates/`, and neither automation nor test support.
    pub(crate) fn is_product(&self) -> bool {
        self.folder.as_deref().is_some_and(|folder| folder.starts_with("crates/"))
            && !["xtask", "kit-testing"].contains(&self.name.as_str())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<Package>,
}

impl Graph {
    /// # Errors
    /// The metadata was read without dependencies.
    pub(crate) fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        let resolve = metadata.resolve.as_ref().ok_or(Error::NoResolve)?;
        let index: BTreeMap<_, _> =
            metadata.packages.iter().enumerate().map(|(index, package)| (&package.id, index)).collect();
        let mut normal: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for node in &resolve.nodes {
            let deps = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|info| info.kind == DependencyKind::Normal));
            normal.insert(&node.id, deps.filter_map(|dep| index.get(&dep.pkg).copied()).collect());
        }
        let packages = metadata.packages.iter().map(|package| Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            folder: metadata.workspace_members.contains(&package.id).then(|| {
                let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
                folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder).to_string()
            }),
            license: package.license.clone(),
            normal: normal.remove(&package.id).unwrap_or_default(),
        });
        Ok(Self { packages: packages.collect() })
    }

    /// Reads `cargo tree --prefix depth --format ' {p}'`; the crate it was asked for comes first.
    pub(crate) fn from_tree(tree: &str) -> Self {
        let mut graph = Self::default();
        let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut above: Vec<usize> = Vec::new();
        for line in tree.lines() {
            let mut words = line.split_whitespace();
            let (Some(Ok(depth)), Some(name), Some(version)) =
                (words.next().map(str::parse::<usize>), words.next(), words.next())
            else {
                continue;
            };
            let index = *known.entry((name, version)).or_insert_with(|| {
                graph.packages.push(Package {
                    name: name.to_owned(),
                    version: version.trim_start_matches('v').to_owned(),
                    folder: None,
                    license: None,
                    normal: Vec::new(),
                });
                graph.packages.len() - 1
            });
            above.truncate(depth);
            if let Some(parent) = above.last().and_then(|parent| graph.packages.get_mut(*parent)) {
                parent.normal.push(index);
            }
            above.push(index);
        }
        graph
    }

    /// The crates of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.folder.is_some())
    }

    pub(crate) fn dependencies<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Package> {
        package.normal.iter().filter_map(|index| self.packages.get(*index))
    }

    /// The shortest way from a package to one that is wanted, as `a -> b -> c`, if there is one.
    pub(crate) fn path(&self, from: usize, wanted: impl Fn(&Package) -> bool) -> Option<String> {
        let mut reached_from: BTreeMap<usize, Option<usize>> = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            let package = self.packages.get(at)?;
            if at != from && wanted(package) {
                return Some(self.names(at, &reached_from));
            }
            for next in &package.normal {
                reached_from.entry(*next).or_insert_with(|| {
                    queue.push_back(*next);
                    Some(at)
                });
            }
        }
        None
    }

    fn names(&self, end: usize, reached_from: &BTreeMap<usize, Option<usize>>) -> String {
        let mut names = Vec::new();
        let mut at = Some(end);
        while let Some(index) = at {
            names.extend(self.packages.get(index).map(|package| package.name.as_str()));
            at = reached_from.get(&index).copied().flatten();
        }
        names.reverse();
        names.join(" -> ")
    }
}

#[cfg(test)]
impl Graph {
    /// `(folder, name, names of normal dependencies)`; an empty folder means from outside.
    pub(crate) fn of(packages: &[(&str, &str, &[&str])]) -> Self {
        let find = |name: &&str| packages.iter().position(|package| package.1 == *name).unwrap();
        let packages = packages.iter().map(|(folder, name, normal)| Package {
            name: (*name).to_owned(),
            version: "1.0.0".to_owned(),
            folder: (!folder.is_empty()).then(|| (*folder).to_owned()),
            license: Some("MIT".to_owned()),
            normal: normal.iter().map(find).collect(),
        });
        Self { packages: packages.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normal_dependencies_are_taken_from_the_metadata() {
        let package = |name: &str, path: &str| {
            serde_json::json!({
                "name": name, "version": "1.0.0", "id": name, "manifest_path": path, "license": "MIT",
                "dependencies": [], "targets": [], "features": {},
            })
        };
        let dep = |name: &str, kind: Option<&str>| serde_json::json!({ "name": name, "pkg": name, "dep_kinds": [{ "kind": kind, "target": null }] });
        let node = |name: &str, deps: Vec<serde_json::Value>| serde_json::json!({ "id": name, "deps": deps, "dependencies": [], "features": [] });
        let ours = vec![dep("serde", None), dep("proptest", Some("dev")), dep("cc", Some("build"))];
        let metadata: Metadata = serde_json::from_value(serde_json::json!({
            "packages": [
                package("ours", "/w/crates/ours/Cargo.toml"),
                package("proptest", "/r/proptest/Cargo.toml"),
                package("cc", "/r/cc/Cargo.toml"),
                package("serde", "/r/serde/Cargo.toml"),
            ],
            "resolve": {
                "nodes": [
                    node("ours", ours), node("proptest", vec![]), node("cc", vec![]), node("serde", vec![]),
                ],
                "root": null,
            },
            "workspace_members": ["ours"], "workspace_default_members": ["ours"],
            "workspace_root": "/w", "target_directory": "/w/target", "version": 1,
        }))
        .unwrap();
        let graph = Graph::from_metadata(&metadata).unwrap();
        let ours = graph.members().next().unwrap();
        assert_eq!(ours.folder.as_deref(), Some("crates/ours"));
        let names: Vec<_> = graph.dependencies(ours).map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["serde"]);
        assert_eq!(graph.members().count(), 1);
    }

    #[test]
    fn a_tree_is_read_with_what_it_says_once_only() {
        let tree =
            "0 a v0.1.0 (/w/crates/a)\n1 b v1.0.0\n2 c v1.0.0 (proc-macro)\n1 d v2.0.0\n2 b v1.0.0 (*)\n";
        let graph = Graph::from_tree(tree);
        assert_eq!(graph.packages.len(), 4);
        assert_eq!(graph.path(3, |package| package.name == "c").as_deref(), Some("d -> b -> c"));
        assert_eq!(graph.path(0, |package| package.name == "d").as_deref(), Some("a -> d"));
    }

    #[test]
    fn the_shortest_path_is_found_even_in_a_circle() {
        let graph = Graph::of(&[
            ("crates/a", "a", &["b", "c"]),
            ("", "b", &["c", "a"]),
            ("", "c", &["d"]),
            ("", "d", &[]),
            ("", "e", &[]),
        ]);
        assert_eq!(graph.path(0, |package| package.name == "d").as_deref(), Some("a -> c -> d"));
        assert_eq!(graph.path(0, |package| package.name == "e"), None);
        assert_eq!(
            graph.path(3, |package| package.name == "d"),
            None,
            "a package is no dependency of itself"
        );
    }
}
