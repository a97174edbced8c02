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


def test_forgetting_what_is_not_remembered_is_fine() -> None:
    memory: Memory[str, int] = Memory(2)
    memory.forget("a")
    memory.put("a", 1)
    memory.forget("a")
    assert memory.keys() == []
