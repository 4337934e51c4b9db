//! The frame of a page: search, the list of pages, and the way to the next one.

use super::links;
use super::live;
use super::markdown::Section;
use super::site_sources::SiteSource;
use crate::report::html::escape;

/// Policy of the pages: styles, scripts and pictures come from beside the page only; no network, no frames.
const POLICY: &str = "default-src 'none'; style-src 'self' file:; script-src 'self' file:; img-src 'self' file:; \
                      base-uri 'none'; form-action 'none'";

pub struct PageFrame<'a> {
    pub path: &'a str,
    pub title: &'a str,
    pub inside: &'a str,
    pub sections: &'a [Section],
}

type Groups = [(String, Vec<String>)];

pub fn page(page: &PageFrame, gathered: &SiteSource, groups: &Groups) -> String {
    let file = links::file(page.path);
    let root = "../".repeat(file.matches('/').count());
    let title = escape::text(page.title);
    let home = escape::text(&gathered.title("README.md"));
    let (policy, live) = if live::is_live(page.inside) {
        let parts = format!(
            "<link rel=\"stylesheet\" href=\"{root}live.css\">\n<script src=\"{root}live.js\" defer></script>\n"
        );
        (live::policy(), parts)
    } else {
        (POLICY.to_string(), String::new())
    };
    format!(
        "<!doctype html>\n<html lang=\"en\" data-root=\"{root}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"{root}site.css\">\n\
         <script src=\"{root}site.js\" defer></script>\n{live}</head>\n<body class=\"site\">\n\
         <header><label for=\"menu\">Pages</label><a href=\"{root}index.html\">{home}</a>\
         <div class=\"search\"><input type=\"search\" placeholder=\"Search: /\" aria-label=\"Search\" autocomplete=\"off\">\
         <ol hidden></ol></div></header>\n<input type=\"checkbox\" id=\"menu\">\n\
         <nav aria-label=\"Pages\">\n{}</nav>\n<main>\n{}{}</main>\n</body>\n</html>\n",
        list(page, gathered, groups),
        page.inside,
        turn(page, gathered, groups),
    )
}

/// Writes all pages in their groups, and the headings of this one.
fn list(page: &PageFrame, gathered: &SiteSource, groups: &Groups) -> String {
    let file = links::file(page.path);
    let mut out = String::new();
    for (name, paths) in groups {
        let item = |path: &String| {
            let link = links::link(&file, &links::file(path));
            let title = escape::text(&gathered.title(path));
            if path == page.path {
                format!("<li><a href=\"{link}\" aria-current=\"page\">{title}</a>{}</li>\n", headings(page))
            } else {
                format!("<li><a href=\"{link}\">{title}</a></li>\n")
            }
        };
        let items: String = paths.iter().map(item).collect();
        let open = if name != "Reference" || paths.iter().any(|path| path == page.path) { " open" } else { "" };
        out.push_str(&match name.as_str() {
            "" => format!("<ul>{items}</ul>\n"),
            name => format!("<details{open}><summary>{}</summary><ul>{items}</ul></details>\n", escape::text(name)),
        });
    }
    out
}

fn headings(page: &PageFrame) -> String {
    let below = page.sections.iter().filter(|section| section.level == 2);
    let item = |section: &Section| {
        format!("<li><a href=\"#{}\">{}</a></li>", escape::text(&section.anchor), escape::text(&section.heading))
    };
    let items: String = below.map(item).collect();
    if items.is_empty() { items } else { format!("<ul>{items}</ul>") }
}

/// Links to the page before and the one after.
fn turn(page: &PageFrame, gathered: &SiteSource, groups: &Groups) -> String {
    let all: Vec<&String> = groups.iter().flat_map(|(_, paths)| paths).collect();
    let Some(here) = all.iter().position(|path| *path == page.path) else { return String::new() };
    let file = links::file(page.path);
    let link = |path: Option<&&String>, rel: &str| {
        path.map_or_else(String::new, |path| {
            let link = links::link(&file, &links::file(path));
            let title = escape::text(&gathered.title(path));
            format!("<a rel=\"{rel}\" href=\"{link}\">{title}</a>")
        })
    };
    let before = here.checked_sub(1).and_then(|before| all.get(before));
    format!("<footer>{}{}</footer>\n", link(before, "prev"), link(all.get(here + 1), "next"))
}
