//! Scripts: one step each, in a `.lua` file of its own.

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
        ScriptCall { script: self, keys, args: Vec::new() }
    }
}

/// A script with its keys and arguments; may be sent any number of times.
pub(crate) struct ScriptCall {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl ScriptCall {
    /// One more argument.
    pub(crate) fn arg(mut self, value: impl ToString) -> Self {
        self.args.push(value.to_string().into_bytes());
        self
    }

    fn cmd(&self, name: &str, script: &str) -> Cmd {
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
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
