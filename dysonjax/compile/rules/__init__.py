"""How operations of JAX become those of the graph: `rule(context, *operands, **parameters)`.

A rule returns the nodes of the results, or a function of arrays that JAX traces into what is already known,
or None if the operation is to be taken as it is. The context is the `lower.Context` that asks.
"""

from dysonjax.compile.rules import algebra, arrays, control, indexing, randomness

# These are written out whatever they are given,
STRUCTURE = control.RULES | randomness.RULES
# and these unless all of their operands are known now: then the result is.
ARRAYS = arrays.RULES | algebra.RULES | indexing.RULES
# Of random keys these cut and join the words; what else there is tells which keys are taken.
KEYS = {name: arrays.RULES[name] for name in ("stack", "unstack", "split")}
