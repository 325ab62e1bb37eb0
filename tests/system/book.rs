//! The book hangs together: every page is in it, links lead somewhere, and errors are those that the programs print.

use std::path::{Path, PathBuf};

use crate::types::sources;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The documents that people read, with their text; paths are relative to the root.
pub(crate) fn pages() -> Vec<(String, String)> {
    let book = std::fs::read_dir(root().join("docs")).expect("docs").flatten();
    let mut pages: Vec<String> = book
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "md"))
        .map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()))
        .chain(["README.md", "CONTRIBUTING.md", "models/README.md"].map(str::to_owned))
        .collect();
    pages.sort();
    pages.into_iter().map(|page| (text(&page), page)).map(|(text, page)| (page, text)).collect()
}

fn text(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The links of a page: words and target.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices("](").filter_map(|(at, _)| {
        let words = text[..at].rsplit('[').next()?;
        Some((words, text[at + 2..].split(')').next()?))
    })
}

#[test]
fn the_summary_names_every_page_by_its_heading() {
    let summary = text("docs/SUMMARY.md");
    let mut named: Vec<String> = links(&summary).map(|(_, page)| format!("docs/{page}")).collect();
    for (words, page) in links(&summary) {
        let heading = text(&format!("docs/{page}")).lines().next().unwrap_or_default().to_owned();
        assert_eq!(heading, format!("# {words}"), "docs/SUMMARY.md calls {page} by another name");
    }
    named.sort();
    let there: Vec<String> = pages()
        .into_iter()
        .map(|(page, _)| page)
        .filter(|page| page.starts_with("docs/") && page != "docs/SUMMARY.md")
        .collect();
    assert_eq!(named, there, "docs/SUMMARY.md and the pages of docs/");
}

#[test]
fn every_path_and_heading_that_the_documents_link_to_exists() {
    for (page, text) in pages() {
        let folder = root().join(&page).parent().expect("a folder").to_owned();
        for (_, link) in links(&text).filter(|(_, link)| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let there = path.exists() && (heading.is_empty() || headings(&path).iter().any(|h| h == heading));
            assert!(there, "{page} links to {link}, which is not there");
        }
    }
}

/// What links to the headings of a page end with.
fn headings(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).expect("a page");
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|words| {
            words
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

const TROUBLE: &str = "docs/troubleshooting.md";

/// The programs' sources as one text, without the breaks of long lines, and without marks that a page needs for itself.
fn programs(folders: &[&str]) -> String {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let all: String = files.iter().map(|file| std::fs::read_to_string(file).expect("a source")).collect();
    let mut text = String::new();
    let mut rest = all.as_str();
    while let Some((before, after)) = rest.split_once("\\\n") {
        text += before;
        rest = after.trim_start();
    }
    unmarked(&(text + rest).replace("\\\"", "\""))
}

fn unmarked(text: &str) -> String {
    text.replace('`', "")
}

#[test]
fn every_message_that_the_troubleshooting_quotes_is_printed_by_a_program() {
    let programs = programs(&[
        "client/src",
        "server/src",
        "simulations/src",
        "common/protocol/src",
        "common/signals/src",
        "common/model/src",
    ]);
    let page = text(TROUBLE);
    let cells =
        page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    let messages = cells.flat_map(|cell| cell.split('`').filter(|span| telling(span)));
    let pieces: Vec<&str> =
        messages.flat_map(|message| message.split('…')).map(bare).filter(|p| telling(p)).collect();
    let unsaid: Vec<_> = pieces.iter().filter(|piece| !programs.contains(**piece)).collect();
    assert!(unsaid.is_empty(), "{TROUBLE}: no program says {unsaid:?}");
    assert!(pieces.len() > 80, "only {} pieces of messages were found", pieces.len());
}

#[test]
fn every_error_of_the_programs_is_in_the_troubleshooting() {
    let page = unmarked(&text(TROUBLE));
    let programs = programs(&["client/src", "server/src", "simulations/src"]);
    let messages = programs
        .split("#[error(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    let mut checked = 0;
    let mut untold = Vec::new();
    for message in messages {
        let values = message.split('{').map(|piece| piece.split_once('}').map_or(piece, |(_, rest)| rest));
        let mut pieces =
            values.flat_map(|piece| piece.split(';')).map(bare).filter(|p| telling(p)).peekable();
        if pieces.peek().is_some() {
            checked += 1;
            if !pieces.any(|piece| page.contains(piece)) {
                untold.push(message);
            }
        }
    }
    assert!(untold.is_empty(), "{TROUBLE} does not have {untold:#?}");
    assert!(checked > 50, "only {checked} errors were found");
}

fn bare(piece: &str) -> &str {
    piece.trim_matches([' ', ',', ':', ';', '"', '(', ')'])
}

/// Whether there are words enough to know a message by.
fn telling(piece: &str) -> bool {
    piece.chars().filter(|c| c.is_alphabetic()).count() > 7
}
