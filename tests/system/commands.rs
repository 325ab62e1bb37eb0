//! Every command of ours that a document shows is one that the programs take: its words, its flags, and how many arguments.
//!
//! They are held against `--help`. Blocks that carry a marker are run besides: by `readme.rs`, `tools/follow.sh` and
//! `tools/first-report.sh`.

use std::collections::BTreeMap;

use crate::book::pages;
use crate::harness::{good, program};

const PROGRAMS: [&str; 3] = ["somnus-sim", "somnus-server", "somnus-client"];
/// What may stand before a command of ours, besides variables.
const BEFORE: [&str; 7] = ["sudo", "do", "then", "until", "if", "exec", "(echo"];

/// Where commands stand.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Among lines to type: it is complete.
    Block,
    /// Within a sentence, which may name `PROGRAM COMMAND` alone.
    Sentence,
}

#[test]
fn every_command_in_the_documents_is_one_that_the_programs_take() {
    let mut helps = BTreeMap::new();
    let (mut checked, mut wrong) = (0, Vec::new());
    for (page, text) in pages() {
        for (place, line) in commands(&text) {
            checked += 1;
            if let Err(why) = fits(&line, place, &mut helps) {
                wrong.push(format!("{page}: `{}`: {why}", line.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 80, "only {checked} commands were found");
}

/// The commands of our programs on a page, as words.
fn commands(text: &str) -> Vec<(Place, Vec<String>)> {
    let mut found = Vec::new();
    let mut sentence = String::new();
    let mut block = String::new();
    for line in text.lines().chain([""]) {
        if let Some(line) = line.strip_prefix("    ") {
            block += line.trim();
            match block.strip_suffix('\\') {
                Some(begun) => block = format!("{begun} "),
                None => shell(&std::mem::take(&mut block), Place::Block, &mut found),
            }
        } else if line.is_empty() || line.starts_with('|') {
            // A span may be broken over lines, but not over paragraphs; a table has a paragraph a line.
            sentence += line;
            for span in std::mem::take(&mut sentence).split('`').skip(1).step_by(2) {
                if PROGRAMS.iter().any(|program| span.starts_with(&format!("{program} ")))
                    || span.starts_with("cargo run")
                {
                    shell(span, Place::Sentence, &mut found);
                }
            }
        } else {
            sentence += line.trim();
            sentence.push(' ');
        }
    }
    found
}

/// The commands of one line, those in `$(..)` first.
fn shell(line: &str, place: Place, found: &mut Vec<(Place, Vec<String>)>) {
    let line = if line.starts_with('#') { "" } else { line.split(" # ").next().unwrap_or_default() };
    if let Some((before, rest)) = line.split_once("$(")
        && let Some((inner, after)) = rest.split_once(')')
        && !inner.starts_with('(')
    {
        shell(inner, place, found);
        return shell(&format!("{before}VALUE{after}"), place, found);
    }
    for command in line.split(['&', ';', '|']) {
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']).to_owned())
            .filter(|word| !word.contains('>'))
            .collect();
        if let Some(ours) = ours(&words) {
            found.push((place, ours));
        }
    }
}

/// The words from our program on, if it is a command of ours.
fn ours(words: &[String]) -> Option<Vec<String>> {
    if words.first().is_some_and(|word| word == "cargo") {
        let bin = words.iter().position(|word| word == "--bin")? + 1;
        let rest = words.iter().position(|word| word == "--")? + 1;
        return Some([&words[bin..=bin], &words[rest..]].concat());
    }
    let begin = words.iter().position(|word| PROGRAMS.contains(&word.as_str()))?;
    let before = &words[..begin];
    before
        .iter()
        .all(|word| BEFORE.contains(&word.as_str()) || word.contains('='))
        .then(|| words[begin..].to_vec())
}

/// What `--help` says of one command.
struct Help {
    commands: Vec<String>,
    /// Whether a value follows.
    flags: BTreeMap<String, bool>,
    needed: usize,
    most: usize,
}

impl Help {
    fn of(path: &[String]) -> Self {
        let text = good(program(&path[0]).args(&path[1..]).arg("--help"));
        let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let commands = commands.take_while(|line| !line.is_empty()).map(str::trim_start);
        let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        // The last part; where a flag's values are explained, it has empty lines.
        let options = text.lines().skip_while(|line| *line != "Options:").map(str::trim_start);
        let flags =
            options.filter(|line| line.starts_with("--") || line.starts_with("-h")).flat_map(|line| {
                let names = line.split("  ").next().unwrap_or_default();
                let value = names.contains('<');
                let names = names.split([',', ' ']).filter(|name| name.starts_with('-'));
                names.map(move |name| (name.to_owned(), value)).collect::<Vec<_>>()
            });
        let flags: BTreeMap<String, bool> = flags.collect();
        let usage = text.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
        let words: Vec<&str> = usage.split_whitespace().collect();
        let arguments: Vec<&str> = words
            .windows(2)
            .filter(|pair| !flags.get(pair[0]).is_some_and(|value| *value) && pair[1] != "[OPTIONS]")
            .map(|pair| pair[1])
            .filter(|word| word.starts_with(['<', '[']) && !word.contains("COMMAND"))
            .collect();
        Self {
            commands: commands.map(first).collect(),
            flags,
            needed: arguments.iter().filter(|a| a.starts_with('<')).count(),
            most: if usage.contains("...") { usize::MAX } else { arguments.len() },
        }
    }
}

/// Whether the program takes it.
fn fits(words: &[String], place: Place, helps: &mut BTreeMap<Vec<String>, Help>) -> Result<(), String> {
    let mut path = vec![words[0].clone()];
    let mut rest = words[1..].iter();
    let mut arguments = 0;
    while let Some(word) = rest.next() {
        let help = helps.entry(path.clone()).or_insert_with_key(|path| Help::of(path));
        if let Some((flag, value)) = help.flags.get_key_value(word.split('=').next().unwrap_or_default()) {
            if *value && !word.contains('=') && rest.next().is_none() {
                return Err(format!("{flag} needs a value"));
            }
        } else if word.starts_with('-') {
            return Err(format!("{} has no {word}", path.join(" ")));
        } else if help.commands.contains(word) {
            path.push(word.clone());
        } else if help.commands.is_empty() || help.most > 0 {
            arguments += 1;
        } else {
            return Err(format!("{} has no command {word}", path.join(" ")));
        }
    }
    let help = helps.entry(path.clone()).or_insert_with_key(|path| Help::of(path));
    let enough = place == Place::Sentence || arguments >= help.needed;
    if !enough || arguments > help.most {
        return Err(format!("{arguments} arguments, {} needed", help.needed));
    }
    Ok(())
}
