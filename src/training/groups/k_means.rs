//! Dividing points by k-means.

use rand::{Rng, RngExt};

/// Rounds in which points change their groups, at most.
const ROUNDS: usize = 100;

/// The group of each point, from 0 in the order of the points: at most `count` groups, fewer where fewer points are
/// different. Lloyd's algorithm from centres that are drawn one after the other, each point with a probability by its
/// squared distance from the nearest so far (k-means++).
///
/// Source: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007.
pub(super) fn k_means(points: &[Vec<f32>], count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut centres = drawn(points, count, rng);
    let mut groups = vec![0; points.len()];
    for round in 0..ROUNDS {
        let nearest: Vec<usize> = points.iter().map(|p| nearest(p, &centres).0).collect();
        if round > 0 && nearest == groups {
            break;
        }
        groups = nearest;
        for (group, centre) in centres.iter_mut().enumerate() {
            let own = points.iter().zip(&groups).filter(|(_, g)| **g == group);
            let own: Vec<&Vec<f32>> = own.map(|(point, _)| point).collect();
            // One that has lost all of its points stays, and may get some again.
            if !own.is_empty() {
                *centre = mean(&own);
            }
        }
    }
    in_order(&groups)
}

fn drawn(points: &[Vec<f32>], count: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
    let mut centres: Vec<Vec<f32>> = Vec::new();
    let mut distances = vec![f64::INFINITY; points.len()];
    while centres.len() < count {
        let next = match centres.last() {
            None if points.is_empty() => break,
            None => rng.random_range(0..points.len()),
            Some(last) => {
                for (distance, point) in distances.iter_mut().zip(points) {
                    *distance = distance.min(squared_distance(point, last));
                }
                let total: f64 = distances.iter().sum();
                let mut left = rng.random::<f64>() * total;
                let passed = |distance: &f64| {
                    left -= distance;
                    *distance > 0.0 && left < 0.0
                };
                let at = distances.iter().position(passed);
                // Where rounding leaves a rest, the last that can be.
                let last = || distances.iter().rposition(|distance| *distance > 0.0);
                match at.or_else(last) {
                    Some(at) => at,
                    None => break,
                }
            }
        };
        centres.push(points[next].clone());
    }
    centres
}

/// The nearest centre, the first of several, and its squared distance.
fn nearest(point: &[f32], centres: &[Vec<f32>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (at, centre) in centres.iter().enumerate() {
        let distance = squared_distance(point, centre);
        if distance < best.1 {
            best = (at, distance);
        }
    }
    best
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    /// Sums that are kept side by side, for vectors.
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        *sum = (a - b) * (a - b);
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().map(|&sum: &f32| f64::from(sum)).sum()
}

fn mean(points: &[&Vec<f32>]) -> Vec<f32> {
    let mut sums = vec![0.0; points.first().map_or(0, |p| p.len())];
    for point in points {
        for (sum, &v) in sums.iter_mut().zip(*point) {
            *sum += f64::from(v);
        }
    }
    let count = points.len() as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// The groups with numbers in the order in which they come, none of which is left out.
fn in_order(groups: &[usize]) -> Vec<usize> {
    let mut numbers: Vec<usize> = Vec::new();
    let number = |group: &usize| {
        let known = numbers.iter().position(|n| n == group);
        known.unwrap_or_else(|| {
            numbers.push(*group);
            numbers.len() - 1
        })
    };
    groups.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn divided(points: &[Vec<f32>], count: usize, seed: u64) -> Vec<usize> {
        k_means(points, count, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn clusters_far_apart_are_found_from_every_seed() {
        // Three clusters in the plane, their points in turn.
        let centre = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]];
        let points: Vec<Vec<f32>> = (0..30)
            .map(|i| {
                let noise = [(i * 7 % 11) as f32 / 11.0, (i * 5 % 13) as f32 / 13.0];
                (0..2)
                    .map(|axis| centre[i % 3][axis] + noise[axis])
                    .collect()
            })
            .collect();
        let expected: Vec<usize> = (0..30).map(|i| i % 3).collect();
        for seed in 0..20 {
            assert_eq!(divided(&points, 3, seed), expected, "{seed}");
        }
    }

    #[test]
    fn each_point_is_nearest_to_the_mean_of_its_group() {
        let numbers = |i: usize| ((i * 7919 + 13) % 101) as f32 / 101.0;
        let points: Vec<Vec<f32>> = (0..60)
            .map(|i| (0..11).map(|j| numbers(i * 11 + j)).collect())
            .collect();
        let groups = divided(&points, 7, 3);
        assert_eq!(groups.iter().max(), Some(&6));
        let means: Vec<Vec<f32>> = (0..7)
            .map(|group| {
                let own = points.iter().zip(&groups).filter(|(_, g)| **g == group);
                mean(&own.map(|(point, _)| point).collect::<Vec<_>>())
            })
            .collect();
        for (point, &group) in points.iter().zip(&groups) {
            let own = squared_distance(point, &means[group]);
            assert!(own <= nearest(point, &means).1 + 1e-5);
        }
        assert_eq!(divided(&points, 7, 3), groups, "the seed decides");
        assert_ne!(divided(&points, 7, 4), groups);
    }

    #[test]
    fn equal_points_are_not_parted() {
        let points = [1.0, 2.0, 1.0, 1.0, 2.0].map(|v| vec![v; 9]);
        assert_eq!(divided(&points, 4, 0), [0, 1, 0, 0, 1]);
        assert_eq!(divided(&points, 1, 0), [0; 5]);
        assert_eq!(divided(&[], 3, 0), [0; 0]);
        assert_eq!(divided(&[vec![], vec![]], 2, 0), [0, 0]);
    }
}
