//! Random webhooks, signed: what receivers' code and the published libraries are tried on (`scripts/test-webhooks`).
//!
//! Arguments: how many, the seconds since 1970 around which their timestamps lie (verifiers refuse what is minutes old), and a seed.
//! One JSON object a line: the secrets that sign (two during a rotation, the new one first), the headers, and the body.
#![allow(clippy::unwrap_used, clippy::panic, reason = "for tests alone: what fails must fail loudly")]

use std::env;
use std::io::{self, Write as _};

use model::webhook::{Secret, body, sign};
use model::wire::JobView;
use model::{JobId, Partition, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// So far from now a timestamp may lie: verifiers take five minutes, and the run takes a while.
const SPREAD: u64 = 180;

/// Random numbers that a seed repeats.
struct Random {
    seed: String,
    count: u64,
}

impl Random {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(32) {
            self.count += 1;
            let hash = Sha256::digest(format!("{} {}", self.seed, self.count));
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
        bytes
    }

    /// From 0 to less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        u64::from_le_bytes(self.bytes()) % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Text with all that encodings stumble over.
    fn text(&mut self, most: u64) -> String {
        let length = self.below(most);
        let chars = [
            'a', 'Z', '0', ' ', '.', ',', '"', '\\', '/', '\n', '\u{0}', '\u{7f}', 'ä', 'ß', '€', '\u{2028}',
            '𝄞', '👩',
        ];
        (0..length).map(|_| self.pick(&chars)).collect()
    }

    /// A secret that is printable, as headers and variables want them.
    fn secret(&mut self) -> Secret {
        match self.below(4) {
            0 => {
                let length = 1 + self.below(100);
                let chars = ['a', 'Z', '0', '-', '_', '.', '+', '/', '=', '!', 'é'];
                (0..length).map(|_| self.pick(&chars)).collect::<String>().parse().unwrap()
            }
            1 => {
                use base64::Engine;
                let key: [u8; 64] = self.bytes();
                let length = usize::try_from(24 + self.below(41)).unwrap();
                let text = base64::engine::general_purpose::STANDARD.encode(&key[..length]);
                format!("whsec_{text}").parse().unwrap()
            }
            _ => Secret::from_random(self.bytes()),
        }
    }

    fn job(&mut self, id: JobId, now: u64) -> JobView {
        let at = Timestamp::from_millis(now * 1000 - self.below(100_000));
        let status = self.pick(&["completed", "failed", "cancelled"]);
        let well = status == "completed";
        let result = well
            .then(|| json!({ "text": self.text(300), "n": self.below(u64::MAX), "x": [null, 1.5e-7, {}] }));
        let code = (!well).then(|| self.pick(&["handler", "timeout", "lost", "unclaimed", "cancelled"]));
        let mark = hex::encode(self.bytes::<3>());
        let job = json!({
            "id": id, "task": "report", "status": status, "progress": well.then_some(100), "message": self.text(40),
            "result": result, "error": (!well).then(|| self.text(100)), "errorCode": code,
            "attempt": self.below(4), "maxAttempts": 3, "priority": "normal", "metadata": { "note": self.text(20) },
            "createdAt": at, "updatedAt": at, "startedAt": at, "finishedAt": at, "expiresAt": at,
            "statusUrl": format!("/api/jobs/{id}"), "eventsUrl": format!("/api/jobs/{id}/events"),
            "lastEventId": format!("{}-{mark}", 1 + self.below(10_000)),
        });
        serde_json::from_value(job).unwrap()
    }

    fn vector(&mut self, now: u64) -> Value {
        let id = JobId::new(Timestamp::from_millis(now * 1000), self.bytes(), Partition(3));
        let job = self.job(id, now);
        let (id, body) = (format!("{id}.{}", job.last_event_id), body(&job));
        let secrets: Vec<_> = (0..self.pick(&[1, 1, 2])).map(|_| self.secret()).collect();
        let at = now - SPREAD + self.below(2 * SPREAD);
        let signed = sign(&id, at, body.as_bytes(), &secrets);
        json!({
            "secrets": secrets,
            "headers": {
                "content-type": "application/json", "webhook-id": id, "webhook-timestamp": signed.timestamp,
                "webhook-signature": signed.signature, "x-webhook-signature": signed.plain,
            },
            "body": body,
        })
    }
}

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    let [count, now, seed] = &args[..] else { panic!("arguments: how many, around which second, a seed") };
    let (count, now): (u64, u64) = (count.parse().unwrap(), now.parse().unwrap());
    let mut random = Random { seed: seed.clone(), count: 0 };
    let mut out = io::stdout().lock();
    for _ in 0..count {
        writeln!(out, "{}", random.vector(now)).unwrap();
    }
}
