//! Dump programs write through the buffer that the C library gives them: 4 KiB for a pipe. At 250 MB a second those are
//! 60 000 writes, and as many times somebody may be woken. coreutils' `stdbuf` exists for this; what it does is to load
//! a library of its own, told by two variables, so that is all we do, too: the program stays the one that was found.

use kit_exec::Command;
use std::path::Path;

/// Where distributions put it.
const LIBRARIES: &[&str] = &["/usr/libexec/coreutils/libstdbuf.so", "/usr/lib/coreutils/libstdbuf.so"];
/// A quarter of the pipe: the program goes on while we read.
const BUFFER_BYTES: usize = 256 * 1024;

/// Gives the program's stdout a large buffer, where that can be done. What it writes is the same. In a container the
/// library would have to be of the image, which nobody knows.
pub(crate) fn large_writes(command: Command) -> Command {
    if command.is_in_container() {
        return command;
    }
    match LIBRARIES.iter().find(|library| Path::new(library).is_file()) {
        Some(library) => command.env("LD_PRELOAD", *library).env("_STDBUF_O", BUFFER_BYTES.to_string()),
        None => command,
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use kit_core::{Context, Env};
    use kit_exec::Stdout;

    /// How often the programs of a script call the kernel to write, as the kernel counts it (proc_pid_io(5)).
    async fn writes(large: bool) -> u64 {
        let (cx, _) = Context::for_test(Env::from([("PATH", "/usr/bin:/bin")]));
        let script = Command::new("sh")
            .args(["-c", "seq 200000; exec cat /proc/$$/io"])
            .stdout(Stdout::Capture { limit_bytes: 4 << 20 });
        let script = if large { large_writes(script) } else { script };
        let output = script.run(&cx).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("1\n2\n") && text.contains("\n200000\nrchar: "), "the output is the same");
        text.lines().find_map(|line| line.strip_prefix("syscw: ")).unwrap().parse().unwrap()
    }

    /// If the two variables lost their meaning, nothing else would show it.
    #[tokio::test]
    async fn a_program_writes_less_often() {
        let (small, large) = (writes(false).await, writes(true).await);
        assert!(small > 100 && large < 20, "{small} and {large} writes of 1.3 MB");
    }
}
