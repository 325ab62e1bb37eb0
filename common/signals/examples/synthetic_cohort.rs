//! Writes a synthetic cohort as a sleep-accel folder: `synthetic_cohort DIR [PEOPLE] [SEED]`.

use std::error::Error;
use std::path::PathBuf;

use somnus_signals::sleep_accel;
use somnus_signals::synthetic::{self, SyntheticConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: synthetic_cohort DIR [PEOPLE] [SEED]")?);
    let mut config = SyntheticConfig::default();
    if let Some(people) = args.next() {
        config.people = people.parse()?;
    }
    if let Some(seed) = args.next() {
        config.seed = seed.parse()?;
    }
    for recording in synthetic::recordings(&config) {
        sleep_accel::write(&dir, &recording)?;
    }
    println!("{} people in {}", config.people, dir.display());
    Ok(())
}
