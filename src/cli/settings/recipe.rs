//! Flags of how parameters move: the optimizer, its rates, and what else makes a recipe.

use crate::choice::Choice;
use crate::run::Settings;
use crate::training::{Cosine, Optimizer, OptimizerKind, Plateau, Schedule};
use clap::Args;

use super::set_some;
use super::values::{self, set};

#[derive(Args)]
#[command(next_help_heading = "Training")]
pub struct RecipeArgs {
    /// `adam`, `adamw` or `sgd`
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerKind>,
    /// Learning rate, or `auto`: a trial tries some for a few steps from where its training begins, and takes the
    /// highest that does no harm to what is made of images it does not train on; that of the search which trains most
    /// does so for the others, and winners take the rate of their search; with --head-init random it is 1e-4, of
    /// sgd 1e-2
    #[arg(long, value_name = "RATE", value_parser = values::auto_or(values::above_0))]
    lr: Option<Choice<f32>>,
    /// Learning rate of the head, which all schedules change as they do --lr [default: that of --lr]
    #[arg(long, value_name = "RATE", value_parser = values::above_0)]
    head_lr: Option<f32>,
    /// Multiply the learning rate of the backbone by this for every block between a parameter and the head
    /// (`analyze` shows the blocks; --delimiters ends them)
    #[arg(long, value_name = "SHARE", value_parser = values::to_1)]
    layer_decay: Option<f32>,
    /// Weight decay
    #[arg(long, value_name = "RATE", value_parser = values::at_least_0)]
    weight_decay: Option<f32>,
    /// Let what was pretrained decay to its pretrained values in place of 0, at this rate (L2-SP); --weight-decay is then
    /// that of a new head alone
    #[arg(long, value_name = "ALPHA", value_parser = values::above_0)]
    l2_sp: Option<f32>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    momentum: Option<f32>,
    /// Shorten the gradient of a step, of all parameters as one vector, to this length where it is longer
    #[arg(long, value_name = "NORM", value_parser = values::above_0)]
    clip_norm: Option<f32>,
    /// How the learning rate changes: `constant`, `plateau` (it falls whenever the validation score has not
    /// become better for some epochs), `cosine` (it falls from step to step along half a cosine), or `one-cycle`
    /// (it rises to --lr for 30 % of the steps, then falls to next to nothing)
    #[arg(long, value_name = "NAME")]
    schedule: Option<Schedule>,
    /// Epochs in a row without a better validation score (--monitor) that are let pass: after one more,
    /// the learning rate falls (as in PyTorch; Keras counts one less)
    #[arg(long, value_name = "N")]
    plateau_patience: Option<usize>,
    /// The learning rate is multiplied by this then
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    plateau_factor: Option<f32>,
    /// Share of --lr at which the schedule `cosine` ends [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    cosine_floor: Option<f32>,
    /// Epochs, or a part of one, in which the learning rate rises from 0; of `one-cycle`, its rise
    #[arg(long, value_name = "EPOCHS", value_parser = values::at_least_0)]
    warmup: Option<f32>,
    /// Score and write an average of the weights over the steps, of which each step keeps this share (of the first
    /// steps less); 0.99 weighs some hundred steps
    #[arg(long, value_name = "DECAY", value_parser = values::inside_1)]
    ema: Option<f32>,
    /// Put the filters of each layer into K groups that the training images activate alike, and move all of a group by the
    /// mean of their gradients: for few images per class
    #[arg(long, value_name = "K", value_parser = values::count)]
    group_filters: Option<usize>,
    /// Spread this share of every target over all classes in the training loss
    #[arg(long, value_name = "SHARE", value_parser = values::below_1)]
    label_smoothing: Option<f32>,
    /// Mix every sample of a step with another of its batch, and their targets: a share drawn from Beta(ALPHA, ALPHA)
    /// of one and the rest of the other; 0.2 is usual. Frozen layers are then computed in every step
    #[arg(long, value_name = "ALPHA", value_parser = values::at_least_0)]
    mixup: Option<f32>,
    /// Put a rectangle of another image of its batch into every image of a step, and as much of its target; the area
    /// is drawn as for --mixup, 1 is usual. With both, each step draws which
    #[arg(long, value_name = "ALPHA", value_parser = values::at_least_0)]
    cutmix: Option<f32>,
}

impl RecipeArgs {
    /// Flags that need validation samples, and whether they are given.
    pub fn watches(&self) -> [(&'static str, bool); 3] {
        let plateau = matches!(self.schedule, Some(Schedule::Plateau(_)));
        [
            ("schedule plateau", plateau),
            ("plateau-patience", self.plateau_patience.is_some()),
            ("plateau-factor", self.plateau_factor.is_some()),
        ]
    }

    /// Flags of how parameters move, and whether they are given.
    pub fn given(&self) -> [(&'static str, bool); 17] {
        [
            ("optimizer", self.optimizer.is_some()),
            ("lr", self.lr.is_some()),
            ("head-lr", self.head_lr.is_some()),
            ("layer-decay", self.layer_decay.is_some()),
            ("weight-decay", self.weight_decay.is_some()),
            ("l2-sp", self.l2_sp.is_some()),
            ("momentum", self.momentum.is_some()),
            ("clip-norm", self.clip_norm.is_some()),
            ("schedule", self.schedule.is_some()),
            ("plateau-patience", self.plateau_patience.is_some()),
            ("plateau-factor", self.plateau_factor.is_some()),
            ("cosine-floor", self.cosine_floor.is_some()),
            ("warmup", self.warms_up()),
            ("ema", self.ema.is_some()),
            ("group-filters", self.group_filters.is_some()),
            ("label-smoothing", self.label_smoothing.is_some()),
            ("mixup", self.mixup.is_some() || self.cutmix.is_some()),
        ]
    }

    /// Whether --warmup is given.
    pub fn warms_up(&self) -> bool {
        self.warmup.is_some()
    }

    /// Flags, whether they do nothing beside the others, and why.
    pub fn idle(&self, default: &Settings) -> [(&'static str, bool, &'static str); 4] {
        let optimizer = self.optimizer.unwrap_or(default.optimizer.kind);
        let schedule = self.schedule.unwrap_or(default.schedule);
        let plateau = matches!(schedule, Schedule::Plateau(_));
        let cosine = matches!(schedule, Schedule::Cosine(_));
        let no_plateau = "only --schedule plateau has it";
        [
            (
                "momentum",
                self.momentum.is_some() && optimizer != OptimizerKind::Sgd,
                "only --optimizer sgd has one",
            ),
            (
                "plateau-patience",
                self.plateau_patience.is_some() && !plateau,
                no_plateau,
            ),
            (
                "plateau-factor",
                self.plateau_factor.is_some() && !plateau,
                no_plateau,
            ),
            (
                "cosine-floor",
                self.cosine_floor.is_some() && !cosine,
                "only --schedule cosine has one",
            ),
        ]
    }

    /// Puts what is given into `settings`.
    pub fn apply(&self, settings: &mut Settings) {
        let optimizer = &mut settings.optimizer;
        let is_auto = optimizer.learning_rate == Choice::Auto;
        if let Some(kind) = self.optimizer.filter(|&kind| kind != optimizer.kind) {
            let is_open = optimizer.learning_rate == Choice::Auto;
            *optimizer = Optimizer::new(kind);
            if is_open {
                optimizer.learning_rate = Choice::Auto;
            }
            // What a recipe leaves to its trials stays with them.
            if is_auto {
                optimizer.learning_rate = Choice::Auto;
            }
        }
        set(&mut optimizer.learning_rate, &self.lr);
        set(&mut optimizer.weight_decay, &self.weight_decay);
        set(&mut optimizer.momentum, &self.momentum);
        set_some(&mut settings.head_lr, &self.head_lr);
        set(&mut settings.layer_decay, &self.layer_decay);
        let schedule = &mut settings.schedule;
        if let Some(other) = self.schedule.filter(|s| s.name() != schedule.name()) {
            *schedule = other;
        }
        if self.plateau_patience.is_some() || self.plateau_factor.is_some() {
            let mut plateau = match *schedule {
                Schedule::Plateau(plateau) => plateau,
                _ => Plateau::default(),
            };
            set(&mut plateau.patience, &self.plateau_patience);
            set(&mut plateau.factor, &self.plateau_factor);
            *schedule = Schedule::Plateau(plateau);
        }
        if let Some(floor) = self.cosine_floor {
            *schedule = Schedule::Cosine(Cosine { floor });
        }
        set(&mut settings.warmup, &self.warmup);
        set_some(&mut settings.clip_norm, &self.clip_norm);
        set_some(&mut settings.ema, &self.ema);
        set_some(&mut settings.l2_sp, &self.l2_sp);
        set_some(&mut settings.group_filters, &self.group_filters);
        set(&mut settings.label_smoothing, &self.label_smoothing);
        set(&mut settings.mixup, &self.mixup);
        set(&mut settings.cutmix, &self.cutmix);
    }
}
