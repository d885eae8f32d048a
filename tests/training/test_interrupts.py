"""Ctrl-C between batches."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from lamina.training.interrupts import Interrupts


@pytest.fixture(autouse=True)
def pythons_handler():
    """Python's own handler for Ctrl-C, whatever the tests were started with; put back at the end."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_ctrl_c_is_only_noted():
    with Interrupts() as interrupts:
        assert not interrupts.requested
        press_ctrl_c()
        assert interrupts.requested


def test_the_second_ctrl_c_interrupts_at_once():
    with Interrupts() as interrupts:
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()
        assert interrupts.requested


def test_afterwards_ctrl_c_means_what_it_meant():
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()


def test_the_handler_is_put_back_after_an_error():
    with pytest.raises(ValueError, match="inside"), Interrupts():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_own_gets_the_second_signal():
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame is not None)))
    with Interrupts() as interrupts:
        press_ctrl_c()
        assert interrupts.requested and heard == []
        press_ctrl_c()
    assert heard == [(signal.SIGINT, True)]
    press_ctrl_c()
    assert len(heard) == 2


@pytest.mark.parametrize("choice", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(choice):
    signal.signal(signal.SIGINT, choice)
    with Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGINT) is choice
        if choice is signal.SIG_IGN:
            press_ctrl_c()
        assert not interrupts.requested
    assert signal.getsignal(signal.SIGINT) is choice


def test_outside_the_main_thread_nothing_happens():
    found = []

    def use():
        with Interrupts() as interrupts:
            found.append((interrupts.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [(False, signal.default_int_handler)]


def test_one_inside_another_notes_for_itself_and_then_tells_the_other():
    with Interrupts() as outer:
        with Interrupts() as inner:
            press_ctrl_c()
            assert inner.requested and not outer.requested
            press_ctrl_c()
            assert outer.requested
            with pytest.raises(KeyboardInterrupt):
                press_ctrl_c()
        assert outer.requested


def test_each_use_starts_afresh():
    with Interrupts():
        press_ctrl_c()
    with Interrupts() as again:
        assert not again.requested
