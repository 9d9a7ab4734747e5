//! An S3 server in this process that costs next to nothing: it keeps what it gets in memory and checks nothing,
//! so that what is measured is the one who writes.
//!
//! It knows what `db-backup`, `db-restore` and `aws s3 cp` ask for, and no more. The memory for large bodies is used
//! again and again: the system would have to clear it anew each time, which costs as much as what is measured.

use crate::error::Error;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Its only bucket.
pub(super) const BUCKET: &str = "bench";
/// Memory for bodies of at least this size is kept.
const LARGE_BYTES: usize = 1024 * 1024;

/// A body in the pieces that it came in, and the headers `x-amz-meta-…` it came with.
#[derive(Clone, Debug, Default)]
struct Object {
    parts: BTreeMap<u32, Arc<Vec<u8>>>,
    marks: Vec<(String, String)>,
}

impl Object {
    fn size_bytes(&self) -> usize {
        self.parts.values().map(|part| part.len()).sum()
    }

    fn tag(&self) -> String {
        format!("\"{:032x}\"", self.size_bytes())
    }
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Object>,
    next: u32,
    /// Memory for bodies.
    free: Vec<Vec<u8>>,
}

impl State {
    /// Keeps the memory of an object that nobody reads any more.
    fn forget(&mut self, object: Object) {
        let bodies = object.parts.into_values().filter_map(|part| Arc::try_unwrap(part).ok());
        self.free.extend(bodies.filter(|body| body.capacity() >= LARGE_BYTES));
    }
}

/// The server. It ends with the process.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    state: Arc<Mutex<State>>,
    endpoint: String,
}

impl Sink {
    pub(super) fn start() -> Result<Self, Error> {
        let failed = |source| Error::Spawn { program: "the S3 sink".to_owned(), source };
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(failed)?);
        let state = Arc::default();
        let sink = Self { state, endpoint };
        let serving = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let sink = serving.clone();
                std::thread::spawn(move || sink.serve(&stream));
            }
        });
        Ok(sink)
    }

    /// What a client needs to know.
    pub(super) fn env(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
        ]
    }

    /// Forgets everything.
    pub(super) fn empty(&self) -> Result<(), Error> {
        let mut state = self.state();
        let objects = std::mem::take(&mut state.objects).into_values();
        let uploads = std::mem::take(&mut state.uploads).into_values();
        objects.chain(uploads).for_each(|object| state.forget(object));
        Ok(())
    }

    /// What it keeps, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.state().objects.values().map(|object| object.size_bytes() as u64).sum()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Request by request until the other side has enough.
    fn serve(&self, stream: &TcpStream) {
        let Ok(clone) = stream.try_clone() else { return };
        let mut reader = BufReader::with_capacity(256 * 1024, clone);
        let memory = |size: usize| {
            let used = (size >= LARGE_BYTES).then(|| self.state().free.pop()).flatten();
            used.unwrap_or_else(|| Vec::with_capacity(size))
        };
        while let Some(request) = Request::read(&mut reader, stream, memory) {
            let head_only = request.method == "HEAD";
            if self.answer(request).write(stream, head_only).is_err() {
                return;
            }
        }
    }

    fn answer(&self, mut request: Request) -> Answer {
        let body = Arc::new(std::mem::take(&mut request.body));
        let mut state = self.state();
        let key = request.key.as_str();
        let asked = |name: &str| request.query.get(name).map(String::as_str);
        match (request.method.as_str(), asked("uploadId")) {
            ("POST", None) if asked("uploads").is_some() => {
                state.next += 1;
                let id = format!("upload-{}", state.next);
                state.uploads.insert(id.clone(), Object { marks: request.marks(), ..Object::default() });
                Answer::xml(&format!(
                    "<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("PUT", Some(id)) => {
                let number = asked("partNumber").and_then(|number| number.parse().ok()).unwrap_or_default();
                let Some(upload) = state.uploads.get_mut(id) else {
                    return Answer::error(404, "NoSuchUpload");
                };
                upload.parts.insert(number, body);
                Answer::tagged(&format!("\"{number:032x}\""))
            }
            ("POST", Some(id)) => {
                let Some(object) = state.uploads.remove(id) else {
                    return Answer::error(404, "NoSuchUpload");
                };
                let tag = object.tag();
                state.objects.insert(key.to_owned(), object);
                Answer::xml(&format!(
                    "<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{key}</Key><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
                ))
            }
            ("DELETE", Some(id)) => {
                if let Some(object) = state.uploads.remove(id) {
                    state.forget(object);
                }
                Answer::empty(204)
            }
            ("PUT", None) => {
                if request.headers.contains_key("if-none-match") && state.objects.contains_key(key) {
                    return Answer::error(412, "PreconditionFailed");
                }
                let parts = BTreeMap::from([(1, body)]);
                let object = Object { parts, marks: request.marks() };
                let answer = Answer::tagged(&object.tag());
                state.objects.insert(key.to_owned(), object);
                answer
            }
            ("GET", None) if key.is_empty() && asked("uploads").is_some() => Answer::xml(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
            ),
            ("GET", None) if key.is_empty() => {
                let prefix = asked("prefix").unwrap_or_default();
                let names = state.objects.iter().filter(|(name, _)| name.starts_with(prefix));
                let listed: String = names
                    .map(|(name, object)| {
                        let (size, tag) = (object.size_bytes(), object.tag());
                        format!("<Contents><Key>{name}</Key><Size>{size}</Size><ETag>{tag}</ETag></Contents>")
                    })
                    .collect();
                Answer::xml(&format!(
                    "<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
                ))
            }
            ("GET" | "HEAD", None) => match state.objects.get(key) {
                Some(object) => Answer::object(object.clone()),
                None => Answer::error(404, "NoSuchKey"),
            },
            ("DELETE", None) => {
                if let Some(object) = state.objects.remove(key) {
                    state.forget(object);
                }
                Answer::empty(204)
            }
            _ => Answer::error(501, "NotImplemented"),
        }
    }
}

/// The client of the pipeline that people write, from PyPI, unless it is there.
pub(super) fn install_client(workspace: &Workspace, folder: &Path) -> Result<(), Error> {
    let venv = folder.join("venv");
    if venv.join("bin/aws").exists() {
        return Ok(());
    }
    let (venv, pip) = (venv.display().to_string(), venv.join("bin/pip").display().to_string());
    workspace.output(&["python3", "-m", "venv", &venv])?;
    workspace.output(&[&pip, "install", "--quiet", "awscli==1.46.3"]).map(drop)
}

struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// The next one; `None` at the end, or if it cannot be understood.
    fn read(
        reader: &mut BufReader<TcpStream>,
        mut stream: &TcpStream,
        memory: impl FnOnce(usize) -> Vec<u8>,
    ) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        if headers.contains_key("expect") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        let length: usize = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
        let mut body = memory(length);
        body.clear();
        if headers.get("content-encoding").is_some_and(|encoding| encoding.contains("aws-chunked")) {
            take_chunks(reader, &mut body)?;
        } else {
            take(reader, length, &mut body)?;
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let key = path.trim_start_matches('/').strip_prefix(BUCKET)?.trim_start_matches('/').to_owned();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.replace("%2F", "/")))
            .collect();
        Some(Self { method, key, query, headers, body })
    }

    fn marks(&self) -> Vec<(String, String)> {
        let marks = self.headers.iter().filter(|(name, _)| name.starts_with("x-amz-meta-"));
        marks.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What is inside of `aws-chunked`: a size in hexadecimal digits before every piece, 0 before the trailers.
fn take_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end().split(';').next()?, 16).ok()?;
        if size == 0 {
            break;
        }
        take(reader, size, body)?;
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    // Trailers, up to an empty line.
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        if line.trim_end().is_empty() {
            return Some(());
        }
    }
}

/// So many bytes; `None` if there are fewer.
fn take(reader: &mut impl BufRead, size: usize, body: &mut Vec<u8>) -> Option<()> {
    let taken = reader.take(size as u64).read_to_end(body).ok()?;
    (taken == size).then_some(())
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    object: Object,
}

impl Answer {
    fn new(status: u16, body: &str) -> Self {
        let parts = BTreeMap::from([(1, Arc::new(body.as_bytes().to_vec()))]);
        Self { status, headers: Vec::new(), object: Object { parts, marks: Vec::new() } }
    }

    fn empty(status: u16) -> Self {
        Self::new(status, "")
    }

    fn xml(body: &str) -> Self {
        Self::new(200, body)
    }

    fn tagged(tag: &str) -> Self {
        Self { headers: vec![("ETag".to_owned(), tag.to_owned())], ..Self::empty(200) }
    }

    fn object(object: Object) -> Self {
        let mut headers = object.marks.clone();
        headers.push(("ETag".to_owned(), object.tag()));
        headers.push(("Last-Modified".to_owned(), "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()));
        Self { status: 200, headers, object }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }

    fn write(&self, mut stream: &TcpStream, head_only: bool) -> std::io::Result<()> {
        let mut head =
            format!("HTTP/1.1 {} -\r\nContent-Length: {}\r\n", self.status, self.object.size_bytes());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if !head_only {
            for part in self.object.parts.values() {
                stream.write_all(part)?;
            }
        }
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_taken_apart() {
        let taken = |mut wire: &[u8]| {
            let mut body = Vec::new();
            take_chunks(&mut wire, &mut body).map(|()| (body, wire.len()))
        };
        let wire =
            b"5;chunk-signature=abc\r\nhello\r\n3\r\n\r\n!\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\nnext";
        assert_eq!(taken(wire), Some((b"hello\r\n!".to_vec(), 4)));
        assert_eq!(taken(b"ff\r\nshort"), None);
        assert_eq!(taken(b"3\r\nabc\r\n0\r\n"), None, "the trailers have no end");
    }
}
