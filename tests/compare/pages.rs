//! The pages of `diff` and `analyze`.

use crate::scene::*;

/// What must hold of a page that loads nothing.
fn assert_self_contained(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>"), "{}", &page[..100]);
    for bad in ["<script", "src=\"http", "href=\"http", "url("] {
        assert!(!page.contains(bad), "{bad}");
    }
}

#[test]
fn the_page_of_diff_marks_what_changed_in_its_block() {
    let scene = Scene::new();
    scene.with("b.onnx", |_, g| {
        let tensor = &mut g.initializer[0];
        let mut bytes = tensor.raw_data.clone().unwrap().to_vec();
        bytes[1] ^= 1;
        tensor.raw_data = Some(bytes.into());
        g.node[1].name = Some("<script>alert(1)</script>".to_owned());
    });
    let output = scene.run("diff a.onnx b.onnx --format html");
    assert_eq!(output.status.code(), Some(1));
    let page = text(&output);
    assert_self_contained(&page);
    assert!(
        page.contains("conv (Conv)\nconv.w: 1 of 108 elements"),
        "{page}"
    );
    assert!(
        page.contains("1 of 133 elements of tensors have other values"),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn the_page_of_analyze_has_each_quantity_and_strategy() {
    let scene = Scene::new();
    let output = scene.run("analyze a.onnx --format html");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let page = text(&output);
    assert_self_contained(&page);
    for figure in [
        "id=\"parameters\"",
        "id=\"macs\"",
        "id=\"activations\"",
        "id=\"reach\"",
    ] {
        assert!(page.contains(figure), "{figure}");
    }
    // 8 x 8 outputs of 4 channels, of 27 products each.
    assert!(
        page.contains("block1: 6,912 MACs") && page.contains("block1: 108 parameters"),
        "{page}"
    );
    assert!(page.contains("full trains block1"));
}
