//! Who is told of the job's end.

use std::path::PathBuf;
use std::{env, fs};

use clap::Args;
use client::WebhookSecret;

use crate::command::people::Failure;

/// The webhook. Its secret isn't given on the command line itself, which others on this machine can see.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhook")]
pub(super) struct Webhook {
    /// Who is told of its end, by a signed POST
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The variable that holds the secret to sign with [default: the owner's secrets, which the gateway's configuration has]
    #[arg(long, value_name = "NAME", requires = "webhook")]
    webhook_secret_env: Option<String>,
    /// The file that holds it
    #[arg(long, value_name = "PATH", requires = "webhook", conflicts_with = "webhook_secret_env")]
    webhook_secret_file: Option<PathBuf>,
}

impl Webhook {
    /// Adds it to a submission.
    pub(super) fn on(&self, submit: client::Submit) -> Result<client::Submit, Failure> {
        let Some(url) = &self.webhook else { return Ok(submit) };
        Ok(match self.secret()? {
            None => submit.webhook(url),
            Some(secret) => submit.signed_webhook(url, secret),
        })
    }

    fn secret(&self) -> Result<Option<WebhookSecret>, Failure> {
        let (what, text) = if let Some(name) = &self.webhook_secret_env {
            let what = format!("--webhook-secret-env {name}");
            let text =
                env::var(name).map_err(|_| Failure::Usage(format!("{what}: there is no such variable")))?;
            (what, text)
        } else if let Some(path) = &self.webhook_secret_file {
            let what = format!("--webhook-secret-file {}", path.display());
            let text =
                fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{what}: {error}")))?;
            (what, text.trim_end_matches(['\n', '\r']).to_owned())
        } else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| Failure::Usage(format!("{what}: {error}")))
    }
}
