"""Deterministic simulation: the real roles and the real scripts, one clock, every fault, and a seed for all of it.

What is real and what is not

    real         roles (streamproc/roles), stores and Lua scripts, a private Valkey they run on, the fold, the ledger
    simulated    time (clock.py), the network (faults.py), MongoDB (measurements.py, erasures.py),
                 who runs when (scheduler.py)

Why it is deterministic. A role waits for nothing but its stores, so it needs no event loop: it is a coroutine that is
sent on by hand from one store call to the next. Before each call it asks what is to become of it, and the scheduler,
drawing from one seeded generator, answers: it arrives, never arrives, arrives and its reply is lost, arrives later.
Not to ask a role on is to freeze it; to close it is to kill it, between exactly these two calls. Between two calls
nothing else happens anywhere, so every interleaving that matters can be played, and played again. Scripts see the
simulated time in place of TIME; ids are made from it; idle times are 0, so that the scheduler says who is idle.

A schedule (scheduler.py) disturbs a world (world.py) for some hundred steps: processes take turns call by call, are
killed, frozen past every limit, woken as zombies; calls are lost, repeated, late; time leaps or is set back; all
consumers stop for longer than the horizon; MongoDB goes away; the group is destroyed; Redis fails over to an earlier
consistent state, or comes back empty; users ask to be erased. Then nothing more goes wrong, and time passes until all
is quiet: every erasure is complete, and has been applied once more, as a worker does every hour.

What must hold

    in the end      every hour holds one measurement, the highest, and every figure of it is that of the published
                    segments (oracle.py, on top of streamproc.demo.oracle, which share no code with the product);
                    nothing pending, open, taken or kept past the horizon; the ledger balances, term by term
    at any time     what a reader can see of an hour never becomes less, unless its user is erased; no hour is stored
                    before everything that came in time is in it; the ledger balances whenever somebody looks
    of the erased   nothing: no measurement of a window that an erasure covers, no key, set or stream of Redis that
                    tells of one (traces.py); their later windows, and everybody else's, are as exact as ever
    after Redis     an hour holds at least as many segments as survived, none that was never published, and whatever
    lost data       Redis then holds as many of as are stored is what is stored

Why to believe it. `rules.py` breaks the product's rules one by one, as edits of its text (mutants.py), and
`test_mutants.py` shows that each is caught, by a story on a stage (stage.py) or by random schedules; where rules cover
for each other, that they are caught together. tests/fault/test_crash_matrix.py uses the same stage to fail every call
of every operation in every way, one at a time.

    python -m tests.simulation SEED            play one schedule, show it if it is not exact
    python -m tests.simulation SEED COUNT      ... and those of the seeds that follow
"""
