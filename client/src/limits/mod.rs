//! What the machine's owner lets the hub use, and when: the `[limits]` of `client.toml`.
//!
//! Three kinds, and what each costs the federation:
//!
//! - **When** ([`guard`]: the trait and all of them; [`window`], [`power`], [`heat`], [`idle`]). While one of them binds and no
//!   round is open here, the hub is *away*: it hangs up, so that no server draws it into a round that it would decline. What
//!   is left of a masked round, its masks, takes no time worth a limit, and leaving would cost the others: that is finished.
//!   A guard that trips in the middle of a training makes it wait between two steps if it passes by itself (heat, other programs),
//!   and ends it otherwise ([`brake`]).
//! - **How much** ([`memory`], [`disk`]). Work that does not fit is declined before anything of it is fetched, and the hub
//!   stays away for [`MISFIT`], because the server's next round will hardly be smaller.
//! - **How fast** ([`cpu`]): a share of one processor, and a priority. Nobody is told.
//!
//! [`config`]: the checked table; [`reason`]: why not, in one sentence that the server gets to see too; [`watch`]: all guards
//! and the last word; [`misfit`], [`status`]: for people.
//!
//! Everything decides on what it is given: the hour comes with the call, and sensors are files below [`guard::Machine`].

use std::time::Duration;

pub mod brake;
pub mod config;
pub mod cpu;
pub mod disk;
pub mod guard;
pub mod heat;
pub mod idle;
pub mod memory;
pub mod misfit;
pub mod power;
pub mod reason;
pub mod status;
pub mod watch;
pub mod window;

pub use brake::Brake;
pub use config::Limits;
pub use guard::{Guard, Machine};
pub use reason::Reason;
pub use watch::{Verdict, Watch};

/// How often guards look.
pub const LOOK: Duration = Duration::from_secs(15);

/// How long a hub stays away from a federation whose work does not fit.
pub const MISFIT: Duration = Duration::from_secs(3600);

/// A mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
