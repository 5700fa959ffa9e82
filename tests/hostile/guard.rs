//! Watches one case: panics, time, and memory that is asked for in one piece or held at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What one case may take: tenths of a second on a fast machine, seconds on a slow one in a build with checks, and
/// minutes to hours if it takes time as it must not.
const SECONDS: f64 = 10.0;
/// What one case may hold; the models are of a few kilobytes.
const BYTES: isize = 256 << 20;
/// What no small model justifies: a request beyond it is refused, which ends the process.
const REQUEST: usize = 1 << 30;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static LABEL: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Watching;

fn count(bytes: isize) {
    // A thread that ends may free after its locals are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn refuses(size: usize) -> bool {
    let watched = WATCHED.try_with(Cell::get).unwrap_or(false);
    let held = HELD.try_with(Cell::get).unwrap_or(0).max(0) as usize;
    if watched && held.saturating_add(size) > REQUEST {
        WATCHED.with(|w| w.set(false));
        LABEL.with(|l| eprintln!("{}: asks for {size} bytes on top of {held}", l.borrow()));
        return true;
    }
    false
}

// SAFETY: every call is handed to the system's allocator unchanged, or refused with null.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refuses(size) {
            return std::ptr::null_mut();
        }
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// How a case ended.
pub enum Outcome<T> {
    Done(T),
    Failed(String),
}

/// Runs `work`; a panic, too much time or too much memory is a failure.
pub fn guarded<T>(label: &str, work: impl FnMut() -> T) -> Outcome<T> {
    guarded_within(label, BYTES, work)
}

/// As [`guarded`], with the bytes that may be held at once.
pub fn guarded_within<T>(label: &str, bytes: isize, mut work: impl FnMut() -> T) -> Outcome<T> {
    LABEL.with(|l| label.clone_into(&mut l.borrow_mut()));
    if std::env::var_os("FTSURGERY_HOSTILE_VERBOSE").is_some() {
        // The last line tells which case ended the process.
        eprintln!("{label}");
    }
    let before = HELD.get();
    PEAK.set(before);
    let mut once = || {
        let start = Instant::now();
        WATCHED.set(true);
        let result = catch_unwind(AssertUnwindSafe(&mut work));
        WATCHED.set(false);
        (result, start.elapsed())
    };
    let (result, mut time) = once();
    let Ok(value) = result else {
        return Outcome::Failed("it panics".to_owned());
    };
    let limit = Duration::from_secs_f64(SECONDS);
    if time > limit {
        // Other work on the machine may have held it up.
        time = time.min(once().1);
    }
    let held = PEAK.get() - before;
    if time > limit {
        Outcome::Failed(format!("it takes {time:?}"))
    } else if held > bytes {
        Outcome::Failed(format!("it holds {} MiB", held >> 20))
    } else {
        Outcome::Done(value)
    }
}
