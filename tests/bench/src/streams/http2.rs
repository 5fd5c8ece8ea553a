//! Just enough of HTTP/2 to ask for streams and never answer: RFC 9113 frames, RFC 7541 fields without a table or Huffman codes.

use super::scene::KEY;

/// How many streams a connection has.
pub(super) const STREAMS: usize = 100;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM_AND_HEADERS: u8 = 0x5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection's first bytes, with a GET for each of `paths`.
pub(super) fn requests(paths: &[&str]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Room for all that comes: SETTINGS_INITIAL_WINDOW_SIZE, and the connection's own window.
    bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    for (stream, path) in (1..).step_by(2).zip(paths) {
        // :method GET, :scheme http, and literal :path, :authority and authorization, by their places in the static table.
        let mut fields = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("a short path")];
        fields.extend(path.as_bytes());
        fields.extend([&[0x01, 4][..], b"here"].concat());
        // authorization is the 23rd: 15, and the rest in a byte of its own.
        let bearer = format!("Bearer {KEY}");
        fields.extend([0x0f, 23 - 15, u8::try_from(bearer.len()).expect("a short key")]);
        fields.extend(bearer.as_bytes());
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &fields));
    }
    bytes
}
