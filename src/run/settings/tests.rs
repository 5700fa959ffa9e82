//! What settings are refused, and how they are read.

use super::*;
use crate::data::ResizeMode;
use crate::training::{Cosine, Plateau};

#[test]
fn settings_come_back_from_json_and_what_is_missing_is_as_by_default() {
    let mut settings = Settings::default()
        .preprocess(Some(Preprocess::CAFFE))
        .delimiters("pool,norm".parse().unwrap())
        .device("cuda:1".parse().unwrap())
        .resize(Some(Resize::LETTERBOX))
        .image_size(Some((160, 224)));
    settings.split.seed = u64::MAX;
    settings.optimizer.learning_rate = 3e-5.into();
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    let few: Settings = serde_json::from_str(r#"{"epochs": 3, "seed": 7}"#).unwrap();
    let mut expected = Settings::default().epochs(3);
    expected.split.seed = 7;
    assert_eq!(few, expected);
}

#[test]
fn what_nothing_can_be_done_with_is_refused_by_the_name_of_its_field() {
    Settings::default().validate().unwrap();
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 36] = [
        ("strategies", |s| s.strategies.clear()),
        ("train", |s| s.train.push("block5".to_owned())),
        ("logits", |s| {
            (s.logits, s.head) = (true, HeadKind::Keep);
        }),
        ("dropout", |s| s.dropout = 1.0),
        ("resize", |s| {
            let share = 0.1;
            s.resize = Some(Resize::by(ResizeMode::Crop { share }));
        }),
        ("image_size", |s| s.image_size = Some((0, 3))),
        ("views", |s| {
            (s.views, s.augment) = (Some(2), Augment::None.into());
        }),
        ("repeats", |s| s.repeats = 0),
        ("folds", |s| s.folds = Some(1)),
        ("sampler", |s| {
            (s.sampler, s.class_weights) = (Sampler::Balanced, ClassWeights::Balanced);
        }),
        ("sampler", |s| {
            (s.sampler, s.split.shuffle) = (Sampler::Balanced, false);
        }),
        ("folds", |s| (s.folds, s.repeats) = (Some(5), 2)),
        ("search_fraction", |s| {
            s.split.search_fraction = f64::NAN.into()
        }),
        ("train_fraction", |s| s.split.train_fraction = 0.0),
        ("validation_fraction", |s| {
            s.split.validation_fraction = Some(1.5);
        }),
        ("optimizer.learning_rate", |s| {
            s.optimizer.learning_rate = 0.0.into();
        }),
        ("optimizer.momentum", |s| s.optimizer.momentum = 1.0),
        ("schedule.factor", |s| {
            s.schedule = Schedule::Plateau(Plateau {
                factor: 2.0,
                ..Plateau::default()
            });
        }),
        ("schedule.floor", |s| {
            s.schedule = Schedule::Cosine(Cosine { floor: 1.0 });
        }),
        ("warmup", |s| s.warmup = -0.5),
        ("label_smoothing", |s| s.label_smoothing = 1.0),
        ("clip_norm", |s| s.clip_norm = Some(0.0)),
        ("ema", |s| s.ema = Some(1.0)),
        ("l2_sp", |s| s.l2_sp = Some(0.0)),
        ("group_filters", |s| s.group_filters = Some(0)),
        ("group_filters", |s| {
            (s.group_filters, s.optimizer_in_graph) = (Some(8), true.into());
        }),
        ("tf32", |s| s.tf32 = true),
        ("mixup", |s| s.mixup = f32::INFINITY),
        ("cutmix", |s| s.cutmix = -1.0),
        ("mixup", |s| {
            (s.batch_size, s.cutmix) = (1, 1.0);
        }),
        ("head_lr", |s| s.head_lr = Some(0.0)),
        ("layer_decay", |s| s.layer_decay = 0.0),
        ("layer_decay", |s| s.layer_decay = 1.5),
        ("batch_size", |s| s.batch_size = 0),
        ("search_epochs", |s| s.search_epochs = 0.into()),
        ("checkpoint_every", |s| s.checkpoint_every = -1.0),
    ];
    for (name, change) in changes {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = settings.validate().unwrap_err();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains(&format!("`{name}`")), "{name}: {text}");
    }
}

#[test]
fn early_stopping_is_on_where_a_training_has_no_length_and_something_validates() {
    let patience = |schedule, change: fn(&mut Settings)| {
        let mut settings = Settings::default().schedule(schedule);
        change(&mut settings);
        settings.patience()
    };
    let plateau = Plateau {
        patience: 2,
        ..Plateau::default()
    };
    let cosine = Schedule::Cosine(Cosine::default());
    assert_eq!(patience(Schedule::Constant, |_| {}), Some(8));
    assert_eq!(patience(Schedule::Plateau(plateau), |_| {}), Some(6));
    assert_eq!(patience(cosine, |_| {}), None);
    assert_eq!(patience(Schedule::OneCycle, |_| {}), None);
    let unseen = |s: &mut Settings| s.split.search_fraction = 0.0.into();
    assert_eq!(patience(Schedule::Constant, unseen), None);
    let off = |s: &mut Settings| s.early_stopping = Choice::Given(None);
    assert_eq!(patience(Schedule::Constant, off), None);
    let asked = |s: &mut Settings| s.early_stopping = Choice::Given(Some(3));
    assert_eq!(patience(cosine, asked), Some(3));
}

#[test]
fn epochs_that_are_left_open_follow_from_the_steps_of_one_within_bounds() {
    let auto = Settings::default().batch_size(16).epochs(Choice::Auto);
    // 7, 69 and 161 steps in an epoch, and none.
    let epochs = [100, 1101, 2569, 0].map(|samples| auto.epochs_for(samples, Some(0.1)));
    assert_eq!(epochs, [12, 9, 6, 12]);
    let far = [100, 1101, 2569].map(|samples| auto.epochs_for(samples, Some(0.4)));
    assert_eq!(far, [24, 18, 12]);
    assert_eq!(auto.epochs(3).epochs_for(100, Some(0.4)), 3);
}

#[test]
fn statistics_of_a_batch_are_for_a_drawn_head_and_large_batches() {
    let mode = |head_init, batch_size| {
        let settings = Settings::default().bn(Choice::Auto);
        let settings = settings.head_init(head_init).batch_size(batch_size);
        settings.batch_norm()
    };
    assert_eq!(mode(HeadInit::Random, 16), BatchNormMode::Batch);
    assert_eq!(mode(HeadInit::Random, 15), BatchNormMode::Frozen);
    assert_eq!(mode(HeadInit::Solved, 64), BatchNormMode::Frozen);
    let asked = Settings::default().bn(BatchNormMode::Batch);
    assert_eq!(asked.batch_norm(), BatchNormMode::Batch);
}

#[test]
fn on_a_gpu_the_optimizer_is_in_the_graph_unless_filters_move_together() {
    let on = |device: &str| Settings::default().device(device.parse().unwrap());
    assert!(!on("cpu").updates_in_graph());
    assert!(on("cpu").optimizer_in_graph(true).updates_in_graph());
    assert!(on("cuda").updates_in_graph());
    assert!(!on("cuda").optimizer_in_graph(false).updates_in_graph());
    let grouped = on("cuda").group_filters(Some(8));
    assert!(!grouped.updates_in_graph());
    grouped.validate().unwrap();
}
