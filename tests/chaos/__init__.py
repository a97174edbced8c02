"""Chaos: worker processes and real servers under real faults, and the truth compared with what is stored.

    python -m tests.chaos --seed 7 --seconds 600            every fault, one after the other, and a table at the end
    python -m tests.chaos --seed 7 --only 'worker killed'   one of them
    python -m tests.chaos.soak --minutes 10                 does anything grow without bound?

Theory of operation
-------------------

A *round* plays one fault. It starts servers, proxies and two workers of its own (`stage`), so that what goes wrong
belongs to this fault alone, and publishes simulated segments all the while: good, late, repeated, malformed, future
and too late ones. The fault (`faults`) is caused again and again, with pauses, at times drawn from the seed; every
occurrence ends with everything healed. Then publishing ends, the round waits until all is settled, and judges.

    publishers ---> proxy ---> Redis  <--- proxy <--- workers ---> proxy ---> MongoDB
    (one proxy a server, shared by publishers and workers; whoever looks or judges goes to the server directly)

The *verdict* is demo/oracle.py's, which shares no code with the product: MongoDB's raw documents against what was
published, window by window and field by field. Beside it, `streamproc audit --json`, run as anyone would run it: the
ledger balances, nothing is lost, and every measurement is what its details come to.

    lost             segments that a window lacks, or all of a window that is not stored
    counted twice    segments that a window has too many
    wrong            other fields that differ; windows that nobody published; findings of the audit
    several          windows with more than one measurement
    ledger           entries without an outcome, or with two

Where *Redis itself* forgot what it had acknowledged (a replica promoted without the tail, an emptied server), nobody
can hold what nobody has any more. `survivors` says exactly what is checked instead.

A worker that ends by itself, or does not end when told to, is trouble of its own, and fails the round.

The seed gives the segments, the order of the faults and their times, anew for each fault, so that `--only` repeats its
schedule. How real processes interleave with it is the machine's; hence many occurrences, and several seeds. For
schedules that repeat to the last step there is the simulation (tests/simulation).
"""
