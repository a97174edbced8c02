from __future__ import annotations

from streamproc.answers.memory import KEPT_S, Memory


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_remembered_is_forgotten_after_a_minute() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(9, clock=clock)
    memory.put("a", 1)
    clock.now_s += KEPT_S - 1
    assert memory.get("a") == 1
    clock.now_s += 1
    assert memory.get("a") is None


def test_replacing_does_not_make_it_last_longer() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(9, clock=clock)
    memory.put("a", 1)
    clock.now_s += KEPT_S - 1
    memory.replace("a", 2)
    assert memory.get("a") == 2
    clock.now_s += 1
    assert memory.get("a") is None
    memory.replace("a", 3)
    assert memory.get("a") is None


def test_the_longest_remembered_makes_room() -> None:
    memory: Memory[str, int] = Memory(2, clock=Clock())
    for number, key in enumerate("abab"):
        memory.put(key, number)
    memory.put("c", 4)
    assert memory.keys() == ["b", "c"]


def test_nothing_is_remembered_beyond_an_erasure() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.renew("e1")
    memory.put("a", 1, "e1")
    memory.renew("e1")
    assert memory.get("a") == 1
    memory.renew("e2")
    assert memory.get("a") is None


def test_what_was_read_before_an_erasure_is_not_remembered_after_it() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.renew("e1")
    memory.renew("e2")
    memory.put("a", 1, "e1")
    assert memory.keys() == []
    memory.put("a", 2, "e2")
    memory.replace("a", 1, "e1")
    assert memory.get("a") == 2


def test_forgetting_what_is_not_remembered_is_fine() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.forget("a")
    memory.put("a", 1)
    memory.forget("a")
    assert memory.keys() == []
