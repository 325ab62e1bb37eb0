//! `somnus-client`: the command line around [`somnus_client`].

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use somnus_client::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If even that cannot be written, the exit code has to do.
            let _ = writeln!(io::stderr(), "somnus-client: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The chain of causes in one line. Many of our errors already say their cause; nothing is said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line
}
