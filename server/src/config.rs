//! `server.toml`: what an operator decides. Every key is documented in the file that `init` writes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use somnus_protocol::config::{FederationConfig, RoundConfig, parse};
use somnus_protocol::fault::ConfigError;

use crate::clock::Seconds;

/// The file as it is written.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    listen: SocketAddr,
    #[serde(default)]
    public: Vec<String>,
    #[serde(default = "default_model")]
    model: PathBuf,
    #[serde(default)]
    certificates: Certificates,
    #[serde(default)]
    store: StoreConfig,
    #[serde(default)]
    limits: Limits,
    watch: Option<SocketAddr>,
    #[serde(default)]
    federation: FederationConfig,
}

/// How long certificates live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Certificates {
    days: u32,
}

/// What the store keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreConfig {
    keep_releases: u32,
}

/// Bounds on what peers may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of hubs held at a time. Default 1024.
    pub connections: u32,
    /// Handshakes in progress at a time, a quarter of them from one address; half of it makes new peers prove their address
    /// first. Default 128.
    pub handshakes: u32,
    /// Messages that may wait for one client before its connection is dropped. Default 64.
    pub outbound_messages: u32,
    /// Seconds of silence after which a connection is dead. Default 60.
    pub idle_seconds: u32,
}

impl Default for Certificates {
    fn default() -> Self {
        Self { days: 90 }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { keep_releases: 10 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, handshakes: 128, outbound_messages: 64, idle_seconds: 60 }
    }
}

fn default_model() -> PathBuf {
    "foundation.safetensors".into()
}

/// A configuration that can be served. Only [`ServerConfig::parse`] makes one.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerConfig {
    /// The federation's name.
    pub name: String,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Where hubs find it, the first goes into invitations.
    pub public: Vec<String>,
    /// The foundation checkpoint; relative to the federation's folder.
    pub model: PathBuf,
    /// Life of a hub's certificate.
    pub certificate_life: Seconds,
    /// Releases that the store keeps.
    pub keep_releases: usize,
    /// Bounds on what peers may cost.
    pub limits: Limits,
    /// Where those who watch may look, an address of this machine alone.
    pub watch: Option<SocketAddr>,
    /// The rounds, if they can be run; the reason if not. Operator commands work either way.
    pub rounds: Result<RoundConfig, ConfigError>,
}

impl ServerConfig {
    /// Reads and checks the text of a `server.toml`.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = parse(text)?;
        let need = |ok: bool, key: &str, why: &str| {
            let error = || ConfigError::Value { key: key.to_owned(), why: why.to_owned() };
            if ok { Ok(()) } else { Err(error()) }
        };
        let name_fits = !raw.name.trim().is_empty() && raw.name.len() <= 64;
        need(name_fits, "name", "1 to 64 characters are needed")?;
        for address in &raw.public {
            need(host_of(address).is_some(), "public", "an address is `host:port`")?;
        }
        need((1..=3650).contains(&raw.certificates.days), "certificates.days", "1 to 3650 days")?;
        need((1..=10_000).contains(&raw.store.keep_releases), "store.keep_releases", "1 to 10,000")?;
        let limits = raw.limits;
        need((1..=1_000_000).contains(&limits.connections), "limits.connections", "1 to 1,000,000")?;
        need((1..=100_000).contains(&limits.handshakes), "limits.handshakes", "1 to 100,000")?;
        need((32..=65_536).contains(&limits.outbound_messages), "limits.outbound_messages", "32 to 65,536")?;
        need((5..=3600).contains(&limits.idle_seconds), "limits.idle_seconds", "5 to 3600 seconds")?;
        need(
            raw.watch.is_none_or(|address| address.ip().is_loopback()),
            "watch",
            "it tells the names of clients to whoever asks: name a loopback address such as 127.0.0.1:4480, and let a proxy that \
             asks for a password stand before it",
        )?;
        Ok(Self {
            name: raw.name,
            listen: raw.listen,
            public: raw.public,
            model: raw.model,
            certificate_life: Seconds::from(raw.certificates.days) * 24 * 3600,
            keep_releases: raw.store.keep_releases as usize,
            limits,
            watch: raw.watch,
            rounds: raw.federation.check(),
        })
    }

    /// The address for invitations: the first public one, else the one listened on if it is a single machine's.
    ///
    /// # Errors
    /// [`ConfigError`] if hubs could not find the server by it.
    pub fn address(&self) -> Result<String, ConfigError> {
        match self.public.first() {
            Some(address) => Ok(address.clone()),
            None if !self.listen.ip().is_unspecified() => Ok(self.listen.to_string()),
            None => Err(ConfigError::Value {
                key: "public".into(),
                why: format!(
                    "{} means every address of this machine: name the one that hubs can reach",
                    self.listen
                ),
            }),
        }
    }

    /// The hosts that the server's certificate names, without ports.
    pub fn hosts(&self) -> Vec<String> {
        let own = (!self.listen.ip().is_unspecified()).then(|| self.listen.ip().to_string());
        let mut hosts: Vec<String> =
            self.public.iter().filter_map(|address| host_of(address)).map(str::to_owned).chain(own).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

impl Limits {
    /// Silence after which a connection is dead.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_seconds))
    }
}

/// The host of `host:port`, without the brackets of IPv6.
fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// The commented file that `init` writes; `plain` is the operator's word that updates may arrive in the clear.
pub fn default_file(name: &str, listen: SocketAddr, public: &[String], plain: bool) -> String {
    let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let public: Vec<String> = public.iter().map(|address| quote(address)).collect();
    include_str!("server.toml")
        .replace("\"NAME\"", &quote(name))
        .replace("\"LISTEN\"", &quote(&listen.to_string()))
        .replace("\"PUBLIC\"", &public.join(", "))
        .replace("DANGER", if plain { "true" } else { "false" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> String {
        default_file("a \"night\"", "127.0.0.1:4433".parse().unwrap(), &["hub.example:4433".into()], true)
    }

    #[test]
    fn the_file_that_init_writes_says_the_defaults() {
        let config = ServerConfig::parse(&written()).unwrap();
        assert_eq!((config.name.as_str(), config.listen.port()), ("a \"night\"", 4433));
        assert_eq!(config.public, ["hub.example:4433"]);
        assert_eq!(config.hosts(), ["127.0.0.1", "hub.example"]);
        let bare = ServerConfig::parse("name = \"x\"\nlisten = \"127.0.0.1:4433\"\n").unwrap();
        assert_eq!(config.limits, bare.limits);
        assert_eq!(config.certificate_life, bare.certificate_life);
        assert_eq!((config.keep_releases, &config.model), (bare.keep_releases, &bare.model));
        // Plain aggregation has to be asked for by name.
        assert!(!config.rounds.as_ref().unwrap().is_masked());
        assert!(bare.rounds.unwrap().is_masked());
        let plain = "name = \"x\"\nlisten = \"127.0.0.1:1\"\n[federation]\ndanger_plain_aggregation = true\n";
        assert_eq!(config.rounds, ServerConfig::parse(plain).unwrap().rounds);
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        let cases = [
            (
                "name = \"x\"\nlisten = \"1.2.3.4:5\"\nlisten_on = 1\n",
                "line 3: unknown key `listen_on`; did you mean `listen`?",
            ),
            (
                "name = \"x\"\nlisten = \"1.2.3.4:5\"\n[limits]\nconections = 1\n",
                "line 4: unknown key `conections`; did you mean `connections`?",
            ),
            (
                "name = \"x\"\nlisten = \"1.2.3.4:5\"\n[certificates]\ndays = 0\n",
                "`certificates.days`: 1 to 3650 days",
            ),
            (
                "name = \"x\"\nlisten = \"1.2.3.4:5\"\npublic = [\"host\"]\n",
                "`public`: an address is `host:port`",
            ),
            (
                "name = \"x\"\nlisten = \"1.2.3.4:5\"\nwatch = \"0.0.0.0:80\"\n",
                "`watch`: it tells the names of clients to whoever asks: name a loopback address such as 127.0.0.1:4480, and \
                 let a proxy that asks for a password stand before it",
            ),
            ("name = \" \"\nlisten = \"1.2.3.4:5\"\n", "`name`: 1 to 64 characters are needed"),
        ];
        for (text, error) in cases {
            assert_eq!(ServerConfig::parse(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn an_invitation_needs_an_address_that_hubs_can_reach() {
        let config = ServerConfig::parse("name = \"x\"\nlisten = \"0.0.0.0:4433\"\n").unwrap();
        assert!(config.address().unwrap_err().to_string().contains("name the one that hubs can reach"));
        let config = ServerConfig::parse("name = \"x\"\nlisten = \"[::1]:4433\"\n").unwrap();
        assert_eq!(config.address().unwrap(), "[::1]:4433");
        assert_eq!(host_of("[::1]:4433"), Some("::1"));
        assert_eq!(host_of(":4433"), None);
    }

    #[test]
    fn the_files_in_configs_load() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/server");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let config = ServerConfig::parse(&std::fs::read_to_string(&path).unwrap());
                let config = config.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(config.rounds.is_ok(), "{}: {:?}", path.display(), config.rounds);
                assert!(config.address().is_ok(), "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 2, "only {seen} files in {folder}");
    }
}
