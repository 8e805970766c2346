"""Returns to the best weights once, and continues from there at a smaller learning rate.

In: the train settings, the state of a run. Out: whether to go back, and the rate of an update.
The decision depends on the saved progress alone, so that a resumed run decides in the same way.
Knows nothing about engines, files or tasks.

Source: the recipe of the DGCNN reader, kexue.fm/archives/5409.
"""

from __future__ import annotations

from dataclasses import dataclass

from clue_runner.config.schema import TrainSettings
from clue_runner.runs.progress import Progress


@dataclass(frozen=True)
class LearningRateDrop:
    """When to go back, as the settings ``train.drop_*`` say."""

    settings: TrainSettings

    def wanted(self, progress: Progress, score: float) -> bool:
        """Return whether the evaluation at the end of this epoch is the one to go back after."""
        settings = self.settings
        if settings.drop_learning_rate is None or progress.dropped_at is not None:
            return False
        epoch = progress.epoch + 1
        stalled = progress.evaluations_without_gain >= settings.drop_patience
        low = score < settings.drop_below
        return epoch >= settings.drop_epoch or (epoch > settings.drop_after and (stalled or low))

    def rate(self, progress: Progress, scheduled: float) -> float:
        """Return the learning rate of the next update; ``scheduled`` until the weights went back."""
        if progress.dropped_at is None or self.settings.drop_learning_rate is None:
            return scheduled
        return self.settings.drop_learning_rate
