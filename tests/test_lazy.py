"""A property that is computed once, and for two instances at a time."""

import threading

from rankscope.lazy import cached_property


class Waiting:
    """Its value can only be had while another instance computes its own."""

    barrier = threading.Barrier(2, timeout=10)

    def __init__(self) -> None:
        self.computed = 0

    @cached_property
    def value(self) -> int:
        """What it waits for."""
        self.computed += 1
        self.barrier.wait()
        return self.computed


def test_two_instances_compute_at_the_same_time_and_each_once() -> None:
    pair = Waiting(), Waiting()
    threads = [threading.Thread(target=lambda each=each: each.value) for each in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [(each.value, each.computed) for each in pair] == [(1, 1), (1, 1)]
    assert Waiting.value.__doc__ == "What it waits for."
