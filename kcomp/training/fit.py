"""Train a run (one training with one backend, seed and held-out fold), or continue a stopped run."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from rich.console import Console

from kcomp.data.batches import Batch, Batches
from kcomp.data.image_size import height_and_width
from kcomp.data.tables import Table
from kcomp.experiment.build import build_experiment
from kcomp.fast.install import install
from kcomp.models import set_trainable
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.prediction.resized import check_scales, resize_for_stage
from kcomp.prediction.view_pixels import check_square
from kcomp.recipe import Loaded, Stage
from kcomp.report.text import quantity
from kcomp.runs.folder import Run, check_same, start
from kcomp.runs.locking import locked
from kcomp.system.stopping import StoppedError
from kcomp.training import state
from kcomp.training.averages.build import build_stage_average
from kcomp.training.callback_state import CallbackStates, check_callbacks
from kcomp.training.callbacks import Display, Score, SeedNoise, recipe_callbacks
from kcomp.training.checks import check_average, check_batches, check_stage
from kcomp.training.class_weights import class_weights
from kcomp.training.data_wait import DataWait
from kcomp.training.epoch_callbacks import EpochCallbacks
from kcomp.training.finish import finish
from kcomp.training.frozen.batches import Cache, mixing_layers
from kcomp.training.frozen.cut import cut
from kcomp.training.frozen.forward import Prepare, StageParts, split_stage
from kcomp.training.layer_rates import rate_range
from kcomp.training.manifest import build_manifest
from kcomp.training.mixed import Mixed
from kcomp.training.opening import print_opening
from kcomp.training.optimizer import compile_for_stage
from kcomp.training.origin import Origin, check_unseen, take_over
from kcomp.training.progress import TrainingProgress, load_progress, run_identity
from kcomp.training.record import Record, write_log
from kcomp.training.run_files import publish_best, save_weights
from kcomp.training.session import SaveOptions, Session
from kcomp.training.stopped import predict_stopped, reserve_time
from kcomp.values import expect_type
from kcomp.views import check_views


def train(
    loaded: Loaded,
    run: Run,
    *,
    seed: int,
    fold: int,
    console: Console,
    origin: Origin | None = None,
    options: SaveOptions | None = None,
    table: Table | None = None,
) -> dict[str, Any]:
    """Train a run to its end, and return the content of result.json. If the run is complete, return its result at once.

    Args:
        loaded: The recipe.
        run: The run folder.
        seed: Seeds the initial weights, the batches and dropout.
        fold: The fold that is held out.
        console: Where to print.
        origin: Weights to start from, in place of the initial weights of the recipe's model.
        options: How the run is saved and continued. None for the defaults.
        table: The recipe's table of images and labels. If it is None, the function reads it.

    Raises:
        ValueError: If the folder contains a different experiment, or a check of the recipe fails.
        BusyError: If another process is training the run.
        FloatingPointError: If the loss or a prediction becomes NaN or infinite.
        StoppedError: If the training ends early, by a signal or by the time limit in `options`.
    """
    install()
    options = options or SaveOptions()
    with locked(run):
        if table is None:
            table = expect_type(Table, "table", loaded.recipe.table(loaded.recipe.config))
        manifest = build_manifest(loaded, table, seed=seed, fold=fold, origin=origin)
        check_same(run, manifest, across=options.across)
        if run.complete:
            return run.result
        if origin is not None:
            check_unseen(origin, table, fold)
        session = prepare(loaded, run, table, seed=seed, fold=fold, console=console)
        session.save_every, session.stopper = options.save_every, options.stopper
        session.resume(load_progress(run, run_identity(manifest), session.print_line))
        take_over(session, manifest, origin)
        start(run, loaded, manifest, session.progress.epochs, session.progress.batches)
        print_opening(session, table, manifest)
        train_stages(session)
        return finish(session)


def train_stages(session: Session) -> None:
    """Train the remaining stages (parts of the training), each in turn. Predict if the time of the training is over."""
    progress, manifest = session.progress, session.run.manifest
    steps, epochs = len(session.training), sum(stage.epochs for stage in session.stages)
    display = Display(
        session.console,
        f"{manifest['backend']}-seed{manifest['seed']}-fold{manifest['fold']}",
        epochs * steps,
        progress.epochs * steps + progress.batches,
    )
    try:
        with session.stopper.listening(), display.bar:
            reserve_time(session)
            for number in range(progress.stage, len(session.stages)):
                train_stage(session, number, display)
    except StoppedError as stop:
        if stop.signal is None:
            predict_stopped(session)
        raise


def prepare(loaded: Loaded, run: Run, table: Table, *, seed: int, fold: int, console: Console) -> Session:
    """Build the network, batches and stages of a new run, and check them."""
    recipe = loaded.recipe
    built = build_experiment(recipe, table, fold=fold, seed=seed)
    if recipe.views is not None:  # only checked here; `kcomp predict` uses the views
        chosen = check_views(expect_type(Sequence, "views", recipe.views(recipe.config)))
        check_square(chosen, built.validation.shape)
        check_scales(chosen, built.network, built.validation.shape)
    if recipe.callbacks is not None:  # only checked here; each stage creates its callbacks
        callbacks = expect_type(Sequence, "callbacks", recipe.callbacks(recipe.config))
        check_callbacks(callbacks, built.stages)
    network, training, stages = built.network, built.training, built.stages
    for stage in stages:  # check every stage before the first one is trained
        class_weights(stage, training.table)
        set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
        check_stage(stage)
        check_batches(stage, training)
        mixing_layers(stage, training)
        resized = resize_for_stage(network, stage)
        if stage.cache_views is not None:
            for sized in (network, resized):
                cut(sized, spatial=stage.mix_features)
        if stage.patience and recipe.keep == "last":
            raise ValueError(
                f"stage {stage.name!r} has a patience, which needs keep='best'; the recipe has keep='last'"
            )
        check_average(stage, stages, recipe.keep)
    progress, fingerprint = TrainingProgress(), loaded.fingerprint()
    return Session(
        recipe, run, built.target, network, training, built.validation, stages, progress, console, fingerprint
    )


def train_stage(session: Session, number: int, display: Display) -> None:
    """Train the remaining epochs of stage `number`, counted from 0. A stage is a part of a training."""
    stage, progress = session.stages[number], session.progress
    trained = set_trainable(session.network, stage.train, train_batch_norm=stage.train_batch_norm)
    parts = split_for(stage, resize_for_stage(session.network, stage), session.training)
    session.stage_average = build_stage_average(stage, session)
    weights_of_classes = class_weights(stage, session.training.table)
    model = Mixed(
        parts.trained,
        parts.layers,
        class_weights=weights_of_classes,
        stage_average=session.stage_average,
        target=session.target,
    )
    weights = sum(int(np.prod(weight.shape)) for weight in session.network.trainable_weights)
    count = quantity(len(trained), "layer")
    line = f"stage {stage.name!r}: {count} trained, {weights:,} weights{rate_range(session.network, stage.layer_decay)}"
    if stage.image_size is not None:
        line += ", images of {} x {} pixels".format(*height_and_width(stage.image_size))
    if parts.frozen is not None:
        line += f", on frozen features of shape {model.network.inputs[0].shape[1:]}"
    if keras.backend.backend() == "jax" and (names := model.uncompiled()):
        line += f", uncompiled and much slower, for JAX cannot compile the layer {names[0]!r}: augment in batches()"
    session.console.print(line, highlight=False, soft_wrap=True)
    seed, metrics = session.training.seed, session.target.training_metrics()
    compile_for_stage(model, stage, session.network, steps=len(session.training), seed=seed, metrics=metrics)
    if session.continuing:
        restore(session, model, over=progress.stage_over or progress.stage_epochs >= stage.epochs)
    else:
        progress.stage, progress.stage_epochs, progress.stage_over, progress.callbacks = number, 0, False, []
    if progress.stage_epochs < stage.epochs and not progress.stage_over:
        training, validate = batches_for(stage, session.training), session.validate
        if stage.cache_views is not None:
            training, validate = cached_batches(session, stage, parts, training)
        fit_epochs(session, model, stage, display, training, parts.prepare, validate)
    if session.recipe.keep == "last":  # also if the run was killed between its last save of the state and this line
        save_weights(session.run, session.network)


def restore(session: Session, model: Mixed, *, over: bool) -> None:
    """Load the variables of network, optimizer and weight average from the saved state of a stopped run.

    Args:
        session: The objects that the training uses, such as run folder and network.
        model: The compiled model of the stage (part of a training) that was stopped.
        over: Whether the stage was already finished.
    """
    session.continuing = False
    state.load_variables(session.run, session.network, model.optimizer, session.stage_average.variables)
    write_log(session.run, session.progress)  # both files may be of later epochs than the state
    publish_best(session.run, session.progress.files)
    if over:  # as Keras does after the last epoch: with use_ema, the weights become their averages
        model.optimizer.finalize_variable_values(model.trainable_weights)


def split_for(stage: Stage, network: keras.Model, training: Batches) -> StageParts:
    """Divide a network into the frozen and the trained layers of a stage. See `split_stage`."""
    layers, is_cached = mixing_layers(stage, training), stage.cache_views is not None
    return split_stage(network, layers, cached=is_cached, spatial=stage.mix_features)


def batches_for(stage: Stage, training: Batches) -> Batches:
    """Return the batches of a stage, whose images may be smaller than those of `training`."""
    return training if stage.image_size is None else training.resized(stage.image_size)


def cached_batches(
    session: Session, stage: Stage, parts: StageParts, images: Batches
) -> tuple[Batches, Callable[[], np.ndarray]]:
    """Return two things: batches of features for training, and a function that predicts the held-out rows.

    Features are the outputs of the frozen layers. Missing features are first computed. The predictions have one row for
    each image or, if several images show one item (such as a patient), for each item.

    Args:
        session: The objects that the training uses, such as batches and network.
        stage: The stage (part of a training) that uses features.
        parts: The frozen and the trained layers, for the image size of the stage.
        images: Batches of the training images.
    """
    whole = parts if stage.image_size is None else split_for(stage, session.network, session.training)
    assert parts.frozen is not None and whole.frozen is not None  # a cached stage has frozen layers
    progress, started = session.progress, time.perf_counter()
    first = progress.epochs - progress.stage_epochs
    cache = Cache(parts.frozen, images, session.validation, session.fingerprint, whole.frozen)
    computed = cache.fill(range(first, first + min(stage.cache_views or 1, stage.epochs)))
    seconds = time.perf_counter() - started
    progress.seconds += seconds
    session.console.print(cache.line(stage, computed, seconds), highlight=False, soft_wrap=True)
    training, validation = cache.batches(stage, first)
    forward = compile_forward(whole.trained)
    return training, lambda: session.merge_items(predict_rows(forward, validation, session.target))


def fit_epochs(
    session: Session,
    model: Mixed,
    stage: Stage,
    display: Display,
    training: Batches,
    prepare_batch: Prepare,
    validate: Callable[[], np.ndarray],
) -> None:
    progress, recipe, steps = session.progress, session.recipe, len(training)
    score = Score(stage, progress, predict=validate, scores=session.scores, training=training)
    wait = DataWait(session.console, training, silent=progress.has_begun or stage.cache_views is not None)
    own = recipe_callbacks(recipe, session.run, progress.log)
    record = Record(session, score, CallbackStates(own, session.print_line))
    names = [metric.name for metric in session.scorer.shown]
    epochs = sum(stage.epochs for stage in session.stages)
    line = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: display.epoch_line(progress.log[-1], epochs, names))
    display.batch_size = training.batch_size
    listed = [SeedNoise(training.seed), wait, display, score, *own, record, line]
    remaining = stage.epochs - progress.stage_epochs
    callbacks = EpochCallbacks(listed, model, epochs=progress.epochs + remaining, steps=steps)
    for first, count, skipped in callbacks.parts(progress.epochs, remaining, progress.batches):
        batches = training.epochs(first, count, skipped)
        try:
            model.fit(
                (as_input(prepare_batch(batch)) for batch in wait.watch(batches)),
                initial_epoch=first,
                epochs=first + count,
                steps_per_epoch=steps - skipped,
                callbacks=callbacks,
                verbose=0,
                shuffle=False,
            )
        finally:
            batches.close()
        if progress.stage_over:
            break
    callbacks.end()


def as_input(batch: Batch) -> tuple[Batch]:
    """Return a tuple with the batch, as Keras's `fit` requires. The batch contains the labels too."""
    return (batch,)
