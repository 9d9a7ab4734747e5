//! A server that is reached only through something else: ssh, kubectl, docker compose.
//!
//! A program of the user's whose stdin and stdout lead to the server, as `ProxyCommand` of ssh. Here listens whoever
//! leads to it: a Unix socket in a folder that nobody else can enter, or, where TLS is asked for, which programs do not
//! speak over such sockets, a port of the loopback. Each connection starts the program once. So everything that
//! speaks to the server goes this way without knowing, and what is secret goes through it as through any network:
//! never as an argument, and not into the environment of the other side.

use kit_core::{Cancel, Context, ScratchFolder};
use kit_exec::{Command, Stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Handed on at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How long the program may go on once the server is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Where the clients go instead of to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// This socket.
    Socket(PathBuf),
    /// This port of the loopback.
    Port(u16),
}

/// A way to a server, open until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Way(Arc<Open>);

#[derive(Debug)]
struct Open {
    door: Door,
    program: String,
    // Before the folder, so that nobody comes in any more when that goes.
    _accepting: AbortOnDropHandle<()>,
    _folder: Option<ScratchFolder>,
}

/// Which door the clients need.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    /// A socket of this name.
    Socket(&'static str),
    /// A port, for TLS.
    Port,
}

impl Way {
    /// Opens one by this program and its arguments, in which `{host}` and `{port}` are those of the server. Nothing is
    /// started yet. The error is a fragment about the way.
    pub(crate) fn open(
        via: &[String],
        (host, port): (&str, u16),
        wants: Wants,
        cx: &Context,
    ) -> Result<Self, String> {
        let words: Vec<String> = via
            .iter()
            .map(|word| word.replace("{host}", host).replace("{port}", &port.to_string()))
            .collect();
        let program = words.first().cloned().unwrap_or_default();
        let failed = |error: std::io::Error| format!("no way through {program} can be opened: {error}");
        // Ends with the way and not with the step, which may have to tidy up.
        let cx = Context { cancel: Cancel::default(), ..cx.clone() };
        let (door, folder, accepting) = match wants {
            Wants::Socket(name) => {
                let within = std::env::temp_dir();
                let (folder, _) = ScratchFolder::new(&within, "dk-").map_err(|error| failed(error.source))?;
                let path = folder.path().join(name);
                let listener = UnixListener::bind(&path).map_err(failed)?;
                (Door::Socket(path), Some(folder), tokio::spawn(accept(Listener::Unix(listener), words, cx)))
            }
            Wants::Port => {
                let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                let port = listener.local_addr().map_err(failed)?.port();
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                (Door::Port(port), None, tokio::spawn(accept(Listener::Tcp(listener), words, cx)))
            }
        };
        let accepting = AbortOnDropHandle::new(accepting);
        Ok(Self(Arc::new(Open { door, program, _accepting: accepting, _folder: folder })))
    }

    /// Where the clients go.
    pub(crate) fn door(&self) -> &Door {
        &self.0.door
    }

    /// What leads there, for people.
    pub(crate) fn program(&self) -> &str {
        let name = Path::new(&self.0.program).file_name().and_then(|name| name.to_str());
        name.unwrap_or(&self.0.program)
    }
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Leads everybody to the server who comes; ends, with all of them, when it is dropped.
async fn accept(listener: Listener, words: Vec<String>, cx: Context) {
    let mut connections = JoinSet::new();
    loop {
        // One that cannot be taken is told to whoever came.
        match &listener {
            Listener::Unix(listener) => {
                if let Ok((stream, _)) = listener.accept().await {
                    let (read, write) = stream.into_split();
                    connections.spawn(lead(read, write, words.clone(), cx.clone()));
                }
            }
            Listener::Tcp(listener) => {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let (read, write) = stream.into_split();
                    connections.spawn(lead(read, write, words.clone(), cx.clone()));
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection. What goes wrong is seen by the client as a connection that ends; why, stands in the log.
async fn lead(
    read: impl AsyncRead + Send + Unpin + 'static,
    mut write: impl AsyncWrite + Send + Unpin,
    words: Vec<String>,
    cx: Context,
) {
    let Some((program, arguments)) = words.split_first() else { return };
    let command = Command::new(program).args(arguments).stdin(Stdin::Stream(Box::new(read)));
    let mut running = match command.spawn_reading(&cx) {
        Ok(running) => running,
        Err(error) => return cx.out.say(&format!("via: {error}")),
    };
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut came = false;
    while let Ok(count) = running.read(&mut piece).await {
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        came = true;
        if write.write_all(bytes).await.is_err() {
            // The client is gone; dropping the program ends it.
            return;
        }
    }
    let _ = write.shutdown().await;
    // A program that led to the server has done its work, however it ends.
    if let Ok(Err(error)) = cx.clock.timeout(GRACE, running.finish()).await
        && !came
    {
        cx.out.say(&format!("via: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::net::{TcpStream, UnixStream};

    fn way(via: &[&str], wants: Wants) -> Way {
        let cx = Context { clock: kit_core::Clock::system(), ..Context::for_test(path()).0 };
        let via: Vec<String> = via.iter().map(|word| (*word).to_owned()).collect();
        Way::open(&via, ("db.internal", 5432), wants, &cx).unwrap()
    }

    fn path() -> kit_core::Env {
        kit_core::Env::from([("PATH", std::env!("PATH"))])
    }

    async fn says(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_connection_starts_the_program_once_and_the_folder_goes_with_the_way() {
        let through = way(&["cat"], Wants::Socket("s"));
        let Door::Socket(socket) = through.door().clone() else { panic!("{:?}", through.door()) };
        let folder = socket.parent().unwrap().to_owned();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else comes in");
        let (one, two) = tokio::join!(UnixStream::connect(&socket), UnixStream::connect(&socket));
        let (one, two) = tokio::join!(says(one.unwrap()), says(two.unwrap()));
        assert_eq!((one.as_str(), two.as_str(), through.program()), ("hello", "hello", "cat"));
        drop(through);
        assert!(!folder.exists());
        let through = way(&["/bin/echo", "-n", "{host} {port} {user}"], Wants::Port);
        let Door::Port(port) = *through.door() else { panic!("{:?}", through.door()) };
        let answer = says(TcpStream::connect(("127.0.0.1", port)).await.unwrap()).await;
        assert_eq!((answer.as_str(), through.program()), ("db.internal 5432 {user}", "echo"));
    }

    #[tokio::test]
    async fn a_program_that_fails_ends_the_connection_and_says_why_in_the_log() {
        let (cx, log) = Context::for_test(path());
        let cx = Context { clock: kit_core::Clock::system(), ..cx };
        let via = ["false".to_owned()];
        let through = Way::open(&via, ("h", 1), Wants::Socket("s"), &cx).unwrap();
        let Door::Socket(socket) = through.door() else { panic!("{:?}", through.door()) };
        let mut stream = UnixStream::connect(socket).await.unwrap();
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or_default(), 0);
        let said = async {
            while !log.stderr().contains("via: `false` exited with code 1") {
                cx.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        cx.clock.timeout(Duration::from_secs(10), said).await.unwrap();
    }
}
