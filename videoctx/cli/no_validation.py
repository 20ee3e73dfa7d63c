"""A training without validation: what needs one is left out, and a line tells so."""

from jsonargparse import Namespace

from videoctx.data.annotations import has_no_validation

VALIDATED = "val/"  # how the metrics of a validation begin
CHECKPOINTS = ("checkpoint", "last_checkpoint")


def without_validation(config: Namespace) -> list[str]:
    """Change the config of a training that nothing is validated in, and return lines about it.

    That is one without `data.val_split`, with `trainer.limit_val_batches` 0, or whose manifest has no row of another
    split than those of training and test. Checkpoints that watch a metric of the validation hold the last epoch
    instead, and other callbacks that watch one are left out.
    """
    data, lines = config.data, []
    given = {"train": data.train_split, "val": data.val_split, "test": data.test_split}
    if data.val_split and has_no_validation(data.manifest, given):
        lines = [f"{data.manifest}: no row has split {data.val_split!r}; the training is not validated"]
        data.val_split = None
    if data.val_split and config.trainer.limit_val_batches != 0:
        return []
    for name in CHECKPOINTS:
        if str(config[name].monitor or "").startswith(VALIDATED):
            config[name].monitor = None
            config[name].save_top_k = min(config[name].save_top_k, 1)  # Lightning refuses more without a metric
            config[name].mode = "max"  # unlike that of the last checkpoint: Lightning tells callbacks by it
    if lines:
        lines[0] += f", and {config.checkpoint.filename}.ckpt is that of the last epoch"
    callbacks = config.trainer.callbacks or []
    kept = []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        monitor = str((callback.get("init_args") or Namespace()).get("monitor") or "")
        if monitor.startswith(VALIDATED):
            lines.append(f"{callback.class_path} is left out, as {monitor} is not measured")
        else:
            kept.append(callback)
    config.trainer.callbacks = kept or None
    return lines
