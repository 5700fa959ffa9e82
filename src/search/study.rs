//! The same run on several models: Table I of the block-wise paper.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::classifier::{ClassifierError, ModelCard};
use crate::data::Preprocess;
use crate::onnx::Model;
use crate::run::{
    self, Begin, FORMAT, Results, RunDir, RunError, Settings, Spread, Study, StudyModel, absolute,
    outside, same_study,
};
use crate::runtime::Runtime;
use crate::strategy::StrategyName;
use crate::task::Task;

use super::job::path_given;
use super::tune::resolved;
use super::watch::Watcher;
use super::{Job, SearchError, tune};

/// A model of a study, before it is tuned.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Its file.
    pub path: PathBuf,
    /// How pixels become its input; `None` for what its metadata name, else what the settings name, else what is found.
    pub preprocess: Option<Preprocess>,
}

/// Which models to tune, and where the results go.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StudyJob {
    /// The models.
    pub models: Vec<Subject>,
    /// The image folder or `.npz` file.
    pub data: PathBuf,
    /// The study's folder.
    pub out: PathBuf,
    /// Whether that folder is new, or holds a study that is replaced or resumed.
    pub begin: Begin,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// How each model is tuned. The preprocessing is that of models which neither name one in their
    /// metadata nor have one of their own in [`StudyJob::models`]; how images are resized is that of all
    /// models, where it is given.
    pub settings: Settings,
}

impl StudyJob {
    /// To tune `models` on `data` below the new folder `out`, with the default settings.
    pub fn new(models: Vec<Subject>, data: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        StudyJob {
            models,
            data: data.into(),
            out: out.into(),
            ..StudyJob::default()
        }
    }

    /// To go on with the study in the folder `root`: with the models, the data and the settings that it has
    /// recorded, whoever began it.
    ///
    /// # Errors
    /// When there is no study, or its record cannot be read.
    pub fn resume(root: &Path) -> Result<Self, RunError> {
        let study = Study::read(root)?.ok_or_else(|| RunError::NotARun {
            path: root.to_owned(),
        })?;
        let models = study.models.into_iter().map(|m| Subject {
            path: m.model,
            preprocess: m.preprocess,
        });
        Ok(StudyJob {
            models: models.collect(),
            data: study.data,
            out: root.to_owned(),
            begin: Begin::Resume,
            command: study.command,
            settings: study.settings,
        })
    }

    setters! {
        begin: Begin,
        command: Vec<String>,
        settings: Settings,
    }

    /// Looks at what is given, before any file is opened.
    ///
    /// # Errors
    /// [`RunError::Setting`], with the name of the first field that nothing can be done with.
    pub fn validate(&self) -> Result<(), RunError> {
        path_given("data", &self.data)?;
        path_given("out", &self.out)?;
        for subject in &self.models {
            path_given("models", &subject.path)?;
        }
        self.settings.validate()
    }
}

/// Tunes one model after the other, each in a run of its own below the study's folder.
/// `study.json` is up to date after each; `ended` then gets what there is so far and the folder of
/// the run that ended. A model that cannot be tuned is recorded, and the others go on.
///
/// # Errors
/// When the folder cannot be written or is in use, or what is resumed has changed; those of `ended`.
pub fn study<E: From<SearchError>>(
    runtime: &Runtime,
    job: &StudyJob,
    watcher: &dyn Watcher,
    ended: &dyn Fn(&Study, &Path) -> Result<(), E>,
) -> Result<Study, E> {
    let (_lock, settings) = begin(job).map_err(SearchError::from)?;
    let mut study = Study {
        format: FORMAT,
        settings,
        command: job.command.clone(),
        data: absolute(&job.data),
        models: named(&job.models),
        spread: Vec::new(),
        interrupted: true,
    };
    study.write(&job.out).map_err(SearchError::from)?;
    for place in 0..study.models.len() {
        let StudyModel { name, folder, .. } = &study.models[place];
        watcher.model(name, place + 1, study.models.len());
        let out = job.out.join(folder);
        let model = Job {
            model: job.models[place].path.clone(),
            data: job.data.clone(),
            begin: match job.begin {
                Begin::Resume if RunDir::check(&out, Begin::Resume).is_err() => Begin::New,
                begin => begin,
            },
            out,
            command: job.command.clone(),
            largest_file: None,
            settings: of_model(&study.settings, &job.models[place], watcher),
        };
        let outcome = tune(runtime, &model, watcher);
        let interrupted = watcher.stopped() || outcome.as_ref().is_ok_and(|r| r.interrupted);
        match outcome {
            Err(error) if interrupted && error.is_stop() => {}
            Err(error) if error.ends_a_study() || error.is_change() => return Err(error.into()),
            Err(error) => study.models[place].error = Some(error.to_string()),
            Ok(results) => {
                study.models[place].accuracies = accuracies(&results, study.strategies());
                study.models[place].task = results.task();
            }
        }
        study.spread = spread(&study);
        study.interrupted = interrupted || place + 1 < study.models.len();
        study.write(&job.out).map_err(SearchError::from)?;
        ended(&study, &model.out)?;
        if interrupted {
            break;
        }
    }
    Ok(study)
}

/// How a model is tuned: by its own preprocessing, where its metadata or files beside it have one.
fn of_model(settings: &Settings, subject: &Subject, watcher: &dyn Watcher) -> Settings {
    // That a model cannot be read is told when it is tuned.
    let card = Model::open(&subject.path).map_err(ClassifierError::from);
    let card = card.and_then(|model| ModelCard::read(&model));
    let noted = card.ok().and_then(|card| match card.preprocess {
        Some(noted) => Some((
            noted,
            format!("the metadata of {} name", subject.path.display()),
        )),
        None => Some((
            card.beside.preprocess?,
            format!("{} names", card.beside.pixels_of.display()),
        )),
    });
    let asked = settings.preprocess.as_ref();
    let preprocess = match (&subject.preprocess, &noted) {
        (Some(own), _) => Some(own.clone()),
        (None, Some((noted, by))) => {
            if let Some(asked) = asked.filter(|asked| !asked.scales_as(noted)) {
                watcher.warning(&format!(
                    "{by} the preprocessing {noted}, which is taken; {asked} is for models of which nothing says it"
                ));
            }
            None
        }
        (None, None) => asked.cloned(),
    };
    Settings {
        preprocess,
        ..settings.clone()
    }
}

/// Takes possession of the study's folder. Gives its lock, and the settings in force.
fn begin(job: &StudyJob) -> Result<(std::fs::File, Settings), RunError> {
    job.validate()?;
    let folders = [job.data.as_path()].into_iter();
    let mut folders = folders.chain(job.settings.sources.folders());
    folders.try_for_each(|data| outside(&job.out, data))?;
    let (begun, is_there) = match Study::read(&job.out) {
        // What another version wrote can be replaced.
        Err(RunError::Format { .. }) if job.begin == Begin::Replace => (None, true),
        read => {
            let begun = read?;
            let is_there = begun.is_some();
            (begun, is_there)
        }
    };
    let recorded = begun.as_ref().map(|study| &study.settings);
    let recorded = recorded.filter(|_| job.begin == Begin::Resume);
    let asked = job.settings.with_given_parts(&job.data);
    let mut settings = resolved(&asked, recorded);
    settings.sources = settings.sources.absolute();
    if let Some(recorded) = recorded {
        same_study(recorded, &settings)?;
    }
    if job.begin == Begin::Resume && !is_there {
        return Err(RunError::NotARun {
            path: job.out.clone(),
        });
    }
    if job.begin == Begin::New {
        if is_there {
            return Err(RunError::NotEmpty {
                path: job.out.clone(),
                resumable: true,
            });
        }
        RunDir::check(&job.out, Begin::New)?;
    }
    if job.begin == Begin::Replace && !is_there {
        // There is no study to replace, and no run either, unless it is one of `tune`.
        RunDir::check(&job.out, Begin::Replace)?;
    }
    let file = run::lock(&job.out)?;
    run::remove_left(&job.out)?;
    Ok((file, settings))
}

/// The models with a name each; equal names get a number.
fn named(models: &[Subject]) -> Vec<StudyModel> {
    let mut used = HashSet::new();
    models
        .iter()
        .map(|Subject { path, preprocess }| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let numbered = (2..).map(|n| format!("{stem}-{n}"));
            let mut names = std::iter::once(stem.to_string()).chain(numbered);
            let name = names.find(|n| used.insert(n.clone())).unwrap_or_default();
            StudyModel {
                folder: name.clone(),
                name,
                model: absolute(path),
                preprocess: preprocess.clone(),
                accuracies: Vec::new(),
                task: Task::default(),
                error: None,
            }
        })
        .collect()
}

fn accuracies(results: &Results, strategies: &[StrategyName]) -> Vec<Option<f64>> {
    let of = |&strategy: &StrategyName| {
        let spread = results.spread.iter().find(|s| s.name == strategy);
        let result = results.strategies.iter().find(|s| s.name == strategy);
        spread.map(|s| s.mean).or_else(|| {
            let result = result?;
            result.held_out_accuracy.or(result.validation_accuracy)
        })
    };
    strategies.iter().map(of).collect()
}

/// Over the models that have all strategies, so that the columns can be compared.
fn spread(study: &Study) -> Vec<Spread> {
    let strategies = study.strategies();
    let complete: Vec<Vec<f64>> = study
        .models
        .iter()
        .filter(|m| m.accuracies.len() == strategies.len())
        .filter_map(|m| m.accuracies.iter().copied().collect())
        .collect();
    let column = |place: usize| complete.iter().map(|row| row[place]).collect::<Vec<_>>();
    let strategies = strategies.iter().enumerate();
    strategies
        .filter_map(|(place, &name)| Spread::of(name, &column(place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(path: &str) -> Subject {
        Subject {
            path: path.into(),
            preprocess: None,
        }
    }

    #[test]
    fn models_of_one_name_get_folders_of_their_own() {
        let models = named(&["a/vgg.onnx", "b/vgg.onnx", "c.onnx"].map(subject));
        let folders: Vec<&str> = models.iter().map(|m| m.folder.as_str()).collect();
        assert_eq!(folders, ["vgg", "vgg-2", "c"]);
    }

    #[test]
    fn mean_and_variance_are_over_models_that_have_all_strategies() {
        let mut study = Study {
            format: FORMAT,
            settings: Settings::default().strategies(vec![StrategyName::HEAD, StrategyName::FULL]),
            command: vec![],
            data: PathBuf::new(),
            models: named(&["a", "b", "c"].map(subject)),
            spread: vec![],
            interrupted: false,
        };
        study.models[0].accuracies = vec![Some(0.5), Some(0.75)];
        study.models[1].accuracies = vec![Some(1.0), None];
        study.models[2].accuracies = vec![Some(0.75), Some(0.75)];
        let spread = spread(&study);
        assert_eq!((spread[0].mean, spread[0].variance), (0.625, 0.03125));
        assert_eq!((spread[1].count, spread[1].variance), (2, 0.0));
    }

    #[test]
    fn what_nothing_can_be_done_with_is_refused_by_the_name_of_its_field() {
        let job = |model: &str, data: &str, out: &str| {
            StudyJob::new(vec![subject("a.onnx"), subject(model)], data, out)
        };
        job("b.onnx", "photos", "study").validate().unwrap();
        let wrong = job("b.onnx", "photos", "study").settings(Settings::default().epochs(0));
        for (job, field) in [
            (job("", "photos", "study"), "`models`"),
            (job("b.onnx", "", "study"), "`data`"),
            (job("b.onnx", "photos", ""), "`out`"),
            (wrong, "`epochs`"),
        ] {
            let error = job.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
