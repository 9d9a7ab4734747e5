//! Exit codes and reasons.

use super::{GENERATED, cell};
use kit_contract::{Class, Reason};

pub(super) fn exit_codes() -> String {
    let mut text = format!(
        "{GENERATED}\n# Exit codes\n\nPublic and stable. A script may rely on them; the artifact says more.\n\n\
         | code | result | meaning |\n|---|---|---|\n"
    );
    for class in Class::ALL {
        text.push_str(&format!("| {} | `{}` | {} |\n", class.exit_code(), class.result(), class.meaning()));
    }
    text
}

pub(super) fn reasons() -> String {
    let mut text = format!(
        "{GENERATED}\n# Reasons\n\nWhy a step ended as it did. The codes are public and stable; messages are not. \
         `deploy-kit explain <reason>` prints a line of this page.\n"
    );
    let mut area = "";
    for reason in Reason::ALL {
        if reason.area() != area {
            area = reason.area();
            text.push_str(&format!(
                "\n## {area}\n\n| reason | exit code | meaning | what to do |\n|---|---|---|---|\n"
            ));
        }
        text.push_str(&format!(
            "| `{reason}` | {} | {} | {} |\n",
            reason.exit_code(),
            cell(reason.meaning()),
            cell(reason.remedy())
        ));
    }
    text
}
