//! Where the batch is in a value that was reshaped.

/// The axis of a value that the batch is a part of, and the number of elements of that axis that come
/// before it: in [words · batch, channels] the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub axis: usize,
    pub ahead: usize,
}

/// Where the batch, at `from` in a value of the dimensions `before`, can be in one of the dimensions
/// `after` with the same elements: behind as many of them. Likelier places come first: an axis that is
/// just the batch, and those of which the batch is the outermost part, as with `batch · heads`.
pub(super) fn places(before: &[usize], from: Place, after: &[usize], batch: usize) -> Vec<Place> {
    let count = |dims: &[usize]| dims.iter().map(|&d| d as u128).product::<u128>();
    let all = count(&before[..from.axis]) * from.ahead as u128;
    let mut found = Vec::new();
    for axis in 0..after.len() {
        let outer = count(&after[..axis]);
        if outer == 0 || !all.is_multiple_of(outer) {
            continue;
        }
        let Ok(ahead) = usize::try_from(all / outer) else {
            continue;
        };
        let step = ahead.saturating_mul(batch);
        if step != 0 && after[axis] != 0 && after[axis].is_multiple_of(step) {
            found.push(Place { axis, ahead });
        }
    }
    found.sort_by_key(|p| (p.ahead != 1, after[p.axis] != batch));
    found
}

/// Ways that are tried at most, and nodes that are looked at on all of them together.
const MOST: usize = 256;
const NODES: usize = 500_000;

/// What was chosen where several places fit, so that other ways can be tried.
#[derive(Debug)]
pub(super) struct Trail {
    /// What was chosen, and of how many.
    choices: Vec<(usize, usize)>,
    /// Choices that were made on this way so far.
    made: usize,
    /// Ways that may still be tried.
    left: usize,
}

impl Trail {
    /// Before the first way through a graph of so many nodes.
    pub fn new(nodes: usize) -> Self {
        Trail {
            choices: Vec::new(),
            made: 0,
            left: (NODES / nodes.max(1)).min(MOST),
        }
    }

    /// One of the places, the first one where a choice is new.
    pub fn choose<'p>(&mut self, places: &'p [Place]) -> Option<&'p Place> {
        if places.len() < 2 {
            return places.first();
        }
        if self.made == self.choices.len() {
            self.choices.push((0, places.len()));
        }
        let (chosen, _) = self.choices[self.made];
        self.made += 1;
        places.get(chosen)
    }

    /// Goes back to the last choice that can be another; false if there is none left.
    pub fn turn_back(&mut self) -> bool {
        self.choices.truncate(self.made);
        self.made = 0;
        self.left = self.left.saturating_sub(1);
        while let Some((chosen, of)) = self.choices.pop() {
            if chosen + 1 < of {
                self.choices.push((chosen + 1, of));
                return self.left > 0;
            }
        }
        false
    }
}
