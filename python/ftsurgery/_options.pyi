"""The options of functions: the flags of the command. Written by `tools/python_options.py`."""

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict, Union

Word = Union[str, int, float, "os.PathLike[str]"]
Words = Union[Word, Sequence[Word], Mapping[str, Union[Word, Sequence[int]]]]

class Analyze(TypedDict, total=False):
    delimiters: Word
    """What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas. Default: auto."""
    window: Word
    """Length of the window of the strategy `windows`, in layers. Default: 3."""
    features: Word
    """Take this value, a feature map or a vector per image, as the last feature map instead of searching for
    it."""
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    image_size: Words
    """Image size for models that leave it open: `224`, or `HEIGHTxWIDTH`."""

class Tune(TypedDict, total=False):
    force: bool
    """Replace an earlier run in --out."""
    resume: Word
    """Go on with the run in this folder where it was interrupted, with the model, the data and the settings that
    it has recorded; with other --strategies or more --repeats also of a finished run, which then does these as
    well."""
    config: Word
    """Take the flags that are not given from this TOML file, by their long names, the model as `model`;
    RUN/config.toml is such a file."""
    recipe: Word
    """Begin with settings that go together, which other flags then change: `fast` (a solved linear head, then a
    few epochs by a falling rate), `best` (the same for 12 epochs, and a search as long as it wants) or `paper`
    (the block-wise paper's, 50 epochs of each candidate) [default: fast]."""
    strategies: Words
    """What to try, separated by commas: `head` (the head alone), `full` (everything), `layers` (the best layer),
    `top3` (the best 3 layers together), `blocks` (the best block), `windows` (the best 3 layers in a row),
    `random3` (3 layers drawn at random), `select` (those of --train), `auto` (the best of a few sets of blocks:
    the last ones, all, those that gradients speak for, and what the search joins of them), `last3` (the last 3
    blocks before the head, together), `last40%` (the last 40 % of the blocks, together), `lora4` (updates of rank
    4 of the weights, which are frozen), `lora-blocks4` (updates of rank 4 of the weights of the best block),
    `adafilter` (copies of the filters of the last half of all convolutions, with a gate that takes them or the
    frozen ones for each image), `spottune` (copies of all residual blocks, with a network that takes them or the
    frozen ones for each image), `bias` (all biases, and the shifts of normalisations), `norm` (the scales and
    shifts of normalisations), or `all`, which are `head`, `full`, `layers`, `top3`, `top5`, `blocks`, `windows`,
    `random3`, and `select` if --train is given [default: head,last40%,auto]."""
    train: Words
    """Layers that strategy `select` trains: names or patterns of layers, parameters or blocks, as `analyze` shows
    them (`*`, `**` across `/`, `?`, `[…]`, `{a,b}`); repeat it or separate them by commas."""
    freeze_list: Word
    """Of the backbone, train only what this file does not freeze, whatever the strategy: a list as `ftsurgery
    list --out` writes."""
    top: Word
    """Number of layers of `top` where its name has none [default: 3]."""
    window: Word
    """Number of layers of `windows` where its name has none [default: 3]."""
    random: Word
    """Number of layers of `random` where its name has none [default: 3]."""
    last: Word
    """Number of blocks of `last` where its name has none [default: 3]."""
    last_share: Word
    """Share of the blocks in percent of `last%` where its name has none [default: 40]."""
    lora: Word
    """Rank of the updates of `lora` where its name has none [default: 4]."""
    lora_blocks: Word
    """Rank of the updates of `lora-blocks` where its name has none [default: 4]."""
    lora_alpha: Word
    """α of the updates of `lora` and `lora-blocks`, which count α / rank [default: the rank, so that they count
    once]."""
    adafilter_layers: Words
    """Convolutions whose filters `adafilter` has twice: names or patterns of layers, weights or blocks, as for
    --train, or `all`; without it those of the last half [default: ]."""
    adafilter_gate: Word
    """What takes the tuned filters of `adafilter`: `learned` (a network, for each image), `random` (the same, as
    it was drawn), `ones` (all of them, always: ordinary fine-tuning) or `zeros` (none: the frozen backbone)
    [default: learned]."""
    adafilter_start: Word
    """Where the training of `adafilter` begins: `tuned` (with all of the tuned filters), or `half` (with about
    half of them) [default: tuned]."""
    adafilter_width: Word
    """Width of the network that chooses the filters of `adafilter` [default: a quarter of the mean number of
    channels, 16 to 64]."""
    adafilter_share: Word
    """Hold the share of the tuned filters that `adafilter` takes near this one, by a penalty."""
    adafilter_bake: bool
    """Take gates of `adafilter` that are the same for all validation images out of the model that leaves, with
    the filters that are never taken, so that it pays only for what depends on the image."""
    spottune_blocks: Words
    """Blocks that `spottune` has twice: patterns of their names, or of layers, weights or blocks as for --train
    in them, or `all`; without it the residual ones, where there are any, else all [default: ]."""
    spottune_policy: Word
    """What chooses the blocks of `spottune` for each image: `conv` (a small convolutional network on the image),
    or `features` (two dense layers on the mean of what the first of its blocks reads) [default: conv]."""
    spottune_start: Word
    """Where the training of `spottune` begins: `tuned` (with the tuned form of nearly all blocks), or `half`
    (with that of about half of them) [default: tuned]."""
    search: Word
    """How the candidates of a strategy are tried: `exhaustive` (each for --search-epochs on the search part),
    `halving` (all for a few epochs, then the best third for three times as many, until --search-epochs is
    reached; `halving:N` for another number than three), or `whole` (each as the winner is trained, so that the
    best is the winner) [default: whole for strategy `auto` alone, halving beside others that search, else
    exhaustive]."""
    budget: Word
    """Spend about so much time on the search of strategy `auto`: 90s, 10m, 1h. It decides how many of what `auto`
    would try are tried, and with halving for how many epochs. The time is turned into operations by a few steps
    that are timed when the run begins; what follows is the same in every later part of the run, on whatever
    machine. `auto` for as much as training all that may be trained takes, `none` for all that the strategy would
    try [default: auto]."""
    budget_share: Word
    """The same as a share of the operations that trying every layer, block and window, and all together, would
    take (0.05), so that the same command does the same everywhere."""
    head: Word
    """The classifier: `paper` (dense 128, dropout, dense 64, dense), `linear` (pooling and one dense layer),
    `cosine` (pooling, and the cosine with a vector for each class), or `keep` (the model's own) [default:
    linear]."""
    head_init: Word
    """How a new head begins: `random` (drawn weights), or `solved` (those that fit the features of the frozen
    network best: of `linear` by logistic regression, whose penalty is found by cross-validation; `paper` is
    trained on the features until it gets no better, and so is `cosine`). Every candidate then begins there, and
    `head` has nothing left to train. The model's own head (`keep`) begins as it stands [default: solved]."""
    dropout: Word
    """Share of values dropped in the head `paper` while training."""
    features: Word
    """Put the head on this value of the model, a feature map or a vector per image, instead of its last feature
    map."""
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    dequantise: bool
    """Train a model of QuantizeLinear and DequantizeLinear pairs in float, from its dequantised weights; the
    tuned models are models of floats."""
    inference_mode: bool
    """Take a model that was exported in training mode as one that infers: its BatchNormalizations use the
    statistics that they store, its Dropouts drop nothing."""
    logits: bool
    """Give tuned models the logits of a new head as their output, `logits`, instead of `probabilities`, for what
    takes the softmax or sigmoid itself."""
    keep_batch: bool
    """Leave tuned models made for the batch size that the model was exported for, instead of for any."""
    keep_adapter: bool
    """Write beside each tuned model, RUN/winners/STRATEGY.onnx, what makes it of the given one:
    STRATEGY.safetensors, which is small where little is trained. `ftsurgery apply` makes the tuned model of both
    again."""
    delimiters: Word
    """What ends a block: `auto`, or some of `pool`, `activation`, `norm`, separated by commas [default: auto]."""
    preprocess: Word
    """Scale pixels as the backbone expects: `unit` (0 to 1), `signed` (-1 to 1), `imagenet` (torchvision's mean
    and deviation), `caffe` (BGR less the ImageNet mean), `raw` (0 to 255), with `-bgr` (or `-rgb`) behind it for
    the other order of the colours; or `auto` [default: auto]."""
    mean: Word
    """Subtract this from RGB in 0 to 1, by hand (with --std); e.g. 0.5,0.5,0.5."""
    std: Word
    """Divide RGB by this after --mean; e.g. 0.25,0.25,0.25."""
    resize: Word
    """How images come to the input's size: `squash` (the whole image, its aspect is not kept), `crop` (the
    middle: the short side comes to the input's / 0.875; `crop:SHARE` for another share, 0.5 to 1), `letterbox`
    (the whole image, its aspect kept, grey around it), or `auto` [default: auto]."""
    image_size: Words
    """Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH."""
    validation: Word
    """Validate on this folder of images, and make no validation part of --data. Where --data holds `train`, `val`
    and `test`, these are the parts without further flags."""
    test: Word
    """Hold this folder of images out for the final figures, and hold nothing of --data out."""
    task: Word
    """What is told of a sample: `single-label`, which one class it is of; `multi-label`, each class by itself:
    images with several labels in a list, in folders like `cat+dog`, or in the folders of several classes;
    `binary`, which of two classes, by one output [default: multi-label where a list has several labels in a cell
    or a column of 0 and 1 for each class, or an array `y` has two dimensions; binary where a kept head has one
    output]."""
    images: Word
    """The folder that the paths of a list begin in [default: the folder of the list]."""
    path_column: Word
    """The column of a list that has the paths, by its name or, in a list without a header, by its number from 1
    [default: the one that is called `path`, `file`, `filename`, `image` or the like]."""
    label_column: Word
    """The column of a list that has the classes [default: the one that is called `label`, `class`, `target` or
    the like]."""
    split_column: Word
    """The column of a list that has the parts (`train`, `val`, `test`); `none` for no column [default: the one
    that is called `split`, `set`, `subset` or the like, if there is one]."""
    group_column: Word
    """The column of a list that has the groups, whose images stay in one part; `none` for no column [default: the
    one that is called `group`, `patient`, `subject` or the like, if there is one]."""
    group_by: Word
    """Keep images in one part in whose paths this regular expression finds the same: its first capture group, or
    all that it matches."""
    label_by: Word
    r"""Take the class of an image from its path in the folder: what this regular expression finds, its first
    capture group, or all that it matches. For `photos/Abyssinian_100.jpg`: '^(.+)_\d+'."""
    split: Word
    """Take the parts from this file: split.json of a run, one by hand (`{"train": [...], "validation": [...],
    "held_out": [...]}` by the names in split.json), or a list (.csv, .txt, .jsonl) of paths and parts. A part
    that it lacks is made of `train`; images that it does not name are not used."""
    search_fraction: Word
    """Share of the data that the search has: candidates are trained on 70 % of it; 0 for no search; `auto`: as
    much as 700 images for them take, and 20 of each class, up to half of what winners are trained on; a tenth of
    the data then validates [default: auto]."""
    train_fraction: Word
    """Share of the data on which winners are trained, that of the candidates included; what neither trains nor
    validates is held out [default: 0.7]."""
    validation_fraction: Word
    """Share of the data on which candidates are ranked and epochs chosen [default: as much as --search-
    fraction]."""
    search_apart: bool
    """Do not train winners on what candidates were trained on, as in the paper: --train-fraction comes on top of
    it, and validation has the other 30 % of --search-fraction."""
    classes: Words
    """The classes in their order: a file with one a line, or a JSON list. The data may have some of them
    [default: as the data have them, numbers by what they count; with --head keep as the model's metadata say]."""
    min_per_class: Word
    """Leave classes of a folder with fewer than N usable images out."""
    seed: Word
    """Decides the split, the head's first weights, dropout, augmentation and batch order [default: 0]."""
    repeats: Word
    """Do the whole run N times, with seeds from --seed on, and report mean, standard deviation and variance of
    each strategy [default: 1]."""
    folds: Word
    """Cross-validate: share the data out into K folds, equal in each class as far as groups allow, do the whole
    run K times, each with another fold held out, and report as with --repeats."""
    augment: Word
    """Random changes to the images that are trained on: `none`, `flip`, `standard` (crop of the whole photo,
    flip, brightness, contrast, saturation), or `auto` [default: auto]."""
    views: Word
    """Make N augmented views of each image once and take them in turn, so that the outputs of frozen layers can
    be kept; without it they are computed anew in every epoch."""
    no_shuffle: bool
    """Take samples in the order of the files, in the split and in every epoch."""
    optimizer: Word
    """`adam`, `adamw` or `sgd` [default: adamw]."""
    lr: Word
    """Learning rate, or `auto`: a trial tries some for a few steps from where its training begins, and takes the
    highest that does no harm to what is made of images it does not train on; that of the search which trains most
    does so for the others, and winners take the rate of their search; with --head-init random it is 1e-4, of sgd
    1e-2 [default: auto]."""
    head_lr: Word
    """Learning rate of the head, which all schedules change as they do --lr [default: that of --lr]."""
    layer_decay: Word
    """Multiply the learning rate of the backbone by this for every block between a parameter and the head
    (`analyze` shows the blocks; --delimiters ends them) [default: 1]."""
    weight_decay: Word
    """Weight decay [default: 0.01]."""
    l2_sp: Word
    """Let what was pretrained decay to its pretrained values in place of 0, at this rate (L2-SP); --weight-decay
    is then that of a new head alone."""
    momentum: Word
    """Momentum of sgd [default: 0.9]."""
    clip_norm: Word
    """Shorten the gradient of a step, of all parameters as one vector, to this length where it is longer."""
    schedule: Word
    """How the learning rate changes: `constant`, `plateau` (it falls whenever the validation score has not become
    better for some epochs), `cosine` (it falls from step to step along half a cosine), or `one-cycle` (it rises
    to --lr for 30 % of the steps, then falls to next to nothing) [default: cosine]."""
    plateau_patience: Word
    """Epochs in a row without a better validation score (--monitor) that are let pass: after one more, the
    learning rate falls (as in PyTorch; Keras counts one less)."""
    plateau_factor: Word
    """The learning rate is multiplied by this then."""
    cosine_floor: Word
    """Share of --lr at which the schedule `cosine` ends [default: 0]."""
    warmup: Word
    """Epochs, or a part of one, in which the learning rate rises from 0; of `one-cycle`, its rise [default:
    0.5]."""
    ema: Word
    """Score and write an average of the weights over the steps, of which each step keeps this share (of the first
    steps less); 0.99 weighs some hundred steps."""
    group_filters: Word
    """Put the filters of each layer into K groups that the training images activate alike, and move all of a
    group by the mean of their gradients: for few images per class."""
    label_smoothing: Word
    """Spread this share of every target over all classes in the training loss [default: 0]."""
    mixup: Word
    """Mix every sample of a step with another of its batch, and their targets: a share drawn from Beta(ALPHA,
    ALPHA) of one and the rest of the other; 0.2 is usual. Frozen layers are then computed in every step [default:
    0]."""
    cutmix: Word
    """Put a rectangle of another image of its batch into every image of a step, and as much of its target; the
    area is drawn as for --mixup, 1 is usual. With both, each step draws which [default: 0]."""
    bn: Word
    """BatchNormalization that is trained takes its stored statistics (`frozen`), or those of the batch (`batch`):
    the stored ones then follow them and are written to the tuned model; `auto`: those of the batch for a drawn
    head in batches of 16 and more, else the stored ones [default: auto]."""
    batch_size: Word
    """Samples per step [default: 16]."""
    epochs: Word
    """Passes over the training part for a winner; `auto`: as many as 600 steps take, 6 at least and 12 at most;
    twice as many for data that are far from what the network knows [default: auto]."""
    search_epochs: Word
    """Passes over the search part for a candidate; `auto`: three times as many as 64 steps take, 18 at most
    [default: auto]."""
    monitor: Word
    """The figure of the validation part that ranks candidates, says which epoch is the best, and is watched by
    plateau and early stopping: `accuracy`, `balanced-accuracy` (mean recall of the classes), `macro-f1` (mean F1
    of the classes), `average-precision` (its mean over the classes, with several labels per image), `loss` or
    `calibrated-loss` (the loss at the temperature that fits the images best, which a model that is only surer of
    itself does not raise); of equal ones the lower loss is better [default: accuracy; balanced-accuracy with
    --class-weights or --sampler balanced; average-precision with several labels]."""
    rank_by: Word
    """The figure that ranks candidates, of those that --monitor takes [default: calibrated-loss; that of
    --monitor, where it is given or --class-weights or --sampler is balanced]."""
    rank_samples: Word
    """Rank candidates on N samples: those of the validation part and, where they are fewer, some of the training
    part, which no candidate is trained on; 0 for the validation part alone [default: 1000]."""
    early_stopping: Word
    """End a trial after N epochs in a row without a better validation score (--monitor); `off` trains all;
    `auto`: 8 with --schedule constant, with `plateau` as many as it takes the rate to fall twice, with others
    off, since their last epochs are what they are for [default: auto]."""
    class_weights: Word
    """How much each class counts in the loss: `none` (every image the same), or `balanced` (rare classes more, so
    that all classes count the same) [default: none]."""
    sampler: Word
    """Which images an epoch takes: `all`, each once, or `balanced`, as many, the same number of each class (those
    of rare classes several times, of common ones some) [default: all]."""
    threads: Word
    """Threads [default: one per core]."""
    device: Word
    """`cpu`, `cuda` or `cuda:N` [default: cpu]."""
    operators: Word
    """What is computed with: ftsurgery's own kernels where there are any (`kernels`, on the processor), or
    operators of the ONNX standard alone (`standard`) [default: kernels]."""
    optimizer_in_graph: Word
    """Have the optimizer in the graph of a step, with parameters, gradients and moments on the device, of which
    the host reads the loss alone: `on`, `off` (a loop on the host), or `auto`, which is on where --device is not
    the processor [default: auto]."""
    tf32: bool
    """Let a GPU multiply in TF32, with 10 bits behind the point in place of 23."""
    engine: Word
    """What makes steps and updates: graphs that any onnxruntime runs, with optimizers of our own (`graph`), or
    the training API of onnxruntime up to 1.19.2 with its optimizers (`ort-training`) [default: graph]."""
    image_cache: Word
    """Where decoded images are: in `memory`, on the `disk` (where later runs find them, too), `none` to decode
    them whenever they are used, or `auto`, in memory where the memory budget holds them and else on the disk
    [default: auto]."""
    memory_budget: Word
    """Memory for the images and the outputs of frozen layers; outputs beyond it are kept in files in RUN. Trials
    run side by side only if their steps would fit beside the images, too [default: half of the memory there
    is]."""
    feature_precision: Word
    """Keep these outputs as `f32`, or as `f16` in half the room [default: f32]."""
    checkpoint_every: Word
    """Seconds between two writings of a trial's state, which an interrupted trial goes on from (more where
    writing takes long; 0 writes after every step); it is written on Ctrl-C, too [default: 30]."""
    log_steps: bool
    """Write a line per step to metrics.jsonl, with the loss before it."""
    executor: Word
    """By this process (`local`), or by a cluster (`slurm`, `ray`) whose machines find RUN, the model, the data
    and ftsurgery at the same paths as this one. One of local, slurm, ray. Default: local."""
    slurm_tasks: Word
    """Divide trials into at most N tasks of a Slurm array [default: as the run began, or 16]."""
    slurm_options: Word
    """Options for sbatch, as a shell would take them: '--partition=cpu --time=4:00:00' [default: as the run
    began]."""
    ray_address: Word
    """The Ray cluster, as ray.init takes it [default: $RAY_ADDRESS, or that which this machine is part of]."""

class Evaluate(TypedDict, total=False):
    split: Word
    """Use one part of this split only, as `tune` wrote it (RUN/split.json) or by hand."""
    part: Word
    """Which part: of --split, else of the data's own where they give parts (`train`, `val` and `test` folders, or
    as flags say) [default: all images; of data that give parts, what is held out, else what validates]. One of
    search, validation, train, held_out, all."""
    validation: Word
    """Validate on this folder of images, and make no validation part of --data. Where --data holds `train`, `val`
    and `test`, these are the parts without further flags."""
    test: Word
    """Hold this folder of images out for the final figures, and hold nothing of --data out."""
    task: Word
    """What is told of a sample: `single-label`, which one class it is of; `multi-label`, each class by itself:
    images with several labels in a list, in folders like `cat+dog`, or in the folders of several classes;
    `binary`, which of two classes, by one output [default: multi-label where a list has several labels in a cell
    or a column of 0 and 1 for each class, or an array `y` has two dimensions; binary where a kept head has one
    output]."""
    images: Word
    """The folder that the paths of a list begin in [default: the folder of the list]."""
    path_column: Word
    """The column of a list that has the paths, by its name or, in a list without a header, by its number from 1
    [default: the one that is called `path`, `file`, `filename`, `image` or the like]."""
    label_column: Word
    """The column of a list that has the classes [default: the one that is called `label`, `class`, `target` or
    the like]."""
    split_column: Word
    """The column of a list that has the parts (`train`, `val`, `test`); `none` for no column [default: the one
    that is called `split`, `set`, `subset` or the like, if there is one]."""
    group_column: Word
    """The column of a list that has the groups, whose images stay in one part; `none` for no column [default: the
    one that is called `group`, `patient`, `subject` or the like, if there is one]."""
    group_by: Word
    """Keep images in one part in whose paths this regular expression finds the same: its first capture group, or
    all that it matches."""
    label_by: Word
    r"""Take the class of an image from its path in the folder: what this regular expression finds, its first
    capture group, or all that it matches. For `photos/Abyssinian_100.jpg`: '^(.+)_\d+'."""
    threads: Word
    """Threads [default: one per core]."""
    device: Word
    """`cpu`, `cuda` or `cuda:N` [default: cpu]."""
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    preprocess: Word
    """Scale pixels as the backbone expects: `unit` (0 to 1), `signed` (-1 to 1), `imagenet` (torchvision's mean
    and deviation), `caffe` (BGR less the ImageNet mean), `raw` (0 to 255), with `-bgr` (or `-rgb`) behind it for
    the other order of the colours; or `auto` [default: auto]."""
    mean: Word
    """Subtract this from RGB in 0 to 1, by hand (with --std); e.g. 0.5,0.5,0.5."""
    std: Word
    """Divide RGB by this after --mean; e.g. 0.25,0.25,0.25."""
    resize: Word
    """How images come to the input's size: `squash` (the whole image, its aspect is not kept), `crop` (the
    middle: the short side comes to the input's / 0.875; `crop:SHARE` for another share, 0.5 to 1), `letterbox`
    (the whole image, its aspect kept, grey around it), or `auto` [default: auto]."""
    image_size: Words
    """Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH."""
    classes: Words
    """The names of the model's classes in the order of its outputs: a file with one a line, or a JSON list
    [default: as the model's metadata say]."""

class Predict(TypedDict, total=False):
    top: Word
    """How many classes to print per image [default: 5; of a model that tells each class by itself, those that
    reach their threshold]."""
    threads: Word
    """Threads [default: one per core]."""
    device: Word
    """`cpu`, `cuda` or `cuda:N` [default: cpu]."""
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    preprocess: Word
    """Scale pixels as the backbone expects: `unit` (0 to 1), `signed` (-1 to 1), `imagenet` (torchvision's mean
    and deviation), `caffe` (BGR less the ImageNet mean), `raw` (0 to 255), with `-bgr` (or `-rgb`) behind it for
    the other order of the colours; or `auto` [default: auto]."""
    mean: Word
    """Subtract this from RGB in 0 to 1, by hand (with --std); e.g. 0.5,0.5,0.5."""
    std: Word
    """Divide RGB by this after --mean; e.g. 0.25,0.25,0.25."""
    resize: Word
    """How images come to the input's size: `squash` (the whole image, its aspect is not kept), `crop` (the
    middle: the short side comes to the input's / 0.875; `crop:SHARE` for another share, 0.5 to 1), `letterbox`
    (the whole image, its aspect kept, grey around it), or `auto` [default: auto]."""
    image_size: Words
    """Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH."""
    classes: Words
    """The names of the model's classes in the order of its outputs: a file with one a line, or a JSON list
    [default: as the model's metadata say]."""

class Gradients(TypedDict, total=False):
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    task: Word
    """What is told of a sample: `single-label`, which one class it is of (softmax, cross-entropy); `multi-label`,
    each class by itself (a sigmoid for each, binary cross-entropy, the mean over samples and classes); `binary`,
    which of two classes, by one output (its sigmoid, binary cross-entropy) [default: as the model's metadata say;
    else binary where it has one output, else single-label]."""
    trainable: Words
    """The parameters that are trained, or differentiated by: initializers whose name matches this pattern (`*`,
    `?`, `[…]`, `{a,b}`; `*` alone is all of them); repeatable. Default: *."""
    freeze_list: Word
    """Of these, only what this file does not freeze: a list as `ftsurgery list --out` writes."""
    bn: Word
    """BatchNormalization whose scale or bias is among them takes its stored statistics (`frozen`) or those of the
    batch (`batch`); all others the stored ones. Default: frozen."""
    operators: Word
    """What is computed with: ftsurgery's own kernels where there are any (`kernels`, on the processor), or
    operators of the ONNX standard alone (`standard`) [default: kernels]."""
    device: Word
    """Where to compute: cpu, cuda or cuda:N. Default: cpu."""
    threads: Word
    """Threads; 0 for all cores. Default: 0."""

class Differentiate(TypedDict, total=False):
    output: Word
    """Take the class scores from this output of the model, or value inside of it, instead of the output that the
    most layers lead to."""
    format: Word
    """What to write: an ONNX file, the files of onnxruntime's training API, or a page for a browser. One of onnx,
    ort-training, web. Default: onnx."""
    task: Word
    """What is told of a sample: `single-label`, which one class it is of (softmax, cross-entropy); `multi-label`,
    each class by itself (a sigmoid for each, binary cross-entropy, the mean over samples and classes); `binary`,
    which of two classes, by one output (its sigmoid, binary cross-entropy) [default: as the model's metadata say;
    else binary where it has one output, else single-label]."""
    trainable: Words
    """The parameters that are trained, or differentiated by: initializers whose name matches this pattern (`*`,
    `?`, `[…]`, `{a,b}`; `*` alone is all of them); repeatable. Default: *."""
    freeze_list: Word
    """Of these, only what this file does not freeze: a list as `ftsurgery list --out` writes."""
    batch_size: Word
    """Samples per run; the file is made for this number and no other. With --optimizer or --format ort-training
    also `free`: for any number. Default: 1."""
    image_size: Words
    """Image size in pixels where the model leaves it open, or another than it declares: `224`, or
    HEIGHTxWIDTH."""
    force: bool
    """Overwrite an existing file."""
    optimizer: Word
    """Write a graph that trains, with this optimizer: `sgd`, `adam` or `adamw`. Beside it goes the state before
    the first step. The learning rate is an input of the graph."""
    loss: Word
    """What is made smaller: `cross-entropy` of a softmax; `bce`, the binary cross-entropy of sigmoids (of several
    classes, or of one output); `mse`, the mean squared difference of the output from float targets of its
    dimensions; or a value of the model that is one number, by its name: the model may then have inputs beside its
    data [default: what --task says]."""
    label_smoothing: Word
    """Spread this share of every target over all classes."""
    class_weights: Words
    """How much samples of each class count, a number for each: the sum over a batch is divided by the number of
    samples. With `bce` it is what a sample is of that counts so."""
    weight_decay: Word
    """Weight decay [default: 0.01 of adamw, else 0]."""
    momentum: Word
    """Momentum of sgd [default: 0.9]."""
    clip: Word
    """Shorten the gradient, of all parameters as one vector, to this length where it is longer."""
    ema: Word
    """Keep an average of parameters and running statistics, of which each step keeps this share (of the first
    steps less); `apply` takes it."""
    bn: Word
    """Which statistics a trained BatchNormalization takes: the stored ones (`frozen`), or those of the batch,
    which the stored ones follow (`batch`) [default: frozen]."""
    state: Word
    """Where to write the state before the first step: of NumPy's arrays where the name ends in `.npz`, else
    safetensors [default: the file of --out with `.safetensors`]."""
    classes: Words
    """With --format web, which has to be told it: the classes of the new head, by name or how many. The page lets
    them be named otherwise."""
    preprocess: Word
    """How the page makes the model's input of pixels: `unit`, `signed`, `imagenet`, `caffe` or `raw`, with `-bgr`
    or `-rgb` behind it for the other order of the colours [default: what the model's metadata say]."""
    resize: Word
    """How the page brings pictures to the input's size: `squash`, `crop`, `crop:SHARE` or `letterbox` [default:
    what the model's metadata say, else squash]."""
    runtime_web: Word
    """The folder `dist` of npm's package onnxruntime-web, of which the page needs some files [default: that of
    the package where node would find it]."""

class Extract(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    inputs: Words
    """Values to begin with, in this order; repeatable, or with commas between."""
    outputs: Words
    """Values to end with, in this order; repeatable, or with commas between."""

class Head(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    classes: Words
    """How many classes the new head tells apart, or a text file with a name of one in each line."""
    kind: Word
    """The new head: linear, cosine or paper. Default: linear."""
    remove: bool
    """Take the classifier away, and put nothing in its place."""
    features: Word
    """The value that the head stands on."""
    logits: bool
    """End in the new head's last dense layer, without softmax or sigmoid."""
    image_size: Words
    """Image size in pixels where the model leaves it open: `224`, or HEIGHTxWIDTH."""
    task: Word
    """What the new head tells of a sample: `single-label` (softmax), `multi-label` (a sigmoid for each class), or
    `binary` (one sigmoid for two classes) [default: single-label]."""
    seed: Word
    """Seed of the new head's weights. Default: 0."""

class Rename(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    value: Words
    """A value, input, output or tensor and its new name; repeatable."""
    node: Words
    """A node and its new name; repeatable."""
    regex: Words
    """A regular expression, and what takes the place of all it matches in a name (`$1`, `${name}` for groups)."""
    prefix: Word
    """What comes before each name."""
    of: Words
    """Whose names --regex and --prefix change: some of inputs, outputs, tensors, values, nodes, with commas
    between [default: all]."""

class Prune(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""

class Fold(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    batch_norm: bool
    """Fold normalisations with fixed statistics into the convolution or dense layer before them, whose weights
    and biases keep their names."""
    inline: bool
    """Write out the model's functions first."""
    fix_shape: Words
    """Declare the dimensions of an input, before sizes are computed; repeatable."""
    dim: Words
    """Declare the size of a dimension that inputs name; repeatable."""

class Merge(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    connect: Words
    """A value, and the input of a model behind it that it goes to; repeatable."""
    join: bool
    """Set the models side by side."""
    outputs: Words
    """The outputs of the new model, in this order; repeatable, or with commas between."""

class Batch(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    free: bool
    """Take batches of any size."""
    fix: Word
    """Take batches of this size alone."""

class Opset(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    to: Word
    """The version of ONNX's own operators."""

class Precision(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    to: Word
    """The type of floats. One of f16, bf16, f32."""
    io: bool
    """Inputs and outputs become of that type, too."""
    keep: Words
    """Nodes, values and tensors that stay as they are: names or patterns with commas between; repeatable."""

class Externalize(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
    least: Word
    """Bytes from which an initializer's values go beside the model. Default: 1KiB."""

class Internalize(TypedDict, total=False):
    force: bool
    """Overwrite an existing file."""
    check: Word
    """How the new model is checked before it gets its name. One of auto, off, structure, numbers. Default:
    auto."""
