//! The bad link: a relay of UDP datagrams between hubs and their server, in this process.
//!
//! For the server each hub is a socket of the relay's, as behind a router that translates addresses. The relay counts what
//! it carries and what it loses, and a script tells it what to do when: by counts, never by the clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::line::{Line, Pipe};
use crate::harness::Voice;

/// How often threads that have nothing to do look whether the relay is gone.
const IDLE: Duration = Duration::from_millis(50);

/// A relay; it ends when it is dropped.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

/// What one direction has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of datagrams that went, or will go, to the other end.
    pub(crate) carried: u64,
    /// Bytes of those that were lost.
    pub(crate) lost: u64,
    /// How many were lost.
    pub(crate) losses: u64,
}

/// What both have seen, and from how many addresses hubs have spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) up: Tally,
    pub(crate) down: Tally,
    pub(crate) flows: usize,
}

/// When a step of a script is due, counted from the step before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// So many bytes were carried to the server.
    Up(u64),
    /// So many bytes were carried to hubs.
    Down(u64),
    /// So many datagrams of hubs were lost.
    Lost(u64),
}

/// What is done then. The relay says so in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Nothing passes any more.
    Cut,
    /// Everything passes again.
    Heal,
    /// The router forgets its table: the server sees all hubs at other ports, and what it sends to the old ones is lost.
    Rebind,
    /// Nothing but the line in the log.
    Tell,
}

struct Shared {
    front: UdpSocket,
    server: SocketAddr,
    /// From which addresses the server is spoken to: one after the other for each flow.
    outward: Vec<Ipv4Addr>,
    state: Mutex<State>,
    post: Sender<Parcel>,
    voice: Voice,
    ended: AtomicBool,
}

struct State {
    up: Line,
    down: Line,
    seed: u64,
    flows: BTreeMap<SocketAddr, Flow>,
    /// Sockets towards the server that were ever opened.
    opened: usize,
    cut: bool,
    script: VecDeque<(When, What)>,
    /// The tallies when the last step was done.
    since: Tallies,
    tallies: Tallies,
}

/// A hub's address and the socket that stands for it.
struct Flow {
    up: Pipe,
    down: Pipe,
    out: Arc<UdpSocket>,
}

/// A datagram on its way.
struct Parcel {
    at: Instant,
    bytes: Vec<u8>,
    to: End,
}

enum End {
    Server(Arc<UdpSocket>),
    Hub(SocketAddr),
}

impl Relay {
    /// Stands between hubs, which find it on any address of this machine, and `server`, to which it speaks from
    /// `outward`.
    pub(crate) fn new(server: SocketAddr, outward: &[Ipv4Addr], seed: u64, voice: Voice) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        front.set_read_timeout(Some(IDLE)).expect("a timeout");
        let port = front.local_addr().expect("an address").port();
        let (post, parcels) = channel();
        let state = State {
            up: Line::CLEAR,
            down: Line::CLEAR,
            seed,
            flows: BTreeMap::new(),
            opened: 0,
            cut: false,
            script: VecDeque::new(),
            since: Tallies::default(),
            tallies: Tallies::default(),
        };
        let state = Mutex::new(state);
        let (outward, ended) = (outward.to_vec(), AtomicBool::new(false));
        let shared = Arc::new(Shared { front, server, outward, state, post, voice, ended });
        let (hubs, postman) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::spawn(move || hubs.hear_hubs());
        std::thread::spawn(move || postman.carry(&parcels));
        Self { port, shared }
    }

    /// Where hubs find it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on the link is this one.
    pub(crate) fn link(&self, up: Line, down: Line) {
        let mut state = self.shared.lock();
        (state.up, state.down) = (up, down);
        for flow in state.flows.values_mut() {
            flow.up.become_line(up);
            flow.down.become_line(down);
        }
    }

    /// What to do from now on, one thing after the other.
    pub(crate) fn script(&self, steps: &[(When, What)]) {
        let mut state = self.shared.lock();
        state.since = state.tallies;
        state.script = steps.iter().copied().collect();
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self) {
        self.shared.lock().cut = false;
    }

    pub(crate) fn tallies(&self) -> Tallies {
        let state = self.shared.lock();
        Tallies { flows: state.flows.len(), ..state.tallies }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl When {
    fn is_due(self, since: &Tallies, now: &Tallies) -> bool {
        match self {
            Self::Up(bytes) => now.up.carried - since.up.carried >= bytes,
            Self::Down(bytes) => now.down.carried - since.down.carried >= bytes,
            Self::Lost(datagrams) => now.up.losses - since.up.losses >= datagrams,
        }
    }
}

impl Tally {
    fn count(&mut self, bytes: usize, arrives: bool) {
        if arrives {
            self.carried += bytes as u64;
        } else {
            (self.lost, self.losses) = (self.lost + bytes as u64, self.losses + 1);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn hear_hubs(self: &Arc<Self>) {
        let mut buffer = vec![0; 65_536];
        while !self.has_ended() {
            // An error is a silence, or the echo of a datagram to a hub that is gone.
            if let Ok((len, hub)) = self.front.recv_from(&mut buffer) {
                self.from_hub(hub, &buffer[..len]);
            }
        }
    }

    fn hear_server(self: &Arc<Self>, out: &Arc<UdpSocket>, hub: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        while !self.has_ended() {
            let heard = out.recv(&mut buffer);
            let mut state = self.lock();
            // A socket of before a rebinding: the router does not know any more whose it was.
            if !state.flows.get(&hub).is_some_and(|flow| Arc::ptr_eq(&flow.out, out)) {
                return;
            }
            if let Ok(len) = heard {
                self.pass(&mut state, hub, &buffer[..len], false);
            }
        }
    }

    fn from_hub(self: &Arc<Self>, hub: SocketAddr, bytes: &[u8]) {
        let mut state = self.lock();
        if !state.flows.contains_key(&hub) {
            let (up, down, seed) = (state.up, state.down, state.seed + 2 * state.flows.len() as u64);
            let flow =
                Flow { up: Pipe::new(up, seed), down: Pipe::new(down, seed + 1), out: self.open(&mut state) };
            self.listen(&flow.out, hub);
            state.flows.insert(hub, flow);
        }
        self.pass(&mut state, hub, bytes, true);
    }

    /// Puts a datagram on the line, and does what the script has for this moment.
    fn pass(self: &Arc<Self>, state: &mut State, hub: SocketAddr, bytes: &[u8], is_up: bool) {
        let (now, cut) = (Instant::now(), state.cut);
        let Some(flow) = state.flows.get_mut(&hub) else { return };
        let (pipe, to) = if is_up {
            (&mut flow.up, End::Server(Arc::clone(&flow.out)))
        } else {
            (&mut flow.down, End::Hub(hub))
        };
        let at = pipe.send(now, bytes.len()).filter(|_| !cut);
        let tally = if is_up { &mut state.tallies.up } else { &mut state.tallies.down };
        tally.count(bytes.len(), at.is_some());
        if let Some(at) = at {
            // The postman lives as long as this.
            let _ = self.post.send(Parcel { at, bytes: bytes.to_vec(), to });
        }
        while let Some((when, what)) = state.script.front().copied()
            && when.is_due(&state.since, &state.tallies)
        {
            state.script.pop_front();
            state.since = state.tallies;
            self.act(state, what);
        }
    }

    fn act(self: &Arc<Self>, state: &mut State, what: What) {
        match what {
            What::Cut => state.cut = true,
            What::Heal => state.cut = false,
            What::Rebind => {
                let hubs: Vec<SocketAddr> = state.flows.keys().copied().collect();
                for hub in hubs {
                    let out = self.open(state);
                    self.listen(&out, hub);
                    if let Some(flow) = state.flows.get_mut(&hub) {
                        flow.out = out;
                    }
                }
            }
            What::Tell => {}
        }
        let Tallies { up, down, .. } = state.tallies;
        self.voice.say(&format!("{what:?} after {} bytes up, {} down", up.carried, down.carried));
    }

    /// A new socket towards the server.
    fn open(&self, state: &mut State) -> Arc<UdpSocket> {
        let from = IpAddr::V4(self.outward[state.opened % self.outward.len()]);
        state.opened += 1;
        let out = UdpSocket::bind((from, 0)).expect("a port towards the server");
        out.set_read_timeout(Some(IDLE)).expect("a timeout");
        out.connect(self.server).expect("a route to the server");
        Arc::new(out)
    }

    fn listen(self: &Arc<Self>, out: &Arc<UdpSocket>, hub: SocketAddr) {
        let (shared, out) = (Arc::clone(self), Arc::clone(out));
        std::thread::spawn(move || shared.hear_server(&out, hub));
    }

    /// Delivers each datagram when it arrives.
    fn carry(&self, parcels: &Receiver<Parcel>) {
        let mut way: BTreeMap<(Instant, u64), Parcel> = BTreeMap::new();
        let mut number = 0;
        while !self.has_ended() {
            let next = way.first_key_value().map(|((at, _), _)| at.saturating_duration_since(Instant::now()));
            match parcels.recv_timeout(next.unwrap_or(IDLE)) {
                Ok(parcel) => {
                    number += 1;
                    way.insert((parcel.at, number), parcel);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(due) = way.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
                let Parcel { bytes, to, .. } = due.remove();
                // A machine that is not there does not hear it.
                let _ = match to {
                    End::Server(out) => out.send(&bytes),
                    End::Hub(hub) => self.front.send_to(&bytes, hub),
                };
            }
        }
    }
}
