//! Minimising a smooth function of many numbers: L-BFGS.
//!
//! Sources: Nocedal and Wright, "Numerical Optimization", algorithm 7.4 (the two loops); Lewis and Overton,
//! "Nonsmooth optimization via quasi-Newton methods", algorithm 2.6 (a bisection for the weak Wolfe
//! conditions); Hager and Zhang, "A new conjugate gradient method with guaranteed descent", (4.1) (what stands for
//! the first of these where values differ by no more than they are rounded). Written here because the function's value and gradient come out of one pass over the samples,
//! and a head of many classes leaves no memory for more than these vectors.

use std::collections::VecDeque;

/// A function that can be minimised.
pub(super) trait Function<E> {
    /// The value at `x`; its gradient goes to `gradient`, which is as long.
    fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<f64, E>;
}

/// When to end, and how much to remember.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// The largest derivative at which a point counts as the minimum.
    pub tolerance: f64,
    /// Iterations, at most.
    pub iterations: usize,
    /// Pairs of steps and changes of the gradient that are remembered, as float32.
    pub memory: usize,
    /// The share of a value that its rounding may be.
    pub rounding: f64,
}

/// Where it ended.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    pub x: Vec<f64>,
    /// The largest derivative there.
    pub slope: f64,
    pub iterations: usize,
}

/// A step and the change of the gradient along it, with `1 / (step · change)`.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    rho: f64,
}

/// The least decrease, as a share of what the slope promises, and the share of the slope that may be left.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Points that are tried along one direction.
const TRIES: usize = 30;

/// Goes downhill from `x` until the largest derivative is within the tolerance, the iterations are used up, or
/// the numbers of the machine show no way down any more.
///
/// # Errors
/// Those of the function.
pub(super) fn minimise<E>(
    function: &mut dyn Function<E>,
    mut x: Vec<f64>,
    options: Options,
) -> Result<Minimum, E> {
    let length = x.len();
    let mut gradient = vec![0.0; length];
    let mut value = function.evaluate(&x, &mut gradient)?;
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut next = Point {
        x: vec![0.0; length],
        gradient: vec![0.0; length],
    };
    let mut iterations = 0;
    while largest(&gradient) > options.tolerance && iterations < options.iterations {
        let mut direction = downhill(&pairs, &gradient);
        let mut slope = dot(&direction, &gradient);
        if slope.is_nan() || slope >= 0.0 {
            // Rounding has spoilt what is remembered.
            pairs.clear();
            direction = downhill(&pairs, &gradient);
            slope = dot(&direction, &gradient);
        }
        let first = match pairs.is_empty() {
            true => 1.0 / slope.abs().sqrt().max(1.0),
            false => 1.0,
        };
        let line = Line {
            from: &x,
            direction: &direction,
            value,
            slope,
            rounding: options.rounding * value.abs(),
        };
        let Some(lower) = line.search(function, first, &mut next)? else {
            break;
        };
        let (step, change) = (
            difference(&next.x, &x),
            difference(&next.gradient, &gradient),
        );
        let curvature = dot_f32(&step, &change);
        if curvature > f64::EPSILON * dot_f32(&change, &change) {
            if pairs.len() >= options.memory.max(1) {
                pairs.pop_front();
            }
            pairs.push_back(Pair {
                rho: 1.0 / curvature,
                step,
                change,
            });
        }
        std::mem::swap(&mut x, &mut next.x);
        std::mem::swap(&mut gradient, &mut next.gradient);
        value = lower;
        iterations += 1;
    }
    Ok(Minimum {
        slope: largest(&gradient),
        x,
        iterations,
    })
}

/// A point, and the gradient there.
struct Point {
    x: Vec<f64>,
    gradient: Vec<f64>,
}

/// A way downhill.
struct Line<'a> {
    from: &'a [f64],
    direction: &'a [f64],
    /// At its beginning.
    value: f64,
    /// The same, along the direction; below 0.
    slope: f64,
    /// What two values may differ by though they are the same.
    rounding: f64,
}

impl Line<'_> {
    /// Puts a point that is low and flat enough into `point`, and gives its value; `None` where none is lower.
    fn search<E>(
        &self,
        function: &mut dyn Function<E>,
        first: f64,
        point: &mut Point,
    ) -> Result<Option<f64>, E> {
        let mut at = |step: f64, point: &mut Point| {
            for ((x, from), d) in point.x.iter_mut().zip(self.from).zip(self.direction) {
                *x = from + step * d;
            }
            function.evaluate(&point.x, &mut point.gradient)
        };
        let (mut short, mut long, mut step) = (0.0, f64::INFINITY, first);
        for _ in 0..TRIES {
            let value = at(step, point)?;
            let slope = dot(self.direction, &point.gradient);
            let is_lower = value <= self.value + DECREASE * step * self.slope;
            let is_as_low =
                value <= self.value + self.rounding && slope <= (2.0 * DECREASE - 1.0) * self.slope;
            // What is not a number is neither, and too far.
            if !is_lower && !is_as_low {
                long = step;
            } else if slope < CURVATURE * self.slope {
                short = step;
            } else {
                return Ok(Some(value));
            }
            step = match long.is_finite() {
                true => (short + long) / 2.0,
                false => 2.0 * short,
            };
        }
        match short > 0.0 {
            true => at(short, point).map(Some),
            false => Ok(None),
        }
    }
}

/// The direction of the next step: against the gradient, by what `pairs` say of the curvature.
fn downhill(pairs: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let Some(last) = pairs.back() else {
        return direction;
    };
    let mut shares = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let share = pair.rho * along(&pair.step, &direction);
        add(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    let scale = 1.0 / (last.rho * dot_f32(&last.change, &last.change));
    direction.iter_mut().for_each(|d| *d *= scale);
    for (pair, share) in pairs.iter().zip(shares.into_iter().rev()) {
        let back = pair.rho * along(&pair.change, &direction);
        add(&mut direction, share - back, &pair.step);
    }
    direction
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |top, v| v.abs().max(top))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn dot_f32(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

fn along(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f32]) {
    for (to, &what) in to.iter_mut().zip(what) {
        *to += times * f64::from(what);
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| (a - b) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley along each pair of neighbours; the minimum is 0 at 1, 1, ….
    struct Valley {
        evaluations: usize,
    }

    impl Function<()> for Valley {
        fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<f64, ()> {
            self.evaluations += 1;
            gradient.fill(0.0);
            let mut value = 0.0;
            for i in 0..x.len() - 1 {
                let (a, b) = (1.0 - x[i], x[i + 1] - x[i] * x[i]);
                value += a * a + 100.0 * b * b;
                gradient[i] += -2.0 * a - 400.0 * x[i] * b;
                gradient[i + 1] += 200.0 * b;
            }
            Ok(value)
        }
    }

    const OPTIONS: Options = Options {
        tolerance: 1e-7,
        iterations: 500,
        memory: 8,
        rounding: 0.0,
    };

    #[test]
    fn the_bottom_of_a_bent_valley_is_found() {
        let mut valley = Valley { evaluations: 0 };
        let found = minimise(&mut valley, vec![-1.2; 10], OPTIONS).unwrap();
        assert!(found.slope <= OPTIONS.tolerance, "{found:?}");
        assert!(found.x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
        assert!(valley.evaluations < 200, "{}", valley.evaluations);
        let few = Options {
            iterations: 3,
            ..OPTIONS
        };
        assert_eq!(
            minimise(&mut valley, vec![-1.2; 10], few)
                .unwrap()
                .iterations,
            3
        );
    }

    /// |x|, whose slope never falls.
    struct Edge;

    impl Function<()> for Edge {
        fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<f64, ()> {
            gradient[0] = x[0].signum();
            Ok(x[0].abs())
        }
    }

    #[test]
    fn where_nothing_lower_is_found_it_ends() {
        let found = minimise(&mut Edge, vec![1.0], OPTIONS).unwrap();
        assert!(found.x[0].abs() < 1e-6 && found.slope == 1.0, "{found:?}");
    }

    #[test]
    fn errors_end_it() {
        struct Broken;
        impl Function<&'static str> for Broken {
            fn evaluate(&mut self, _: &[f64], _: &mut [f64]) -> Result<f64, &'static str> {
                Err("stopped")
            }
        }
        let ended = minimise(&mut Broken, vec![0.0], OPTIONS);
        assert_eq!(ended.unwrap_err(), "stopped");
    }
}
