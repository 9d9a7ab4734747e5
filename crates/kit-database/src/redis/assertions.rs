//! Questions to a restored database: a command that only reads.

use super::address::Address;
use super::connect::{self, Connection, Doing, Failed};
use super::resp::Reply;
use crate::assertions::Ask;
use crate::{DatabaseError, EngineError};
use async_trait::async_trait;
use kit_core::Context;
use std::time::Duration;

/// The database that is asked.
pub(super) struct Asked(pub(super) Address);

#[async_trait]
impl Ask for Asked {
    fn statement(command: &str) -> String {
        command.trim().to_owned()
    }

    async fn ask(
        &self,
        cx: &Context,
        command: String,
        _: Duration,
    ) -> Result<Vec<Option<String>>, DatabaseError> {
        let display = self.0.display();
        let doing = Doing { action: "ask", database: &display, unfinished: "the assertions were asked" };
        // Told as a wrong statement of SQL would be.
        let wrong = |text: &str| doing.said(EngineError { text: text.into(), code: Some("42".into()) });
        let words = words(&command).ok_or_else(|| wrong("its quotation marks do not match"))?;
        let mut connection = connect::open(&self.0, cx, doing).await?;
        if !doing.run(cx, only_reads(&mut connection, words.first())).await? {
            return Err(wrong("it is no command of Redis that only reads"));
        }
        match doing.run(cx, async { Ok(connection.ask(&words).await) }).await? {
            Ok(reply) => Ok(rows(&reply)),
            // What it says may quote the data.
            Err(failed @ Failed::Refused(_)) => {
                Err(doing.said(EngineError { text: "".into(), code: Some(failed.code().into()) }))
            }
            Err(broken) => Err(doing.failed(&broken)),
        }
    }
}

/// One value is one row; several are several.
fn rows(reply: &Reply) -> Vec<Option<String>> {
    match reply {
        Reply::Number(number) => vec![Some(number.to_string())],
        Reply::Nothing => vec![None],
        Reply::Several(replies) => replies.iter().flat_map(rows).take(2).collect(),
        Reply::Text(_) | Reply::Refusal(_) => vec![reply.text()],
    }
}

/// What the server itself says of the command.
async fn only_reads(connection: &mut Connection, command: Option<&String>) -> Result<bool, Failed> {
    let Some(command) = command else { return Ok(false) };
    let said = connection.ask(&["COMMAND", "INFO", command]).await?;
    let Reply::Several(commands) = said else { return Ok(false) };
    let Some(Reply::Several(about)) = commands.first() else { return Ok(false) };
    let Some(Reply::Several(flags)) = about.get(2) else { return Ok(false) };
    Ok(flags.iter().filter_map(Reply::text).any(|flag| flag == "readonly"))
}

/// Words, of which those in quotation marks may hold blanks. `\` takes what follows as it is.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(mark), letter) if letter == mark => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command() {
        for (text, expected) in [
            ("SCARD users", &["SCARD", "users"][..]),
            ("  GET  'a b'\n", &["GET", "a b"]),
            (r#"HGET "a \" b" '\' ''"#, &["HGET", "a \" b", "\\", ""]),
            (r"GET a\ b", &["GET", "a b"]),
            ("", &[]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert_eq!(words("GET 'a"), None);
        assert_eq!(words("GET a\\"), None);
    }

    #[test]
    fn one_value_is_one_row() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        assert_eq!(rows(&Reply::Number(3)), [Some("3".to_owned())]);
        assert_eq!(rows(&Reply::Nothing), [None]);
        assert_eq!(rows(&text("a")), [Some("a".to_owned())]);
        assert_eq!(rows(&Reply::Several(vec![])), [None; 0]);
        assert_eq!(rows(&Reply::Several(vec![text("a"), text("b"), text("c")])).len(), 2);
    }
}
