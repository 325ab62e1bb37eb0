//! How long things take and how often they fail in a simulated world.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::ids::ClientId;
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::time::Instant;

/// Delays, speeds and failures, all in virtual time. The default is a home network without failures.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldConfig {
    /// Median one-way delay between a client and the server, milliseconds. Default 20.
    pub latency_ms: f64,
    /// Bandwidth of each client, each way, megabits a second. Default 20.
    pub bandwidth_mbit: f64,
    /// Median time that a client trains in a round, seconds. Default 60.
    pub training_seconds: f64,
    /// Median time that a client needs to score a release, seconds. Default 5.
    pub evaluation_seconds: f64,
    /// How different people's machines are: standard deviation of the logarithm of a person's speed and delay.
    /// Default .5.
    pub spread: f64,
    /// How different a person's work is from one time to the next: standard deviation of the logarithm of its time; 1 and more
    /// make heavy tails. Default .05.
    pub jitter: f64,
    /// Clients first connect within this many seconds. Default 5.
    pub arrival_seconds: f64,
    /// How often a client loses its power, per hour; it forgets all but its disk. Default 0.
    pub crashes_per_hour: f64,
    /// How often a client loses its connection, per hour. Default 0.
    pub disconnects_per_hour: f64,
    /// Mean time until it is back from either, seconds. Default 120.
    pub away_seconds: f64,
    /// How often the server is killed and started again, per hour. Default 0.
    pub server_restarts_per_hour: f64,
    /// Encode and decode every message as on the wire, and count its exact bytes. Default false.
    pub wire: bool,
    /// Virtual hours after which a federation that is not complete is given up. Default 10,000.
    pub longest_hours: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            latency_ms: 20.0,
            bandwidth_mbit: 20.0,
            training_seconds: 60.0,
            evaluation_seconds: 5.0,
            spread: 0.5,
            jitter: 0.05,
            arrival_seconds: 5.0,
            crashes_per_hour: 0.0,
            disconnects_per_hour: 0.0,
            away_seconds: 120.0,
            server_restarts_per_hour: 0.0,
            wire: false,
            longest_hours: 10_000.0,
        }
    }
}

impl WorldConfig {
    /// Refuses numbers that no world can have.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let rules = [
            ("latency_ms", self.latency_ms, 0.0, 1e6),
            ("bandwidth_mbit", self.bandwidth_mbit, 1e-3, 1e6),
            ("training_seconds", self.training_seconds, 0.0, 1e6),
            ("evaluation_seconds", self.evaluation_seconds, 0.0, 1e6),
            ("spread", self.spread, 0.0, 3.0),
            ("jitter", self.jitter, 0.0, 3.0),
            ("arrival_seconds", self.arrival_seconds, 0.0, 1e6),
            ("crashes_per_hour", self.crashes_per_hour, 0.0, 3600.0),
            ("disconnects_per_hour", self.disconnects_per_hour, 0.0, 3600.0),
            ("away_seconds", self.away_seconds, 0.0, 1e6),
            ("server_restarts_per_hour", self.server_restarts_per_hour, 0.0, 3600.0),
            ("longest_hours", self.longest_hours, 1e-3, 1e6),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                let why = format!("{value} is not within {low} to {high}");
                return Err(ConfigError::Value { key: format!("world.{key}"), why });
            }
        }
        Ok(())
    }
}

/// Chance in one place of the world: a client, or the server.
pub struct Chance(ChaCha20Rng);

impl Chance {
    /// The chance of one place; places do not share a stream, so one client more changes nothing for the others.
    pub fn new(seed: &Seed, place: &str) -> Self {
        Self(seed.derive(Label::World, place.as_bytes()).rng())
    }

    /// Uniform below `most` seconds.
    pub fn within(&mut self, most: f64) -> Duration {
        Duration::from_secs_f64(self.0.random::<f64>() * most)
    }

    /// The time to the next of events that happen `per_hour` times an hour; `None` if they never do.
    pub fn until(&mut self, per_hour: f64) -> Option<Duration> {
        (per_hour > 0.0).then(|| self.exponential(3600.0 / per_hour))
    }

    /// Exponential with this mean, in seconds.
    pub fn exponential(&mut self, mean: f64) -> Duration {
        let uniform: f64 = self.0.random();
        Duration::from_secs_f64(-mean * (1.0 - uniform).ln())
    }

    /// Log-normal with median 1.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        let (radius, angle): (f64, f64) = (self.0.random(), self.0.random());
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        (sigma * normal).exp()
    }
}

/// One person's machine and line.
pub struct Place {
    /// The chance of this client.
    pub chance: Chance,
    slowness: f64,
    jitter: f64,
    latency: f64,
    up: Lane,
    down: Lane,
}

/// One direction of a line: messages leave one after the other and arrive in order, as on a QUIC stream.
#[derive(Clone, Copy, Default)]
struct Lane {
    free: Instant,
    last: Instant,
}

/// The way of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

impl Place {
    /// The place of a client.
    pub fn new(config: &WorldConfig, seed: &Seed, client: &ClientId) -> Self {
        let mut chance = Chance::new(seed, client.as_str());
        let slowness = chance.log_normal(config.spread);
        let latency = config.latency_ms / 1e3 * chance.log_normal(config.spread);
        let jitter = config.jitter;
        Self { chance, slowness, jitter, latency, up: Lane::default(), down: Lane::default() }
    }

    /// When a message of `len` bytes that is sent now arrives.
    pub fn arrival(&mut self, config: &WorldConfig, now: Instant, way: Way, len: usize) -> Instant {
        let seconds = len as f64 * 8.0 / (config.bandwidth_mbit * 1e6);
        let delay = Duration::from_secs_f64(self.latency * self.chance.log_normal(0.1));
        let lane = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        lane.free = lane.free.max(now) + Duration::from_secs_f64(seconds);
        lane.last = lane.last.max(lane.free + delay);
        lane.last
    }

    /// How long this client takes for work that has a median of `seconds`.
    pub fn labour(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.slowness * self.chance.log_normal(self.jitter))
    }

    /// A new connection: what was under way is gone.
    pub fn reset(&mut self) {
        self.up = Lane::default();
        self.down = Lane::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_line_arrive_in_order_and_after_their_bytes() {
        let config = WorldConfig::default();
        let mut place = Place::new(&config, &Seed::from_number(1), &"a".parse().unwrap());
        let mut last = Instant::default();
        for n in 0..2000u64 {
            let now = Instant::at(Duration::from_millis(n));
            let arrival = place.arrival(&config, now, Way::Up, 25_000);
            assert!(arrival >= last && arrival > now);
            last = arrival;
        }
        // 2,000 messages of 25 kB at 2.5 MB/s take 20 s.
        assert!((20.0..21.0).contains(&last.elapsed().as_secs_f64()), "{last:?}");
    }

    #[test]
    fn people_differ_as_configured() {
        let config = WorldConfig::default();
        let mut logs: Vec<f64> = (0..400)
            .map(|n| {
                let client = format!("c{n}").parse().unwrap();
                Place::new(&config, &Seed::from_number(3), &client).slowness.ln()
            })
            .collect();
        logs.sort_by(f64::total_cmp);
        let sd = (logs.iter().map(|x| x * x).sum::<f64>() / 400.0).sqrt();
        assert!(logs[200].abs() < 0.1 && (sd - 0.5).abs() < 0.06, "median {}, sd {sd}", logs[200]);
    }

    #[test]
    fn absurd_worlds_name_their_key() {
        let bad = WorldConfig { spread: f64::NAN, ..WorldConfig::default() };
        assert!(bad.check().unwrap_err().to_string().starts_with("`world.spread`"));
        assert!(WorldConfig::default().check().is_ok());
    }
}
