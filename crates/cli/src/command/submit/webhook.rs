//! Who is told of the job's end.

use std::path::PathBuf;

use clap::Args;
use client::WebhookSecret;

use crate::command::people::{Failure, secret};

/// Who, and what signs it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhook")]
pub(super) struct Target {
    /// Who is told of its end, by a signed POST
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// The variable that holds the secret to sign with [default: the owner's secrets, which the gateway's configuration has]
    #[arg(long, value_name = "VAR", requires = "webhook")]
    webhook_secret_env: Option<String>,
    /// A file that holds it
    #[arg(long, value_name = "FILE", requires = "webhook", conflicts_with = "webhook_secret_env")]
    webhook_secret_file: Option<PathBuf>,
}

impl Target {
    /// Adds it to a submission.
    pub(super) fn on(&self, submit: client::Submit) -> Result<client::Submit, Failure> {
        let Some(url) = &self.webhook else { return Ok(submit) };
        Ok(match self.secret()? {
            None => submit.webhook(url),
            Some(secret) => submit.signed_webhook(url, secret),
        })
    }

    fn secret(&self) -> Result<Option<WebhookSecret>, Failure> {
        match (&self.webhook_secret_env, &self.webhook_secret_file) {
            (Some(name), _) => secret::from_variable("--webhook-secret-env", name).map(Some),
            (None, Some(path)) => secret::from_file("--webhook-secret-file", path).map(Some),
            (None, None) => Ok(None),
        }
    }
}
