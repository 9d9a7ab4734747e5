//! Stands before an HTTP server. Strict: what it does not understand fails the test.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is done to a request instead of passing it on.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is read and answered with this status and error code of S3; the server never sees it.
    Answer(u16, &'static str),
    /// It is answered well, with this body; the server never sees it.
    Reply(&'static str),
    /// The server does it, and this is the answer all the same.
    DoneBut(u16, &'static str),
    /// The server does it, and the connection is closed without an answer.
    Unanswered,
    /// The connection is reset after so many bytes of its body.
    ResetAfter(usize),
    /// Nothing ever comes back.
    Hang,
    /// It is passed on without these headers (lower case): a server that does not know them.
    Without(&'static [&'static str]),
    /// The answer ends after so many bytes of its body.
    CutAnswer(usize),
}

/// A request as the proxy saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// How exactly bytes are counted.
const PIECE_BYTES: usize = 64 * 1024;

struct Rule {
    matches: Box<dyn Fn(&Seen) -> bool + Send>,
    left: u32,
    fault: Fault,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    hanging: Vec<TcpStream>,
    /// Bytes of bodies that came so far, and after how many nothing more is read.
    received_bytes: usize,
    hold_after: Option<usize>,
    held: bool,
    complaints: Vec<String>,
    ended: bool,
}

/// The proxy. Dropping it fails the test if something came that it does not understand.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Stands before this port of the loopback interface.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).ended {
                    return;
                }
                let shared = Arc::clone(&shared);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || {
                        if let Err(complaint) = serve(stream, port, &shared) {
                            lock(&shared).complaints.push(complaint);
                        }
                    });
                }
            }
        });
        Self { address, state }
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests that match suffer this. Earlier rules go first.
    pub fn on(&self, times: u32, fault: Fault, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        lock(&self.state).rules.push(Rule { matches: Box::new(matches), left: times, fault });
    }

    /// Reads no body any further once so many bytes of bodies have come from now on; what has none goes through.
    pub fn hold_after(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.hold_after = Some(state.received_bytes + bytes);
        state.held = false;
    }

    /// True if somebody is kept waiting in the middle of a body.
    pub fn holds(&self) -> bool {
        lock(&self.state).held
    }

    /// Ends every fault.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.rules.clear();
        state.hanging.clear();
        state.hold_after = None;
        state.held = false;
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// How many requests so far had this method and this in their target.
    pub fn count(&self, method: &str, part_of_target: &str) -> usize {
        let matches = |seen: &&Seen| seen.method == method && seen.target.contains(part_of_target);
        lock(&self.state).seen.iter().filter(matches).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let complaints = {
            let mut state = lock(&self.state);
            state.ended = true;
            state.hanging.clear();
            state.complaints.clone()
        };
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if !std::thread::panicking() {
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request per connection.
fn serve(stream: TcpStream, port: u16, state: &Mutex<State>) -> Result<(), String> {
    let mut reader = BufReader::new(stream.try_clone().map_err(|error| error.to_string())?);
    let Some((seen, head)) = read_head(&mut reader)? else { return Ok(()) };
    let fault = {
        let mut state = lock(state);
        let fault = state.rules.iter_mut().find(|rule| rule.left > 0 && (rule.matches)(&seen)).map(|rule| {
            rule.left -= 1;
            rule.fault.clone()
        });
        state.seen.push(seen.clone());
        fault
    };
    let length = seen.headers.get("content-length").map_or(Ok(0), |text| text.parse::<usize>());
    let length = length.map_err(|error| format!("content-length: {error}"))?;
    let mut body = vec![0; length];
    let cut = match fault {
        Some(Fault::ResetAfter(bytes)) => bytes.min(length.saturating_sub(1)),
        _ => length,
    };
    for piece in body.get_mut(..cut).unwrap_or_default().chunks_mut(PIECE_BYTES) {
        {
            let mut state = lock(state);
            if state.hold_after.is_some_and(|limit| state.received_bytes >= limit) {
                state.held = true;
                state.hanging.push(stream);
                return Ok(());
            }
            state.received_bytes += piece.len();
        }
        // A client that goes away in the middle has its own way to fail the test.
        if reader.read_exact(piece).is_err() {
            return Ok(());
        }
    }
    match fault {
        // What was not read makes the kernel answer with a reset.
        Some(Fault::ResetAfter(_)) => Ok(()),
        Some(Fault::Hang) => {
            lock(state).hanging.push(stream);
            Ok(())
        }
        Some(Fault::Answer(status, code)) => answer(stream, status, &error_body(code)),
        Some(Fault::Reply(body)) => answer(stream, 200, body),
        Some(Fault::DoneBut(status, code)) => {
            upstream(port, &head, &body)?;
            answer(stream, status, &error_body(code))
        }
        Some(Fault::Unanswered) => upstream(port, &head, &body).map(drop),
        Some(Fault::Without(names)) => {
            let head: Vec<String> = head
                .into_iter()
                .filter(|line| {
                    let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
                    !names.contains(&name.as_str())
                })
                .collect();
            send(stream, &upstream(port, &head, &body)?)
        }
        Some(Fault::CutAnswer(bytes)) => {
            let whole = upstream(port, &head, &body)?;
            let start = whole.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
            send(stream, whole.get(..start + bytes).unwrap_or(&whole))
        }
        None => send(stream, &upstream(port, &head, &body)?),
    }
}

type Head = (Seen, Vec<String>);

/// The request line and the headers; `None` if the client closed without sending any.
fn read_head(reader: &mut BufReader<TcpStream>) -> Result<Option<Head>, String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        // A connection that was opened in advance and is not needed.
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = lines.first().cloned().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return Err(format!("not a request line: {first:?}"));
    };
    let mut headers = BTreeMap::new();
    for line in lines.iter().skip(1) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("not a header: {line:?}"))?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.contains_key("transfer-encoding") {
        return Err(format!("{first}: only bodies with a content-length are understood"));
    }
    Ok(Some((Seen { method: method.to_owned(), target: target.to_owned(), headers }, lines)))
}

/// The whole answer of the server.
fn upstream(port: u16, head: &[String], body: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    for line in head {
        if !line.to_ascii_lowercase().starts_with("connection:") {
            text.push_str(&format!("{line}\r\n"));
        }
    }
    text.push_str("connection: close\r\n\r\n");
    let mut whole = Vec::new();
    let mut ask = || -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", port))?;
        server.write_all(text.as_bytes())?;
        server.write_all(body)?;
        server.read_to_end(&mut whole).map(drop)
    };
    ask().map_err(|error| format!("the server behind the proxy: {error}"))?;
    Ok(whole)
}

fn error_body(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test asked</Message></Error>")
}

fn answer(stream: TcpStream, status: u16, body: &str) -> Result<(), String> {
    let head = format!(
        "HTTP/1.1 {status} Fault\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n",
        body.len()
    );
    send(stream, format!("{head}{body}").as_bytes())
}

/// A client that has gone away has its own way to fail the test.
fn send(mut stream: TcpStream, bytes: &[u8]) -> Result<(), String> {
    let _ = stream.write_all(bytes);
    Ok(())
}
