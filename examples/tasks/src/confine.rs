//! Opening a file by a path that a stranger sent: only below one directory.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use tokio::fs::{self, File};
use worker::Failure;

/// A file that may be read.
#[derive(Debug)]
pub(crate) struct Input {
    /// Open, at its beginning.
    pub file: File,
    /// Its size when it was opened, in bytes.
    pub size: u64,
}

/// Why a path was refused. The sentences name the path as it was sent, never where it leads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("The path is empty or holds a NUL.")]
    NoPath,
    #[error("`{0}` has a `..` in it: paths start from the input directory and stay in it.")]
    Upwards(String),
    #[error("`{0}` leads out of the input directory: only files in it can be read.")]
    Outside(String),
    #[error("There is no file `{0}` in the input directory.")]
    Missing(String),
    #[error("`{0}` is a directory, not a file.")]
    Directory(String),
    #[error("`{0}` is no regular file.")]
    Special(String),
    #[error("`{path}` can't be read: {source}.")]
    Unreadable { path: String, source: io::Error },
    #[error("The worker's input directory can't be used: {0}.")]
    NoDirectory(#[source] io::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let lasting = match &refusal {
            Refusal::Unreadable { source, .. } => {
                matches!(
                    source.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::InvalidFilename
                )
            }
            Refusal::NoDirectory(_) => false, // a worker elsewhere may have it
            _ => true,
        };
        if lasting { Self::fatal(refusal.to_string()) } else { Self::retry(refusal.to_string()) }
    }
}

/// Opens the regular file at `path` below `dir`. A relative path starts from `dir`; one that begins with `dir`'s own name may
/// also start beside it (`examples/data/book.txt`, where `dir` is `examples`). Symbolic links may lead anywhere inside.
///
/// Whoever can change what is in `dir` while this runs is trusted.
pub(crate) async fn open(dir: &Path, path: &str) -> Result<Input, Refusal> {
    let root = fs::canonicalize(dir).await.map_err(Refusal::NoDirectory)?;
    let mut found = Err(Refusal::Missing(path.to_owned()));
    for place in places(dir, &root, path)? {
        found = match fs::canonicalize(&place).await {
            Ok(real) if real.starts_with(&root) => open_real(&real, path).await,
            Ok(_) => Err(Refusal::Outside(path.to_owned())),
            Err(error) => Err(refusal(path, error)),
        };
        if !matches!(found, Err(Refusal::Missing(_))) {
            break;
        }
    }
    found
}

/// Where `path` may be meant to lead, by its words alone.
fn places(dir: &Path, root: &Path, path: &str) -> Result<Vec<PathBuf>, Refusal> {
    if path.is_empty() || path.contains('\0') {
        return Err(Refusal::NoPath);
    }
    let asked = Path::new(path);
    if asked.components().any(|part| part == Component::ParentDir) {
        return Err(Refusal::Upwards(path.to_owned()));
    }
    if asked.has_root() {
        // Judged before the disk is asked, so that nobody learns what exists elsewhere.
        let inside = asked.strip_prefix(root).or_else(|_| asked.strip_prefix(dir));
        return inside.map(|inside| vec![root.join(inside)]).map_err(|_| Refusal::Outside(path.to_owned()));
    }
    let beside = root.file_name().and_then(|name| asked.strip_prefix(name).ok());
    Ok([Some(asked), beside].into_iter().flatten().map(|inside| root.join(inside)).collect())
}

async fn open_real(real: &Path, path: &str) -> Result<Input, Refusal> {
    // Asked before opening: to open a pipe would wait for its writer.
    let kind = fs::metadata(real).await.map_err(|error| refusal(path, error))?.file_type();
    if kind.is_dir() {
        return Err(Refusal::Directory(path.to_owned()));
    }
    if !kind.is_file() {
        return Err(Refusal::Special(path.to_owned()));
    }
    let file = File::open(real).await.map_err(|error| refusal(path, error))?;
    let size = file.metadata().await.map_err(|error| refusal(path, error))?.len();
    Ok(Input { file, size })
}

fn refusal(path: &str, source: io::Error) -> Refusal {
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Refusal::Missing(path.to_owned()),
        _ => Refusal::Unreadable { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `in/` with what may be read, beside `secret` and `inner/`, which may not.
    struct Tree {
        temp: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let at = |path: &str| temp.path().join(path);
            std::fs::create_dir_all(at("in/data/in")).unwrap();
            std::fs::create_dir_all(at("inner")).unwrap();
            for (path, text) in [("in/a", "12345"), ("in/data/b", "1"), ("secret", "!"), ("inner/c", "!")] {
                std::fs::write(at(path), text).unwrap();
            }
            symlink("data/b", at("in/link")).unwrap();
            symlink("../secret", at("in/out")).unwrap();
            symlink("..", at("in/up")).unwrap();
            symlink("nowhere", at("in/dangling")).unwrap();
            symlink("loop", at("in/loop")).unwrap();
            symlink("in", at("also")).unwrap();
            Self { temp }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.temp.path().join(path)
        }

        /// What comes of `path` with `dir` as the input directory: the file's size, or the sentence.
        async fn open(&self, dir: &str, path: &str) -> Result<u64, String> {
            open(&self.at(dir), path).await.map(|input| input.size).map_err(|refusal| refusal.to_string())
        }
    }

    #[tokio::test]
    async fn what_is_inside_is_opened() {
        let tree = Tree::new();
        for (path, size) in [("a", 5), ("./a", 5), ("data//b", 1), ("link", 1), ("in/a", 5), ("in/data/b", 1)]
        {
            for dir in ["in", "also", "inner/../in"] {
                assert_eq!(tree.open(dir, path).await, Ok(size), "{path} in {dir}");
            }
        }
        for (dir, path) in [("in", "in/a"), ("also", "in/a"), ("also", "also/a")] {
            assert_eq!(tree.open(dir, tree.at(path).to_str().unwrap()).await, Ok(5), "{path} in {dir}");
        }
    }

    #[tokio::test]
    async fn what_is_not_inside_is_refused() {
        let tree = Tree::new();
        let secret = tree.at("secret").to_str().unwrap().to_owned();
        let beside = tree.at("inner/c").to_str().unwrap().to_owned();
        for (path, says) in [
            ("", "empty"),
            ("a\0", "NUL"),
            ("../secret", "has a `..` in it"),
            ("data/../a", "has a `..` in it"),
            ("in/../secret", "has a `..` in it"),
            (&secret, "leads out of the input directory"),
            (&beside, "leads out of the input directory"),
            ("/etc/passwd", "leads out of the input directory"),
            ("/no/such/file", "leads out of the input directory"),
            ("/", "leads out of the input directory"),
            ("out", "leads out of the input directory"),
            ("up/secret", "leads out of the input directory"),
            ("up/no-such-file", "no file `up/no-such-file`"),
            ("dangling", "no file `dangling`"),
            ("missing", "no file `missing`"),
            ("inner/c", "no file `inner/c`"),
            ("secret", "no file `secret`"),
            ("a/b", "no file `a/b`"),
            ("data", "is a directory"),
            (".", "is a directory"),
            ("in", "is a directory"),
            ("loop", "can't be read"),
            (&"x".repeat(300), "can't be read"),
        ] {
            let refused = tree.open("in", path).await.unwrap_err();
            assert!(refused.contains(says), "{path}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_no_file_to_read() {
        let tree = Tree::new();
        let _socket = std::os::unix::net::UnixListener::bind(tree.at("in/socket")).unwrap();
        assert_eq!(tree.open("in", "socket").await.unwrap_err(), "`socket` is no regular file.");
    }

    #[tokio::test]
    async fn without_the_directory_another_worker_may_try() {
        let tree = Tree::new();
        let failure = Failure::from(open(&tree.at("absent"), "a").await.unwrap_err());
        assert!(
            matches!(&failure, Failure::Retry(why) if why.contains("input directory can't be used")),
            "{failure}"
        );
        let failure = Failure::from(open(&tree.at("in"), "b").await.unwrap_err());
        assert!(matches!(failure, Failure::Fatal(_)));
    }
}
