//! What onnxruntime must not be given to try, as it does not come back, takes all memory or gives other
//! numbers each time: exit code 2 and the node's name from every command.

use ftsurgery::data::memory_limit;
use ftsurgery::onnx::messages::{AttributeProto, DimensionValue, ModelProto, TypeValue};
use ftsurgery::runtime::testing::runtime;

use crate::files::{Scene, graph};
use crate::models;

const RUNNING: [&str; 4] = ["gradients", "differentiate", "evaluate", "predict"];

fn fix(proto: &mut ModelProto, axis: usize, size: i64) {
    let input = &mut graph(proto).input[0];
    let Some(TypeValue::Tensor(tensor)) = input.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        panic!("a tensor");
    };
    tensor.shape.as_mut().unwrap().dim[axis].value = Some(DimensionValue::DimValue(size));
}

#[test]
fn a_batch_that_no_memory_holds_is_refused() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    fix(&mut proto, 0, 1 << 31);
    let scene = Scene::new(&proto);
    for command in ["evaluate", "predict"] {
        scene.refused(command, &["`image`", "2147483648 samples"]);
    }
}

#[test]
fn a_batch_of_none_is_refused() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    fix(&mut proto, 0, 0);
    let scene = Scene::new(&proto);
    for command in ["evaluate", "predict"] {
        scene.refused(command, &["`image`", "0 samples"]);
    }
}

#[test]
fn images_larger_than_any_that_is_read_are_the_models_fault() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    fix(&mut proto, 2, 20_000);
    let scene = Scene::new(&proto);
    for command in ["evaluate", "predict"] {
        scene.refused(command, &["20000"]);
    }
}

#[test]
fn values_that_no_machine_has_room_for_are_refused_before_anything_is_run() {
    if runtime().is_none() {
        return;
    }
    let scene = Scene::new(&models::doubled(40));
    for command in RUNNING {
        scene.refused(command, &["doubled", "too large"]);
    }
}

/// onnxruntime's pools walk all of their window, also what lies beyond the map.
#[test]
fn a_window_larger_than_any_map_is_refused_before_anything_is_run() {
    if runtime().is_none() {
        return;
    }
    let scene = Scene::new(&models::padded_pool(1 << 27));
    for command in RUNNING {
        scene.refused(command, &["`wide`", "window", "larger than any map"]);
    }
}

#[test]
fn values_beyond_the_memory_of_this_machine_are_refused_before_anything_is_run() {
    const FLOATS: i64 = 1 << 37;
    if runtime().is_none() {
        return;
    }
    if memory_limit().is_none_or(|bytes| bytes >= 4 << 37) {
        ftsurgery::testing::skip("memory limit", "512 GiB may be there");
        return;
    }
    let scene = Scene::new(&models::grown(FLOATS));
    for command in RUNNING {
        scene.refused(command, &["grown", "512 GiB", "memory"]);
    }
}

/// onnxruntime goes on changing the statistics, so that each run gives other numbers.
#[test]
fn a_norm_in_training_mode_is_refused_wherever_it_would_be_run() {
    if runtime().is_none() {
        return;
    }
    let mut proto = models::plain();
    let norm = &mut graph(&mut proto).node[1];
    assert_eq!(norm.op_type.as_deref(), Some("BatchNormalization"));
    norm.attribute.push(AttributeProto {
        name: Some("training_mode".to_owned()),
        r#type: Some(2),
        i: Some(1),
        ..AttributeProto::default()
    });
    norm.output.extend(["mean", "variance"].map(str::to_owned));
    let scene = Scene::new(&proto);
    for command in RUNNING {
        scene.refused(command, &["`bn`", "training mode"]);
    }
}

/// Nobody can foresee the end of a loop: a run has 20 seconds for it.
#[test]
fn a_loop_that_never_ends_is_ended_and_told() {
    if runtime().is_none() {
        return;
    }
    let scene = Scene::new(&models::endless());
    scene.refused("predict", &["loop", "not ended after 20 seconds"]);
}

/// onnxruntime does not return from some equations.
#[test]
fn an_equation_that_is_none_is_refused_before_onnxruntime_sees_it() {
    if runtime().is_none() {
        return;
    }
    for equation in ["?abcd", "abcd-", "....."] {
        let scene = Scene::new(&models::summed(equation));
        for command in RUNNING {
            scene.refused(command, &["Einsum", equation]);
        }
    }
}
