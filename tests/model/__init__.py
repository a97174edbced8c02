"""The protocol as a model: plain Python over plain dicts, small enough to be read, quick enough to be tried out long.

tests/simulation plays the real roles and scripts, some dozen schedules a second. This is the other half: the same rules
written down once more without Redis, MongoDB or any role of the product, some hundred schedules a second on each core.
It asks whether the rules are right; the simulation, whether the product keeps them. Of the product only what is pure is
used: which window, when it is due, which of two measurements counts (streamproc.core.windows and .revisions).

To be read in this order:

    planning.py     what is to become of an entry, from the entry alone
    stream.py       what Redis gives: a stream, a group, pending entries; and the low watermark
    shard.py        windows, and the scripts: one method, one atomic step
    mongodb.py      a collection in which nothing is unique and nothing replaced
    consumer.py, flusher.py, janitor.py, eraser.py      the roles: generators that yield one store call after the other

What happens to them (steps.py tells how):

    schedule.py     who takes the next step, and what goes wrong in between; settling.py: how it ends
    oracle.py       what must be true, at any time and in the end; it shares no rule with the model
    mutants.py      every rule broken once, and a seed whose schedule then goes wrong

What the model leaves out: other shards than one, what a segment's figures are, live figures, the tombstones' end.

    python -m tests.model SEED COUNT        play schedules from a seed on, on all cores
    python -m tests.model SEED --trace      ... and show every step
    python -m tests.model SEED COUNT --faults failover,freeze,leap      ... with these faults only
    python -m tests.model SEED COUNT --mutants      look for seeds that catch each broken rule
"""
