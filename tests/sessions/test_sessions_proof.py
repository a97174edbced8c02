"""The proof of ``python -m tests.sessions``, scaled down: processes, kills, late events, an interrupted migration."""

from __future__ import annotations

from streamproc.embedded import EmbeddedServer

from .proof import Plan, Proof


async def test_old_documents_migrate_and_their_totals_are_the_sum_of_their_hours(
    valkey: EmbeddedServer, mongod: EmbeddedServer
) -> None:
    said: list[str] = []
    proof = Proof(valkey.url, mongod.url, Plan(sessions=600, kills=2), said.append)
    try:
        outcome = await proof.run()
    finally:
        await proof.close()
    assert outcome.passed, "\n".join([str(outcome), *said])
