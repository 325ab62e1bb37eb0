//! Renders the pages of a run anew from its `summary.json`:
//! `cargo run -p somnus-report --example render -- runs/demo/summary.json NEW_FOLDER`.

use somnus_report::{Summary, table, write_run};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [summary, folder] = arguments.as_slice() else {
        return Err("usage: render SUMMARY.json FOLDER".into());
    };
    let text = std::fs::read_to_string(summary).map_err(|error| format!("cannot read {summary}: {error}"))?;
    let summary = Summary::from_json(&text)?;
    write_run(Path::new(folder), &summary)?;
    print!("{}", table::run(&summary));
    Ok(())
}
