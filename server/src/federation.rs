//! The folder of one federation: made by `init` or `restore`, opened by everything else.
//!
//! ```text
//! DIR/server.toml              what the operator decides
//! DIR/ca.pem  ca.key           the certificate authority
//! DIR/server.pem  server.key   the server's own identity
//! DIR/foundation.safetensors   the model that releases continue
//! DIR/store/                   releases, rounds, roster, invitations, audit log
//! DIR/schema-N.backup          before a newer program changed the store's layout
//! DIR/control.sock             while a server runs: where operator commands go
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use somnus_protocol::fault::ConfigError;
use tracing::info;

use crate::audit::{Audit, AuditEvent};
use crate::backup;
use crate::ca::{self, Authority};
use crate::clock::{Seconds, WallClock};
use crate::config::{ServerConfig, default_file};
use crate::error::{FileError, IdentityError, RequestError, StoreError};
use crate::files::{self, Access};
use crate::history::History;
use crate::registry::Registry;
use crate::store::{SCHEMA, Store};

/// The configuration's name in the folder.
pub const CONFIG: &str = "server.toml";
/// The store's name in the folder.
pub const STORE: &str = "store";
/// The default name of the model in the folder.
pub const MODEL: &str = "foundation.safetensors";

/// An opened federation: everything but the network.
pub struct Federation {
    /// Its folder.
    pub folder: PathBuf,
    /// What the operator decides.
    pub config: ServerConfig,
    /// The records on disk.
    pub store: Arc<Store>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Who belongs to it.
    pub registry: Arc<Registry>,
    /// Releases and rounds.
    pub history: Arc<History>,
    /// The time of day.
    pub clock: WallClock,
}

/// Why a federation cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder has no configuration.
    #[error("{}: no federation here; `somnus-server init` makes one", .0.display())]
    Missing(PathBuf),
    /// The folder has one already.
    #[error("{}: there is a federation here already", .0.display())]
    Exists(PathBuf),
    /// There are keys or a store, but no configuration, which is written last.
    #[error(
        "{}: there are keys or a store here but no {CONFIG}: either an `init` or `restore` was interrupted, then remove \
         this folder and do it again; or the file was lost, then put it back",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// The configuration cannot be used.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        source: ConfigError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model cannot be used.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// What `init` needs to know.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The federation's name.
    pub name: String,
    /// Where the server will listen.
    pub listen: SocketAddr,
    /// Where hubs will find it.
    pub public: Vec<String>,
    /// The foundation model to copy into the folder.
    pub model: Option<PathBuf>,
    /// The operator's word that updates may arrive in the clear.
    pub plain: bool,
}

impl Federation {
    /// Makes a federation in `folder`.
    ///
    /// # Errors
    /// [`OpenError::Exists`] if there is one, or what stands in the way.
    pub fn create(folder: &Path, founding: &Founding, clock: &WallClock) -> Result<(), OpenError> {
        refuse_existing(folder)?;
        let text = default_file(&founding.name, founding.listen, &founding.public, founding.plain);
        let config = ServerConfig::parse(&text)
            .map_err(|source| OpenError::Config { path: folder.join(CONFIG), source })?;
        let model = founding.model.as_deref().map(files::read).transpose()?;
        files::make_folder(folder)?;
        if let Some(model) = model {
            files::write_atomically(&folder.join(MODEL), &model, Access::Everyone)?;
        }
        let now = clock.now();
        ca::create(folder, &config.name, &config.hosts(), now)?;
        let store = Arc::new(Store::create(&folder.join(STORE))?);
        Audit::open(Arc::clone(&store))?.append(now, AuditEvent::Created)?;
        // Last: a folder with a configuration is a whole federation.
        files::write_atomically(&folder.join(CONFIG), text.as_bytes(), Access::Everyone)?;
        Ok(())
    }

    /// Opens the federation in `folder`; no other process has it open then. What an older program left there is brought to this
    /// one's layout, after a backup into the folder.
    ///
    /// # Errors
    /// [`OpenError`] naming the file that stands in the way.
    pub fn open(folder: &Path, clock: WallClock) -> Result<Self, OpenError> {
        let path = folder.join(CONFIG);
        if !path.exists() {
            refuse_existing(folder)?;
            return Err(OpenError::Missing(folder.to_owned()));
        }
        let config = ServerConfig::parse(&files::read_text(&path)?)
            .map_err(|source| OpenError::Config { path, source })?;
        let authority = Authority::load(folder)?;
        let store = Arc::new(Store::open(&folder.join(STORE))?);
        let schema = store.schema()?;
        if schema != SCHEMA {
            let before = folder.join(format!("schema-{schema}.backup"));
            backup::write_parts(folder, &config, &store, &before)?;
            store.upgrade()?;
            info!(from = schema, to = SCHEMA, backup = %before.display(), "the store has a new layout");
        }
        let audit = Arc::new(Audit::open(Arc::clone(&store))?);
        let life: Seconds = config.certificate_life;
        let registry = Arc::new(Registry::open(Arc::clone(&store), Arc::clone(&audit), authority, life)?);
        let history = Arc::new(History::new(Arc::clone(&store), Arc::clone(&audit), config.keep_releases));
        Ok(Self { folder: folder.to_owned(), config, store, audit, registry, history, clock })
    }

    /// Where the foundation model is.
    pub fn model(&self) -> PathBuf {
        self.folder.join(&self.config.model)
    }
}

/// Leaves existing federations alone, and what is left of unfinished ones: it may be all that is left of a whole one.
///
/// # Errors
/// [`OpenError::Exists`] or [`OpenError::Unfinished`].
pub fn refuse_existing(folder: &Path) -> Result<(), OpenError> {
    if folder.join(CONFIG).exists() {
        return Err(OpenError::Exists(folder.to_owned()));
    }
    let begun = [STORE, "ca.key"].iter().any(|name| folder.join(name).exists());
    if begun { Err(OpenError::Unfinished(folder.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration is the last file that `init` and `restore` write.
    #[test]
    fn a_federation_that_was_interrupted_while_it_was_made_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let clock = WallClock::from_fn(|| 1_800_000_000);
        let founding = Founding {
            name: "night".into(),
            listen: "127.0.0.1:4433".parse().unwrap(),
            public: Vec::new(),
            model: None,
            plain: true,
        };
        let folder = dir.path().join("fed");
        assert!(matches!(Federation::open(&folder, clock.clone()), Err(OpenError::Missing(_))));
        Federation::create(&folder, &founding, &clock).unwrap();
        let exists = Federation::create(&folder, &founding, &clock).unwrap_err();
        assert!(matches!(exists, OpenError::Exists(_)), "{exists}");

        let config = folder.join(CONFIG);
        let text = std::fs::read(&config).unwrap();
        std::fs::remove_file(&config).unwrap();
        let backup = dir.path().join("backup");
        let errors = [
            Federation::open(&folder, clock.clone()).err().unwrap(),
            Federation::create(&folder, &founding, &clock).unwrap_err(),
            crate::backup::restore(&backup, &folder, &clock).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, OpenError::Unfinished(_)), "{error}");
            let line = error.to_string();
            assert!(line.contains("fed: ") && line.contains("remove this folder and do it again"), "{line}");
        }
        // Nothing was touched: with its configuration back it is a federation again.
        std::fs::write(&config, text).unwrap();
        assert!(Federation::open(&folder, clock).is_ok());
    }
}
