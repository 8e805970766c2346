"""Tensors that earlier training leaves in checkpoints of any family, and those that the user leaves out.

In: a tensor's name, the names of the family's table. Out: the rule that leaves the tensor out, or None.
Knows nothing about single families or files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from clue_runner.architectures.name_table import Layout, Rule, below

# TensorFlow optimizers keep their slots below a variable's own name; only below a name that is itself known.
# Adam, BERT's own AdamW, LAMB and AdaFactor, then the slots of tf.train's other optimizers.
SLOTS = (
    "Adam",
    "adam_m",
    "adam_v",
    "AdamWeightDecayOptimizer",
    "LAMBOptimizer",
    "LAMB",
    "lamb_m",
    "lamb_v",
    "Adafactor",
    "AdafactorOptimizer",
    "adafactor_m",
    "adafactor_v",
    "adafactor_vr",
    "adafactor_vc",
    "Momentum",
    "Adagrad",
    "RMSProp",
    "Ftrl",
    "LazyAdam",
    "LARSOptimizer",
)
SLOT = re.compile(f"(?:{'|'.join(SLOTS)})(?:_[1-9])?")
SLOT_RULE = "optimizer-slot"
AVERAGE = "ExponentialMovingAverage"
AVERAGE_RULE = "averaged-weight"
# Our own files hold the task's head beside the network.
OWN_HEAD, OWN_HEAD_RULE = "head/", "task-head"
IGNORE_RULE = "model.ignore"
COUNTERS = re.compile(
    "global_step|(?:beta1_power|beta2_power)(?:_[1-9])?|(?:current_)?loss_scale|(?:good|bad)_steps|"
    "(?:training/)?(?:learning_rate|Adam/iterations|iterations?)"
)
COUNTER_RULE = "step-counter"


def rule_for(
    name: str, known: Collection[str], rules: Sequence[Rule], layout: Layout, ignore: Sequence[str] = ()
) -> str | None:
    """Return the name of the rule that leaves ``name`` out, or None.

    Args:
        name: that of a tensor outside the table.
        known: the names in the table.
        rules: the family's rules that apply.
        layout: whose name it is.
        ignore: ``model.ignore``: names, or prefixes that end with ``.`` or ``/``.
    """
    if any(below(name, pattern) for pattern in ignore):
        return IGNORE_RULE
    if layout == "native":
        return OWN_HEAD_RULE if name.startswith(OWN_HEAD) else None
    if layout == "google":
        if COUNTERS.fullmatch(name):
            return COUNTER_RULE
        variable, _, slot = name.rpartition("/")
        rule = SLOT_RULE if SLOT.fullmatch(slot) else AVERAGE_RULE if slot == AVERAGE else None
        if variable and rule is not None:
            # A slot of an unknown variable is as unknown as the variable.
            return rule if variable in known or rule_for(variable, known, rules, layout, ignore) else None
    return next((rule.name for rule in rules if rule.covers(name, layout)), None)
