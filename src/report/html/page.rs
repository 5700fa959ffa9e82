//! The page that reports are written on: its frame, its tables and its figures. Everything that is
//! put on it is escaped.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::charts::{self, Drawing};
use crate::report::plain;

const STYLE: &str = include_str!("style.css");

/// A section of a page.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name in the page's address, unique on the page.
    pub id: &'static str,
    /// Its heading.
    pub title: String,
    /// What it says.
    pub body: Markup,
}

/// A whole page: `top` above all sections, and links to them. It loads nothing, and no script may
/// run on it.
pub fn page(title: &str, top: &Markup, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(charts::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header { (top) }
                nav aria-label="Contents" {
                    @for section in sections { a href={ "#" (section.id) } { (section.title) } }
                }
                main {
                    @for section in sections {
                        section id=(section.id) {
                            h2 { (section.title) }
                            (section.body)
                        }
                    }
                }
            }
        }
    };
    plain(&page.into_string()).into_owned()
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure<'a> {
    /// Unique on the page.
    pub id: &'a str,
    /// Its heading.
    pub title: &'a str,
    /// What it shows, for those who cannot see it.
    pub description: &'a str,
    /// What stands below it.
    pub caption: Markup,
    /// The same figures as a table.
    pub table: Option<Table>,
}

impl Figure<'_> {
    /// The figure with its drawing.
    pub fn draw(&self, drawing: &Drawing) -> Markup {
        html! {
            figure id=(self.id) {
                h3 { (self.title) }
                div class="scroll" { (drawing.svg(self.id, self.title, self.description)) }
                figcaption { (self.caption) }
                @if let Some(table) = &self.table {
                    details {
                        summary {
                            @if table.caption.is_empty() { "These figures as a table" }
                            @else { (table.caption) }
                        }
                        (table.without_caption())
                    }
                }
            }
        }
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Said above it.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, of one cell per column; the first names the row.
    pub rows: Vec<Vec<Markup>>,
    /// The row that stands out.
    pub best: Option<usize>,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Whether it holds numbers, which stand flush right.
    pub numbers: bool,
}

impl Table {
    /// A table with these columns; the names of those that hold numbers begin with `#`.
    pub fn new(caption: &str, columns: &[&str]) -> Self {
        let column = |name: &&str| match name.strip_prefix('#') {
            Some(name) => Column {
                name: name.to_owned(),
                numbers: true,
            },
            None => Column {
                name: (*name).to_owned(),
                numbers: false,
            },
        };
        Table {
            caption: caption.to_owned(),
            columns: columns.iter().map(column).collect(),
            ..Table::default()
        }
    }

    /// Adds a row of plain texts.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|c| html! { (c) });
        self.rows.push(cells.collect());
    }

    /// The table as HTML.
    pub fn draw(&self) -> Markup {
        self.captioned(&self.caption)
    }

    fn without_caption(&self) -> Markup {
        self.captioned("")
    }

    fn captioned(&self, caption: &str) -> Markup {
        let class = |column: usize| match self.columns.get(column) {
            Some(c) if c.numbers => "number",
            _ => "break",
        };
        html! {
            div class="scroll" {
                table {
                    @if !caption.is_empty() { caption { (caption) } }
                    thead {
                        tr {
                            @for (i, column) in self.columns.iter().enumerate() {
                                th scope="col" class=(class(i)) { (column.name) }
                            }
                        }
                    }
                    tbody {
                        @for (i, row) in self.rows.iter().enumerate() {
                            tr class=[(self.best == Some(i)).then_some("best")] {
                                @for (j, cell) in row.iter().enumerate() {
                                    @if j == 0 { th scope="row" class=(class(j)) { (cell) } }
                                    @else { td class=(class(j)) { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_a_page_is_escaped() {
        let hostile = "<script>alert(\"1\")</script>";
        let mut table = Table::new(hostile, &[hostile, "#n"]);
        table.row([hostile.to_owned(), "1".to_owned()]);
        let section = Section {
            id: "s",
            title: hostile.to_owned(),
            body: table.draw(),
        };
        let text = page(hostile, &html! { h1 { (hostile) } }, &[section]);
        assert!(!text.contains("<script"), "{text}");
        assert_eq!(
            text.matches("&lt;script&gt;alert(&quot;1&quot;)").count(),
            7
        );
        assert!(text.contains("<td class=\"number\">1</td>"));
    }
}
