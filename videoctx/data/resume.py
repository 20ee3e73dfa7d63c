"""Exact resume: a run that stopped in the middle of an epoch trains on the rest of that epoch's videos."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from videoctx.data.sampling.multigrid import Multigrid, MultigridBatches
from videoctx.data.sampling.video_samplers import TrainSampler

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """How far training is, and what a resumed run must have in common with the one that stopped.

    Args:
        epoch: Current epoch, from 0.
        num_batches: Number of batches of the epoch that this rank has trained on.
        batches_per_epoch: Number of batches of the epoch; 0 if it is not known.
        accumulate_grad_batches: Number of batches per optimizer step.
        train_sha256: Fingerprint of the training split (`videoctx.data.fingerprint`); None before it is read.
        multigrid: Description of the multigrid plan; None without multigrid training.
        batch_size: Number of videos per step and device.
        num_ranks: Number of ranks.
        seed: Seed of the order, the clips and the augmentation.
    """

    epoch: int
    num_batches: int
    batches_per_epoch: int
    accumulate_grad_batches: int
    train_sha256: str | None
    multigrid: str | None
    batch_size: int
    num_ranks: int
    seed: int

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "TrainingState":
        """Read what `as_dict` returned.

        Raises:
            ValueError: A field is missing, or an unknown one is there.
        """
        names = {field.name for field in fields(cls)}
        if other := sorted(names ^ stored.keys()):
            raise ValueError(
                f"the data module's state in the checkpoint differs in {', '.join(other)}; expected a checkpoint that"
                " this version wrote"
            )
        return cls(**stored)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)

    @property
    def topology(self) -> dict[str, int]:
        """The values that decide which videos of an epoch are left."""
        return {"batch_size": self.batch_size, "num_ranks": self.num_ranks, "seed": self.seed}


def multigrid_plan(multigrid: Multigrid, *, batch_size: int, num_ranks: int, max_epochs: int | None) -> str:
    """Return a description of what decides the steps of a multigrid epoch."""
    if not multigrid.milestone_epochs:
        return f"{multigrid}"
    return f"{multigrid} with {batch_size} videos on each of {num_ranks} ranks over {max_epochs} epochs"


def check_resumed(stored: TrainingState, *, train_sha256: str, multigrid: str | None, split: str) -> None:
    """Check that a resumed run has the same videos and the same multigrid plan as the run that stopped.

    Args:
        stored: State in the checkpoint.
        train_sha256: Fingerprint of the training split of the run that resumes it.
        multigrid: Description of its multigrid plan.
        split: Name of the training split and its manifest, for the message.

    Raises:
        ValueError: The training videos or the multigrid plan differ.
    """
    if stored.train_sha256 != train_sha256:
        raise ValueError(
            f"{split}: not the videos that the checkpoint was trained on; expected the same rows in the same order to"
            " resume, or --model.weights in place of --ckpt_path to start from its weights"
        )
    if stored.multigrid != multigrid:
        raise ValueError(
            f"data.train.multigrid is {multigrid}, and was {stored.multigrid}; expected the same to resume"
        )


def skip_trained_batches(
    stored: TrainingState, topology: Mapping[str, int], sampler: TrainSampler, batches: MultigridBatches | None
) -> None:
    """Leave out the videos of the epoch that the stopped run has trained on.

    Nothing is left out if the checkpoint was written at the end of an epoch.

    Args:
        stored: State in the checkpoint.
        topology: `TrainingState.topology` of the run that resumes it.
        sampler: Training sampler of the run.
        batches: Batches of multigrid training, if any.

    Raises:
        ValueError: The checkpoint is from the middle of an epoch, and batch size, number of ranks or seed differ.
    """
    if not 0 < stored.num_batches < stored.batches_per_epoch:
        return
    if stored.topology != topology:
        raise ValueError(
            f"the checkpoint was written in the middle of an epoch, with {_listed(stored.topology)}; this run has"
            f" {_listed(topology)}; expected the same, or a checkpoint of an epoch's end"
        )
    if num_lost := stored.num_batches % stored.accumulate_grad_batches:
        logger.warning(
            "the checkpoint was written between two optimizer steps: the gradients of %d batches are lost", num_lost
        )
    if batches is not None:
        batches.resume(epoch=stored.epoch, num_batches=stored.num_batches)
    else:
        sampler.resume(epoch=stored.epoch, num_taken=stored.num_batches * stored.batch_size)


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
