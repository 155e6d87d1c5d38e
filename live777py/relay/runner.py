"""Who runs the loop: threads of its own, a reader of the event loop, or the caller.

A loop that ends by itself has failed, which is noted here and told by way of the descriptor
that control watches anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import threading
from collections.abc import Sequence

from .cfuncs import publish
from .loop import run, turn
from .tables import STOP, State

#: Between two turns while a viewer is on its way to the live edge.
STEP_SECONDS = 0.001


class Runner:
    """The life of the loop over the states of all lanes.

    One of `start_threads`, `start_in_loop` and `step` is used, then `stop`, then `close`.
    """

    def __init__(self, lanes: Sequence[State], sockets: Sequence[int]) -> None:
        """Set up the descriptors.

        Args:
            lanes: their states; the first receives.
            sockets: what each sends by.
        """
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self._wake_fds = [os.eventfd(0, flags) for _ in lanes]
        self._wake_fd = self._wake_fds[0]
        #: Readable when there is something for control.
        self.control_fd = os.eventfd(0, flags)
        #: Readable when taps have packets.
        self.tap_fd = os.eventfd(0, flags)
        # An epoll descriptor can be polled itself: the loop polls this one beside the shared
        # socket, however many sockets of single peers it holds.
        self._epoll = select.epoll()
        self._lanes = lanes
        self._state = lanes[0]
        self._socket = sockets[0]
        for state, wake, sender in zip(lanes, self._wake_fds, sockets, strict=True):
            engine = state.engine[0]
            engine.sender = sender
            engine.wake = wake
            engine.control = self.control_fd
            engine.tap_event = self.tap_fd
        self._state.engine[0].socket = self._socket
        self._state.engine[0].epoll = self._epoll.fileno()
        self._state.lanes.wakes["descriptor"] = self._wake_fds
        self.failed: BaseException | None = None
        self.is_stopped = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._again: asyncio.TimerHandle | None = None

    def start_threads(self) -> None:
        """Run on threads that hold no GIL (where there is a compiler)."""
        self._check_fresh()
        for number, state in enumerate(self._lanes):
            name = f"media-{number}" if number else "media"
            thread = threading.Thread(
                target=self._run, args=(state,), name=name, daemon=True
            )
            thread.start()
            # Only then: one that could not be started cannot be waited for.
            self._threads.append(thread)

    def start_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a turn whenever the event loop sees a packet or a command."""
        self._check_fresh()
        self._loop = loop
        loop.add_reader(self._socket, self._turn_in_loop)
        loop.add_reader(self._wake_fd, self._turn_in_loop)
        loop.add_reader(self._epoll.fileno(), self._turn_in_loop)

    def step(self, timeout_ms: int) -> int:
        """Take one turn of every lane here; how many datagrams there were."""
        if self._threads or self.is_stopped:
            raise RuntimeError("the loop has a thread of its own, or has ended")
        received = int(turn(self._state, timeout_ms))
        for state in self._lanes[1:]:
            turn(state, 0)
        return received

    def wake(self) -> None:
        """Let the loop look for commands."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """End the loop; when this returns, nothing touches the state any more."""
        self.is_stopped = True
        for state, wake in zip(self._lanes, self._wake_fds, strict=True):
            publish(state.shared.ctypes.data + 8 * STOP, 1)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(wake, 1)
        for thread in self._threads:
            thread.join()
        self._remove_readers()

    def close(self) -> None:
        """Close the descriptors. The sockets are not ours."""
        for wake in self._wake_fds:
            os.close(wake)
        os.close(self.control_fd)
        os.close(self.tap_fd)
        self._epoll.close()

    def _check_fresh(self) -> None:
        is_running = bool(self._threads) or self._loop is not None
        if is_running or self.is_stopped:
            raise RuntimeError("a plane starts once")

    def _remove_readers(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_reader(self._wake_fd)
            self._loop.remove_reader(self._epoll.fileno())

    def _run(self, state: State) -> None:
        # Signals are for the main thread; here they would only interrupt system calls.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            run(state)
            if not self.is_stopped:
                raise RuntimeError("the loop ended without being told to")
        except BaseException as error:
            self._fail(error)

    def _turn_in_loop(self) -> None:
        try:
            turn(self._state, 0)
        except Exception as error:
            self._remove_readers()
            self._fail(error)
            return
        engine = self._state.engine[0]
        is_awaited = engine.catching or engine.echoes
        if is_awaited and self._again is None and self._loop:
            self._again = self._loop.call_later(STEP_SECONDS, self._turn_again)

    def _turn_again(self) -> None:
        self._again = None
        self._turn_in_loop()

    def _fail(self, error: BaseException) -> None:
        self.failed = error
        with contextlib.suppress(OSError):
            os.eventfd_write(self.control_fd, 1)


def compile_loop(state: State) -> None:
    """Make sure that the loop is compiled, on a state that nothing else uses."""
    turn(state, 0)
    publish(state.shared.ctypes.data + 8 * STOP, 1)
    run(state)
