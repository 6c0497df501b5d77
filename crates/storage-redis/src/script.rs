//! The script that carries out what a batch asks of one partition, and its calls as bytes.

/// The whole script: its parts share the local functions of those before.
pub(crate) const SOURCE: &str = concat!(
    include_str!("script/head.lua"),
    include_str!("script/sessions.lua"),
    include_str!("script/queues.lua"),
    include_str!("script/retained.lua"),
    include_str!("script/rules.lua"),
    include_str!("script/tail.lua"),
);

/// Operations: the names of their functions in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Claim,
    End,
    Subscribe,
    Unsubscribe,
    List,
    Expire,
    Orphans,
    Client,
    DeleteSession,
    Guard,
    Raise,
    Message,
    Append,
    Trim,
    Read,
    SetRetained,
    ClearRetained,
    GetRetained,
    RetainedPage,
    Rule,
    Lease,
    EndLease,
    ClaimRules,
    Acknowledge,
    Bury,
    DeadLetters,
    Redrive,
}

impl Op {
    fn code(self) -> &'static str {
        match self {
            Self::Claim => "C",
            Self::End => "E",
            Self::Subscribe => "S",
            Self::Unsubscribe => "U",
            Self::List => "L",
            Self::Expire => "X",
            Self::Orphans => "G",
            Self::Client => "W",
            Self::DeleteSession => "O",
            Self::Guard => "guard",
            Self::Raise => "raise",
            Self::Message => "M",
            Self::Append => "A",
            Self::Trim => "T",
            Self::Read => "Q",
            Self::SetRetained => "V",
            Self::ClearRetained => "F",
            Self::GetRetained => "Y",
            Self::RetainedPage => "P",
            Self::Rule => "R",
            Self::Lease => "H",
            Self::EndLease => "N",
            Self::ClaimRules => "J",
            Self::Acknowledge => "K",
            Self::Bury => "D",
            Self::DeadLetters => "B",
            Self::Redrive => "Z",
        }
    }

    /// Whether it must not be carried out twice, so that the partition is to remember the batch. What is not of this
    /// kind either changes nothing or comes to the same when done again.
    fn is_remembered(self) -> bool {
        matches!(
            self,
            Self::Claim
                | Self::End
                | Self::Subscribe
                | Self::Unsubscribe
                | Self::Expire
                | Self::Orphans
                | Self::DeleteSession
                | Self::Append
                | Self::SetRetained
                | Self::ClearRetained
                | Self::Rule
                | Self::Bury
                | Self::Redrive
        )
    }

    fn has_reply(self) -> bool {
        !matches!(self, Self::Message | Self::Trim)
    }
}

/// What one batch asks of one partition, encoded as it goes out.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) partition: u8,
    arguments: usize,
    encoded: Vec<u8>,
    replies: usize,
    remembered: bool,
}

/// Where the reply of an operation will be: which call, which of its replies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) call: usize,
    pub(crate) reply: usize,
}

impl Call {
    pub(crate) fn new(partition: u8) -> Self {
        Self { partition, arguments: 0, encoded: Vec::new(), replies: 0, remembered: false }
    }

    /// Adds an operation.
    pub(crate) fn push(&mut self, op: Op, arguments: &[&[u8]]) {
        self.begin(op, arguments.len());
        arguments.iter().for_each(|argument| self.argument(argument));
    }

    /// A call of one operation.
    pub(crate) fn of(partition: u8, op: Op, arguments: &[&[u8]]) -> Self {
        let mut call = Self::new(partition);
        call.push(op, arguments);
        call
    }

    /// Begins an operation whose arguments, so many, come one by one.
    pub(crate) fn begin(&mut self, op: Op, arguments: usize) {
        self.argument(op.code().as_bytes());
        self.argument(arguments.to_string().as_bytes());
        self.replies += usize::from(op.has_reply());
        self.remembered |= op.is_remembered();
    }

    /// The next argument of what was begun.
    pub(crate) fn argument(&mut self, argument: &[u8]) {
        bulk(&mut self.encoded, argument);
        self.arguments += 1;
    }

    /// The number of the last operation's reply.
    pub(crate) fn last_reply(&self) -> usize {
        self.replies.saturating_sub(1)
    }

    pub(crate) fn replies(&self) -> usize {
        self.replies
    }

    pub(crate) fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Appends the EVALSHA to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, head: &Head<'_>) {
        let batch = if self.remembered { head.batch.to_string() } else { String::new() };
        let words = [head.sha, "1", head.root, head.replication_id, head.producer, &batch, head.now];
        array(out, 1 + words.len() + self.arguments);
        bulk(out, b"EVALSHA");
        words.iter().for_each(|word| bulk(out, word.as_bytes()));
        out.extend_from_slice(&self.encoded);
    }
}

/// What precedes the operations in a call.
pub(crate) struct Head<'a> {
    pub(crate) sha: &'a str,
    pub(crate) root: &'a str,
    pub(crate) replication_id: &'a str,
    pub(crate) producer: &'a str,
    pub(crate) batch: u64,
    pub(crate) now: &'a str,
}

/// A command as it goes out.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&str]) {
    array(out, words.len());
    words.iter().for_each(|word| bulk(out, word.as_bytes()));
}

fn array(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(format!("*{length}\r\n").as_bytes());
}

fn bulk(out: &mut Vec<u8>, argument: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}
