//! What a reader of a page would find fault with.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::{Browser, Medium, VIEWS, markup};

/// The rules, each explained where it is.
const JUDGE: &str = include_str!("judge.js");

/// The tree that a browser made of a page, spelled as [`markup::Markup::tree`] is.
const TREE: &str = include_str!("tree.js");

/// What was found in one page.
#[derive(Debug, Default)]
pub struct Look {
    /// What should not be, with view and rule; empty for a page that is as it should be.
    pub faults: Vec<String>,
    /// Names of the axes that the page shows.
    pub axes: Vec<String>,
    /// Pieces of text that were measured, over all views.
    pub texts: usize,
}

/// What [`JUDGE`] returns.
#[derive(Deserialize)]
struct Judgement {
    faults: Vec<String>,
    axes: Vec<String>,
    texts: usize,
}

/// Looks at a page in every view and leaves it and pictures of it under `name`.
///
/// # Panics
/// When the browser dies or the disk is full.
pub fn look(browser: &mut Browser, name: &str, page: &str) -> Look {
    let markup = markup::read(page);
    let mut look = Look { faults: markup.faults, ..Look::default() };
    keep(&format!("{name}.html"), page.as_bytes());
    for view in VIEWS {
        let asked = browser.open(page, view).expect("the page opens");
        look.faults.extend(repaired(&markup.tree, &browser.evaluate(TREE).expect("a tree")));
        look.faults.extend(asked.into_iter().map(|url| format!("{}: asks for {url}", view.name())));
        let picture = browser.picture().expect("a picture");
        keep(&format!("{name}-{}.png", view.name()), &picture);
        if view.medium == Medium::Print && !view.dark {
            keep(&format!("{name}.pdf"), &browser.paper().expect("paper"));
        }
        let paper = view.medium == Medium::Print;
        let judge = format!("({JUDGE})({}, {paper})", view.width());
        let judgement = browser.evaluate(&judge).expect("the page can be judged");
        let judgement: Judgement = serde_json::from_value(judgement).expect("a judgement");
        look.faults.extend(judgement.faults.iter().map(|fault| format!("{}: {fault}", view.name())));
        look.texts += judgement.texts;
        look.axes = judgement.axes;
    }
    look
}

/// Where a browser had to understand a page otherwise than it is written: what the standard calls a parse error of the tree.
fn repaired(written: &[String], built: &Value) -> Option<String> {
    let built: Vec<&str> = built.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let written: Vec<String> = written.iter().map(|name| name.to_lowercase()).collect();
    let longest = written.len().max(built.len());
    let at = (0..longest).find(|&at| {
        written.get(at).map(String::as_str) != built.get(at).map(|name| name.to_lowercase()).as_deref()
    })?;
    let near = at.saturating_sub(3);
    Some(format!(
        "not HTML: written {:?}, built {:?}",
        &written[near..written.len().min(at + 3)],
        &built[near..built.len().min(at + 3)]
    ))
}

fn keep(file: &str, bytes: &[u8]) {
    let dir = pictures();
    std::fs::create_dir_all(&dir).expect("a folder for pictures");
    std::fs::write(dir.join(file), bytes).expect("a picture on the disk");
}

/// `target/pages`, wherever the running test was built.
#[must_use]
pub fn pictures() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    // target / profile / deps / test
    test.ancestors().nth(3).map(|target| target.join("pages")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(style: &str, body: &str) -> String {
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>t</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{style}</style></head>\
             <body>{body}</body></html>"
        )
    }

    const AXIS: &str = "<figure><svg role=\"img\" aria-label=\"axis: time (h)\" width=\"300\" height=\"60\">\
        <text class=\"tick\" x=\"20\" y=\"20\">1</text><text class=\"tick\" x=\"60\" y=\"20\">2</text>\
        <text x=\"40\" y=\"50\">time (h)</text></svg></figure>";

    /// Each rule on a page that breaks it, and on one that does not.
    #[test]
    fn every_fault_is_found_and_nothing_else() {
        let Some(mut browser) = Browser::launch("every_fault_is_found_and_nothing_else") else { return };
        let good = look(&mut browser, "judge-good", &page("", &format!("<p>text</p>{AXIS}")));
        assert_eq!(good.faults, Vec::<String>::new());
        assert_eq!((good.axes, good.texts), (vec!["time (h)".to_owned()], 4 * VIEWS.len()));

        let broken: [(&str, &str, String); 15] = [
            ("wider than", "", "<div style=\"width:2000px\">x</div>".into()),
            ("outside", "", "<p style=\"position:absolute;left:-9px\">text</p>".into()),
            ("outside its figure", "", AXIS.replace("x=\"20\"", "x=\"-30\"")),
            ("cut off", "", "<p style=\"overflow:hidden;width:20px\">Unbreakable</p>".into()),
            ("overlap", "", AXIS.replace("x=\"60\"", "x=\"22\"")),
            ("unit", "", AXIS.replace("(h)", "")),
            ("is not shown", "", AXIS.replace(">time (h)<", ">x<")),
            ("small", "p { font-size: 8px }", "<p>text</p>".into()),
            ("small", "", "<svg role=\"img\" aria-label=\"a\" viewBox=\"0 0 4000 90\"><text y=\"50\">a</text></svg>".into()),
            ("contrast", "p { color: #999 }", "<p>text</p>".into()),
            ("contrast", "p { opacity: .5 }", "<p>text</p>".into()),
            (
                "contrast",
                "",
                "<svg role=\"img\" aria-label=\"a\"><rect width=\"90\" height=\"90\" fill=\"#333\"/><text x=\"9\" y=\"20\">a</text></svg>".into(),
            ),
            ("no name", "", "<svg height=\"9\"></svg>".into()),
            ("asks for", "p { background: url(file:///nowhere.png) }", "<p>text</p>".into()),
            ("not HTML", "", "<table><p>text</p></table>".into()),
        ];
        for (fault, style, body) in broken {
            let found = look(&mut browser, "judge-broken", &page(style, &body)).faults;
            assert!(found.iter().any(|one| one.contains(fault)), "{fault} in {body}: {found:?}");
        }
        // What a screen may scroll is lost on paper.
        let scrolled = "<div style=\"overflow-x:auto\"><p style=\"width:900px\">text</p></div>";
        let found = look(&mut browser, "judge-broken", &page("", scrolled)).faults;
        assert!(!found.is_empty() && found.iter().all(|one| one.starts_with("print")), "{found:?}");
    }
}
