"""What methods do to what they are called on, told by their names, as libraries for data and learning use them."""

from __future__ import annotations

import re

MUTATORS = frozenset(
    "fit fit_generator fit_transform load_state_dict load_weights partial_fit pop popitem popleft set_params setdefault shuffle "
    "step train_on_batch train_step".split()
)
"""Methods that change what they are called on, whether their value is used or not."""

SILENT_MUTATORS = frozenset(
    "add add_module append appendleft apply_ clear compile discard eval extend extendleft fill freeze insert put register remove reverse "
    "rotate seed sort train update write writelines zero_grad".split()
)
"""Methods that change what they are called on where nobody takes their value."""

TABLES_GIVE = frozenset({"add", "append", "eval", "train", "write"})
"""Those of them that give tables and arrays a new value instead."""

LOOKING = re.compile(
    "(bar|barh|boxplot|close|count|debug|describe|display|error|flush|get|head|hist|imshow|info|is|line|log|plot|predict|print|save|"
    "savefig|scatter|score|show|start|stop|summary|tail|tick_params|to|warning|write)(_.*)?"
)
"""Methods that look at what they are called on, also as a statement of their own."""

SPOILING = frozenset({"delattr", "heapify", "heappop", "heappush", "next", "setattr", "shuffle"})
"""Functions that change their first argument."""

SETTING = re.compile("(manual_)?seed(_all)?|set(_.*)?|use(_.*)?|(re|un)?register(_.*)?|filterwarnings|simplefilter|basicConfig|enable_.*")
"""Methods of modules that change how the module works from then on."""

ADDING = frozenset(
    "append appendleft extend extendleft insert partial_fit pop popitem popleft reverse rotate shuffle step train_on_batch "
    "train_step".split()
)
"""Methods that change it more each time."""
