//! docs/configuration.md is what the commented files and the types say. `SOMNUS_WRITE=1` writes it anew.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::types::{self, Content, Entries, Field, Shape};

const HEAD: &str = "# Configuration reference

Every key of every file, made from the commented files that `somnus-server init` and `somnus-client enrol` write and from the types that
read them. A test keeps it so; `SOMNUS_WRITE=1 cargo test --release --workspace --test system -- configuration` writes it anew.

An unknown key is refused, with its line and the nearest key that exists; so is a value that makes no sense. Whole examples are in
[configs/](../configs).
";

/// Values that are no tables, as people would say it.
const WORDS: [(&str, &str); 8] = [
    ("bool", "`true` or `false`"),
    ("f32", "number"),
    ("f64", "number"),
    ("u32", "whole number"),
    ("u64", "whole number"),
    ("usize", "whole number"),
    ("String", "text"),
    ("ClientId", "text"),
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_configuration_reference_is_what_the_files_and_the_types_say() {
    let folders = ["common/protocol/src", "common/model/src", "common/signals/src", "simulations/src"];
    let folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let shapes = types::read(&folders.iter().map(PathBuf::as_path).collect::<Vec<&Path>>());
    let mut page = HEAD.to_owned();
    for (file, source, more) in [
        (
            "server.toml",
            "server/src/server.toml",
            "In the folder that `somnus-server init` makes; the server reads it when it starts. `[federation]` has more keys than \
             these: they are [below](#federation).",
        ),
        (
            "client.toml",
            "client/src/client.toml",
            "In the folder that `somnus-client enrol` makes; the hub reads it when it starts.",
        ),
    ] {
        let text = std::fs::read_to_string(root().join(source)).expect("a commented file");
        let _ = write!(page, "\n## {file}\n\n{more}\n{}", of_file(&text));
    }
    let mut told = BTreeMap::new();
    for (title, about, name, path) in [
        (
            "federation",
            "All keys of `[federation]`, of a server and of a scenario.",
            "FederationConfig",
            "federation",
        ),
        ("Scenarios", "What `somnus-sim run` reads; [configs/sim](../configs/sim) has many.", "Scenario", ""),
        (
            "Pretraining",
            "What `somnus-sim pretrain` reads, for example [pretrain.toml](../configs/sim/pretrain.toml).",
            "PretrainConfig",
            "",
        ),
    ] {
        let _ = write!(page, "\n## {title}\n\n{about}\n");
        page += &of_type(name, path, &shapes, &mut told);
    }

    let path = root().join("docs/configuration.md");
    if std::env::var_os("SOMNUS_WRITE").is_some() {
        std::fs::write(&path, &page).expect("docs/configuration.md");
    }
    let there = std::fs::read_to_string(&path).expect("docs/configuration.md");
    let differs = there.lines().zip(page.lines()).position(|(a, b)| a != b);
    assert!(
        there == page,
        "docs/configuration.md, from line {}: run this test with SOMNUS_WRITE=1",
        differs.map_or(there.lines().count().min(page.lines().count()), |n| n) + 1
    );
}

#[test]
fn the_commented_files_have_every_key_that_the_programs_read() {
    for (file, sources) in [
        ("server/src/server.toml", &["server/src/config.rs"][..]),
        ("client/src/client.toml", &["client/src/config.rs", "client/src/limits/config.rs"][..]),
    ] {
        let text = std::fs::read_to_string(root().join(file)).expect("a commented file");
        let mut keys = 0;
        for source in sources {
            let source = std::fs::read_to_string(root().join(source)).expect("a source file");
            for (name, shape) in types::of_file(&source) {
                let Entries::Fields(fields) = shape.entries else { continue };
                for Field { name: key, .. } in fields {
                    let told = [format!("\n{key} = "), format!("\n# {key} = "), format!("\n[{key}]\n")];
                    assert!(
                        told.iter().any(|told| text.contains(told)),
                        "{file} does not tell `{key}` of {name}"
                    );
                    keys += 1;
                }
            }
        }
        assert!(keys >= 15, "{file}: only {keys} keys were found");
    }
}

/// A commented file as tables of its keys.
fn of_file(text: &str) -> String {
    let (mut page, mut told, mut open) = (String::new(), String::new(), false);
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let word = bare.split(' ').next().unwrap_or_default();
        let is_key = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if let Some((key, value)) = bare.split_once(" = ").filter(|(key, _)| is_key && *key == word) {
            if !open {
                page += "\n| key | default, or an example | |\n|---|---|---|\n";
                open = true;
            }
            let value = if value.chars().any(char::is_uppercase) && !line.starts_with('#') {
                "written by the command".to_owned()
            } else {
                format!("`{value}`")
            };
            let _ = writeln!(page, "| `{key}` | {value} | {} |", cell(&std::mem::take(&mut told)));
        } else if bare.starts_with('[') && bare.ends_with(']') && !line.starts_with('#') {
            let _ = write!(page, "\n**`{bare}`**");
            if !told.is_empty() {
                let _ = write!(page, " {}", std::mem::take(&mut told));
            }
            page.push('\n');
            open = false;
        } else if line.is_empty() {
            if !told.is_empty() {
                let _ = write!(page, "\n{}\n", std::mem::take(&mut told));
                open = false;
            }
        } else {
            if !told.is_empty() {
                told.push(' ');
            }
            told += bare;
        }
    }
    assert!(told.is_empty(), "nothing follows: {told}");
    page
}

/// A type and all that it is made of, a heading for each table.
fn of_type(
    name: &str,
    path: &str,
    shapes: &BTreeMap<String, Shape>,
    told: &mut BTreeMap<String, String>,
) -> String {
    let mut page = String::new();
    let mut todo = VecDeque::from([(name.to_owned(), path.to_owned())]);
    told.insert(name.to_owned(), path.to_owned());
    while let Some((name, path)) = todo.pop_front() {
        let mut reference = Reference { shapes, told, todo: &mut todo };
        if !page.is_empty() {
            let _ = write!(page, "\n### {path}\n");
        }
        page.push('\n');
        match &shapes[&name].entries {
            Entries::Fields(fields) => {
                page += "| key | value | |\n|---|---|---|\n";
                for field in fields {
                    let inner = join(&path, if field.flat { "kind" } else { &field.name });
                    let kind = reference.kind(&field.kind, &inner);
                    let doc = reference.meaning(field);
                    let key =
                        if field.flat { "and its keys:".to_owned() } else { format!("`{}`", field.name) };
                    let _ = writeln!(page, "| {key} | {kind} | {doc} |");
                }
            }
            Entries::Variants(variants) => {
                page += "| value | |\n|---|---|\n";
                let tag = shapes[&name].tag.as_deref();
                for variant in variants {
                    let inner = join(&path, &variant.name);
                    let (keys, more) = match &variant.content {
                        Content::Nothing => (String::new(), String::new()),
                        Content::One(kind) => {
                            let kind = reference.kind(kind, &inner);
                            (
                                if kind.contains('[') { "..".to_owned() } else { String::new() },
                                format!(" Value: {kind}."),
                            )
                        }
                        Content::Fields(fields) => {
                            let names: Vec<String> =
                                fields.iter().map(|f| format!("{} = ..", f.name)).collect();
                            let told = fields.iter().map(|f| {
                                let kind = reference.kind(&f.kind, &join(&inner, &f.name));
                                format!("<br>`{}`, {kind}: {}", f.name, reference.meaning(f))
                            });
                            (names.join(", "), told.collect())
                        }
                    };
                    let value = written(&variant.name, tag, &variant.content, &keys);
                    let _ = writeln!(page, "| `{value}` | {}{more} |", cell(&variant.doc));
                }
            }
            Entries::Text => unreachable!("a text has no table"),
        }
    }
    page
}

/// How a variant is written in a file.
fn written(name: &str, tag: Option<&str>, content: &Content, keys: &str) -> String {
    match (tag, content) {
        (None, Content::Nothing) => format!("\"{name}\""),
        (None, Content::One(_)) if keys.is_empty() => format!("{{ {name} = .. }}"),
        (None, _) => format!("{{ {name} = {{ {keys} }} }}"),
        (Some(tag), _) if keys.is_empty() => format!("{{ {tag} = \"{name}\" }}"),
        (Some(tag), _) => format!("{{ {tag} = \"{name}\", {keys} }}"),
    }
}

struct Reference<'a> {
    shapes: &'a BTreeMap<String, Shape>,
    /// Types that have a heading, and which.
    told: &'a mut BTreeMap<String, String>,
    /// Types that will have one: name and path.
    todo: &'a mut VecDeque<(String, String)>,
}

impl Reference<'_> {
    /// What a value is, with a link to the table that it is.
    fn kind(&mut self, kind: &str, path: &str) -> String {
        let inner = |outer: &str| kind.strip_prefix(outer).and_then(|k| k.strip_suffix('>'));
        if let Some(optional) = inner("Option<").or(inner("Box<")) {
            return self.kind(optional, path);
        }
        if let Some(item) = inner("Vec<") {
            let item = self.kind(item, path);
            let plural = if item.ends_with(['r', 't']) { "s" } else { "" };
            return format!("list of {item}{plural}");
        }
        if let Some((key, value)) = inner("BTreeMap<").and_then(|both| both.split_once(", ")) {
            let (key, value) = (self.kind(key, path), self.kind(value, path));
            return format!("table: {key} = {value}");
        }
        if let Some((_, word)) = WORDS.iter().find(|(name, _)| *name == kind) {
            return (*word).to_owned();
        }
        if kind == "Map<String, Value>" {
            return "table".to_owned();
        }
        let name = kind.rsplit("::").next().unwrap_or(kind);
        let shape = self.shapes.get(name).unwrap_or_else(|| panic!("`{path}`: what is a {kind}?"));
        match &shape.entries {
            Entries::Text => return "text".to_owned(),
            Entries::Variants(variants)
                if variants.iter().all(|v| matches!(v.content, Content::Nothing)) && shape.tag.is_none() =>
            {
                let names: Vec<String> = variants.iter().map(|v| format!("`\"{}\"`", v.name)).collect();
                return names.join(", ");
            }
            _ => {}
        }
        if !self.told.contains_key(name) {
            assert!(!shape.ambiguous, "`{path}`: there are two types {name}");
            assert!(!self.told.values().any(|p| p == path), "two tables are called {path}");
            self.told.insert(name.to_owned(), path.to_owned());
            self.todo.push_back((name.to_owned(), path.to_owned()));
        }
        let heading = &self.told[name];
        format!("[{heading}](#{})", anchor(heading))
    }

    /// The field's comment, and those of its values if they are only words.
    fn meaning(&self, field: &Field) -> String {
        let mut text = cell(&field.doc);
        let kind = field.kind.trim_start_matches("Option<").trim_end_matches('>');
        if let Some(Shape { tag: None, entries: Entries::Variants(variants), .. }) = self.shapes.get(kind)
            && variants.iter().all(|v| matches!(v.content, Content::Nothing))
        {
            for variant in variants {
                let _ = write!(text, "<br>`{}`: {}", variant.name, cell(&variant.doc));
            }
        }
        text
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What a link to a heading ends with.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '))
        .collect::<String>()
        .replace(' ', "-")
}

/// A comment in a table: no links into the source, nothing that ends the cell.
fn cell(doc: &str) -> String {
    let mut text = String::new();
    let mut rest = doc;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").expect("a link ends");
        if let (Some(sentence), Some(next)) = (before.strip_suffix(" See "), after.strip_prefix('.')) {
            text += sentence;
            rest = next;
        } else {
            text += before;
            let _ = write!(text, "`{}`", name.rsplit("::").next().unwrap_or(name));
            rest = after;
        }
    }
    (text + rest).replace('|', "\\|")
}
