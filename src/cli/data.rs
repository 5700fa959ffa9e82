//! Flags of what is said of data besides where they are.

use std::path::PathBuf;

use crate::data::Sources;
use crate::task::Task;
use clap::Args;

use super::values;

/// What is said of data besides where they are.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Validate on this folder of images, and make no validation part of --data. Where --data holds `train`, `val`
    /// and `test`, these are the parts without further flags
    #[arg(long, value_name = "DIR", value_parser = values::text_path())]
    validation: Option<PathBuf>,
    /// Hold this folder of images out for the final figures, and hold nothing of --data out
    #[arg(long, value_name = "DIR", value_parser = values::text_path())]
    test: Option<PathBuf>,
    /// What is told of a sample: `single-label`, which one class it is of; `multi-label`, each class by itself: images
    /// with several labels in a list, in folders like `cat+dog`, or in the folders of several classes; `binary`, which
    /// of two classes, by one output [default: multi-label where a list has several labels in a cell or a column of 0
    /// and 1 for each class, or an array `y` has two dimensions; binary where a kept head has one output]
    #[arg(long, value_name = "TASK")]
    task: Option<Task>,
    /// The folder that the paths of a list begin in [default: the folder of the list]
    #[arg(long, value_name = "DIR", value_parser = values::text_path())]
    images: Option<PathBuf>,
    /// The column of a list that has the paths, by its name or, in a list without a header, by its number from 1
    /// [default: the one that is called `path`, `file`, `filename`, `image` or the like]
    #[arg(long, value_name = "COLUMN")]
    path_column: Option<String>,
    /// The column of a list that has the classes [default: the one that is called `label`, `class`, `target` or the
    /// like]
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// The column of a list that has the parts (`train`, `val`, `test`); `none` for no column [default: the one that
    /// is called `split`, `set`, `subset` or the like, if there is one]
    #[arg(long, value_name = "COLUMN")]
    split_column: Option<String>,
    /// The column of a list that has the groups, whose images stay in one part; `none` for no column [default: the one
    /// that is called `group`, `patient`, `subject` or the like, if there is one]
    #[arg(long, value_name = "COLUMN")]
    group_column: Option<String>,
    /// Keep images in one part in whose paths this regular expression finds the same: its first capture group, or all
    /// that it matches
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    group_by: Option<String>,
    /// Take the class of an image from its path in the folder: what this regular expression finds, its first capture
    /// group, or all that it matches. For `photos/Abyssinian_100.jpg`: '^(.+)_\d+'
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    label_by: Option<String>,
}

impl DataArgs {
    /// Puts what is given into `sources`.
    pub fn apply(&self, sources: &mut Sources) {
        fn some<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
            if given.is_some() {
                place.clone_from(given);
            }
        }
        some(&mut sources.validation, &self.validation);
        some(&mut sources.test, &self.test);
        some(&mut sources.images, &self.images);
        some(&mut sources.task, &self.task);
        let columns = &mut sources.columns;
        some(&mut columns.path_column, &self.path_column);
        some(&mut columns.label_column, &self.label_column);
        some(&mut columns.split_column, &self.split_column);
        some(&mut columns.group_column, &self.group_column);
        some(&mut sources.group_by, &self.group_by);
        some(&mut sources.label_by, &self.label_by);
    }

    /// These alone.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        self.apply(&mut sources);
        sources
    }
}
