//! Threads that make members of blocks, in whatever order they come to it.
//!
//! They come after everything else that this machine has to do: the database and who reads from it. Otherwise the
//! dump waits for a core that a block has taken, and shortly afterwards there is no block left and a core idles.

use crate::member;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// More cores than this do not help: memory is bounded by their number.
const MOST: usize = 16;
/// What is added to their niceness (sched(7)): they still get a tenth of a core that others want whole.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// A member that is being made: compressed and checked, or what is wrong with this machine. It never comes if its
/// thread ended in a bug.
pub(crate) type Member = oneshot::Receiver<Result<Vec<u8>, String>>;

struct Job {
    block: Vec<u8>,
    level: u8,
    made: oneshot::Sender<Result<Vec<u8>, String>>,
}

/// As many threads as there are cores. They end when this is dropped and everything that was begun is done.
pub(crate) struct Workers {
    jobs: Sender<Job>,
    blocks: Blocks,
}

impl Workers {
    /// How many there are at most on this machine.
    pub(crate) fn at_once() -> usize {
        std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(MOST)
    }

    /// Starts them; at least one, or none can be had.
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let blocks = Blocks::default();
        for started in 0..count {
            let (queue, blocks) = (Arc::clone(&queue), blocks.clone());
            let thread = std::thread::Builder::new().name("compress".to_owned());
            match thread.spawn(move || work(&queue, &blocks)) {
                Ok(_) => {}
                Err(error) if started == 0 => return Err(error),
                // Slower, and no worse.
                Err(_) => break,
            }
        }
        Ok(Self { jobs, blocks })
    }

    /// Memory for a block, empty.
    pub(crate) fn block(&self) -> Vec<u8> {
        self.blocks.take()
    }

    /// Has a member made of a block.
    pub(crate) fn begin(&self, block: Vec<u8>, level: u8) -> Member {
        let (made, member) = oneshot::channel();
        // If nobody takes it, the member never comes, which says so.
        let _ = self.jobs.send(Job { block, level, made });
        member
    }
}

fn work(queue: &Mutex<Receiver<Job>>, blocks: &Blocks) {
    step_back();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, level, made }) = next else { return };
        let member = member::make(&block, level);
        blocks.give_back(block);
        // Whoever wanted it may be gone.
        let _ = made.send(member);
    }
}

/// Lets others go first, where a thread can say so for itself: elsewhere it would be said for the whole process.
#[cfg(target_os = "linux")]
fn step_back() {
    // Who may not is no worse off than before.
    let _ = rustix::process::nice(NICER);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// Blocks that were compressed and can be filled again. Memory that is given back and asked for again has to be
/// cleared by the system each time, which costs as much as reading into it.
#[derive(Clone, Default)]
struct Blocks(Arc<Mutex<Vec<Vec<u8>>>>);

impl Blocks {
    fn take(&self) -> Vec<u8> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Vec::with_capacity(member::BLOCK_BYTES))
    }

    fn give_back(&self, mut block: Vec<u8>) {
        block.clear();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_come_after_everything_else() {
        let workers = Workers::start(1).unwrap();
        let mut block = workers.block();
        block.extend_from_slice(b"some rows");
        let member = workers.begin(block, 1).await.unwrap().unwrap();
        assert!(member.starts_with(&[0x1f, 0x8b]));
        if cfg!(target_os = "linux") {
            let (theirs, others): (Vec<_>, Vec<_>) =
                nicenesses().into_iter().partition(|(name, _)| name == "compress");
            assert_eq!(theirs.len(), 1, "{others:?}");
            let expected = others.iter().map(|(_, niceness)| (niceness + 10).min(19)).max();
            assert_eq!(theirs.first().map(|(_, niceness)| *niceness), expected, "{others:?}");
        }
    }

    /// Of all threads of this process, by name (proc_pid_stat(5), fields 2 and 19).
    fn nicenesses() -> Vec<(String, i64)> {
        let threads = kit_core::fs::list(std::path::Path::new("/proc/self/task")).unwrap().unwrap();
        let stat = |thread: &String| {
            let path = format!("/proc/self/task/{thread}/stat");
            kit_core::fs::read_text(std::path::Path::new(&path), 4096).ok()
        };
        let parsed = threads.iter().filter_map(stat).filter_map(|text| {
            let (head, fields) = text.rsplit_once(") ")?;
            let niceness = fields.split(' ').nth(16)?.parse().ok()?;
            Some((head.split_once('(')?.1.to_owned(), niceness))
        });
        parsed.collect()
    }
}
