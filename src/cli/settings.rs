//! Flags of everything that trains: what is trained, on which part of the data, and how.

mod adafilter;
mod recipe;
mod spottune;
mod strategies;
mod unused;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::analysis::Delimiters;
use crate::choice::Choice;
use crate::data::{Augment, FeaturePrecision, ImageCache};
use crate::run::{FlagValue, Recipe, SearchBudget, SearchMethod, Settings, Span, flags};
use crate::surgery::HeadKind;
use crate::training::{BatchNormMode, ClassWeights, Engine, HeadInit, Monitor, Sampler};
use clap::builder::StyledStr;
use clap::{Arg, Args, Command};

use super::CliError;
use super::data::DataArgs;
use super::values::{self, Bytes, ComputeArgs, ImageArgs, OutputArg, set};
use recipe::RecipeArgs;
use strategies::StrategyArgs;

/// How to tune.
#[derive(Args)]
pub struct SettingsArgs {
    /// Begin with settings that go together, which other flags then change: `fast` (a solved linear head, then a
    /// few epochs by a falling rate), `best` (the same for 12 epochs, and a search as long as it wants) or `paper` (the block-wise paper's, 50 epochs of each candidate) [default: fast]
    #[arg(long, value_name = "NAME", help_heading = "What to train")]
    recipe: Option<Recipe>,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    split: SplitArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

#[derive(Args)]
#[command(next_help_heading = "What to train")]
struct ChoiceArgs {
    #[command(flatten)]
    strategies: StrategyArgs,
    /// How the candidates of a strategy are tried: `exhaustive` (each for --search-epochs on the search part),
    /// `halving` (all for a few epochs, then the best third for three times as many, until --search-epochs is reached;
    /// `halving:N` for another number than three), or `whole` (each as the winner is trained, so that the best is the
    /// winner) [default: whole for strategy `auto` alone, halving beside others that search, else exhaustive]
    #[arg(long, value_name = "METHOD")]
    search: Option<SearchMethod>,
    /// Spend about so much time on the search of strategy `auto`: 90s, 10m, 1h. It decides how many of what `auto`
    /// would try are tried, and with halving for how many epochs. The time is turned into operations by a few steps that are timed
    /// when the run begins; what follows is the same in every later part of the run, on whatever machine. `auto` for
    /// as much as training all that may be trained takes, `none` for all that the strategy would try [default: auto]
    #[arg(long, value_name = "TIME", conflicts_with = "budget_share")]
    budget: Option<Budget>,
    /// The same as a share of the operations that trying every layer, block and window, and all together, would take
    /// (0.05), so that the same command does the same everywhere
    #[arg(long, value_name = "SHARE", value_parser = values::part)]
    budget_share: Option<f64>,
    /// The classifier: `paper` (dense 128, dropout, dense 64, dense), `linear` (pooling and one dense
    /// layer), `cosine` (pooling, and the cosine with a vector for each class), or `keep` (the model's own)
    #[arg(long, value_name = "HEAD")]
    head: Option<HeadKind>,
    /// How a new head begins: `random` (drawn weights), or `solved` (those that fit the features of the frozen
    /// network best: of `linear` by logistic regression, whose penalty is found by cross-validation; `paper` is
    /// trained on the features until it gets no better, and so is `cosine`). Every candidate then begins there, and `head` has
    /// nothing left to train. The model's own head (`keep`) begins as it stands
    #[arg(long, value_name = "HOW")]
    head_init: Option<HeadInit>,
    /// Share of values dropped in the head `paper` while training
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    dropout: Option<f32>,
    /// Put the head on this value of the model, a feature map or a vector per image, instead of its last
    /// feature map
    #[arg(long, value_name = "VALUE")]
    features: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    /// Train a model of QuantizeLinear and DequantizeLinear pairs in float, from its dequantised weights; the
    /// tuned models are models of floats
    #[arg(long)]
    dequantise: bool,
    /// Take a model that was exported in training mode as one that infers: its BatchNormalizations use the
    /// statistics that they store, its Dropouts drop nothing
    #[arg(long)]
    inference_mode: bool,
    /// Give tuned models the logits of a new head as their output, `logits`, instead of `probabilities`, for what takes
    /// the softmax or sigmoid itself
    #[arg(long)]
    logits: bool,
    /// Leave tuned models made for the batch size that the model was exported for, instead of for any
    #[arg(long)]
    keep_batch: bool,
    /// Write beside each tuned model, RUN/winners/STRATEGY.onnx, what makes it of the given one: STRATEGY.safetensors,
    /// which is small where little is trained. `ftsurgery apply` makes the tuned model of both again
    #[arg(long)]
    keep_adapter: bool,
    /// What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas
    #[arg(long, value_name = "KINDS")]
    delimiters: Option<Delimiters>,
}

#[derive(Args)]
#[command(next_help_heading = "Data")]
struct SplitArgs {
    /// Take the parts from this file: split.json of a run, one by hand (`{"train": [...], "validation": [...],
    /// "held_out": [...]}` by the names in split.json), or a list (.csv, .txt, .jsonl) of paths and parts. A part that it
    /// lacks is made of `train`; images that it does not name are not used
    #[arg(long, value_name = "FILE", value_parser = values::text_path())]
    split: Option<PathBuf>,
    /// Share of the data that the search has: candidates are trained on 70 % of it; 0 for no search; `auto`: as
    /// much as 700 images for them take, and 20 of each class, up to half of what winners are trained on; a tenth
    /// of the data then validates
    #[arg(long, value_name = "SHARE", value_parser = values::auto_or(values::fraction))]
    search_fraction: Option<Choice<f64>>,
    /// Share of the data on which winners are trained, that of the candidates included; what neither
    /// trains nor validates is held out
    #[arg(long, value_name = "SHARE", value_parser = values::fraction)]
    train_fraction: Option<f64>,
    /// Share of the data on which candidates are ranked and epochs chosen [default: as much as
    /// --search-fraction]
    #[arg(long, value_name = "SHARE", value_parser = values::fraction)]
    validation_fraction: Option<f64>,
    /// Do not train winners on what candidates were trained on, as in the paper: --train-fraction
    /// comes on top of it, and validation has the other 30 % of --search-fraction
    #[arg(long)]
    search_apart: bool,
    /// The classes in their order: a file with one a line, or a JSON list. The data may have some of them [default:
    /// as the data have them, numbers by what they count; with --head keep as the model's metadata say]
    #[arg(long, value_name = "FILE", value_parser = values::text_path())]
    classes: Option<PathBuf>,
    /// Leave classes of a folder with fewer than N usable images out
    #[arg(long, value_name = "N", value_parser = values::count)]
    min_per_class: Option<usize>,
    /// Decides the split, the head's first weights, dropout, augmentation and batch order
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Do the whole run N times, with seeds from --seed on, and report mean, standard deviation and
    /// variance of each strategy
    #[arg(long, value_name = "N", value_parser = values::count)]
    repeats: Option<usize>,
    /// Cross-validate: share the data out into K folds, equal in each class as far as groups allow, do the whole run K
    /// times, each with another fold held out, and report as with --repeats
    #[arg(long, value_name = "K", value_parser = values::count, conflicts_with = "repeats")]
    folds: Option<usize>,
    /// Random changes to the images that are trained on: `none`, `flip`, `standard` (crop of the
    /// whole photo, flip, brightness, contrast, saturation), or `auto`
    ///
    /// `auto`: `standard` where a head that is solved on some of the images as they are does about as well on others
    /// mirrored (flowers; not digits), a new head is trained, and the whole photos fit into the memory budget.
    #[arg(long, value_name = "KIND", value_parser = values::auto_or(values::option::<Augment>))]
    augment: Option<Choice<Augment>>,
    /// Make N augmented views of each image once and take them in turn, so that the outputs of
    /// frozen layers can be kept; without it they are computed anew in every epoch
    #[arg(long, value_name = "N", value_parser = values::count)]
    views: Option<usize>,
    /// Take samples in the order of the files, in the split and in every epoch
    #[arg(long)]
    no_shuffle: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Training")]
struct TrainingArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// BatchNormalization that is trained takes its stored statistics (`frozen`), or those of the
    /// batch (`batch`): the stored ones then follow them and are written to the tuned model; `auto`: those of
    /// the batch for a drawn head in batches of 16 and more, else the stored ones
    #[arg(long, value_name = "MODE", value_parser = values::auto_or(str::parse::<BatchNormMode>))]
    bn: Option<Choice<BatchNormMode>>,
    /// Samples per step
    #[arg(long, value_name = "N", value_parser = values::count)]
    batch_size: Option<usize>,
    /// Passes over the training part for a winner; `auto`: as many as 600 steps take, 6 at least and 12 at most;
    /// twice as many for data that are far from what the network knows
    #[arg(long, value_name = "N", value_parser = values::auto_or(values::count))]
    epochs: Option<Choice<usize>>,
    /// Passes over the search part for a candidate; `auto`: three times as many as 64 steps take, 18 at most
    #[arg(long, value_name = "N", value_parser = values::auto_or(values::count))]
    search_epochs: Option<Choice<usize>>,
    /// The figure of the validation part that ranks candidates, says which epoch is the best, and is
    /// watched by plateau and early stopping: `accuracy`, `balanced-accuracy` (mean recall of the classes),
    /// `macro-f1` (mean F1 of the classes), `average-precision` (its mean over the classes, with several labels per image), `loss` or `calibrated-loss` (the loss at the temperature that fits the
    /// images best, which a model that is only surer of itself does not raise); of equal ones the lower loss is better [default:
    /// accuracy; balanced-accuracy with --class-weights or --sampler balanced; average-precision with several labels]
    #[arg(long, value_name = "FIGURE")]
    monitor: Option<Monitor>,
    /// The figure that ranks candidates, of those that --monitor takes [default: calibrated-loss; that of --monitor,
    /// where it is given or --class-weights or --sampler is balanced]
    #[arg(long, value_name = "FIGURE")]
    rank_by: Option<Monitor>,
    /// Rank candidates on N samples: those of the validation part and, where they are fewer, some of the
    /// training part, which no candidate is trained on; 0 for the validation part alone
    #[arg(long, value_name = "N")]
    rank_samples: Option<usize>,
    /// End a trial after N epochs in a row without a better validation score (--monitor); `off` trains all;
    /// `auto`: 8 with --schedule constant, with `plateau` as many as it takes the rate to fall twice, with
    /// others off, since their last epochs are what they are for
    #[arg(long, value_name = "N", value_parser = values::auto_or(values::patience))]
    early_stopping: Option<Choice<Option<usize>>>,
    /// How much each class counts in the loss: `none` (every image the same), or `balanced` (rare
    /// classes more, so that all classes count the same)
    #[arg(long, value_name = "KIND")]
    class_weights: Option<ClassWeights>,
    /// Which images an epoch takes: `all`, each once, or `balanced`, as many, the same number of each class (those of
    /// rare classes several times, of common ones some)
    #[arg(long, value_name = "KIND")]
    sampler: Option<Sampler>,
    #[command(flatten)]
    compute: ComputeArgs,
    /// What makes steps and updates: graphs that any onnxruntime runs, with optimizers of our own (`graph`), or the training
    /// API of onnxruntime up to 1.19.2 with its optimizers (`ort-training`)
    ///
    /// `ort-training` needs an ftsurgery that is built with `--features training` and a library that has the API
    /// (docs/ort-training.md). It trains on the processor, by adamw, adam without weight decay or sgd without momentum; --head-lr,
    /// --layer-decay, --ema, --l2-sp, --group-filters, --bn batch and the strategies adafilter and spottune are refused.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Where decoded images are: in `memory`, on the `disk` (where later runs find them, too), `none` to
    /// decode them whenever they are used, or `auto`, in memory where the memory budget holds them and
    /// else on the disk
    #[arg(long, value_name = "PLACE")]
    image_cache: Option<ImageCache>,
    /// Memory for the images and the outputs of frozen layers; outputs beyond it are kept in files in
    /// RUN. Trials run side by side only if their steps would fit beside the images, too [default: half
    /// of the memory there is]
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<Bytes>,
    /// Keep these outputs as `f32`, or as `f16` in half the room
    #[arg(long, value_name = "TYPE")]
    feature_precision: Option<FeaturePrecision>,
    /// Seconds between two writings of a trial's state, which an interrupted trial goes on from (more
    /// where writing takes long; 0 writes after every step); it is written on Ctrl-C, too
    #[arg(long, value_name = "SECONDS", value_parser = values::at_least_0)]
    checkpoint_every: Option<f32>,
    /// Write a line per step to metrics.jsonl, with the loss before it
    #[arg(long)]
    log_steps: bool,
}

/// What a search may take: `auto`, `none`, or a time.
#[derive(Clone, Copy, Debug)]
struct Budget(Option<SearchBudget>);

impl Budget {
    fn is_own(self) -> bool {
        self.0.is_some_and(|budget| budget != SearchBudget::Winner)
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Budget(match text {
            "auto" => Some(SearchBudget::Winner),
            "none" => None,
            time => Some(SearchBudget::Seconds(time.parse::<Span>()?.seconds)),
        }))
    }
}

impl SettingsArgs {
    /// The first flag that is given and does nothing beside the others, with its value where another would,
    /// and the reason. What `data` give may be what it needs.
    pub fn idle(&self, data: Option<&Path>) -> Option<(&'static str, Cow<'static, str>)> {
        let (choice, split, training) = (&self.choice, &self.split, &self.training);
        let default = self.begins_with();
        let mut parts = default.split.clone();
        let mut sources = self.data.sources();
        sources.split.clone_from(&split.split);
        parts.given_parts = data.map_or_else(Vec::new, |data| sources.given_parts(data));
        set(&mut parts.search_fraction, &split.search_fraction);
        set_some(&mut parts.validation_fraction, &split.validation_fraction);
        let watches = [
            ("monitor", training.monitor.is_some()),
            ("rank-by", training.rank_by.is_some()),
            ("rank-samples", training.rank_samples.is_some()),
            (
                "early-stopping",
                matches!(training.early_stopping, Some(Choice::Given(Some(_)))),
            ),
        ];
        let watches = watches.into_iter().chain(training.recipe.watches());
        let watches = watches.map(|(flag, given)| {
            (
                flag,
                given && !parts.validates(),
                "there is no validation part (--search-fraction or --validation-fraction is 0)",
            )
        });
        let head = choice.head.unwrap_or(default.head);
        let no_budget = |given: bool| {
            let auto = choice.strategies.wants_promising(&default);
            let exhaustive = choice.search == Some(SearchMethod::Exhaustive);
            given && (!auto || exhaustive)
        };
        let of_auto =
            "it is for strategy `auto`, which is not among --strategies, or for another --search";
        let others = [
            (
                "budget",
                no_budget(choice.budget.is_some_and(|b| b.is_own())),
                of_auto,
            ),
            (
                "budget-share",
                no_budget(choice.budget_share.is_some()),
                of_auto,
            ),
            (
                "train",
                choice.strategies.has_idle_patterns(),
                "it names the layers of strategy `select`, which is not among --strategies",
            ),
            (
                "operators kernels",
                training.compute.kernels_elsewhere(),
                "the kernels run on the processor, and --device is another",
            ),
            (
                "tf32",
                training.compute.tf32_elsewhere(),
                "it is for a GPU, and --device is the processor",
            ),
            (
                "search-apart",
                split.search_apart && !parts.searches(),
                "there is no search part (--search-fraction 0)",
            ),
            (
                "views",
                split.views.is_some() && split.augment == Some(Choice::Given(Augment::None)),
                "without --augment all views of an image are the same",
            ),
            (
                "logits",
                choice.logits && head == HeadKind::Keep,
                "the model's own head ends as it stands",
            ),
            (
                "dropout",
                choice.dropout.is_some() && head != HeadKind::Paper,
                "only the head `paper` has it",
            ),
        ];
        let mut all = watches.chain(others).chain(training.recipe.idle(&default));
        all.find(|(_, idle, _)| *idle)
            .map(|(flag, _, why)| (flag, Cow::Borrowed(why)))
            .or_else(|| choice.strategies.idle_flag())
    }

    /// The settings that these flags ask for, with these data: the defaults where they do not say.
    ///
    /// # Errors
    /// When some of them do not go together, or one does nothing beside the others.
    pub fn settings(&self, data: &Path) -> Result<Settings, CliError> {
        if let Some((flag, why)) = self.idle(Some(data)) {
            return Err(
                CliError::usage(format!("--{flag} does nothing here: {why}"))
                    .with_hint("leave it out, or change what it needs"),
            );
        }
        let mut settings = self.begins_with();
        self.apply(&mut settings)?;
        // That of a recipe; as a flag it is refused.
        settings.split.search_apart &= settings.split.searches();
        Ok(settings)
    }

    /// What flags change: the settings of the recipe, or the defaults.
    fn begins_with(&self) -> Settings {
        self.recipe.map_or_else(Settings::default, Recipe::settings)
    }

    /// Refuses a recipe where a run goes on, or a file has the settings.
    ///
    /// # Errors
    /// When one is asked for.
    pub fn without_recipe(&self) -> Result<(), CliError> {
        match self.recipe {
            None => Ok(()),
            Some(_) => Err(CliError::usage(
                "settings that are there already, of a run that goes on or of --config, are kept: --recipe is for \
                 a run that begins without",
            )),
        }
    }

    /// Puts what is given into `settings`.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), CliError> {
        let (choice, data, training) = (&self.choice, &self.split, &self.training);
        choice.strategies.apply(settings)?;
        set_some(&mut settings.search, &choice.search);
        if let Some(Budget(budget)) = choice.budget {
            settings.budget = budget;
        }
        set_some(
            &mut settings.budget,
            &choice.budget_share.map(SearchBudget::Share),
        );
        set(&mut settings.head, &choice.head);
        set(&mut settings.head_init, &choice.head_init);
        set(&mut settings.dropout, &choice.dropout);
        set_some(&mut settings.features, &choice.features);
        set_some(&mut settings.output, &choice.output.output);
        settings.dequantise |= choice.dequantise;
        settings.inference_mode |= choice.inference_mode;
        settings.logits |= choice.logits;
        settings.keep_batch |= choice.keep_batch;
        settings.keep_adapter |= choice.keep_adapter;
        set(&mut settings.delimiters, &choice.delimiters);
        set_some(&mut settings.preprocess, &self.images.preprocess()?);
        set_some(&mut settings.resize, &self.images.resize());
        set_some(&mut settings.image_size, &self.images.image_size);

        self.data.apply(&mut settings.sources);
        set_some(&mut settings.sources.split, &data.split);
        set_some(&mut settings.sources.classes, &data.classes);
        let split = &mut settings.split;
        set(&mut split.search_fraction, &data.search_fraction);
        set(&mut split.train_fraction, &data.train_fraction);
        set_some(&mut split.validation_fraction, &data.validation_fraction);
        split.search_apart |= data.search_apart;
        set(&mut split.seed, &data.seed);
        split.shuffle &= !data.no_shuffle;
        set(&mut settings.min_per_class, &data.min_per_class);
        set(&mut settings.repeats, &data.repeats);
        set_some(&mut settings.folds, &data.folds);
        set(&mut settings.augment, &data.augment);
        set_some(&mut settings.views, &data.views);

        training.recipe.apply(settings);
        set(&mut settings.bn, &training.bn);
        set(&mut settings.batch_size, &training.batch_size);
        set(&mut settings.epochs, &training.epochs);
        set(&mut settings.search_epochs, &training.search_epochs);
        set_some(&mut settings.monitor, &training.monitor);
        set_some(&mut settings.rank_by, &training.rank_by);
        set(&mut settings.rank_samples, &training.rank_samples);
        set(&mut settings.early_stopping, &training.early_stopping);
        set(&mut settings.class_weights, &training.class_weights);
        set(&mut settings.sampler, &training.sampler);
        training.compute.apply(settings)?;
        set(&mut settings.engine, &training.engine);
        set(&mut settings.image_cache, &training.image_cache);
        let memory_budget = training.memory_budget.map(|bytes| bytes.0);
        set_some(&mut settings.memory_budget, &memory_budget);
        set(&mut settings.feature_precision, &training.feature_precision);
        let seconds = training.checkpoint_every.map(f64::from);
        set(&mut settings.checkpoint_every, &seconds);
        settings.log_steps |= training.log_steps;
        Ok(())
    }
}

/// Puts a value where one is given.
fn set_some<T: Clone>(place: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        place.clone_from(given);
    }
}

/// The command with the defaults of [`Settings`] in the help of `tune`, `plan` and `study`.
pub fn with_defaults(command: Command) -> Command {
    let defaults = flags(&Settings::default());
    let mut command = command;
    for subcommand in ["tune", "plan", "study"] {
        command = command.mut_subcommand(subcommand, |command| {
            command.mut_args(|arg| with_default(arg, &defaults))
        });
    }
    command
}

/// The flag with its default at the end of its help, unless its help says what it is.
fn with_default(arg: Arg, defaults: &[(&str, FlagValue)]) -> Arg {
    let default = defaults
        .iter()
        .find(|(name, _)| Some(*name) == arg.get_long());
    let Some(shown) = default.and_then(|(_, value)| value.shown()) else {
        return arg;
    };
    let told = |help: Option<&StyledStr>| help.map(ToString::to_string);
    let Some(short) = told(arg.get_help()).filter(|help| !help.contains("[default: ")) else {
        return arg;
    };
    let ending = format!(" [default: {shown}]");
    let long = told(arg.get_long_help());
    let arg = arg.help(format!("{short}{ending}"));
    match long {
        // Behind its first paragraph, as in the short form.
        Some(long) => arg.long_help(long.replacen(&short, &format!("{short}{ending}"), 1)),
        None => arg,
    }
}

#[cfg(test)]
mod tests;
