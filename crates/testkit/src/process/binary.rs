//! The `jobcast` binary beside the test's own executable, and whether it is of today's sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const BUILD: &str = "run cargo build -p jobcast-cli first (with --release for tests of a release build)";

/// The path of the binary; panics if there is none, or if a source of it is newer.
pub(super) fn find() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test's own executable");
    let binary = beside(&test);
    if let Err(problem) = check(&binary) {
        panic!("{problem}: {BUILD}");
    }
    binary
}

/// From `target/<profile>/deps/test-1234`, or `target/<profile>/test`, to `target/<profile>/jobcast`.
fn beside(test: &Path) -> PathBuf {
    let folder = test.parent().expect("an executable is in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    folder.join("jobcast")
}

/// Compares the binary with the sources that cargo lists beside it: exactly the files that went into it, the workspace's
/// other crates and included files too. (All files under `crates/` would be too many: after a change of a test,
/// cargo has nothing to build, and the binary would seem old for ever.)
fn check(binary: &Path) -> Result<(), String> {
    let built = changed(binary).ok_or_else(|| format!("{} doesn't exist", binary.display()))?;
    let list = binary.with_extension("d");
    let list_text = fs::read_to_string(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    for source in sources(&list_text) {
        match changed(&source) {
            Some(time) if time <= built => {}
            Some(_newer) => return Err(format!("{} is older than {}", binary.display(), source.display())),
            None => {
                return Err(format!(
                    "{} was built from {}, which is gone",
                    binary.display(),
                    source.display()
                ));
            }
        }
    }
    Ok(())
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The files after the colon of a cargo dependency list, which is in the form of a makefile.
fn sources(list: &str) -> Vec<PathBuf> {
    let Some((_, files)) = list.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let escaped = files.replace("\\ ", "\0"); // no path holds a NUL
    escaped.split_whitespace().map(|file| file.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn beside_the_test() {
        for (test, binary) in [
            ("/p/target/debug/deps/resume-1a2b", "/p/target/debug/jobcast"),
            ("/p/target/release/deps/resume-1a2b", "/p/target/release/jobcast"),
            ("/p/target/debug/resume", "/p/target/debug/jobcast"),
        ] {
            assert_eq!(beside(Path::new(test)), Path::new(binary));
        }
    }

    #[test]
    fn sources_are_listed_as_in_a_makefile() {
        let list = "/t/debug/jobcast: /p/a.rs /p/b\\ c.lua /p/d.toml\n";
        assert_eq!(sources(list), ["/p/a.rs", "/p/b c.lua", "/p/d.toml"].map(PathBuf::from));
        assert_eq!(sources("/t/debug/jobcast:\n"), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_binary_is_checked_against_its_sources() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let touch = |name: &str, seconds: u64| {
            let file = File::options().create(true).append(true).open(path(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)).unwrap();
        };
        let problem = || check(&path("jobcast")).unwrap_err();
        assert!(problem().ends_with("jobcast doesn't exist"));
        touch("jobcast", 10);
        assert!(problem().contains("jobcast.d: "));
        fs::write(path("jobcast.d"), format!("{0}/jobcast: {0}/a.rs {0}/b.lua\n", folder.path().display()))
            .unwrap();
        touch("a.rs", 9);
        touch("b.lua", 10);
        assert_eq!(check(&path("jobcast")), Ok(()));
        touch("b.lua", 11);
        assert!(problem().contains("is older than") && problem().ends_with("b.lua"));
        fs::remove_file(path("b.lua")).unwrap();
        assert!(problem().ends_with("b.lua, which is gone"));
    }
}
