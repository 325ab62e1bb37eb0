//! The steps of a schedule, and how they are written.

/// One step of a schedule. Written as a letter and a number, so that a failure is a line of text that replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Action {
    /// `d`: deliver the oldest message on a link (even: to the server, odd: to the client).
    Deliver(usize),
    /// `u`: deliver it and leave it on the link, so that it comes twice.
    Double(usize),
    /// `l`: lose it.
    Lose(usize),
    /// `j`: run the oldest waiting job of a client, or of the server (last index).
    Job(usize),
    /// `c`: connect a client.
    Connect(usize),
    /// `x`: cut its connection; what was under way is lost.
    Cut(usize),
    /// `k`: kill a client; its cache keeps what was written.
    KillClient(usize),
    /// `K`: kill the server; its disk keeps what was persisted.
    KillServer,
    /// `P`: from now on the server dies right after its next flush, before anything leaves.
    KillAfterFlush,
    /// `t`: let this many seconds pass.
    Pass(usize),
    /// `b`: so many times, deliver a message on every link and run a job everywhere.
    Bustle(usize),
    /// `F`: the server says something out of place.
    LieBack(usize),
    /// `f`: a client says something out of place.
    Lie(usize),
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Deliver(n) => write!(f, "d{n}"),
            Action::Double(n) => write!(f, "u{n}"),
            Action::Lose(n) => write!(f, "l{n}"),
            Action::Job(n) => write!(f, "j{n}"),
            Action::Connect(n) => write!(f, "c{n}"),
            Action::Cut(n) => write!(f, "x{n}"),
            Action::KillClient(n) => write!(f, "k{n}"),
            Action::KillServer => write!(f, "K0"),
            Action::KillAfterFlush => write!(f, "P0"),
            Action::Pass(n) => write!(f, "t{n}"),
            Action::Bustle(n) => write!(f, "b{n}"),
            Action::LieBack(n) => write!(f, "F{n}"),
            Action::Lie(n) => write!(f, "f{n}"),
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no step of a trace");
        let kind = text.chars().next().ok_or_else(bad)?;
        let n = text[kind.len_utf8()..].parse().map_err(|_| bad())?;
        Ok(match kind {
            'd' => Action::Deliver(n),
            'u' => Action::Double(n),
            'l' => Action::Lose(n),
            'j' => Action::Job(n),
            'c' => Action::Connect(n),
            'x' => Action::Cut(n),
            'k' => Action::KillClient(n),
            'K' => Action::KillServer,
            'P' => Action::KillAfterFlush,
            't' => Action::Pass(n),
            'b' => Action::Bustle(n),
            'F' => Action::LieBack(n),
            'f' => Action::Lie(n),
            _ => return Err(bad()),
        })
    }
}
