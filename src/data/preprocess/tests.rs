use super::*;

const ORANGE_AND_BLACK: [u8; 6] = [255, 128, 0, 0, 0, 0];

fn written(name: &str, layout: Layout) -> Vec<f32> {
    let mut out = vec![f32::NAN; 6];
    let preprocess: Preprocess = name.parse().unwrap();
    preprocess
        .write(&ORANGE_AND_BLACK, 3, layout, &mut out)
        .unwrap();
    out
}

fn assert_close(actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len());
    for (a, e) in actual.iter().zip(expected) {
        assert!((a - e).abs() < 1e-5, "{actual:?} is not {expected:?}");
    }
}

#[test]
fn presets_give_the_published_values() {
    let half = 128.0 / 255.0;
    assert_close(
        &written("unit", Layout::Nhwc),
        &[1.0, half, 0.0, 0.0, 0.0, 0.0],
    );
    assert_close(
        &written("signed", Layout::Nhwc),
        &[1.0, 2.0 * half - 1.0, -1.0, -1.0, -1.0, -1.0],
    );
    assert_close(
        &written("imagenet", Layout::Nhwc)[..3],
        &[
            (1.0 - 0.485) / 0.229,
            (half - 0.456) / 0.224,
            -0.406 / 0.225,
        ],
    );
    assert_close(
        &written("caffe", Layout::Nhwc)[..3],
        &[-103.939, 128.0 - 116.779, 255.0 - 123.68],
    );
    assert_close(&written("raw", Layout::Nhwc)[..3], &[255.0, 128.0, 0.0]);
}

#[test]
fn presets_are_told_by_name_and_others_by_their_numbers() {
    for name in Preprocess::PRESETS {
        assert_eq!(name.parse::<Preprocess>().unwrap().to_string(), name);
    }
    let own = Preprocess::custom([0.5; 3], [0.25; 3]).unwrap();
    let told = own.to_string();
    assert!(told.contains("RGB") && told.contains("0.25"), "{told}");
    let cropped = Preprocess {
        resize: Resize::CROP,
        ..Preprocess::SIGNED
    };
    assert!(cropped.scales_as(&Preprocess::SIGNED) && !cropped.scales_as(&own));
    assert_eq!(cropped.to_string(), "signed");
}

#[test]
fn a_preset_of_the_other_order_scales_each_colour_as_it_was() {
    for name in Preprocess::PRESETS {
        let preset: Preprocess = name.parse().unwrap();
        let order = match preset.order {
            ChannelOrder::Rgb => "bgr",
            ChannelOrder::Bgr => "rgb",
        };
        let swapped = format!("{name}-{order}");
        assert_eq!(swapped.parse::<Preprocess>().unwrap().to_string(), swapped);
        let (as_it_was, other) = (written(name, Layout::Nhwc), written(&swapped, Layout::Nhwc));
        assert_eq!([other[2], other[1], other[0]], as_it_was[..3], "{name}");
    }
    assert_eq!("unit-rgb".parse::<Preprocess>().unwrap(), Preprocess::UNIT);
    assert!("unit-grb".parse::<Preprocess>().is_err());
}

#[test]
fn nchw_holds_the_planes_of_nhwc() {
    for name in Preprocess::PRESETS {
        let (hwc, chw) = (written(name, Layout::Nhwc), written(name, Layout::Nchw));
        for c in 0..3 {
            assert_eq!(chw[c * 2..c * 2 + 2], [hwc[c], hwc[3 + c]]);
        }
    }
}

#[test]
fn alpha_is_the_last_channel_in_either_order_of_colours() {
    for (name, expected) in [
        ("raw", [255.0, 128.0, 0.0, 51.0]),
        ("raw-bgr", [0.0, 128.0, 255.0, 51.0]),
        ("signed", [1.0, 2.0 * 128.0 / 255.0 - 1.0, -1.0, -0.6]),
        // What is of colours alone is not of alpha.
        ("caffe", [-103.939, 128.0 - 116.779, 255.0 - 123.68, 51.0]),
    ] {
        let preprocess: Preprocess = name.parse().unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let mut out = [f32::NAN; 4];
            let write = preprocess.write(&[255, 128, 0, 51], 4, layout, &mut out);
            write.unwrap();
            assert_close(&out, &expected);
        }
    }
}

#[test]
fn grey_images_use_the_first_mean_and_std() {
    let preprocess = Preprocess::custom([0.5, 9.0, 9.0], [0.25, 9.0, 9.0]).unwrap();
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let mut out = [0.0; 2];
        preprocess.write(&[0, 255], 1, layout, &mut out).unwrap();
        assert_eq!(out, [-2.0, 2.0]);
    }
}

#[test]
fn json_round_trips_and_stays_stable() {
    let json = serde_json::to_string(&Preprocess::CAFFE).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"order":"bgr","scale":1.0,"mean":[103.939,116.779,123.68],"std":[1.0,1.0,1.0],"#,
            r#""resize":{"mode":"squash","filter":"bilinear","antialias":true}}"#
        )
    );
    for name in Preprocess::PRESETS {
        let preprocess: Preprocess = name.parse().unwrap();
        let json = serde_json::to_string(&preprocess).unwrap();
        assert_eq!(
            serde_json::from_str::<Preprocess>(&json).unwrap(),
            preprocess
        );
    }
}

#[test]
fn impossible_values_are_refused_by_name() {
    let error = Preprocess::custom([0.0; 3], [1.0, 0.0, 1.0]).unwrap_err();
    assert!(
        error.is_bad_input() && error.to_string().contains("std"),
        "{error}"
    );
    let error = Preprocess::custom([f32::NAN, 0.0, 0.0], [1.0; 3]).unwrap_err();
    assert!(error.to_string().contains("mean"), "{error}");
    let error = "torch".parse::<Preprocess>().unwrap_err();
    assert!(error.to_string().contains("imagenet"), "{error}");
    assert!(
        Preprocess::UNIT
            .write(&[0; 8], 2, Layout::Nchw, &mut [0.0; 8])
            .is_err()
    );
    assert!(
        Preprocess::UNIT
            .write(&[0; 6], 3, Layout::Nchw, &mut [0.0; 5])
            .is_err()
    );
}
