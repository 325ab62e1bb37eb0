//! Writes what comes with both programs besides themselves, from their command lines: manual pages and completions.
//!
//! `cargo run --release --example pages -- FOLDER` makes `FOLDER/man/man1`, and below `bash-completion`,
//! `zsh` and `fish` the places in which these shells look under `share`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

fn main() -> io::Result<()> {
    let out: PathBuf = env::args_os().nth(1).ok_or_else(|| io::Error::other("which folder?"))?.into();
    for command in [somnus_client::cli::Cli::command(), somnus_server::cli::Cli::command()] {
        let man = out.join("man/man1");
        fs::create_dir_all(&man)?;
        clap_mangen::generate_to(command.clone(), &man)?;
        completions(command, &out)?;
    }
    Ok(())
}

fn completions(mut command: Command, out: &Path) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let places = [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Zsh, format!("zsh/site-functions/_{name}")),
        (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
    ];
    for (shell, place) in places {
        let path = out.join(place);
        fs::create_dir_all(path.parent().unwrap_or(out))?;
        generate(shell, &mut command, &name, &mut fs::File::create(path)?);
    }
    Ok(())
}
