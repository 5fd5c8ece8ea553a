//! A stream on the bare socket where that is a TLS connection: no gateway accepts one (decision 0020), but the carrier could.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use axum::body::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::framing::Framing;
use crate::rig::Rig;

const NAME: &str = "jobs.example.com";
/// How much is on its way at most: less than one record, so that the carrier is held up again and again.
const NARROW: usize = 1000;

type Ours = server::TlsStream<DuplexStream>;
type Theirs = client::TlsStream<DuplexStream>;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A TLS connection, agreed upon.
fn connected() -> (Ours, Theirs) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(ring::default_provider());
    let ours = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(certificate.der().clone()).unwrap();
    let theirs = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let (near, far) = duplex(NARROW);
    let accepted = TlsAcceptor::from(Arc::new(ours)).accept(near);
    let opened = TlsConnector::from(Arc::new(theirs)).connect(ServerName::try_from(NAME).unwrap(), far);
    runtime().block_on(async { tokio::try_join!(accepted, opened) }).unwrap()
}

/// What a client has got, from a thread of its own.
#[derive(Clone, Default)]
struct Client {
    got: Arc<Mutex<Vec<u8>>>,
    /// The connection is over, and its peer has said so.
    ended: Arc<AtomicBool>,
}

impl Client {
    fn reads(mut tls: Theirs) -> (Self, thread::JoinHandle<()>) {
        let client = Self::default();
        let Self { got, ended } = client.clone();
        let reading = thread::spawn(move || {
            runtime().block_on(async {
                let mut buf = [0; 300];
                loop {
                    // An end that wasn't said is an error.
                    match tls.read(&mut buf).await.unwrap() {
                        0 => break,
                        n => got.lock().extend_from_slice(&buf[..n]),
                    }
                }
            });
            ended.store(true, Ordering::Release);
        });
        (client, reading)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The response's head, and its body out of its chunks, which must be whole to the last.
    fn response(&self) -> (String, String) {
        let got = String::from_utf8(self.got.lock().clone()).unwrap();
        let (head, mut rest) = got.split_once("\r\n\r\n").unwrap();
        let mut body = String::new();
        loop {
            let (size, chunk) = rest.split_once("\r\n").unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            body += &chunk[..size];
            rest = chunk[size..].strip_prefix("\r\n").unwrap();
            if size == 0 {
                assert_eq!(rest, "");
                return (head.to_owned(), body);
            }
        }
    }
}

/// The same event, the job's last.
fn last(event: &Bytes) -> Bytes {
    std::str::from_utf8(event).unwrap().replacen(" progress ", " completed ", 1).into()
}

fn frame(event: &Bytes) -> String {
    let words: Vec<_> = std::str::from_utf8(event).unwrap().splitn(5, ' ').collect();
    let [seq, mark, _, name, json] = words[..] else { panic!("{event:?}") };
    format!("event: {name}\ndata: {json}\nid: {seq}-{mark}\n\n")
}

#[test]
fn a_stream_is_told_from_its_head_to_an_end_that_is_said() {
    let (ours, theirs) = connected();
    let rig = Rig::on(Framing::Chunked, [ours]);
    let (client, reading) = Client::reads(theirs);
    let mut truth = String::new();
    // What is copied together, what is written as pieces, and what takes many records.
    for sizes in [vec![200], vec![300; 10], vec![1000; 30], vec![60_000, 10]] {
        let events = rig.events(sizes);
        truth.extend(events.iter().map(frame));
        let whole = |got: &[u8]| got.ends_with(truth.as_bytes()[truth.len() - 20..].trim_ascii_end());
        rig.hear(&events, || {
            let got = client.got.lock();
            whole(got.strip_suffix(b"\n\n\r\n").unwrap_or_default())
        });
    }
    assert!(!client.has_ended());
    let end: Vec<_> = rig.events([50]).iter().map(last).collect();
    truth.extend(end.iter().map(frame));
    rig.hear(&end, || client.has_ended() || reading.is_finished());
    reading.join().unwrap();
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (retry, frames) = body.split_once('\n').unwrap();
    assert!(retry.starts_with("retry: "), "{retry}");
    assert_eq!(frames, truth);
}

#[test]
fn a_client_that_says_its_end_is_gone() {
    let (ours, mut theirs) = connected();
    let rig = Rig::on(Framing::Chunked, [ours]);
    let leaving = thread::spawn(move || {
        runtime().block_on(async {
            theirs.write_all(b"what no one reads").await.unwrap();
            theirs.shutdown().await.unwrap();
            // Until its peer has let go of the connection, whatever came before.
            let _ = theirs.read_to_end(&mut Vec::new()).await;
        });
    });
    rig.hear(&rig.events([200]), || leaving.is_finished());
    leaving.join().unwrap();
}
