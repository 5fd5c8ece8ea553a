//! What webhooks are signed with.

use std::path::PathBuf;

use clap::Args;
use model::webhook::Secret;

use crate::command::people::{Failure, complain, secret};

/// Two at once, as during a rotation, and no more.
const MOST: usize = 2;

/// Where the secrets come from. None is given on the command line itself, which others on this machine can see.
#[derive(Debug, Args)]
#[command(next_help_heading = "Signatures")]
pub(super) struct Secrets {
    /// The variable that holds the webhook secret; twice during a rotation, the new one first [default: a secret made for this
    /// run, and shown]
    #[arg(long, value_name = "VAR")]
    secret_env: Vec<String>,
    /// A file that holds it
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
}

impl Secrets {
    /// Reads them; where none is given, makes one and shows it.
    pub(super) fn read(&self) -> Result<Vec<Secret>, Failure> {
        let named = self.secret_env.iter().map(|name| secret::from_variable("--secret-env", name));
        let kept = self.secret_file.iter().map(|file| secret::from_file("--secret-file", file));
        let secrets = named.chain(kept).collect::<Result<Vec<_>, _>>()?;
        match secrets.len() {
            0 => {
                let secret = Secret::from_random(rand::random());
                complain(&format_args!(
                    "signing with {}, made for this run: give it to your receiver, or give its own by --secret-env or \
                     --secret-file",
                    secret.expose()
                ));
                Ok(vec![secret])
            }
            1..=MOST => Ok(secrets),
            _ => Err(Failure::Usage(format!("at most {MOST} secrets at once"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(files: &[&str]) -> Result<Vec<Secret>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let file = |(n, text): (usize, &&str)| {
            let file = folder.path().join(n.to_string());
            fs::write(&file, text).unwrap();
            file
        };
        let secret_file = files.iter().enumerate().map(file).collect();
        Secrets { secret_env: Vec::new(), secret_file }.read()
    }

    #[test]
    fn they_come_in_order_or_one_is_made() {
        let expose = |secrets: &[Secret]| secrets.iter().map(|s| s.expose().to_owned()).collect::<Vec<_>>();
        assert_eq!(expose(&read(&["new\r\n", "old"]).unwrap()), ["new", "old"]);
        let made = expose(&read(&[]).unwrap());
        assert!(made.len() == 1 && made[0].starts_with("whsec_") && made != expose(&read(&[]).unwrap()));
    }

    #[test]
    fn what_is_refused_is_not_shown() {
        for (files, says) in [
            (&["whsec_hush"][..], "--secret-file"),
            (&["a", "b", "c"], "at most 2"),
            (&["\n"], "--secret-file"),
        ] {
            let said = read(files).unwrap_err().to_string();
            assert!(said.contains(says) && !said.contains("hush"), "{said}");
        }
    }
}
