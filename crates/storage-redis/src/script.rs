//! The script that carries out what a batch asks of one partition, and its calls as bytes.

/// The whole script: its parts share the local functions of those before.
pub(crate) const SOURCE: &str = concat!(
    include_str!("script/head.lua"),
    include_str!("script/guards.lua"),
    include_str!("script/entries.lua"),
    include_str!("script/wills.lua"),
    include_str!("script/sessions.lua"),
    include_str!("script/queues.lua"),
    include_str!("script/exactly_once.lua"),
    include_str!("script/groups.lua"),
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
    Departure,
    DeleteSession,
    DueWills,
    ForgoWill,
    WithdrawWill,
    Guard,
    Raise,
    Stamp,
    Fade,
    Message,
    Append,
    Share,
    Trim,
    Read,
    Lasts,
    Tails,
    Owners,
    Release,
    Receive,
    Received,
    ForgetReceived,
    Will,
    WillPublished,
    KnowGroup,
    UnknowGroup,
    OpenGroup,
    CloseGroup,
    Groups,
    Wait,
    ClaimShares,
    HeldShares,
    AcknowledgeShares,
    ReleaseShares,
    Discard,
    Pass,
    Outbox,
    Sent,
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
    DiscardLetter,
}

/// What an operation is when its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It must not be carried out twice: the partition remembers the batch.
    Once,
    /// It changes nothing, or comes to the same when done again.
    Again,
    /// As `Again`, and it has no reply: `SILENT` in the script.
    Silent,
}

impl Op {
    fn code(self) -> &'static str {
        self.properties().0
    }

    fn kind(self) -> Kind {
        self.properties().1
    }

    fn properties(self) -> (&'static str, Kind) {
        use Kind::{Again, Once, Silent};
        match self {
            Self::Claim => ("C", Once),
            Self::End => ("E", Once),
            Self::Subscribe => ("S", Once),
            Self::Unsubscribe => ("U", Once),
            Self::List => ("L", Again),
            Self::Expire => ("X", Once),
            Self::Orphans => ("G", Once),
            Self::Client => ("W", Again),
            Self::Departure => ("departure", Again),
            Self::DeleteSession => ("O", Once),
            Self::DueWills => ("due", Again),
            Self::ForgoWill => ("forgo", Silent),
            Self::WithdrawWill => ("withdraw", Once),
            Self::Guard => ("guard", Again),
            Self::Raise => ("raise", Again),
            Self::Stamp => ("stamp", Silent),
            Self::Fade => ("fade", Silent),
            Self::Message => ("M", Silent),
            Self::Append => ("A", Once),
            Self::Share => ("share", Once),
            Self::Trim => ("T", Silent),
            Self::Read => ("Q", Again),
            Self::Lasts => ("lasts", Again),
            Self::Tails => ("tails", Again),
            Self::Owners => ("owners", Again),
            Self::Release => ("release", Once),
            Self::Receive => ("receive", Once),
            Self::Received => ("received", Once),
            Self::ForgetReceived => ("complete", Once),
            Self::Will => ("will", Once),
            Self::WillPublished => ("willed", Once),
            Self::KnowGroup => ("know", Once),
            Self::UnknowGroup => ("unknow", Silent),
            Self::OpenGroup => ("open", Once),
            Self::CloseGroup => ("close", Silent),
            Self::Groups => ("groups", Again),
            Self::Wait => ("wait", Once),
            Self::ClaimShares => ("shares", Once),
            Self::HeldShares => ("held", Again),
            Self::AcknowledgeShares => ("taken", Silent),
            Self::ReleaseShares => ("free", Silent),
            Self::Discard => ("discard", Once),
            Self::Pass => ("pass", Once),
            Self::Outbox => ("outbox", Again),
            Self::Sent => ("sent", Silent),
            Self::SetRetained => ("V", Once),
            Self::ClearRetained => ("F", Once),
            Self::GetRetained => ("Y", Again),
            Self::RetainedPage => ("P", Again),
            Self::Rule => ("R", Once),
            Self::Lease => ("H", Again),
            Self::EndLease => ("N", Again),
            Self::ClaimRules => ("J", Again),
            Self::Acknowledge => ("K", Again),
            Self::Bury => ("D", Once),
            Self::DeadLetters => ("B", Again),
            Self::Redrive => ("Z", Once),
            Self::DiscardLetter => ("letter", Once),
        }
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
        self.replies += usize::from(op.kind() != Kind::Silent);
        self.remembered |= op.kind() == Kind::Once;
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
