//! Which server `jobcast dev` starts: the one named in the configuration, else the first good one in `PATH`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// The programs that are looked for, the first one first; the last is how some packages spell it.
const NAMES: [&str; 3] = ["redis-server", "valkey-server", "valkey_server"];

/// Why there is no server to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// No program of a known name is in `PATH`.
    #[error(
        "`jobcast dev` needs a Redis or Valkey server, and there is none in PATH: install the package redis-server \
         (Debian, Ubuntu: apt install redis-server), valkey (Fedora: dnf install valkey) or redis (macOS: brew \
         install redis), or set dev.server to the path of one"
    )]
    None,
    /// A program was found that can't be started.
    #[error("{} can't be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program was found that says nothing of a server's version.
    #[error("{} is neither a Redis nor a Valkey server: `--version` says {said:?}", program.display())]
    Stranger {
        /// The program.
        program: PathBuf,
        /// The beginning of what it said.
        said: String,
    },
    /// A server was found that lacks what the steps need.
    #[error("{} is {found}, and Jobcast needs Redis 7.0 or later, or Valkey 8 or later", program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its name and version.
        found: String,
    },
}

/// The server to start: `named`, or without it the first one in the folders of `path` that is new enough. A program
/// named without a slash is looked up in `path` too.
pub(crate) fn find(named: Option<&Path>, path: &OsStr) -> Result<PathBuf, FindError> {
    let candidates: Vec<PathBuf> = match named {
        Some(program) if program.components().count() > 1 => return check(program.to_path_buf()),
        Some(program) => in_path(&program.to_string_lossy(), path).collect(),
        None => NAMES.iter().flat_map(|name| in_path(name, path)).collect(),
    };
    let mut first_problem = FindError::None;
    for program in candidates {
        match (check(program), &first_problem) {
            (Ok(program), _) => return Ok(program),
            (Err(problem), FindError::None) => first_problem = problem,
            (Err(_), _) => {}
        }
    }
    Err(first_problem)
}

fn in_path(name: &str, path: &OsStr) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path).map(move |folder| folder.join(name)).filter(|program| program.is_file())
}

fn check(program: PathBuf) -> Result<PathBuf, FindError> {
    let output = match Command::new(&program).arg("--version").output() {
        Ok(output) => output,
        Err(source) => return Err(FindError::Start { program, source }),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match Version::read(&text) {
        Some(version) if version.good() => Ok(program),
        Some(version) => Err(FindError::TooOld { program, found: version.to_string() }),
        None => Err(FindError::Stranger { program, said: text.trim().chars().take(100).collect() }),
    }
}

/// What a server says it is.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// `Redis`, or `Valkey`.
    name: String,
    major: u32,
    /// All of it, to be shown.
    whole: String,
}

impl Version {
    /// Reads what `--version` prints: `Redis server v=7.0.15 sha=…`.
    fn read(text: &str) -> Option<Self> {
        let (name, rest) = text.trim_start().split_once(" server v=")?;
        let whole = rest.split_whitespace().next()?;
        let major = whole.split('.').next()?.parse().ok()?;
        let known = matches!(name, "Redis" | "Valkey");
        known.then(|| Self { name: name.to_owned(), major, whole: whole.to_owned() })
    }

    fn good(&self) -> bool {
        self.major >= if self.name == "Redis" { 7 } else { 8 }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.whole)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder with scripts that print a line each, whatever they are asked.
    fn folder(programs: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, line) in programs {
            let file = folder.path().join(name);
            // Written by another process: a file that this one had open for writing might be inherited, still open, by
            // what another test's thread starts just then, and couldn't be run ("text file busy").
            let script = "printf \"#!/bin/sh\\necho '%s'\\n\" \"$2\" > \"$1\" && chmod +x \"$1\"";
            let written =
                Command::new("sh").args(["-c", script, "sh"]).arg(&file).arg(line).status().unwrap();
            assert!(written.success());
        }
        folder
    }

    #[test]
    fn versions_are_read() {
        for (text, shown, good) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "Redis 7.0.15", true),
            ("Redis server v=6.0.16 sha=00000000:0", "Redis 6.0.16", false),
            ("Redis server v=10.0.0 sha=0", "Redis 10.0.0", true),
            ("Valkey server v=9.1.2 sha=0\n", "Valkey 9.1.2", true),
            ("Valkey server v=7.2.5 sha=0", "Valkey 7.2.5", false),
        ] {
            let version = Version::read(text).unwrap();
            assert_eq!((version.to_string().as_str(), version.good()), (shown, good), "{text}");
        }
        for text in ["", "KeyDB server v=6.3.4", "Redis server", "Redis server v=x", "redis-cli 7.0.15"] {
            assert_eq!(Version::read(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_first_good_one_in_path_is_taken() {
        let old = folder(&[("redis-server", "Redis server v=6.0.16 sha=0")]);
        let new = folder(&[("valkey-server", "Valkey server v=9.1.2 sha=0")]);
        let path = env::join_paths([old.path(), new.path()]).unwrap();
        assert_eq!(find(None, &path).unwrap(), new.path().join("valkey-server"));
        let named = find(Some(Path::new("valkey-server")), &path).unwrap();
        assert_eq!(named, new.path().join("valkey-server"));
        let problem = find(None, old.path().as_os_str()).unwrap_err();
        assert!(problem.to_string().contains("is Redis 6.0.16, and Jobcast needs"), "{problem}");
    }

    #[test]
    fn what_is_no_server_is_told_in_a_sentence() {
        let folder = folder(&[("redis-server", "hello")]);
        let path = folder.path().as_os_str();
        let problem = find(None, path).unwrap_err().to_string();
        assert!(
            problem.ends_with("is neither a Redis nor a Valkey server: `--version` says \"hello\""),
            "{problem}"
        );
        let problem = find(Some(&folder.path().join("none")), path).unwrap_err().to_string();
        assert!(problem.contains("none can't be started: No such file"), "{problem}");
        let problem = find(None, OsStr::new("")).unwrap_err().to_string();
        for package in ["apt install redis-server", "dnf install valkey", "brew install redis"] {
            assert!(problem.contains(package), "{problem}");
        }
    }
}
