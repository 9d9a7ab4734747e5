//! The red button: a file that appears.

use kit_core::fs;
use kit_core::sanitise;
use serde::Deserialize;
use std::path::Path;

const LIMIT_BYTES: u64 = 64 << 10;
/// Longest piece of foreign text that is repeated.
const LONGEST_CHARS: usize = 200;

/// What may stand in the file. Nothing in it is needed: that it is there is the request.
#[derive(Deserialize)]
struct StopFile {
    #[serde(alias = "requested_by", alias = "actor", alias = "by")]
    who: Option<String>,
    #[serde(alias = "reason", alias = "message")]
    why: Option<String>,
}

/// Who asked for a stop and why, for people; `None` if nobody did.
///
/// A file that is there and cannot be read is a request, too: it may say anything but "go on".
pub(crate) fn requested(path: &Path) -> Option<String> {
    let parsed = match fs::read_if_there(path, LIMIT_BYTES) {
        Ok(None) => return None,
        Ok(Some(bytes)) => serde_json::from_slice::<StopFile>(&bytes).ok(),
        Err(_) => None,
    };
    let (who, why) = parsed.map_or((None, None), |file| (file.who, file.why));
    let who = who.map_or_else(|| "somebody".to_owned(), |who| clean(&who));
    let why = why.map_or_else(|| "no reason is given".to_owned(), |why| clean(&why));
    Some(format!("{who} asked this deploy to stop: {why}"))
}

fn clean(text: &str) -> String {
    sanitise(text).chars().take(LONGEST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_it_is_there_is_the_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stop.json");
        assert_eq!(requested(&path), None);
        assert_eq!(requested(&folder.path().join("not/there/stop.json")), None);
        for (text, expected) in [
            (r#"{"who": "ada", "why": "orders fail"}"#, "ada asked this deploy to stop: orders fail"),
            (
                "{\"requested_by\": \"ada\\n::error::x\", \"reason\": \"\\u001b[31mred\"}",
                "ada ::error::x asked this deploy to stop: red",
            ),
            ("not JSON", "somebody asked this deploy to stop: no reason is given"),
            ("", "somebody asked this deploy to stop: no reason is given"),
        ] {
            fs::write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(requested(&path).as_deref(), Some(expected));
        }
        assert!(requested(folder.path()).is_some(), "a folder of that name cannot be read");
    }
}
