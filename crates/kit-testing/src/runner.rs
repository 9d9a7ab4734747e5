//! What a GitHub Actions runner takes from a step: a port of its parsers.
//!
//! Ported from actions/runner: `ActionCommand.cs` (`TryParseV2`, `TryParse`), `ActionCommandManager.cs`
//! (`TryProcessCommand`), and `EnvFileKeyValuePairs` of `FileCommandManager.cs`.

use std::collections::BTreeMap;

/// The commands that a runner knows; compared without regard to case.
const REGISTERED: &[&str] = &[
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
];

/// A command that a runner would obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name as it was written.
    pub name: String,
    /// Its properties, unescaped.
    pub properties: BTreeMap<String, String>,
    /// Its data, unescaped.
    pub data: String,
}

/// Every command in the output of a process that a runner would obey, in order. Give it one stream, or
/// both joined: a runner parses both.
pub fn parse_commands(output: &[u8]) -> Vec<Command> {
    let text = String::from_utf8_lossy(output);
    let mut commands = Vec::new();
    let mut stopped_until: Option<String> = None;
    // The runner reads lines with a StreamReader: LF, CR and CR LF all end one.
    for line in text.split(['\n', '\r']) {
        let token = stopped_until.as_deref();
        let Some(command) = double_colon(line, token).or_else(|| hash_bracket(line, token)) else { continue };
        match token {
            Some(token) if command.name.eq_ignore_ascii_case(token) => stopped_until = None,
            Some(_) => {}
            None => {
                if command.name.eq_ignore_ascii_case("stop-commands") {
                    stopped_until = Some(command.data.clone());
                }
                commands.push(command);
            }
        }
    }
    commands
}

fn is_registered(name: &str, token: Option<&str>) -> bool {
    REGISTERED.iter().copied().chain(token).any(|known| known.eq_ignore_ascii_case(name))
}

/// `TryParseV2`: `::name key=value,…::data`, after blanks.
fn double_colon(line: &str, token: Option<&str>) -> Option<Command> {
    let (info, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    command(
        info,
        data,
        token,
        ',',
        &[("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")],
        &[("%0D", "\r"), ("%0A", "\n")],
    )
}

/// `TryParse`: `##[name key=value;…]data`, anywhere in the line.
fn hash_bracket(line: &str, token: Option<&str>) -> Option<Command> {
    let (_, rest) = line.split_once("##[")?;
    let (info, data) = rest.split_once(']')?;
    let escapes = &[("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]")];
    command(info, data, token, ';', escapes, escapes)
}

fn command(
    info: &str,
    data: &str,
    token: Option<&str>,
    separator: char,
    property_escapes: &[(&str, &str)],
    data_escapes: &[(&str, &str)],
) -> Option<Command> {
    let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
    if !is_registered(name, token) {
        return None;
    }
    let properties = properties
        .trim()
        .split(separator)
        .filter_map(|pair| pair.split_once('='))
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_owned(), unescape(value, property_escapes)))
        .collect();
    Some(Command { name: name.to_owned(), properties, data: unescape(data, data_escapes) })
}

/// The percent sign last, as the runner does it.
fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    let text = escapes.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain));
    text.replace("%25", "%")
}

/// The name-value pairs of a file of outputs.
///
/// # Errors
/// What a runner would fail the step with.
pub fn parse_outputs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((line, _)) = next_line(&mut rest) {
        if line.is_empty() {
            continue;
        }
        let (equals, heredoc) = (line.find('='), line.find("<<"));
        let is_heredoc = heredoc.is_some_and(|heredoc| equals.is_none_or(|equals| heredoc < equals));
        if is_heredoc {
            let (name, delimiter) = line.split_once("<<").unwrap_or_default();
            if name.is_empty() || delimiter.is_empty() {
                return Err(format!("invalid format {line:?}: name and delimiter must not be empty"));
            }
            pairs.push((name.to_owned(), heredoc_value(&mut rest, delimiter)?));
        } else {
            let (name, value) = line.split_once('=').ok_or_else(|| format!("invalid format {line:?}"))?;
            if name.is_empty() {
                return Err(format!("invalid format {line:?}: the name must not be empty"));
            }
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(pairs)
}

fn heredoc_value(rest: &mut &str, delimiter: &str) -> Result<String, String> {
    let mut lines: Vec<&str> = Vec::new();
    loop {
        match next_line(rest) {
            None => return Err(format!("invalid value: the delimiter {delimiter:?} was not found")),
            Some((line, _)) if line == delimiter => return Ok(lines.join("\n")),
            Some((_, false)) => return Err("invalid value: the end must have a line break".to_owned()),
            Some((line, true)) => lines.push(line),
        }
    }
}

/// The next line, and whether a line break ended it. Only LF ends a line, as on Linux and macOS.
fn next_line<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    if rest.is_empty() {
        return None;
    }
    let (line, after, ended) = match rest.split_once('\n') {
        Some((line, after)) => (line, after, true),
        None => (*rest, "", false),
    };
    *rest = after;
    Some((line, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(output: &str) -> Vec<String> {
        parse_commands(output.as_bytes()).into_iter().map(|command| command.name).collect()
    }

    #[test]
    fn what_a_runner_obeys() {
        for (line, name) in [
            ("::error::x", "error"),
            ("  \t::set-output name=a::b", "set-output"),
            ("\u{a0}::add-mask::x", "add-mask"),
            ("::ERROR::x", "ERROR"),
            ("text ##[error]x", "error"),
            ("###[warning]x", "warning"),
            ("::nonsense ##[debug]x::y", "debug"),
            ("first\rsecond\r::notice::x", "notice"),
        ] {
            assert_eq!(names(line), [name], "{line:?}");
        }
        for line in
            ["", "text ::error::x", "::error", "::nonsense::x", "##[error", "# #[error]x", ": :error::x"]
        {
            assert_eq!(names(line), [""; 0], "{line:?}");
        }
    }

    #[test]
    fn properties_and_data_are_unescaped() {
        let commands =
            parse_commands(b"::error title=a%3Ab%2Cc,file=,line=3::50 %25%0A%2525\n##[group a=b%5Dc]d%3Be");
        let property = |at: usize, key: &str| commands[at].properties.get(key).map(String::as_str);
        assert_eq!(property(0, "title"), Some("a:b,c"));
        assert_eq!((property(0, "file"), property(0, "line")), (None, Some("3")));
        assert_eq!(commands[0].data, "50 %\n%25");
        assert_eq!((property(1, "a"), commands[1].data.as_str()), (Some("b]c"), "d;e"));
    }

    #[test]
    fn stopped_commands_wait_for_their_token() {
        assert_eq!(
            names("::stop-commands::abc\n::error::x\n::abc::\n::notice::y"),
            ["stop-commands", "notice"]
        );
    }

    #[test]
    fn outputs_are_read_strictly() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parse_outputs("a=b=c\n\nd<<E\n1\n\n2=3\nE\n"),
            Ok(vec![pair("a", "b=c"), pair("d", "1\n\n2=3")])
        );
        assert_eq!(parse_outputs("a<<E\nE\nb=x<<y"), Ok(vec![pair("a", ""), pair("b", "x<<y")]));
        for bad in ["a", "=x\n", "<<E\nE\n", "a<<\n", "a<<E\nx\n", "a<<E\nx", "a<<E\n E\n"] {
            assert!(parse_outputs(bad).is_err(), "{bad:?}");
        }
    }
}
