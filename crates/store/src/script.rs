//! Scripts: one step each, in a `.lua` file of its own.

use std::fmt::{Display, Write};

use redis::Cmd;

use crate::plant::with_fault;

/// One Lua script: its own file with the common parts that it uses set in after its first line, since a script can't import.
pub(crate) struct Script {
    text: String,
    sha: String,
}

impl Script {
    /// A script of `own` text, whose first line is `#!lua` with its flags, and of `common` parts in order of use.
    pub(crate) fn new(own: &str, common: &[&str]) -> Self {
        let (first, rest) = own.split_once('\n').unwrap_or((own, ""));
        let text = with_fault([first, &common.concat(), rest].join("\n"));
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha }
    }

    /// A call of this script.
    pub(crate) fn call(&'static self, keys: Vec<String>) -> ScriptCall {
        ScriptCall { script: self, keys, text: String::new(), ends: Vec::new() }
    }
}

/// A script with its keys and arguments; may be sent any number of times.
pub(crate) struct ScriptCall {
    script: &'static Script,
    keys: Vec<String>,
    /// All arguments, one after the other: a step may have hundreds.
    text: String,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl ScriptCall {
    /// One more argument.
    pub(crate) fn arg(mut self, value: impl Display) -> Self {
        // A string takes all that there is memory for.
        let _ = write!(self.text, "{value}");
        self.ends.push(self.text.len());
        self
    }

    fn cmd(&self, name: &str, script: &str) -> Cmd {
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(self.keys.len()).arg(&self.keys);
        let mut begin = 0;
        for &end in &self.ends {
            cmd.arg(&self.text[begin..end]);
            begin = end;
        }
        cmd
    }

    /// The call by the script's hash; Redis says NOSCRIPT if it doesn't know it.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.cmd("EVALSHA", &self.script.sha)
    }

    /// The call with the script's text, which Redis then knows.
    pub(crate) fn by_text(&self) -> Cmd {
        self.cmd("EVAL", &self.script.text)
    }
}
