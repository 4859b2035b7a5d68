"""The system call filter, run by a small interpreter of classic BPF, against the list it was made from."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlllm.sandbox import kernel, seccomp

ALLOW, KILL, REFUSE, NO_SUCH_CALL = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026


def verdict(code: bytes, number: int, first: int = 0, *, audit: int) -> int:
    """What the kernel would answer; as its interpreter does, line by line."""
    words = {0: number, 4: audit, 16: first & 0xFFFF_FFFF}
    lines = [struct.unpack_from("=HBBI", code, place) for place in range(0, len(code), 8)]
    place = loaded = 0
    while True:
        operation, if_true, if_false, value = lines[place]
        place += 1
        match operation:
            case 0x20:
                loaded = words[value]
            case 0x06:
                return value
            case 0x15:
                place += if_true if loaded == value else if_false
            case 0x35:
                place += if_true if loaded >= value else if_false
            case 0x45:
                place += if_true if loaded & value else if_false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(kernel, "machine", lambda: request.param)
    return request.param


def test_every_call_gets_the_answer_of_the_list(machine: str) -> None:
    audit, column = seccomp.ARCHITECTURES[machine]
    code, listed = seccomp.program(), set(seccomp.allowed(column))
    special = {pair[column] for pair in (seccomp._CLONE, seccomp._CLONE3, seccomp._SOCKETPAIR)}
    for number in set(range(1000)) - special:
        assert verdict(code, number, audit=audit) == (ALLOW if number in listed else REFUSE), number
    assert listed.isdisjoint(special)


def test_a_program_makes_children_of_its_own_and_none_of_the_worker(machine: str) -> None:
    audit, column = seccomp.ARCHITECTURES[machine]
    number = seccomp._CLONE[column]
    for flags, answer in ((17, ALLOW), (kernel.CLONE_PARENT | 17, REFUSE), (kernel.CLONE_NEWPID | 17, REFUSE)):
        assert verdict(seccomp.program(), number, flags, audit=audit) == answer


def test_the_filter_is_short_enough_for_its_jumps_and_the_kernel(machine: str) -> None:
    assert len(seccomp.program()) // 8 <= 4096


def test_another_architecture_or_abi_is_fatal(machine: str) -> None:
    audit, _ = seccomp.ARCHITECTURES[machine]
    assert verdict(seccomp.program(), 39, audit=audit ^ 1) == KILL
    assert verdict(seccomp.program(), 0x4000_0000 + 39, audit=audit) == KILL


def test_new_namespaces_are_refused_and_clone3_does_not_exist(machine: str) -> None:
    audit, column = seccomp.ARCHITECTURES[machine]
    code, clone = seccomp.program(), seccomp._CLONE[column]
    assert verdict(code, clone, 17, audit=audit) == ALLOW
    for name in ("NS", "CGROUP", "UTS", "IPC", "USER", "PID", "NET"):
        assert verdict(code, clone, getattr(kernel, f"CLONE_NEW{name}") | 17, audit=audit) == REFUSE
    assert verdict(code, seccomp._CLONE3[column], audit=audit) == NO_SUCH_CALL


def test_only_pairs_of_unix_sockets_are_made(machine: str) -> None:
    audit, column = seccomp.ARCHITECTURES[machine]
    for family in range(50):
        found = verdict(seccomp.program(), seccomp._SOCKETPAIR[column], family, audit=audit)
        assert found == (ALLOW if family == 1 else REFUSE)


@given(st.sets(st.integers(0, 600), max_size=200), st.integers(0, 700))
def test_the_search_answers_as_the_set_does(numbers: set[int], asked: int) -> None:
    code = b"".join(seccomp._search(seccomp._turns(sorted(numbers)), REFUSE))
    load = seccomp._line(0x20, 0)
    assert verdict(load + code, asked, audit=0) == (ALLOW if asked in numbers else REFUSE)
