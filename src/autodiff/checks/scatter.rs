use super::case::Case;
use super::random::Random;
use crate::onnx::Tensor;

/// Integers of dimensions `dims`, from −`size` to below `size`.
pub fn indices(random: &mut Random, dims: &[usize], size: usize) -> Tensor {
    let count = dims.iter().product();
    let values: Vec<i64> = (0..count)
        .map(|_| random.size(0, 2 * size - 1) as i64 - size as i64)
        .collect();
    shaped(dims, &values)
}

pub fn shaped(dims: &[usize], values: &[i64]) -> Tensor {
    let mut tensor = Tensor::i64s(values);
    tensor.dims = dims.to_vec();
    tensor
}

/// As many tuples of indices into `sizes` as `lead` has elements, no two alike.
pub fn distinct_tuples(random: &mut Random, lead: &[usize], sizes: &[usize]) -> Tensor {
    let total: usize = sizes.iter().product();
    let mut places: Vec<usize> = (0..total).collect();
    for i in (1..total).rev() {
        places.swap(i, random.size(0, i));
    }
    let count: usize = lead.iter().product();
    let tuple = |&place: &usize| {
        let mut rest = place;
        let mut tuple: Vec<i64> = Vec::new();
        for &size in sizes.iter().rev() {
            tuple.insert(0, (rest % size) as i64);
            rest /= size;
        }
        tuple
    };
    let values: Vec<i64> = places[..count].iter().flat_map(tuple).collect();
    shaped(&[lead, &[sizes.len()]].concat(), &values)
}

pub fn cases(random: &mut Random) -> Vec<Case> {
    let mut cases = Vec::new();
    for (axis, along) in [(0, [5, 2, 2]), (1, [3, 4, 2]), (-1, [1, 1, 7])] {
        let size = [3, 2, 4][(axis + 3) as usize % 3];
        let indices = indices(random, &along, size);
        for given in [false, true] {
            let case = Case::new("GatherElements").trained(random.any(&[3, 2, 4]));
            let case = case.with("axis", axis);
            cases.push(match given {
                true => case.given(indices.clone()),
                false => case.constant(indices.clone()),
            });
        }
    }
    for (data, index, batch) in [
        (&[3][..], &[4, 1][..], 0),
        (&[3, 3], &[5, 2], 0),
        (&[3, 3, 2], &[2, 3, 2], 0),
        (&[3, 2, 2], &[1], 0),
        (&[2, 3, 2], &[2, 4, 1], 1),
        (&[2, 2, 3], &[2, 2, 2, 1], 2),
        (&[2, 3, 3, 2], &[2, 2], 1),
    ] {
        let size = if data == [3, 2, 2] { 3 } else { data[batch] };
        let case = Case::new("GatherND").trained(random.any(data));
        let case = case.given(indices(random, index, size.min(3)));
        cases.push(case.with("batch_dims", batch as i64));
    }
    for reduction in ["none", "add"] {
        let places = shaped(&[3, 2], &[-2, 0, 0, 1, 1, 0]);
        let case = Case::new("ScatterElements").trained(random.any(&[3, 3]));
        let case = case.given(places).trained(random.any(&[3, 2]));
        cases.push(case.with("axis", 1).with("reduction", reduction));
        for (lead, depth) in [(&[3][..], 1), (&[2, 2], 2), (&[4], 3)] {
            let sizes = [4, 2, 2];
            let places = distinct_tuples(random, lead, &sizes[..depth]);
            let updates = [lead, &sizes[depth..]].concat();
            let case = Case::new("ScatterND").trained(random.any(&sizes));
            let case = case.given(places).trained(random.any(&updates));
            cases.push(case.with("reduction", reduction));
        }
    }
    // Twice the same place is defined for sums alone.
    let case = Case::new("ScatterElements").trained(random.any(&[3, 2]));
    let case = case.given(shaped(&[4, 1], &[2, 0, 2, 2]));
    let case = case.trained(random.any(&[4, 1]));
    cases.push(case.with("reduction", "add"));
    for (axis, largest) in [(0, 1), (1, 0), (-1, 1)] {
        let case = Case::new("TopK").trained(random.distinct(&[3, 2, 4]));
        let case = case.ints(&[2]).with("axis", axis).with("largest", largest);
        cases.push(case.outputs(2, &[0]));
    }
    for (upper, diagonal) in [(0, None), (1, None), (0, Some(-1)), (1, Some(1))] {
        let case = Case::new("Trilu").trained(random.any(&[2, 3, 4]));
        let case = case.with("upper", upper);
        cases.push(match diagonal {
            Some(k) => case.constant(Tensor::scalar_i64(k)),
            None => case,
        });
    }
    cases
}
