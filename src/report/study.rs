//! A study: Table I of the block-wise paper for other models and data.

use std::path::Path;

use maud::html;

use crate::onnx::write_atomic;
use crate::run::{REPORT, Study, StudyModel};
use crate::training::Monitor;

use super::ReportError;
use super::charts::{Axis, DotKind, Rows};
use super::html::page::{Figure, Section, Table, page};
use super::html::{ACCURACY, command, spread_row};
use super::text::{TextTable, none, percent};

/// The study's table for spreadsheets, in its folder.
const TABLE: &str = "study.csv";
/// The study's table in Markdown, in its folder.
const MARKDOWN: &str = "study.md";

/// The study's table, for the terminal. `fit`: whether to fit its width.
pub fn study(study: &Study, fit: bool) -> String {
    let mut table = TextTable::fitted(fit);
    let cells = cells(study);
    table.header(&cells[0]);
    for row in &cells[1..] {
        table.row(row);
    }
    table.align_right(1..study.strategies().len() + 1);
    table.to_string()
}

/// Writes `report.html`, `study.csv` and `study.md` into the study's folder, each in one step.
///
/// # Errors
/// When a file cannot be written.
pub fn write_study(root: &Path, study: &Study) -> Result<(), ReportError> {
    let csv = csv(study).map_err(|e| ReportError::write(&root.join(TABLE), e))?;
    for (name, bytes) in [
        (REPORT, html(study).as_bytes()),
        (TABLE, csv.as_slice()),
        (MARKDOWN, markdown(study).as_bytes()),
    ] {
        let path = root.join(name);
        write_atomic(&path, bytes).map_err(|e| ReportError::write(&path, e))?;
    }
    Ok(())
}

/// The table as in the paper: models, then variance and mean; strategies from left to right.
fn cells(study: &Study) -> Vec<Vec<String>> {
    let what = match study.task().is_multi_label() {
        true => "model, exact match",
        false => "model",
    };
    let mut header = vec![what.to_owned()];
    header.extend(study.strategies().iter().map(ToString::to_string));
    let mut rows = vec![header];
    for model in &study.models {
        let mut row = vec![model.name.clone()];
        row.extend(
            (0..study.strategies().len()).map(|i| accuracy(model, i).map_or_else(none, percent)),
        );
        rows.push(row);
    }
    if let Some(first) = study.spread.first() {
        let of = format!("of {} models", first.count);
        let figures = |name: &str, figure: &dyn Fn(usize) -> String| {
            let mut row = vec![format!("{name} {of}")];
            row.extend((0..study.spread.len()).map(figure));
            row
        };
        let variance = |i: usize| format!("{:.6}", study.spread[i].variance);
        let mean = |i: usize| percent(study.spread[i].mean);
        rows.push(figures("variance", &variance));
        rows.push(figures("mean", &mean));
    }
    rows
}

fn accuracy(model: &StudyModel, strategy: usize) -> Option<f64> {
    model.accuracies.get(strategy).copied().flatten()
}

fn csv(study: &Study) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let names = study.strategies().iter().map(ToString::to_string);
    writer.write_record(std::iter::once("model".to_owned()).chain(names))?;
    let text = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
    for model in &study.models {
        let figures = (0..study.strategies().len()).map(|i| text(accuracy(model, i)));
        writer.write_record(std::iter::once(model.name.clone()).chain(figures))?;
    }
    if !study.spread.is_empty() {
        let variance = study.spread.iter().map(|s| s.variance.to_string());
        writer.write_record(std::iter::once("variance".to_owned()).chain(variance))?;
        let mean = study.spread.iter().map(|s| s.mean.to_string());
        writer.write_record(std::iter::once("mean".to_owned()).chain(mean))?;
    }
    writer.into_inner().map_err(|e| e.into_error())
}

fn markdown(study: &Study) -> String {
    let escaped = |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|");
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(escaped).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let cells = cells(study);
    let mut text = line(&cells[0]);
    text.push_str(&format!(
        "| --- |{}\n",
        " ---: |".repeat(study.strategies().len())
    ));
    for row in &cells[1..] {
        text.push_str(&line(row));
    }
    text
}

fn html(study: &Study) -> String {
    let cells = cells(study);
    let mut columns = vec!["Model".to_owned()];
    columns.extend(cells[0][1..].iter().map(|name| format!("#{name}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let title = format!("{} on the held-out part", figure_of(study));
    let mut table = Table::new(&title, &columns);
    for (place, row) in cells[1..].iter().enumerate() {
        let mut row: Vec<_> = row.iter().map(|cell| html! { (cell) }).collect();
        if let Some(model) = study.models.get(place) {
            row[0] = html! { a href={ (model.folder) "/" (REPORT) } { (model.name) } };
        }
        table.rows.push(row);
    }
    let failed = study
        .models
        .iter()
        .filter_map(|m| Some((&m.name, m.error.as_ref()?)));
    let failed: Vec<_> = failed.collect();
    let mut sections = vec![Section {
        id: "table",
        title: "Models and strategies".to_owned(),
        body: html! {
            (table.draw())
            @if study.interrupted { p class="note" { "The study has not ended yet." } }
            p class="note" {
                "Mean and sample variance are over the models that have all strategies. The table is \
                 also in " a href=(TABLE) { (TABLE) } " and " a href=(MARKDOWN) { (MARKDOWN) } "."
            }
        },
    }];
    sections.extend(figure(study));
    if !failed.is_empty() {
        sections.push(Section {
            id: "failures",
            title: "What failed".to_owned(),
            body: html! { ul { @for (name, error) in &failed { li { (name) ": " (error) } } } },
        });
    }
    sections.push(Section {
        id: "setup",
        title: "How this was made".to_owned(),
        body: html! { pre { (command(&study.command)) } },
    });
    let top = html! {
        h1 { "Study of " (study.models.len()) " models" }
        p { "Data: " (study.data.display()) }
    };
    page("Study – ftsurgery", &top, &sections)
}

/// What the table has: `Accuracy`, or of samples that may have several labels `Exact match`.
fn figure_of(study: &Study) -> &'static str {
    match study.task().is_multi_label() {
        true => "Exact match",
        false => "Accuracy",
    }
}

/// Every model's figure by each strategy, and their means.
fn figure(study: &Study) -> Option<Section> {
    if study.spread.is_empty() {
        return None;
    }
    let row = |(place, spread): (usize, &crate::run::Spread)| {
        let models = study.models.iter();
        let accuracies = models.filter_map(|m| Some((m.name.clone(), accuracy(m, place)?)));
        spread_row(spread, accuracies)
    };
    let chart = Rows {
        rows: study.spread.iter().enumerate().map(row).collect(),
        axis: Axis {
            title: Monitor::Accuracy.label_for(study.task()),
            ..ACCURACY
        },
        legend: vec![
            (Some(DotKind::Filled), "mean".to_owned()),
            (Some(DotKind::Small), "one model".to_owned()),
            (None, "mean ± standard deviation".to_owned()),
        ],
    };
    let figure = Figure {
        id: "strategies-figure",
        title: &format!("{} over models", figure_of(study)),
        description: &format!(
            "Small dots: {} of each model by each strategy. Large dots: their means, with one standard deviation to \
             both sides.",
            Monitor::Accuracy.label_for(study.task())
        ),
        caption: html! { "A strategy is reliable where its dots lie close together." },
        table: None,
    };
    Some(Section {
        id: "reliability",
        title: "Reliability".to_owned(),
        body: figure.draw(&chart.draw()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Settings, Spread};
    use crate::strategy::StrategyName;
    use crate::task::Task;

    fn two_models() -> Study {
        let model = |name: &str, accuracies: Vec<Option<f64>>| StudyModel {
            name: name.to_owned(),
            model: name.into(),
            preprocess: None,
            folder: name.to_owned(),
            accuracies,
            task: Task::default(),
            error: None,
        };
        Study {
            format: crate::run::FORMAT,
            settings: Settings::default()
                .strategies(vec![StrategyName::HEAD, StrategyName::BLOCKS]),
            command: vec!["ftsurgery".into(), "study".into()],
            data: "photos".into(),
            models: vec![
                model("a|b", vec![Some(0.5), Some(0.75)]),
                model("<b>", vec![Some(0.7), None]),
            ],
            spread: vec![
                Spread::of(StrategyName::HEAD, &[0.5]).unwrap(),
                Spread::of(StrategyName::BLOCKS, &[0.75]).unwrap(),
            ],
            interrupted: false,
        }
    }

    #[test]
    fn the_table_has_models_as_rows_and_strategies_as_columns() {
        assert_eq!(
            markdown(&two_models()),
            "| model | head | blocks |\n\
             | --- | ---: | ---: |\n\
             | a\\|b | 50.00 % | 75.00 % |\n\
             | <b> | 70.00 % | – |\n\
             | variance of 1 models | 0.000000 | 0.000000 |\n\
             | mean of 1 models | 50.00 % | 75.00 % |\n"
        );
        let csv = String::from_utf8(csv(&two_models()).unwrap()).unwrap();
        assert!(
            csv.contains("<b>,0.7,\r\n") && csv.ends_with("mean,0.5,0.75\r\n"),
            "{csv}"
        );
    }

    #[test]
    fn figures_of_several_labels_are_exact_matches() {
        let mut study = two_models();
        let one = html(&study);
        study.models[0].task = Task::MultiLabel;
        let several = html(&study);
        for (page, named, not) in [
            (one, "ccuracy", "xact match"),
            (several, "xact match", "ccuracy"),
        ] {
            assert!(page.contains(named) && !page.contains(not), "{page}");
        }
        let first = &cells(&study)[0][0];
        assert_eq!(first, "model, exact match");
    }

    #[test]
    fn names_on_the_page_are_escaped() {
        let page = html(&two_models());
        assert!(
            page.contains("&lt;b&gt;") && !page.contains("<b>"),
            "{page}"
        );
        assert!(page.contains("75.00 %"));
    }
}
