//! The types of configuration files as their source says it: keys, kinds of values, and what the comments promise.
//!
//! It reads formatted source line by line, which is all that a reference needs; what it does not understand it names.

use std::collections::BTreeMap;
use std::path::Path;

/// A type that is read from a file.
pub(crate) struct Shape {
    /// The key that tells an enum's variants apart, if it is not the variant's name itself.
    pub(crate) tag: Option<String>,
    pub(crate) entries: Entries,
    /// There is another type of this name.
    pub(crate) ambiguous: bool,
}

pub(crate) enum Entries {
    Fields(Vec<Field>),
    Variants(Vec<Variant>),
    /// Made from a text.
    Text,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) doc: String,
    /// As the source has it, `Option<u32>`.
    pub(crate) kind: String,
    /// Its keys are those of the table it is in.
    pub(crate) flat: bool,
}

pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Nothing,
    One(String),
    Fields(Vec<Field>),
}

/// Every such type in the folders, by its name.
pub(crate) fn read(folders: &[&Path]) -> BTreeMap<String, Shape> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for folder in folders {
        let mut files = Vec::new();
        sources(folder, &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            for (name, shape) in of_file(&text) {
                let other = shapes.remove(&name);
                shapes.insert(name, Shape { ambiguous: other.is_some(), ..shape });
            }
        }
    }
    shapes
}

pub(crate) fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    let mut here: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    here.sort();
    for path in here {
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

pub(crate) fn of_file(text: &str) -> Vec<(String, Shape)> {
    let mut shapes = Vec::new();
    let mut attributes = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[") {
            attributes += line;
            continue;
        }
        let item = ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|seen| line.strip_prefix(seen));
        let item = item.unwrap_or(line).strip_suffix(" {");
        let named = item.and_then(|i| Some((i.starts_with("struct "), i.split_once(' ')?.1)));
        if let Some((is_struct, name)) = named
            && attributes.contains("Deserialize")
            && (is_struct || item.is_some_and(|i| i.starts_with("enum ")))
        {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
            let entries = if attribute(&attributes, "from").is_some() {
                Entries::Text
            } else if is_struct {
                Entries::Fields(fields(&body, 4))
            } else {
                Entries::Variants(variants(&body, attribute(&attributes, "rename_all").as_deref()))
            };
            let tag = attribute(&attributes, "tag");
            shapes.push((name.to_owned(), Shape { tag, entries, ambiguous: false }));
        }
        if !line.starts_with("//") {
            attributes.clear();
        }
    }
    shapes
}

/// `key = "value"` of a serde attribute.
fn attribute(attributes: &str, key: &str) -> Option<String> {
    let (_, rest) = attributes.split("serde(").find_map(|part| part.split_once(&format!("{key} = \"")))?;
    Some(rest.split('"').next()?.to_owned())
}

fn fields(body: &[&str], indent: usize) -> Vec<Field> {
    let (mut found, mut doc, mut attributes) = (Vec::new(), String::new(), String::new());
    for line in body.iter().map(|line| line.get(indent..).unwrap_or_default()) {
        if let Some(text) = line.strip_prefix("///") {
            doc += text;
        } else if line.starts_with("#[") {
            attributes += line;
        } else if let Some((name, kind)) = line.trim_end_matches(',').split_once(": ")
            && !line.starts_with(' ')
        {
            let name = name.rsplit(' ').next().unwrap_or(name).to_owned();
            found.push(Field {
                name: attribute(&attributes, "rename").unwrap_or(name),
                doc: std::mem::take(&mut doc).trim().to_owned(),
                kind: kind.to_owned(),
                flat: attributes.contains("flatten"),
            });
            attributes.clear();
        }
    }
    found
}

fn variants(body: &[&str], case: Option<&str>) -> Vec<Variant> {
    let (mut found, mut doc, mut renamed) = (Vec::new(), String::new(), None);
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        let line = line.get(4..).unwrap_or_default();
        if let Some(text) = line.strip_prefix("///") {
            doc += text;
        } else if line.starts_with("#[") {
            renamed = attribute(line, "rename").or(renamed);
        } else if line.starts_with(char::is_alphabetic) {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
            let content = match line[name.len()..].trim_end_matches(',') {
                "" | " {}" => Content::Nothing,
                " {" => {
                    let inner: Vec<&str> =
                        lines.by_ref().take_while(|line| **line != "    },").copied().collect();
                    Content::Fields(fields(&inner, 8))
                }
                rest => Content::One(
                    rest.strip_prefix('(')
                        .and_then(|r| r.strip_suffix(')'))
                        .unwrap_or_else(|| panic!("`{line}`: which kind of variant?"))
                        .to_owned(),
                ),
            };
            found.push(Variant {
                name: renamed.take().unwrap_or_else(|| in_case(&name, case)),
                doc: std::mem::take(&mut doc).trim().to_owned(),
                content,
            });
        }
    }
    found
}

fn in_case(name: &str, case: Option<&str>) -> String {
    let separated = |separator: &str| {
        let mut text = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !text.is_empty() {
                text += separator;
            }
            text.extend(c.to_lowercase());
        }
        text
    };
    match case {
        None => name.to_owned(),
        Some("kebab-case") => separated("-"),
        Some("snake_case") => separated("_"),
        Some("lowercase") => name.to_lowercase(),
        Some(other) => panic!("{name}: what does {other} do?"),
    }
}
