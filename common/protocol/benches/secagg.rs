//! What secure aggregation costs a client and the server: `cargo bench -p somnus-protocol --bench secagg`.
//!
//! Real messages of real cohorts on one thread, with a tenth of the clients dropping out after they shared. Beside it what
//! the primitives of Flower 1.42's SecAgg+ cost on one core of such a machine.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use somnus_protocol::checkpoint::bytes_of;
use somnus_protocol::encoding::{Beside, Codec, Contribution, EncodingConfig, Setup};
use somnus_protocol::ids::{Digest, Round};
use somnus_protocol::packed::Packed;
use somnus_protocol::secagg::keys::{Identity, statement};
use somnus_protocol::secagg::{
    Enrolled, Graph, Holding, Joining, Member, Parameters, Revealed, Roster, RoundSecrets, RoundSeed,
    SealedShare, Session, Signature, SimulatedAuthority, SimulatedRoll, Subset, Unmask,
};
use somnus_protocol::seed::Seed;
use somnus_protocol::sum::Weighting;
use somnus_protocol::update::{Sections, UpdateLayout};
use somnus_protocol::wire;

const CLIENTS: [u32; 4] = [10, 30, 100, 300];
const WEIGHTS: [usize; 3] = [100_000, 1_000_000, 5_000_000];
const ROUND: Round = Round(1);

/// Flower 1.42 per weights: milliseconds to quantise and for one mask, megabytes up.
const FLOWER_VECTOR: [(f64, f64, f64); 3] = [(6.0, 0.6, 0.8), (58.0, 6.0, 8.0), (524.0, 16.0, 40.0)];
/// Flower 1.42 per clients: milliseconds to split both secrets and to recover one dropped key; 300 was not measured.
const FLOWER_SHARES: [Option<(f64, f64)>; 4] =
    [Some((15.0, 55.0)), Some((134.0, 332.0)), Some((1900.0, 2500.0)), None];

/// Seconds that this thread has computed; of any time, where `/proc` is not.
fn cpu() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = START.elapsed().as_secs_f64();
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/schedstat") else { return start };
    status.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(start, |ns| 1e-9 * ns)
}

/// CPU milliseconds of one run, and what it gave.
fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = cpu();
    let result = run();
    (1e3 * (cpu() - start), result)
}

/// CPU milliseconds of one run, from as many as take 150: the kernel counts them every few.
fn mean(mut run: impl FnMut()) -> f64 {
    run();
    let (start, mut runs) = (cpu(), 0.0);
    loop {
        run();
        runs += 1.0;
        let spent = 1e3 * (cpu() - start);
        if spent > 150.0 {
            return spent / runs;
        }
    }
}

/// A cohort after everybody has shared, and what the first client spent on it.
struct Cohort {
    identities: Vec<Enrolled>,
    roll: SimulatedRoll,
    roster: Roster,
    parameters: Parameters,
    holdings: BTreeMap<u32, Holding>,
    phases: Phases,
}

/// Milliseconds of one client.
struct Phases {
    keys: f64,
    check: f64,
    shares: f64,
    open: f64,
}

impl Cohort {
    fn new(n: u32) -> Self {
        let parameters = Parameters::choose(n, 0.1, 0.1);
        let authority = SimulatedAuthority::new(Seed::from_number(1));
        let roll = authority.roll();
        let assignment = Digest::of(b"assignment");
        let seeds: Vec<RoundSeed> =
            (0..n).map(|i| RoundSeed::new(*Digest::of(&i.to_le_bytes()).as_bytes())).collect();
        let names: Vec<_> = (0..n).map(|i| format!("hub-{i:04}").parse().expect("a name")).collect();
        let identities: Vec<Enrolled> = names.iter().map(|name| authority.enrol(name)).collect();
        let keys = mean(|| {
            let public = RoundSecrets::new(&seeds[0]).advertisement();
            black_box(identities[0].sign(&statement(ROUND, &names[0], &public, &assignment)));
        });
        let members: Vec<Member> = (0..n as usize)
            .map(|i| {
                let public = RoundSecrets::new(&seeds[i]).advertisement();
                Member::new(names[i].clone(), &identities[i], public, ROUND, &assignment)
            })
            .collect();
        let roster = Roster::new(ROUND, assignment, members).expect("a roster");
        let join = |me: u32| {
            let Member { client, advertisement, .. } = roster.members()[me as usize].clone();
            let joining = Joining { round: ROUND, assignment, client, advertisement, minimum: 2 };
            Session::join(&seeds[me as usize], roster.clone(), parameters, &roll, &joining)
                .expect("a good roster")
        };
        let check = mean(|| {
            black_box(join(0));
        });
        let sessions: Vec<Session> = (0..n).map(join).collect();
        let shares = mean(|| {
            black_box(sessions[0].shares());
        });
        let mut inboxes: BTreeMap<u32, Vec<(u32, SealedShare)>> = BTreeMap::new();
        for (sender, session) in (0..).zip(&sessions) {
            for (receiver, sealed) in session.shares() {
                inboxes.entry(receiver).or_default().push((sender, sealed));
            }
        }
        let receive = |me: u32, session: Session| {
            session.receive(Subset::all(n), inboxes[&me].iter().cloned()).expect("all are present").0
        };
        // A session is taken only once, so this is too short to be counted: the quickest of five by the clock.
        let open = (0..5).map(|_| {
            let session = join(0);
            let start = Instant::now();
            black_box(receive(0, session));
            1e3 * start.elapsed().as_secs_f64()
        });
        let open = open.fold(f64::MAX, f64::min);
        let holdings = (0..).zip(sessions).map(|(me, session)| (me, receive(me, session))).collect();
        let phases = Phases { keys, check, shares, open };
        Self { identities, roll, roster, parameters, holdings, phases }
    }

    /// Milliseconds of the first client to confirm and reveal, and what the survivors reveal.
    fn reveal(&mut self, survivors: &Subset) -> (f64, BTreeMap<u32, Vec<Revealed>>) {
        let mut confirm = |me: u32| {
            let holding = self.holdings.get_mut(&me).expect("it shared");
            let statement = holding.confirm(survivors).expect("good survivors");
            Signature(self.identities[me as usize].sign(&statement))
        };
        let confirming = mean(|| {
            black_box(confirm(0));
        });
        let confirmations: BTreeMap<u32, Signature> = survivors.iter().map(|me| (me, confirm(me))).collect();
        let reveal = |me: u32| self.holdings[&me].reveal(&confirmations, &self.roll).expect("a quorum");
        let revealing = mean(|| drop(black_box(reveal(0))));
        let revealed = survivors.iter().map(|me| (me, reveal(me))).collect();
        (confirming + revealing, revealed)
    }
}

/// The most that this process has held since [`forget_peak`], MiB; nothing where `/proc` is not.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn cipher() {
    let mut words = Packed::zero(1 << 18);
    let gigabytes = 8.0 * words.len() as f64 / 1e9;
    let mut strip = vec![0u8; 8192];
    let alone = gigabytes
        / mean(|| {
            let mut stream = ChaCha20::new(&[7; 32].into(), &[0; 12].into());
            for _ in 0..words.len() * 8 / strip.len() {
                stream.write_keystream(black_box(&mut strip));
            }
        })
        * 1e3;
    let mut cohort = Cohort::new(2);
    let holding = cohort.holdings.remove(&0).expect("it shared");
    // A self-mask and one pair's mask.
    let added = 2.0 * gigabytes / mean(|| holding.mask(black_box(&mut words))) * 1e3;
    println!("ChaCha20 keystream {alone:.2} GB/s; keystream made and added as a mask {added:.2} GB/s\n");
}

fn main() {
    println!("one thread; a tenth of the clients drops out after sharing; 16-bit levels, rotated\n");
    cipher();
    println!(
        "{:>4} {:>8} {:>4} {:>4} | {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6} {:>8} | {:>8} {:>6} | {:>6} {:>6} {:>6} | {:>7} {:>9} {:>7} {:>7}",
        "n",
        "d",
        "k",
        "t",
        "keys",
        "check",
        "shares",
        "open",
        "encode",
        "mask",
        "reveal",
        "client",
        "Flower",
        "x less",
        "up",
        "Flower",
        "down",
        "add",
        "unmask",
        "sum MiB",
        "peak"
    );
    for (&n, flower_shares) in CLIENTS.iter().zip(FLOWER_SHARES) {
        let mut cohort = Cohort::new(n);
        let survivors = Subset::of(n, 0..n - n / 10);
        let (reveal, revealed) = cohort.reveal(&survivors);
        for (&weights, (quantise, mask, flower_up)) in WEIGHTS.iter().zip(FLOWER_VECTOR) {
            let parameters = cohort.parameters;
            let public = Seed::from_number(1);
            let setup = Setup {
                layout: UpdateLayout::new(weights, Sections::default()),
                weighting: Weighting::Examples,
                roster: n,
                evaluation: Some(4),
                public: &public,
                beside: Beside::Everything,
                favourites: None,
            };
            let codec = Codec::new(&EncodingConfig::default(), &setup).expect("a configuration");
            let update = bytes_of(&(0..weights).map(|i| (i % 1000) as f32 * 1e-5).collect::<Vec<f32>>());
            let contribution =
                Contribution { update: &update, examples: 900, loss: 0.5, evaluation: None, residual: None };
            let encode = mean(|| {
                black_box(codec.encode(&contribution, &Seed::from_number(2)).expect("a good update"));
            });
            let mut upload =
                codec.encode(&contribution, &Seed::from_number(2)).expect("a good update").packed;
            let masked = mean(|| cohort.holdings[&0].mask(black_box(&mut upload)));
            let mut sum = Packed::zero(codec.words());
            let add = mean(|| sum.add_assign(black_box(&upload)));

            let unmask = Unmask {
                roster: cohort.roster.clone(),
                parameters,
                present: Subset::all(n),
                survivors: survivors.clone(),
                revealed: revealed.clone(),
            };
            drop(upload);
            forget_peak();
            let before = peak();
            let (unmasking, _) = timed(|| unmask.run(&mut sum).expect("enough shares"));
            let grown =
                before.zip(peak()).map_or("-".into(), |(before, after)| format!("+{:.1}", after - before));

            let Phases { keys, check, shares, open } = cohort.phases;
            let client = keys + check + shares + open + encode + masked + reveal;
            let flower = quantise + f64::from(n - 1) * mask + flower_shares.map_or(0.0, |(split, _)| split);
            let more = if flower_shares.is_none() { ">" } else { "" };
            let neighbours = parameters.degree() as usize;
            let member = &cohort.roster.members()[0];
            // Keys, sealed shares, masked vector, confirmation, revealed shares.
            let up = wire::to_disk(member).len()
                + neighbours * 81
                + 8 * codec.words()
                + 64
                + (neighbours + 1) * 36;
            // Roster, sealed shares, two lists, confirmations.
            let down = cohort.roster.to_bytes().len()
                + neighbours * 81
                + n as usize / 4
                + survivors.len() as usize * 67;
            println!(
                "{n:>4} {weights:>8} {:>4} {:>4} | {keys:>6.2} {check:>6.1} {shares:>6.2} {open:>6.2} {encode:>7.1} {masked:>7.1} {reveal:>6.1} {client:>8.1} | {:>8} {:>6} | {:>6.2} {flower_up:>6.1} {:>6.2} | {add:>7.2} {unmasking:>9.0} {:>7.1} {grown:>7}",
                parameters.degree(),
                parameters.threshold(),
                format!("{more}{flower:.0}"),
                format!("{more}{:.1}", flower / client),
                up as f64 / 1e6,
                down as f64 / 1e6,
                8.0 * codec.words() as f64 / f64::from(1 << 20),
            );
        }
        recovery(&cohort, flower_shares.map(|(_, recover)| recover));
    }
    println!(
        "\nmilliseconds; up and down in MB per client and round, without the release; x less: client CPU against Flower's"
    );
    println!(
        "quantise + (n - 1) masks + split; add: one upload; peak: growth of the process over the sum while unmasking, MiB"
    );
}

/// What one drop-out costs the server before any keystream is made.
fn recovery(cohort: &Cohort, flower: Option<f64>) {
    let n = cohort.roster.size();
    let mut again = Cohort::new(n);
    let graph = Graph::new(&again.parameters, again.roster.digest());
    let mut with = |gone: u32| {
        let survivors = Subset::of(n, 0..n - gone);
        if gone > 0 {
            again = Cohort::new(n);
        }
        let revealed = again.reveal(&survivors).1;
        let unmask = Unmask {
            roster: again.roster.clone(),
            parameters: again.parameters,
            present: Subset::all(n),
            survivors,
            revealed,
        };
        mean(|| {
            black_box(unmask.run(&mut Packed::zero(0)).expect("enough shares"));
        })
    };
    let (none, one) = (with(0), with(1));
    let flower = flower.map_or("-".into(), |ms| format!("{ms} ms"));
    println!(
        "     one dropped key recovered, with {} agreements: {:.1} ms (Flower {flower}); all self-masks: {none:.1} ms",
        graph.neighbours(n - 1).len(),
        one - none,
    );
}
