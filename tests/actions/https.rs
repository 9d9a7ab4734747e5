//! A server on loopback that speaks HTTPS with a certificate of its own.

use crate::runner::Job;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Answers its requests in the order of the script, the last answer for ever.
pub(crate) struct Server {
    address: String,
    certificate: tempfile::NamedTempFile,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(script: Vec<(u16, Vec<u8>)>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(certificate.path(), made.cert.pem()).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = config(made.cert.der().clone(), key);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("https://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // Ends with the process; it holds nothing but a port.
        std::thread::spawn(move || serve(&listener, &config, &script, &seen));
        Self { address, certificate, requests }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A job that fetches from here and trusts the certificate.
    pub(crate) fn trusted(&self, job: Job) -> Job {
        let certificate = self.certificate.path().to_str().expect("UTF-8").to_owned();
        job.env("DEPLOY_KIT_MIRROR", &self.address).env("CURL_CA_BUNDLE", certificate).env("no_proxy", "*")
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panics").clone()
    }
}

fn config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("key and certificate fit");
    Arc::new(config)
}

fn serve(
    listener: &TcpListener,
    config: &Arc<rustls::ServerConfig>,
    script: &[(u16, Vec<u8>)],
    seen: &Mutex<Vec<String>>,
) {
    for stream in listener.incoming() {
        let connection = rustls::ServerConnection::new(Arc::clone(config)).expect("a connection");
        let mut tls = rustls::StreamOwned::new(connection, stream.expect("a connection"));
        let mut request = String::new();
        // A client that does not trust the certificate hangs up here.
        if BufReader::new(&mut tls).read_line(&mut request).is_err() {
            continue;
        }
        let mut seen = seen.lock().expect("no thread panics");
        let (status, body) = &script[seen.len().min(script.len() - 1)];
        seen.push(request.trim_end().to_owned());
        drop(seen);
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // A client that has seen enough hangs up.
        let _ = tls.write_all(head.as_bytes()).and_then(|()| tls.write_all(body)).and_then(|()| tls.flush());
        tls.conn.send_close_notify();
        let _ = tls.flush();
    }
}
