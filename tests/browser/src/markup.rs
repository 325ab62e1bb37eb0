//! A page as the HTML standard reads it: what its tokenizer calls an error, ids, what reaches out of the page, and the tree
//! that its tags spell.

use std::collections::BTreeSet;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, StartTag, Token, Tokenizer};

/// Attributes that name something elsewhere.
const REACHES: [&str; 6] = ["src", "srcset", "data", "poster", "action", "background"];
/// Elements that have no end.
const VOID: [&str; 7] = ["meta", "br", "hr", "col", "img", "input", "wbr"];

/// A page that was read.
#[derive(Debug, Default)]
pub struct Markup {
    /// What a validator would find; empty for a page that is as it should be.
    pub faults: Vec<String>,
    /// Tags and texts in order, `p` `#text` `/p`. A browser that had to repair nothing builds the same tree.
    pub tree: Vec<String>,
    ids: BTreeSet<String>,
}

/// Reads a page.
#[must_use]
pub fn read(page: &str) -> Markup {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut markup = Markup::default();
    let mut typed = false;
    let mut open: Vec<String> = Vec::new();
    for token in Tokenizer::new_with_emitter(page, emitter).flatten() {
        match token {
            Token::Error(error) => markup.faults.push(format!("not HTML: {}", *error)),
            Token::Doctype(doctype) => typed = text(&doctype.name) == "html" && !doctype.force_quirks,
            Token::StartTag(tag) => {
                let name = text(&tag.name);
                markup.attributes(&name, &tag);
                markup.tree.push(name.clone());
                if VOID.contains(&name.as_str()) || tag.self_closing {
                    markup.tree.push(format!("/{name}"));
                } else {
                    open.push(name);
                }
            }
            Token::EndTag(tag) => {
                let name = text(&tag.name);
                if open.pop().as_ref() != Some(&name) {
                    markup.faults.push(format!("not HTML: </{name}> closes what is not open"));
                }
                markup.tree.push(format!("/{name}"));
            }
            Token::String(string) => {
                let string = text(&string);
                if open.last().is_some_and(|name| name == "style") {
                    markup.sheet(&string);
                }
                if !string.trim().is_empty() && markup.tree.last().is_none_or(|last| last != "#text") {
                    markup.tree.push("#text".into());
                }
            }
            Token::Comment(_) => {}
        }
    }
    markup.faults.extend(open.into_iter().map(|name| format!("not HTML: <{name}> is left open")));
    if !typed {
        markup.faults.push("not HTML: no <!DOCTYPE html>".into());
    }
    if !markup.tree.iter().any(|name| name == "title") {
        markup.faults.push("no <title>".into());
    }
    markup
}

impl Markup {
    fn attributes(&mut self, element: &str, tag: &StartTag<()>) {
        let has = |name: &str| tag.attributes.keys().any(|key| text(key) == name);
        for (name, value) in &tag.attributes {
            let (name, value) = (text(name), text(value));
            // The names of SVG's namespaces look like addresses and are none.
            let away = (value.contains("://") || value.starts_with("//")) && !name.starts_with("xmlns");
            if away || REACHES.contains(&name.as_str()) {
                self.faults.push(format!("reaches out: <{element} {name}={value:?}>"));
            }
            if name == "style" {
                self.sheet(&value);
            }
            if name == "id" && !self.ids.insert(value.clone()) {
                self.faults.push(format!("the id {value:?} is there twice"));
            }
        }
        if element == "script" || element == "link" {
            self.faults.push(format!("reaches out: <{element}>"));
        }
        for (of, needed) in [("img", "alt"), ("html", "lang")] {
            if element == of && !has(needed) {
                self.faults.push(format!("<{of}> without {needed}"));
            }
        }
    }

    fn sheet(&mut self, css: &str) {
        for reach in ["@import", "://", "url("] {
            if css.contains(reach) {
                self.faults.push(format!("reaches out: {reach} in a style"));
            }
        }
    }
}

fn text(bytes: &HtmlString) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> String {
        format!("<!DOCTYPE html><html lang=\"en\"><head><title>t</title></head><body>{body}</body></html>")
    }

    #[test]
    fn a_page_that_is_not_html_is_found_out() {
        let good = read(&page("<p id=\"a\">x<br>y</p><p id=\"b\"></p><a href=\"a.html\">a</a>"));
        assert_eq!(good.faults, [""; 0]);
        assert_eq!(
            good.tree[6..],
            [
                "body", "p", "#text", "br", "/br", "#text", "/p", "p", "/p", "a", "#text", "/a", "/body",
                "/html"
            ]
        );
        for broken in [
            "<p><b></p></b>",
            "<p>",
            "</p>",
            "<p a=\"1\" a=\"2\"></p>",
            "<p a=\"1\"b=\"2\"></p>",
            "&nonsense;<p a=b\"></p>",
            "<p id=\"a\"></p><p id=\"a\"></p>",
            "<a href=\"https://example.org\">x</a>",
            "<img src=\"a.png\" alt=\"\">",
            "<style>a { background: url(x) }</style>",
            "<p style=\"background: url(x)\"></p>",
            "<script></script>",
        ] {
            assert!(!read(&page(broken)).faults.is_empty(), "{broken} passed");
        }
        assert!(!read("<p>x</p>").faults.is_empty());
    }
}
