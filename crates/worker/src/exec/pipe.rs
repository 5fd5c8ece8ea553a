//! Reading what a program writes, without waiting forever once it has ended.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long, in all, a pipe is waited for once its program has ended: somebody else may hold it open.
const MOMENT: Duration = Duration::from_millis(250);

/// The most bytes that are read once the program has ended: what the largest pipe holds. Somebody else may go on writing.
const MOST_AFTER: usize = 1024 * 1024;

/// A program's stdout or stderr.
pub(crate) struct Pipe<R> {
    reader: R,
    ended: CancellationToken,
    patience: Duration,
    most_after: usize,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    /// Reads from `reader`, whose program has ended when `ended` is cancelled.
    pub(crate) const fn new(reader: R, ended: CancellationToken) -> Self {
        Self { reader, ended, patience: MOMENT, most_after: MOST_AFTER }
    }

    /// Reads what there is into `buffer`; 0 at the end of file, and when the program has ended and nothing more comes.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        tokio::select! {
            biased;
            read = self.reader.read(buffer), if !self.ended.is_cancelled() => return read,
            () = self.ended.cancelled() => {}
        }
        let asked = Instant::now();
        let most = buffer.len().min(self.most_after);
        let read = timeout(self.patience, self.reader.read(&mut buffer[..most])).await.unwrap_or(Ok(0))?;
        self.patience = self.patience.saturating_sub(asked.elapsed());
        self.most_after -= read;
        Ok(read)
    }
}

/// Reads and forgets all that comes, until the end of file.
pub(crate) async fn drain(reader: Option<impl AsyncRead + Unpin>) {
    if let Some(mut reader) = reader {
        // An error is an end as well.
        _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    }
}

/// The last bytes of a pipe.
pub(crate) async fn read_tail<R: AsyncRead + Unpin>(mut pipe: Pipe<R>, most: usize) -> Vec<u8> {
    let (mut tail, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => tail.extend_from_slice(&buffer[..read]),
        }
        if tail.len() > 2 * most {
            tail.drain(..tail.len() - most);
        }
    }
    tail.drain(..tail.len().saturating_sub(most));
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tail_is_the_end() {
        for (text, tail) in [("", ""), ("abc", "abc"), ("abcdefg", "defg"), (&*"x".repeat(100_000), "xxxx")] {
            let pipe = Pipe::new(text.as_bytes(), CancellationToken::new());
            assert_eq!(read_tail(pipe, 4).await, tail.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_pipe_held_open_by_somebody_else_ends_a_moment_after_the_program() {
        let (mut writer, reader) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"ready").await.unwrap();
        let ended = CancellationToken::new();
        let mut pipe = Pipe::new(reader, ended.clone());
        ended.cancel();
        let mut buffer = [0; 64];
        assert_eq!(pipe.read(&mut buffer).await.unwrap(), 5);
        let asked = Instant::now();
        assert_eq!(pipe.read(&mut buffer).await.unwrap(), 0);
        assert!(asked.elapsed() >= MOMENT);
        assert_eq!(pipe.patience, Duration::ZERO, "the moment is not given twice");
    }

    #[tokio::test]
    async fn who_goes_on_writing_is_not_read_forever() {
        let ended = CancellationToken::new();
        ended.cancel();
        let mut pipe = Pipe::new(tokio::io::repeat(b'x'), ended);
        let (mut all, mut buffer) = (0, vec![0; 10_000]);
        while let read @ 1.. = pipe.read(&mut buffer).await.unwrap() {
            all += read;
        }
        assert_eq!(all, MOST_AFTER);
    }
}
