//! A program that prints lines, and a file that they are appended to.

use super::{Look, Post, Reader, line};
use crate::tick::Arm;
use kit_core::{Context, fs};
use kit_exec::{Command, Stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest file of lines.
const LIMIT_BYTES: u64 = 64 << 20;

/// Runs the program again and again, and hands on each line as it comes.
pub(crate) async fn run(
    cx: Context,
    argv: Vec<String>,
    folder: PathBuf,
    arms: Vec<Arm>,
    every: Duration,
    post: Post,
) {
    loop {
        let started = cx.clock.elapsed();
        if let Err(what) = once(&cx, &argv, &folder, &arms, &post).await {
            post.send(arms.iter().map(|arm| Look::failed(*arm, what.clone())).collect());
        }
        cx.clock.sleep_until(started + every).await;
    }
}

async fn once(cx: &Context, argv: &[String], folder: &Path, arms: &[Arm], post: &Post) -> Result<(), String> {
    let [program, args @ ..] = argv else { return Err("there is no program".to_owned()) };
    let (label, own_arms, own_post) = (program.clone(), arms.to_vec(), post.clone());
    let take = move |text: &str| match one(text, &own_arms) {
        Ok(look) => own_post.send(look.into_iter().collect()),
        Err(what) => {
            let what = format!("{label}: {what}");
            own_post.send(own_arms.iter().map(|arm| Look::failed(*arm, what.clone())).collect());
        }
    };
    let command = Command::new(program).args(args).current_folder(folder);
    let command = command.stdout(Stdout::Lines(Box::new(take)));
    command.run(cx).await.map(drop).map_err(|error| told(&error))
}

/// The error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", told(source)),
        None => error.to_string(),
    }
}

/// What a line says; `None` if it says nothing, or about an arm that nobody asked for.
fn one(text: &str, arms: &[Arm]) -> Result<Option<Look>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let (arm, readings) = line::parse(text)?;
    Ok(arms.contains(&arm).then_some(Look { arm, readings, trouble: None }))
}

/// Reads what was appended to a file since the last look.
pub(crate) struct Tail {
    path: PathBuf,
    arms: Vec<Arm>,
    taken: usize,
}

impl Tail {
    pub(crate) fn new(path: PathBuf, arms: Vec<Arm>) -> Self {
        Self { path, arms, taken: 0 }
    }

    /// Whole lines only: the last one may still be written.
    fn new_lines(&mut self) -> Vec<Look> {
        let mut looks = Vec::new();
        if let Err(what) = self.read(&mut looks) {
            looks.extend(self.arms.iter().map(|arm| Look::failed(*arm, what.clone())));
        }
        looks
    }

    fn read(&mut self, looks: &mut Vec<Look>) -> Result<(), String> {
        let shown = self.path.display();
        let text = fs::read_text(&self.path, LIMIT_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        let new = text.get(self.taken..).ok_or_else(|| format!("{shown}: it is shorter than it was"))?;
        let whole = new.rfind('\n').map_or(0, |at| at + 1);
        self.taken += whole;
        for text in new.get(..whole).unwrap_or_default().lines() {
            looks.extend(one(text, &self.arms).map_err(|what| format!("{shown}: {what}"))?);
        }
        Ok(())
    }
}

impl Reader for Tail {
    async fn look(&mut self) -> Vec<Look> {
        self.new_lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_on_line_by_line_and_what_is_no_line_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.jsonl");
        let mut tail = Tail::new(path.clone(), vec![Arm::Canary]);
        let troubles =
            |looks: &[Look]| looks.iter().filter_map(|look| look.trouble.clone()).collect::<Vec<_>>();
        assert_eq!(troubles(&tail.new_lines()).len(), 1, "it is not there");
        let line = |arm: &str, n: u32| format!("{{\"arm\": \"{arm}\", \"requests\": {n}, \"errors\": 0}}\n");
        let mut text = line("canary", 1) + &line("baseline", 9) + "{\"arm\": \"can";
        fs::write_atomic(&path, text.as_bytes()).unwrap();
        let looks = tail.new_lines();
        assert_eq!((looks.len(), looks[0].readings[0].value), (1, 1.0), "the other arm was not asked for");
        text.push_str("ary\", \"requests\": 5, \"errors\": 0}\nnonsense\n");
        fs::write_atomic(&path, text.as_bytes()).unwrap();
        let looks = tail.new_lines();
        assert_eq!((looks.len(), looks[0].readings[0].value), (2, 5.0));
        assert!(looks[1].trouble.as_ref().unwrap().contains("a line that is not as it must be"));
        fs::write_atomic(&path, b"").unwrap();
        assert!(troubles(&tail.new_lines())[0].ends_with("it is shorter than it was"));
    }
}
