//! GFLOP/s of the dense convolution and its gradients for the layers of known networks.
//!
//! `cargo bench --bench kernels -- resnet 2 batch=4` measures layers whose name contains `resnet` on
//! two threads (one and two, unless said), with batches of 4 (8, unless said). One thread is measured by its processor time, which other programs do not lengthen;
//! several by the clock on the wall. Every figure is the best of some repeats.

use ftsurgery::kernels::{
    ConvShape, Epilogue, GemmShape, InputEpilogue, Parallel, Serial, conv, conv_input_gradient,
    conv_weight_gradient, gemm,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Name, input size, channels in and out, kernel, stride.
type Layer = (&'static str, usize, [usize; 2], usize, usize);

const LAYERS: &[Layer] = &[
    ("resnet50 stem", 224, [3, 64], 7, 2),
    ("resnet50 s1 reduce", 56, [256, 64], 1, 1),
    ("resnet50 s1 3x3", 56, [64, 64], 3, 1),
    ("resnet50 s1 expand", 56, [64, 256], 1, 1),
    ("resnet50 s2 down", 56, [256, 512], 1, 2),
    ("resnet50 s2 3x3/2", 56, [128, 128], 3, 2),
    ("resnet50 s2 reduce", 28, [512, 128], 1, 1),
    ("resnet50 s2 3x3", 28, [128, 128], 3, 1),
    ("resnet50 s2 expand", 28, [128, 512], 1, 1),
    ("resnet50 s3 reduce", 14, [1024, 256], 1, 1),
    ("resnet50 s3 3x3", 14, [256, 256], 3, 1),
    ("resnet50 s3 expand", 14, [256, 1024], 1, 1),
    ("resnet50 s4 reduce", 7, [2048, 512], 1, 1),
    ("resnet50 s4 3x3", 7, [512, 512], 3, 1),
    ("resnet50 s4 expand", 7, [512, 2048], 1, 1),
    ("mobilenet1 64-128", 56, [64, 128], 1, 1),
    ("mobilenet1 128-128", 56, [128, 128], 1, 1),
    ("mobilenet1 256-256", 28, [256, 256], 1, 1),
    ("mobilenet1 512-512", 14, [512, 512], 1, 1),
    ("mobilenet1 1024-1024", 7, [1024, 1024], 1, 1),
    ("mobilenet2 stem", 224, [3, 32], 3, 2),
    ("mobilenet2 32-16", 112, [32, 16], 1, 1),
    ("mobilenet2 16-96", 112, [16, 96], 1, 1),
    ("mobilenet2 96-24", 56, [96, 24], 1, 1),
    ("mobilenet2 24-144", 56, [24, 144], 1, 1),
    ("mobilenet2 144-32", 28, [144, 32], 1, 1),
    ("mobilenet2 32-192", 28, [32, 192], 1, 1),
    ("mobilenet2 384-64", 14, [384, 64], 1, 1),
    ("mobilenet2 96-576", 14, [96, 576], 1, 1),
    ("mobilenet2 576-160", 7, [576, 160], 1, 1),
    ("mobilenet2 160-960", 7, [160, 960], 1, 1),
    ("mobilenet2 320-1280", 7, [320, 1280], 1, 1),
    ("vgg16 1_1", 224, [3, 64], 3, 1),
    ("vgg16 1_2", 224, [64, 64], 3, 1),
    ("vgg16 2_1", 112, [64, 128], 3, 1),
    ("vgg16 3_1", 56, [128, 256], 3, 1),
    ("vgg16 3_2", 56, [256, 256], 3, 1),
    ("vgg16 4_2", 28, [512, 512], 3, 1),
    ("vgg16 5_1", 14, [512, 512], 3, 1),
];

/// Name, and depth and width of a dense layer.
const DENSE: &[(&str, [usize; 2])] = &[
    ("dense paper head 1", [50_176, 128]),
    ("dense vgg16 1", [25_088, 4_096]),
    ("dense vgg16 2", [4_096, 4_096]),
    ("dense resnet50", [2_048, 1_000]),
];

fn shape(layer: &Layer, batch: usize) -> ConvShape {
    let &(_, size, [in_channels, out_channels], kernel, stride) = layer;
    let pad = kernel / 2;
    ConvShape {
        batch,
        input: [size; 2],
        in_channels,
        output: [(size + 2 * pad - kernel) / stride + 1; 2],
        out_channels,
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [pad; 2],
        dilations: [1; 2],
        group: 1,
    }
}

/// Threads that wait for pieces while they live.
struct Pool<'a> {
    threads: usize,
    helpers: Vec<std::sync::mpsc::Sender<Task<'a>>>,
}

/// A pointer to the pieces of one run; the sender waits until `left` is 0.
#[derive(Clone, Copy)]
struct Task<'a> {
    piece: &'a (dyn Fn(usize) + Sync),
    pieces: usize,
    next: &'a AtomicUsize,
    left: &'a AtomicUsize,
}

impl Task<'_> {
    fn work(self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.pieces {
                break;
            }
            (self.piece)(index);
        }
        self.left.fetch_sub(1, Ordering::Release);
    }
}

// SAFETY: the counter gives each number once, and `run` waits for all helpers.
unsafe impl Parallel for Pool<'_> {
    fn threads(&self) -> usize {
        self.threads
    }

    fn run(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        let [next, left] = [AtomicUsize::new(0), AtomicUsize::new(self.threads)];
        let task = Task {
            piece,
            pieces,
            next: &next,
            left: &left,
        };
        // SAFETY: only lifetimes change, and this call returns after every helper is done.
        #[allow(unsafe_code)]
        let lasting: Task<'_> = unsafe { std::mem::transmute(task) };
        for helper in &self.helpers {
            helper
                .send(lasting)
                .expect("helpers wait until the pool goes");
        }
        task.work();
        while left.load(Ordering::Acquire) > 0 {
            std::hint::spin_loop();
        }
    }
}

/// Processor time of this thread.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    #[repr(C)]
    struct TimeSpec {
        seconds: i64,
        nanoseconds: i64,
    }
    #[allow(unsafe_code)]
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut TimeSpec) -> i32;
    }
    const THREAD: i32 = 3;
    let mut time = TimeSpec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the C library fills the structure it is given.
    #[allow(unsafe_code)]
    unsafe {
        clock_gettime(THREAD, &mut time)
    };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Seconds of the best of some calls.
fn best(threads: usize, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    let mut calls = 0;
    while calls < 4 || begin.elapsed() < Duration::from_millis(400) {
        let seconds = if threads == 1 {
            let before = processor_time();
            call();
            processor_time() - before
        } else {
            let before = Instant::now();
            call();
            before.elapsed()
        };
        best = best.min(seconds.as_secs_f64());
        calls += 1;
    }
    best
}

fn measure(layer: &Layer, batch: usize, parallel: &dyn Parallel) {
    let shape = shape(layer, batch);
    let fill = |len: usize| -> Vec<f32> { (0..len).map(|at| (at % 31) as f32 / 31.0).collect() };
    let [x, w, dy] = [shape.x_len(), shape.w_len(), shape.y_len()].map(fill);
    let [mut dx, mut dw, mut y] = [x.clone(), w.clone(), dy.clone()];
    let flops = 2.0 * (shape.y_len() * shape.taps() * shape.in_channels) as f64;
    let threads = parallel.threads();
    let checked = |result: Result<(), _>| result.unwrap_or_else(|error| panic!("{error}"));
    let seconds = [
        best(threads, || {
            let epilogue = Epilogue::default();
            checked(conv(&shape, &x, &w, &epilogue, &mut y, parallel));
        }),
        best(threads, || {
            let epilogue = InputEpilogue::default();
            let result = conv_input_gradient(&shape, &dy, &w, &epilogue, &mut dx, parallel);
            checked(result);
        }),
        best(threads, || {
            checked(conv_weight_gradient(
                &shape, &x, &dy, &mut dw, None, parallel,
            ));
        }),
    ];
    let [forward, input, weight] = seconds.map(|seconds| flops / seconds / 1e9);
    println!(
        "{:<22} {:>8.1} {forward:>8.1} {input:>8.1} {weight:>8.1}",
        layer.0,
        flops / 1e6
    );
}

/// Forward by both orders of the weight: one is the other's input gradient.
fn measure_dense(name: &str, [depth, width]: [usize; 2], batch: usize, parallel: &dyn Parallel) {
    let fill = |len: usize| -> Vec<f32> { (0..len).map(|at| (at % 31) as f32 / 31.0).collect() };
    let [a, b, mut y] = [batch * depth, depth * width, batch * width].map(fill);
    let rates = [false, true].map(|transposed| {
        let shape = GemmShape {
            rows: batch,
            depth,
            width,
            transposed,
        };
        let seconds = best(parallel.threads(), || {
            let result = gemm(&shape, &a, &b, None, &mut y, parallel);
            result.unwrap_or_else(|error| panic!("{error}"));
        });
        (4 * b.len()) as f64 / seconds / 1e9
    });
    let [plain, transposed] = rates;
    println!("{name:<22} {plain:>8.1} GB/s of the weight, {transposed:>8.1} transposed");
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let batch = words.iter().find_map(|word| word.strip_prefix("batch="));
    let batch = batch.map_or(8, |n| n.parse().expect("a number"));
    let words = words
        .iter()
        .filter(|w| !w.starts_with("--") && !w.contains('='));
    let (counts, names): (Vec<_>, Vec<_>) = words.partition(|w| w.parse::<usize>().is_ok());
    let mut threads: Vec<usize> = counts.iter().filter_map(|c| c.parse().ok()).collect();
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    for threads in threads {
        println!(
            "{threads} thread(s): MFLOP, then GFLOP/s forward, input gradient, weight gradient"
        );
        let wanted =
            |name: &str| names.is_empty() || names.iter().any(|n| name.contains(n.as_str()));
        let layers = LAYERS.iter().filter(|layer| wanted(layer.0));
        let dense = DENSE.iter().filter(|layer| wanted(layer.0));
        if threads <= 1 {
            layers.for_each(|layer| measure(layer, batch, &Serial));
            dense.for_each(|&(name, sizes)| measure_dense(name, sizes, batch, &Serial));
            continue;
        }
        std::thread::scope(|scope| {
            let helpers = (1..threads).map(|_| {
                let (sender, tasks) = std::sync::mpsc::channel::<Task<'_>>();
                scope.spawn(move || tasks.into_iter().for_each(Task::work));
                sender
            });
            let pool = Pool {
                threads,
                helpers: helpers.collect(),
            };
            layers.for_each(|layer| measure(layer, batch, &pool));
            dense.for_each(|&(name, sizes)| measure_dense(name, sizes, batch, &pool));
        });
    }
}
