//! A real S3 server, and a proxy that does to its clients what networks and servers do.

mod proxy;

pub use proxy::{Fault, Proxy, Seen};

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where `cargo xtask test --install` puts Python programs.
const PYTHON: &str = "../../target/venv/bin/python";
const PROGRAM: &str = include_str!("server.py");

/// A server of its own (moto) on a free loopback port; it ends with this value, or with the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts one without buckets.
    pub fn start() -> Self {
        Self::with_env(&[])
    }

    /// The same with environment variables of moto.
    pub fn with_env(env: &[(&str, &str)]) -> Self {
        let python: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
        let mut child = Command::new(&python)
            .args(["-c", PROGRAM])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start {}: {error}\ninstall it with: cargo xtask test --install --only tools",
                    python.display()
                )
            });
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the server says its port");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!(
                "the S3 server did not start, it says {line:?}\ninstall it with: python3 -m venv target/venv && \
                 target/venv/bin/pip install 'moto[server]'"
            )
        });
        Self { child, port }
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) {
        self.ask("PUT", &format!("/{name}"), &[], "");
    }

    /// Makes a bucket whose objects can be locked; it keeps versions, too.
    pub fn make_bucket_with_lock(&self, name: &str) {
        self.ask("PUT", &format!("/{name}"), &[("x-amz-bucket-object-lock-enabled", "true")], "");
    }

    /// Asks for something without signing it, which moto does not mind; gives the body of an answer that
    /// must be good.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n", self.port);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()));
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers in UTF-8");
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {target}: {answer}");
        answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
    }

    /// The bytes of an object, which must be there.
    pub fn bytes(&self, target: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        // Moto wants to see the form of a signature.
        let signed = "authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=none";
        let head =
            format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{signed}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "GET {target}: {}", String::from_utf8_lossy(&answer));
        answer.split_off(end + 4)
    }

    /// How many uploads to a bucket were begun and not ended.
    pub fn unfinished_uploads(&self, bucket: &str) -> usize {
        self.ask("GET", &format!("/{bucket}?uploads"), &[], "").matches("<UploadId>").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
