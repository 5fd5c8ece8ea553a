//! What a program's end means.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::Failure;

/// The exit code of a program that wants another try: `EX_TEMPFAIL` of sysexits.h.
const TRY_AGAIN: i32 = 75;

/// The most bytes of stderr in a sentence, which the store would otherwise cut at its end, where the cause is.
const MOST_STDERR: usize = 1800;

/// What `status` means, with the end of stderr in the sentence.
pub(crate) fn judge(status: ExitStatus, stderr: &[u8]) -> Result<(), Failure> {
    let said = said(stderr);
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(TRY_AGAIN), _) => {
            Err(Failure::retry(format!("the program asked for another try (exit code {TRY_AGAIN}){said}")))
        }
        (Some(code), _) => Err(Failure::fatal(format!("the program ended with exit code {code}{said}"))),
        (None, Some(signal)) => {
            Err(Failure::fatal(format!("the program was killed by {}{said}", signal_name(signal))))
        }
        (None, None) => Err(Failure::fatal(format!("the program ended with {status}{said}"))),
    }
}

/// The end of stderr, as the end of a sentence.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim();
    let mut from = text.len().saturating_sub(MOST_STDERR);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    match &text[from..] {
        "" => String::new(),
        all if from == 0 => format!("; stderr: {all}"),
        end => format!("; stderr: …{end}"),
    }
}

fn signal_name(signal: i32) -> String {
    // The numbers that are the same on all Linux architectures, and on most others.
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_their_sentences() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(code(0), b"warning"), Ok(()));
        for (status, stderr, failure) in [
            (
                code(75),
                "busy\n",
                Failure::retry("the program asked for another try (exit code 75); stderr: busy"),
            ),
            (code(1), "", Failure::fatal("the program ended with exit code 1")),
            (code(127), " a\nb \n", Failure::fatal("the program ended with exit code 127; stderr: a\nb")),
            (ExitStatus::from_raw(9), "", Failure::fatal("the program was killed by signal 9 (SIGKILL)")),
            (ExitStatus::from_raw(62), "", Failure::fatal("the program was killed by signal 62")),
        ] {
            assert_eq!(judge(status, stderr.as_bytes()), Err(failure));
        }
    }

    #[test]
    fn the_end_of_stderr_is_kept_whatever_its_bytes_are() {
        let stderr = [&b"\xff".repeat(4000)[..], b"the cause"].concat();
        let Err(Failure::Fatal(error)) = judge(ExitStatus::from_raw(256), &stderr) else {
            panic!("it failed")
        };
        assert!(error.ends_with("the cause") && error.contains("stderr: …") && error.len() < 2000, "{error}");
    }
}
