//! Files and functions that can be read in one go, and no large binary files.

use super::finding::Finding;

const RULE: &str = "sizes";
const FILE_LINES_NOTE: usize = 400;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_NOTE: usize = 70;
const FUNCTION_LINES_MAX: usize = 100;
const BINARY_BYTES_MAX: u64 = 200 * 1024;

pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let file = graded(path, lines.len(), FILE_LINES_NOTE, FILE_LINES_MAX, "the file").into_iter();
    let functions = functions(&lines).into_iter().filter_map(|function| {
        let what = format!("function `{}`", function.name);
        let finding = graded(path, function.lines, FUNCTION_LINES_NOTE, FUNCTION_LINES_MAX, &what)?;
        Some(finding.at(function.first))
    });
    file.chain(functions).collect()
}

pub(crate) fn check_binary(path: &str, size_bytes: u64) -> Vec<Finding> {
    if size_bytes <= BINARY_BYTES_MAX {
        return Vec::new();
    }
    let message =
        format!("binary file of {} KiB; the limit is {}", size_bytes / 1024, BINARY_BYTES_MAX / 1024);
    vec![Finding::violation(RULE, path, message)]
}

fn graded(path: &str, lines: usize, note: usize, max: usize, what: &str) -> Option<Finding> {
    if lines > max {
        Some(Finding::violation(RULE, path, format!("{what} has {lines} lines; the limit is {max}")))
    } else if lines > note {
        Some(Finding::note(RULE, path, format!("{what} has {lines} lines, more than {note}")))
    } else {
        None
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Line of the signature, counted from 1.
    first: usize,
    lines: usize,
}

/// Relies on the tree being formatted: a function ends at the first line of its own indentation that ends in
/// a closing brace, or in a semicolon when it has no body. Text in a raw string may end one too early; then
/// it counts as shorter than it is, never as longer.
fn functions(lines: &[&str]) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let own = indent(line);
        let end = lines[at..].iter().position(|line| {
            !line.trim().is_empty() && indent(line) <= own && (line.ends_with('}') || line.ends_with(';'))
        });
        if let Some(end) = end {
            functions.push(Function { name: name.to_owned(), first: at + 1, lines: end + 1 });
        }
    }
    functions
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name, if a function begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let qualifier = |word: &str| {
        matches!(word, "pub" | "const" | "async" | "unsafe" | "extern" | "default")
            || word.starts_with("pub(")
            || word.starts_with('"')
    };
    // `pub(in path)` is two words; it is not used here.
    let first = words.by_ref().find(|word| !qualifier(word))?;
    let rest = (first == "fn").then(|| words.next()).flatten()?;
    rest.split(['(', '<']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(body_lines: usize) -> String {
        format!(
            "    pub(crate) async fn long<T>(\n        a: T,\n    ) {{\n{}    }}\n",
            "        a();\n".repeat(body_lines)
        )
    }

    #[test]
    fn a_function_is_measured_from_signature_to_closing_brace() {
        let text = format!("impl A {{\n    fn short() -> u8 {{ 1 }}\n    fn none();\n\n{}}}\n", function(5));
        let lines: Vec<&str> = text.lines().collect();
        let found: Vec<_> =
            functions(&lines).into_iter().map(|found| (found.name, found.first, found.lines)).collect();
        assert_eq!(found, [("short".to_owned(), 2, 1), ("none".to_owned(), 3, 1), ("long".to_owned(), 5, 9)]);
    }

    #[test]
    fn long_functions_are_noted_and_then_refused() {
        assert_eq!(check("a.rs", &function(66)), []);
        let noted = check("a.rs", &function(67));
        assert_eq!(noted, [Finding::note(RULE, "a.rs", "function `long` has 71 lines, more than 70").at(1)]);
        let refused = check("a.rs", &function(97));
        let message = "function `long` has 101 lines; the limit is 100";
        assert_eq!(refused, [Finding::violation(RULE, "a.rs", message).at(1)]);
    }

    #[test]
    fn long_files_are_noted_and_then_refused() {
        assert_eq!(check("a.rs", &"//\n".repeat(400)), []);
        assert_eq!(
            check("a.rs", &"//\n".repeat(401)),
            [Finding::note(RULE, "a.rs", "the file has 401 lines, more than 400")]
        );
        assert_eq!(
            check("a.rs", &"//\n".repeat(601)),
            [Finding::violation(RULE, "a.rs", "the file has 601 lines; the limit is 600")]
        );
        assert_eq!(check("a.md", &"-\n".repeat(601)), []);
    }

    #[test]
    fn large_binary_files_are_refused() {
        assert_eq!(check_binary("a.png", 200 * 1024), []);
        assert_eq!(check_binary("a.png", 200 * 1024 + 1).len(), 1);
    }
}
