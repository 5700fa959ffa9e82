//! Processors as they are written, and what they come to.

use super::*;

fn read(text: &str) -> Processor {
    Processor::read(&serde_json::from_str(text).unwrap()).unwrap()
}

fn crop(share: f64) -> Option<Resize> {
    Some(Resize::by(ResizeMode::Crop { share }))
}

#[test]
fn processors_of_transformers_come_to_what_they_do() {
    let imagenet = r#""image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]"#;
    let half = r#""image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]"#;
    let of = |rest: &str| format!("{{{rest}}}");
    for (text, preprocess, resize, size) in [
        // ViT, and as its feature extractor wrote it.
        (
            of(&format!(
                r#"{half}, "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
                       "do_resize": true, "resample": 2, "size": {{"height": 224, "width": 224}}"#
            )),
            "signed",
            Some(Resize::SQUASH),
            (224, 224),
        ),
        (
            of(&format!(
                r#"{half}, "do_normalize": true, "do_resize": true, "size": 384"#
            )),
            "signed",
            Some(Resize::SQUASH),
            (384, 384),
        ),
        // ResNet and ConvNeXt.
        (
            of(&format!(
                r#"{imagenet}, "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875,
                       "size": {{"shortest_edge": 224}}"#
            )),
            "imagenet",
            crop(0.875),
            (224, 224),
        ),
        (
            of(&format!(
                r#"{imagenet}, "feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 1.0, "size": 384"#
            )),
            "imagenet",
            Some(Resize::SQUASH),
            (384, 384),
        ),
        // CLIP, MobileNet, LeViT, DeiT.
        (
            of(&format!(
                r#"{imagenet}, "do_center_crop": true, "crop_size": {{"height": 224, "width": 224}},
                       "size": {{"shortest_edge": 224}}"#
            )),
            "imagenet",
            crop(1.0),
            (224, 224),
        ),
        (
            of(&format!(
                r#"{half}, "do_center_crop": true, "crop_size": 224, "size": {{"shortest_edge": 256}}"#
            )),
            "signed",
            crop(0.875),
            (224, 224),
        ),
        (
            of(&format!(
                r#"{imagenet}, "image_processor_type": "LevitImageProcessorFast", "size": {{"shortest_edge": 224}}"#
            )),
            "imagenet",
            crop(0.875),
            (224, 224),
        ),
        (
            of(&format!(
                r#"{imagenet}, "do_center_crop": true, "crop_size": {{"height": 224, "width": 224}},
                       "size": {{"height": 256, "width": 256}}"#
            )),
            "imagenet",
            crop(0.875),
            (224, 224),
        ),
        // MobileViT: blue first, and nothing but scaled.
        (
            of(&format!(
                r#"{half}, "image_processor_type": "MobileViTImageProcessor", "do_center_crop": true,
                       "crop_size": {{"height": 256, "width": 256}}, "size": {{"shortest_edge": 288}}"#
            )),
            "unit-bgr",
            crop(256.0 / 288.0),
            (256, 256),
        ),
        // Nothing but cropped.
        (
            of(
                r#""do_rescale": false, "do_normalize": false, "size": {"height": 32, "width": 48}"#,
            ),
            "raw",
            Some(Resize::SQUASH),
            (32, 48),
        ),
    ] {
        let read = read(&text);
        assert_eq!(read.preprocess.unwrap().to_string(), preprocess, "{text}");
        match (read.resize.unwrap().mode, resize.unwrap().mode) {
            (ResizeMode::Crop { share }, ResizeMode::Crop { share: wanted }) => {
                assert!((share - wanted).abs() < 1e-3, "{text}: {share}");
            }
            (mode, wanted) => assert_eq!(mode, wanted, "{text}"),
        }
        assert_eq!(read.image_size, Some(size), "{text}");
    }
}

#[test]
fn efficientnet_takes_off_one_and_divides_twice() {
    let read = read(
        r#"{"image_processor_type": "EfficientNetImageProcessor", "rescale_factor": 0.00784313725490196,
                "rescale_offset": true, "include_top": true, "do_normalize": true,
                "image_mean": [0.25, 0.25, 0.25], "image_std": [0.5, 0.5, 0.5], "resample": 0,
                "do_center_crop": false, "crop_size": {"height": 289, "width": 289},
                "size": {"height": 346, "width": 346}}"#,
    );
    let made = read.preprocess.unwrap();
    for pixel in [0u8, 100, 255] {
        let mut values = [0.0; 3];
        let layout = crate::layout::Layout::Nhwc;
        made.write(&[pixel; 3], 3, layout, &mut values).unwrap();
        let wanted = (f32::from(pixel) / 127.5 - 1.0 - 0.25) / 0.5 / 0.5;
        assert!((values[0] - wanted).abs() < 1e-5, "{values:?}");
    }
    assert_eq!(
        (read.image_size, read.resize),
        (Some((346, 346)), Some(Resize::SQUASH))
    );
    assert!(
        read.approximate[0].contains("nearest"),
        "{:?}",
        read.approximate
    );
}

#[test]
fn a_crop_comes_to_the_size_that_is_said() {
    for (side, of) in [
        (224, 256),
        (224, 235),
        (289, 346),
        (256, 288),
        (299, 331),
        (480, 493),
    ] {
        let ResizeMode::Crop { share } = middle(side, of).unwrap().mode else {
            panic!("no crop");
        };
        assert_eq!((side as f64 / share).floor() as usize, of, "{share}");
    }
    assert_eq!(middle(224, 256).unwrap().to_string(), "crop:0.875");
    assert!(middle(100, 256).is_err());
}

#[test]
fn a_model_of_timm_says_it_in_its_own_words() {
    let of = |text: &str| Processor::of_timm(&serde_json::from_str(text).unwrap()).unwrap();
    let read = of(
        r#"{"input_size": [3, 288, 320], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 0.95,
                "crop_mode": "center", "interpolation": "bicubic"}"#,
    );
    assert_eq!(read.preprocess.unwrap().to_string(), "signed");
    assert_eq!(read.resize, crop(0.95));
    assert_eq!(read.image_size, Some((288, 320)));
    assert!(read.approximate[0].contains("bicubic"));
    assert_eq!(
        of(r#"{"crop_mode": "squash"}"#).resize,
        Some(Resize::SQUASH)
    );
}

#[test]
fn what_makes_no_sense_is_told_by_its_name() {
    for (text, word) in [
        (
            r#"{"image_mean": "a", "image_std": [1, 1, 1]}"#,
            "`image_mean`",
        ),
        (
            r#"{"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}"#,
            "std",
        ),
        (r#"{"do_rescale": 3}"#, "`do_rescale`"),
        (r#"{"size": {"longest_edge": 3}}"#, "size"),
        (
            r#"{"do_center_crop": true, "crop_size": 10, "size": 100}"#,
            "share",
        ),
    ] {
        let error = Processor::read(&serde_json::from_str(text).unwrap()).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    // Nothing is made up.
    assert_eq!(read(r#"{"do_normalize": true}"#).preprocess, None);
}
