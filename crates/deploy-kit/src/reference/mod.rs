//! The reference files, rendered from the types: what is documented is what runs.

mod actions;
mod artifacts;
mod codes;
mod steps;
mod workflows;

use kit_step::ProgramDescription;

/// Path and content of every generated file.
pub(crate) fn files(programs: &[ProgramDescription]) -> Vec<(String, String)> {
    let mut files = vec![
        ("docs/reference/README.md".to_owned(), index(programs)),
        ("docs/reference/exit-codes.md".to_owned(), codes::exit_codes()),
        ("docs/reference/reasons.md".to_owned(), codes::reasons()),
        ("docs/reference/artifacts.md".to_owned(), artifacts::artifacts()),
        ("docs/reference/pipeline.md".to_owned(), artifacts::pipeline()),
    ];
    for program in programs {
        files.push((format!("docs/reference/{}.md", program.name), steps::page(program)));
        for command in &program.commands {
            let name = command.full_name.replace(' ', "-");
            files.push((format!("docs/reference/help/{name}.txt"), format!("{}\n", command.help.trim_end())));
        }
    }
    files.extend(actions::files(programs));
    files.extend(workflows::files());
    for schema in kit_contract::schemas() {
        let json = format!("{:#}\n", schema.json);
        files.push((format!("schemas/{}", schema.file_name), json));
    }
    files
}

/// The line that tells a reader not to edit.
pub(super) const GENERATED: &str =
    "<!-- Generated from the types by `cargo xtask generate`. Change the types, not this file. -->\n";

fn index(programs: &[ProgramDescription]) -> String {
    let mut text = format!(
        "{GENERATED}\n# Reference\n\n- [Exit codes](exit-codes.md)\n- [Reasons](reasons.md)\n\
         - [Artifacts](artifacts.md)\n- [Pipeline](pipeline.md)\n- [Help pages](help)\n- [JSON Schemas](../../schemas)\n\n\
         | program | what it does |\n|---|---|\n"
    );
    for program in programs {
        text.push_str(&format!("| [`{0}`]({0}.md) | {1} |\n", program.name, program.about));
    }
    text
}

/// Text inside a Markdown table cell.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
