//! A small HTTP server that answers what the test scripted, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A client that stops speaking in the middle of a request must not hang the test.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Headers; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// One scripted answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// A status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// A status and a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).header("content-type", "application/json")
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The server. Dropping it fails the test if a request came that was not scripted, or if a scripted one
/// never came.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    once: BTreeMap<(String, String), VecDeque<Reply>>,
    always: BTreeMap<(String, String), Reply>,
    requests: Vec<Request>,
    complaints: Vec<String>,
    ended: bool,
}

impl Server {
    /// Listens on a free port of the loopback interface.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if lock(&shared).ended {
                    return;
                }
                let shared = Arc::clone(&shared);
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream, &shared));
                }
            }
        });
        Self { address, script }
    }

    /// `http://127.0.0.1:<port>` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers one such request; several are answered in the order in which they were scripted.
    #[must_use]
    pub fn expect(self, method: &str, target: &str, reply: Reply) -> Self {
        let key = (method.to_owned(), target.to_owned());
        lock(&self.script).once.entry(key).or_default().push_back(reply);
        self
    }

    /// Answers every such request that was not scripted otherwise; none need come.
    #[must_use]
    pub fn always(self, method: &str, target: &str, reply: Reply) -> Self {
        lock(&self.script).always.insert((method.to_owned(), target.to_owned()), reply);
        self
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.script).requests.clone()
    }

    /// Ends the test if the script was not followed to the letter.
    pub fn verify(&self) {
        let script = lock(&self.script);
        let mut complaints = script.complaints.clone();
        for ((method, target), replies) in &script.once {
            if !replies.is_empty() {
                complaints.push(format!("never asked ({} left): {method} {target}", replies.len()));
            }
        }
        drop(script);
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&self.script).ended = true;
        // Wakes the listener, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if !std::thread::panicking() {
            self.verify();
        }
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One request per connection.
fn serve(mut stream: TcpStream, script: &Mutex<Script>) {
    // Both only fail for a limit of zero.
    let _ = stream.set_read_timeout(Some(CLIENT_LIMIT));
    let _ = stream.set_write_timeout(Some(CLIENT_LIMIT));
    let reply = match read(&stream) {
        Ok(None) => return,
        Ok(Some(request)) => answer(request, &mut lock(script)),
        Err(complaint) => {
            lock(script).complaints.push(complaint.clone());
            Reply::new(500, complaint)
        }
    };
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\ncontent-length: {}\r\nconnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A client that has gone away has its own way to fail the test.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&reply.body));
}

fn answer(request: Request, script: &mut Script) -> Reply {
    let key = (request.method.clone(), request.target.clone());
    script.requests.push(request);
    if let Some(reply) = script.once.get_mut(&key).and_then(VecDeque::pop_front) {
        return reply;
    }
    if let Some(reply) = script.always.get(&key) {
        return reply.clone();
    }
    let complaint = format!("not scripted: {} {}", key.0, key.1);
    script.complaints.push(complaint.clone());
    Reply::new(500, complaint)
}

/// Reads one request; `None` if the client closed without sending any.
fn read(stream: &TcpStream) -> Result<Option<Request>, String> {
    let mut reader = BufReader::new(stream);
    let mut line = || -> Result<String, String> {
        let mut line = String::new();
        reader.read_line(&mut line).map_err(|error| format!("a request cannot be read: {error}"))?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return Err(format!("not a request line: {first:?}"));
    };
    let mut headers = BTreeMap::new();
    loop {
        let header = line()?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| format!("not a header: {header:?}"))?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.contains_key("transfer-encoding") {
        return Err(format!("{method} {target}: only bodies with a content-length are understood"));
    }
    let length = headers.get("content-length").map_or(Ok(0), |text| text.parse::<usize>());
    let mut body = vec![0; length.map_err(|error| format!("content-length: {error}"))?];
    reader.read_exact(&mut body).map_err(|error| format!("{method} {target}: {error}"))?;
    Ok(Some(Request { method: method.to_owned(), target: target.to_owned(), headers, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &Server, head: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_in_order_and_keeps_what_came() {
        let server = Server::start()
            .expect("GET", "/a?b=c", Reply::new(503, "not yet"))
            .expect("GET", "/a?b=c", Reply::new(200, "now"))
            .always("POST", "/p", Reply::new(201, ""));
        assert!(ask(&server, "GET /a?b=c HTTP/1.1\r\n\r\n").ends_with("not yet"));
        assert!(ask(&server, "GET /a?b=c HTTP/1.1\r\n\r\n").ends_with("now"));
        assert!(
            ask(&server, "POST /p HTTP/1.1\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi")
                .starts_with("HTTP/1.1 201")
        );
        let last = server.requests().pop().unwrap();
        assert_eq!((last.body.as_slice(), last.headers["x-a"].as_str()), (b"hi".as_slice(), "1"));
    }

    #[test]
    fn what_was_not_scripted_fails_the_test() {
        let failures: [fn(); 2] = [
            || {
                let server = Server::start();
                assert!(ask(&server, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 500"));
            },
            || drop(Server::start().expect("GET", "/never", Reply::new(200, ""))),
        ];
        for failure in failures {
            assert!(std::panic::catch_unwind(failure).is_err());
        }
    }
}
