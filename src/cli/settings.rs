//! Flags of everything that trains: what is trained, on which part of the data, and how.

use clap::Args;
use ftsurgery::analysis::Delimiters;
use ftsurgery::data::{Augment, FeaturePrecision, SplitOptions};
use ftsurgery::run::Settings;
use ftsurgery::strategy::{Strategy, pattern};
use ftsurgery::surgery::HeadKind;
use ftsurgery::training::{
    BatchNormMode, ClassWeights, Monitor, Optimizer, OptimizerKind, Plateau,
};

use super::CliError;
use super::values::{self, ComputeArgs, ImageArgs};

/// How to tune.
#[derive(Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    split: SplitArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

#[derive(Args)]
#[command(next_help_heading = "What to train")]
struct ChoiceArgs {
    /// What to try, separated by commas: `head` (the head alone), `full` (everything), `layers` (the
    /// best layer), `top3`, `top5` (the best 3 or 5 layers together), `blocks` (the best block),
    /// `windows` (the best 3 layers in a row), `random3` (3 layers drawn at random), `select` (those
    /// of --train), or `all` of these (`select` if --train is given)
    ///
    /// Other numbers may stand in place of 3 and 5: `top4`, `windows5`, `random2`.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "head,full,blocks"
    )]
    strategies: Vec<String>,
    /// Layers that strategy `select` trains: names or patterns of layers, parameters or blocks, as
    /// `analyze` shows them (`*`, `**` across `/`, `?`, `[…]`, `{a,b}`); repeat it or separate them by
    /// commas
    #[arg(long, value_name = "GLOB")]
    train: Vec<String>,
    /// Number of layers of `top` where its name has none [default: 3]
    #[arg(long, value_name = "K", value_parser = values::count)]
    top: Option<usize>,
    /// Number of layers of `windows` where its name has none [default: 3]
    #[arg(long, value_name = "N", value_parser = values::count)]
    window: Option<usize>,
    /// Number of layers of `random` where its name has none [default: 3]
    #[arg(long, value_name = "K", value_parser = values::count)]
    random: Option<usize>,
    /// The classifier: `paper` (dense 128, dropout, dense 64, dense), `linear` (pooling and one dense
    /// layer), or `keep` (the model's own)
    #[arg(long, value_name = "HEAD", default_value = "paper")]
    head: HeadKind,
    /// Share of values dropped in the head `paper` while training [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    dropout: Option<f32>,
    /// Put the head on this value of the model, a feature map or a vector per image, instead of its last
    /// feature map
    #[arg(long, value_name = "VALUE")]
    features: Option<String>,
    /// What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas
    #[arg(long, value_name = "KINDS", default_value = "auto")]
    delimiters: Delimiters,
}

#[derive(Args)]
#[command(next_help_heading = "Data")]
struct SplitArgs {
    /// Share of the data that the search has: candidates are trained on 70 % of it; 0 for no search
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = values::fraction)]
    search_fraction: f64,
    /// Share of the data on which winners are trained, that of the candidates included; what neither
    /// trains nor validates is held out
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = values::fraction)]
    train_fraction: f64,
    /// Share of the data on which candidates are ranked and epochs chosen [default: as much as
    /// --search-fraction]
    #[arg(long, value_name = "SHARE", value_parser = values::fraction)]
    validation_fraction: Option<f64>,
    /// Do not train winners on what candidates were trained on, as in the paper: --train-fraction
    /// comes on top of it, and validation has the other 30 % of --search-fraction
    #[arg(long)]
    search_apart: bool,
    /// Leave classes of a folder with fewer than N usable images out
    #[arg(long, value_name = "N", value_parser = values::count)]
    min_per_class: Option<usize>,
    /// Decides the split, the head's first weights, dropout, augmentation and batch order
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Do the whole run N times, with seeds from --seed on, and report mean, standard deviation and
    /// variance of each strategy
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    repeats: usize,
    /// Random changes to the images that are trained on: `none`, `flip`, or `standard` (crop and
    /// resize, flip, brightness, contrast, saturation)
    #[arg(long, value_name = "KIND", default_value = "none")]
    augment: Augment,
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
    /// `adam`, `adamw` or `sgd`
    #[arg(long, value_name = "NAME", default_value = "adam")]
    optimizer: OptimizerKind,
    /// Learning rate [default: 1e-4 for adam and adamw, 1e-2 for sgd]
    #[arg(long, value_name = "RATE", value_parser = values::above_0)]
    lr: Option<f32>,
    /// Weight decay
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = values::at_least_0)]
    weight_decay: f32,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    momentum: Option<f32>,
    /// BatchNormalization that is trained takes its stored statistics (`frozen`), or those of the
    /// batch (`batch`): the stored ones then follow them and are written to the tuned model
    #[arg(long, value_name = "MODE", default_value = "frozen")]
    bn: BatchNormMode,
    /// Samples per step
    #[arg(long, value_name = "N", default_value = "4", value_parser = values::count)]
    batch_size: usize,
    /// Passes over the training part for a winner
    #[arg(long, value_name = "N", default_value = "20", value_parser = values::count)]
    epochs: usize,
    /// Passes over the search part for a candidate
    #[arg(long, value_name = "N", default_value = "5", value_parser = values::count)]
    search_epochs: usize,
    /// The figure of the validation part that ranks candidates, says which epoch is the best, and is
    /// watched by plateau and early stopping: `accuracy`, `balanced-accuracy` (mean recall of the classes),
    /// `macro-f1` (mean F1 of the classes) or `loss`; of equal ones the lower loss is better [default:
    /// accuracy; balanced-accuracy with --class-weights balanced]
    #[arg(long, value_name = "FIGURE")]
    monitor: Option<Monitor>,
    /// Epochs in a row without a better validation score (--monitor) that are let pass: after one more,
    /// the learning rate falls (as in PyTorch; Keras counts one less) [default: 3]
    #[arg(long, value_name = "N")]
    plateau_patience: Option<usize>,
    /// The learning rate is multiplied by this then [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    plateau_factor: Option<f32>,
    /// Keep the learning rate as it is
    #[arg(long, conflicts_with_all = ["plateau_patience", "plateau_factor"])]
    no_plateau: bool,
    /// End a trial after N epochs in a row without a better validation score (--monitor)
    #[arg(long, value_name = "N", value_parser = values::count)]
    early_stopping: Option<usize>,
    /// How much each class counts in the loss: `none` (every image the same), or `balanced` (rare
    /// classes more, so that all classes count the same)
    #[arg(long, value_name = "KIND", default_value = "none")]
    class_weights: ClassWeights,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Memory for the images and the outputs of frozen layers; outputs beyond it are kept in files in
    /// RUN. Trials run side by side only if their steps would fit beside the images, too [default: half
    /// of the memory there is]
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    memory_budget: Option<u64>,
    /// Keep these outputs as `f32`, or as `f16` in half the room
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    feature_precision: FeaturePrecision,
    /// Seconds between two writings of a trial's state, which an interrupted trial goes on from (more
    /// where writing takes long; 0 writes after every step); it is written on Ctrl-C, too
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::at_least_0)]
    checkpoint_every: f32,
    /// Write a line per step to metrics.jsonl, with the loss before it
    #[arg(long)]
    log_steps: bool,
}

/// The strategies asked for, each once.
fn strategies(choice: &ChoiceArgs) -> Result<Vec<Strategy>, CliError> {
    const COUNT: usize = 3;
    let mut list = Vec::new();
    for name in &choice.strategies {
        match name.trim() {
            "all" => {
                list.extend(Strategy::ALL);
                list.extend((!choice.train.is_empty()).then_some(Strategy::Select));
            }
            "top" => list.push(Strategy::Top(choice.top.unwrap_or(COUNT))),
            "windows" => list.push(Strategy::Windows(choice.window.unwrap_or(COUNT))),
            "random" => list.push(Strategy::Random(choice.random.unwrap_or(COUNT))),
            name => list.push(name.parse()?),
        }
    }
    let mut seen = std::collections::HashSet::new();
    list.retain(|strategy| seen.insert(*strategy));
    if !choice.train.is_empty() && !list.contains(&Strategy::Select) {
        return Err(CliError::usage(
            "--train names layers, but `select` is not among --strategies",
        ));
    }
    Ok(list)
}

impl SettingsArgs {
    /// # Errors
    /// When a flag is given that does nothing beside the others.
    fn refuse_idle(&self) -> Result<(), CliError> {
        let (choice, split, training) = (&self.choice, &self.split, &self.training);
        let is_asked = |name: &str| choice.strategies.iter().any(|s| s.trim() == name);
        let unnumbered =
            |given: Option<usize>, strategy: &str| given.is_some() && !is_asked(strategy);
        let watches = [
            ("--monitor", training.monitor.is_some()),
            ("--early-stopping", training.early_stopping.is_some()),
            ("--plateau-patience", training.plateau_patience.is_some()),
            ("--plateau-factor", training.plateau_factor.is_some()),
        ];
        let watches = watches.map(|(flag, given)| {
            let validated = split.validation_fraction.unwrap_or(split.search_fraction);
            let idle = given && validated == 0.0;
            (
                flag,
                idle,
                "there is no validation part (--search-fraction or --validation-fraction is 0)",
            )
        });
        let others = [
            (
                "--search-apart",
                split.search_apart && split.search_fraction == 0.0,
                "there is no search part (--search-fraction 0)",
            ),
            (
                "--views",
                split.views.is_some() && split.augment == Augment::None,
                "without --augment all views of an image are the same",
            ),
            (
                "--dropout",
                choice.dropout.is_some() && choice.head != HeadKind::Paper,
                "only the head `paper` has it",
            ),
            (
                "--momentum",
                training.momentum.is_some() && training.optimizer != OptimizerKind::Sgd,
                "only --optimizer sgd has one",
            ),
            (
                "--top",
                unnumbered(choice.top, "top"),
                "it counts the layers of strategy `top`, which is not among --strategies",
            ),
            (
                "--window",
                unnumbered(choice.window, "windows"),
                "it counts the layers of strategy `windows`, which is not among --strategies",
            ),
            (
                "--random",
                unnumbered(choice.random, "random"),
                "it counts the layers of strategy `random`, which is not among --strategies",
            ),
        ];
        match watches.into_iter().chain(others).find(|(_, idle, _)| *idle) {
            Some((flag, _, why)) => {
                Err(CliError::usage(format!("{flag} does nothing here: {why}"))
                    .with_hint("leave it out, or change what it needs"))
            }
            None => Ok(()),
        }
    }

    /// The settings that these flags ask for.
    ///
    /// # Errors
    /// When some of them do not go together.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let (choice, split, training) = (&self.choice, &self.split, &self.training);
        self.refuse_idle()?;
        Ok(Settings {
            strategies: strategies(choice)?,
            selection: choice
                .train
                .iter()
                .flat_map(|t| pattern::split(t))
                .collect(),
            head: choice.head,
            dropout: choice.dropout.unwrap_or(0.5),
            features: choice.features.clone(),
            delimiters: choice.delimiters.clone(),
            preprocess: self.images.preprocess()?,
            image_size: self.images.image_size,
            min_per_class: split.min_per_class.unwrap_or(0),
            augment: split.augment,
            views: split.views,
            repeats: split.repeats,
            split: SplitOptions {
                search_fraction: split.search_fraction,
                train_fraction: split.train_fraction,
                validation_fraction: split.validation_fraction,
                search_apart: split.search_apart,
                seed: split.seed,
                shuffle: !split.no_shuffle,
            },
            batch_norm: training.bn,
            optimizer: Optimizer {
                kind: training.optimizer,
                learning_rate: training.lr.unwrap_or(match training.optimizer {
                    OptimizerKind::Sgd => 1e-2,
                    OptimizerKind::Adam | OptimizerKind::Adamw => 1e-4,
                }),
                weight_decay: training.weight_decay,
                momentum: training.momentum.unwrap_or(0.9),
            },
            monitor: training
                .monitor
                .unwrap_or(Monitor::default_for(training.class_weights)),
            plateau: (!training.no_plateau).then(|| {
                let default = Plateau::default();
                Plateau {
                    patience: training.plateau_patience.unwrap_or(default.patience),
                    factor: training.plateau_factor.unwrap_or(default.factor),
                    ..default
                }
            }),
            early_stopping: training.early_stopping,
            class_weights: training.class_weights,
            batch_size: training.batch_size,
            epochs: training.epochs,
            search_epochs: training.search_epochs,
            threads: training.compute.device.threads(),
            operators: training.compute.operators()?,
            device: training.compute.device.device,
            memory_budget: training.memory_budget,
            feature_precision: training.feature_precision,
            checkpoint_seconds: f64::from(training.checkpoint_every),
            log_steps: training.log_steps,
        })
    }
}
