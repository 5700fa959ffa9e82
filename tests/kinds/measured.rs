//! Data to measure a model on that lack some of its classes.

use ftsurgery::onnx::messages::StringStringEntryProto;
use ftsurgery::runtime::testing::has_runtime;

use crate::models::*;

#[test]
fn images_of_one_class_alone_are_evaluated_and_the_others_named() {
    if !has_runtime() {
        return;
    }
    let mut proto = proto(&classifier());
    proto.metadata_props.push(StringStringEntryProto {
        key: Some("names".to_owned()),
        value: Some(r#"["blue", "green", "red"]"#.to_owned()),
    });
    let place = Place::new(&proto);
    let all = place.run("evaluate model.onnx --data photos --preprocess unit --json");
    assert!(!all.well().contains("have no images"), "{}", all.text());
    let all: serde_json::Value = serde_json::from_str(&all.out()).unwrap();
    let list = "path,label\nphotos/green/0.png,green\nphotos/green/1.png,green\n";
    std::fs::write(place.at("list.csv"), list).unwrap();
    std::fs::create_dir(place.at("one")).unwrap();
    std::fs::rename(place.at("photos/green"), place.at("one/green")).unwrap();

    let one = place.run("evaluate model.onnx --data one --preprocess unit --json");
    let told =
        "2 of the model's 3 classes have no images here, and no figures of their own: blue, red";
    assert!(one.well().contains(told), "{}", one.text());
    let one: serde_json::Value = serde_json::from_str(&one.out()).unwrap();
    assert_eq!(one["samples"], 8);
    assert_eq!(one["classes"][1], {
        // Its precision alone depends on images of others.
        let mut class = all["classes"][1].clone();
        class["precision"] = one["classes"][1]["precision"].clone();
        class["f1"] = one["classes"][1]["f1"].clone();
        class
    });
    assert_eq!(one["accuracy"], one["classes"][1]["recall"]);
    let row = |result: &serde_json::Value| {
        let pairs = result["confusion"].as_array().unwrap().clone();
        Vec::from_iter(pairs.into_iter().filter(|pair| pair[0] == 1))
    };
    assert_eq!(row(&one), row(&all));
    let table = place.run("evaluate model.onnx --data one --preprocess unit");
    table.well();
    assert!(table.out().contains("true \\ predicted"), "{}", table.out());

    // So are a list of one class, and a folder in which that of the other is empty; of none there is nothing to measure.
    std::fs::rename(place.at("one/green"), place.at("photos/green")).unwrap();
    let listed = place.run("evaluate model.onnx --data list.csv --preprocess unit");
    assert!(listed.well().contains("blue, red"), "{}", listed.text());
    std::fs::create_dir(place.at("one/red")).unwrap();
    let none = place.run("evaluate model.onnx --data one --preprocess unit");
    none.refused(&["at least 1 class sub-folder", "found 0"]);
    // To train, there are two.
    std::fs::rename(place.at("photos/green"), place.at("one/green")).unwrap();
    let train = "tune model.onnx --data one --out run --preprocess unit";
    place.run(train).refused(&["at least 2 class", "found 1"]);
    // Of a model that names none it is not known which one it is.
    let nameless = Place::new(&self::proto(&classifier()));
    std::fs::remove_dir_all(nameless.at("photos/green")).unwrap();
    std::fs::remove_dir_all(nameless.at("photos/red")).unwrap();
    let one = nameless.run("evaluate model.onnx --data photos --preprocess unit");
    one.refused(&["1 classes", "does not name them"]);
}
