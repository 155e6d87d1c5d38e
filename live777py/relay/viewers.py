"""What control may ask for viewers: who is sent what, and how."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Mapping

from live777py.protocol.extensions import Extension

from . import commands, stats
from .lanes import least_loaded
from .registry import Peer, Registry, Viewer, check_payload_type, pack_extensions
from .seam import PeerId, TrackId, ViewerId, ViewerStats
from .settings import PlaneSettings
from .tables import COMMAND_WORDS

#: Commands for one list of losses: each holds ten numbers with the sixteen after each.
MAX_LOSS_COMMANDS = 4


def pack_losses(sequences: Iterable[int]) -> list[int]:
    """16-bit numbers as words of a number and a mask of the sixteen after it."""
    words: list[int] = []
    first = -1
    for number in dict.fromkeys(sequences):
        ahead = (number - first) & 0xFFFF
        if words and 1 <= ahead <= 16:
            words[-1] |= 1 << (15 + ahead)
        else:
            words.append(number & 0xFFFF)
            first = number
    return words


class Viewers(Registry):
    """The part of `Plane` that is about viewers."""

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        super().__init__(sock, settings)
        self._losses_dropped = 0

    def add_viewer(
        self,
        peer: PeerId,
        track: TrackId,
        *,
        payload_type: int,
        ssrc: int,
        first_sequence: int,
        timestamp_offset: int,
        extensions: Mapping[Extension, int],
        rtx_payload_type: int = -1,
        rtx_ssrc: int = 0,
        catch_up: bool = False,
    ) -> ViewerId:
        """Send a track to a peer, from the next packet on that arrives.

        Args:
            peer: who gets it.
            track: what is sent.
            payload_type: as the viewer negotiated it, -1 to be silent for now.
            ssrc: of what is sent.
            first_sequence: 1 to 32,767, or SRTP's roll-over counter may be mistaken.
            timestamp_offset: what is added to the track's RTP timestamps.
            extensions: the ids that the viewer negotiated.
            rtx_payload_type: of retransmissions (RFC 4588), -1 to repeat packets as they were.
            rtx_ssrc: of retransmissions.
            catch_up: begin with the latest key frame where the history holds it, now and
                whenever the payload type changes or a pause ends.

        Raises:
            AtCapacity: there are as many viewers as the settings allow.
        """
        owner, watched = self._peer(peer), self._track(track)
        check_payload_type(payload_type, -1)
        if not 0 < first_sequence < 1 << 15:
            raise ValueError(f"first sequence {first_sequence} is out of range")
        check_payload_type(rtx_payload_type, -1)
        packed = pack_extensions(extensions)
        viewer = ViewerId(self._viewer_ids.take())
        self._place(peer, owner)
        lane = owner.lane
        self._loads[lane] += 1
        watched.lanes[lane] += 1
        if lane and watched.lanes[lane] == 1:
            self._post(lane, commands.FEED, track, 1)
        self._viewers[viewer] = Viewer(peer, track)
        owner.viewers.add(viewer)
        watched.viewers.add(viewer)
        self._post(
            lane,
            commands.ADD_VIEWER,
            viewer,
            peer,
            track,
            payload_type,
            ssrc & 0xFFFFFFFF,
            first_sequence,
            timestamp_offset & 0xFFFFFFFF,
            packed,
            rtx_payload_type,
            rtx_ssrc & 0xFFFFFFFF,
            (1 + secrets.randbelow((1 << 15) - 1)) << 1 | catch_up,
        )
        return viewer

    def set_payload_type(
        self, viewer: ViewerId, payload_type: int, rtx_payload_type: int = -1
    ) -> None:
        """Send under another payload type, or nothing (-1); retransmissions under theirs."""
        lane = self._lane(viewer)
        check_payload_type(payload_type, -1)
        check_payload_type(rtx_payload_type, -1)
        self._post(
            lane, commands.SET_PAYLOAD_TYPE, viewer, payload_type, rtx_payload_type
        )

    def retransmit(self, viewer: ViewerId, sequences: Iterable[int]) -> None:
        """Send again what a viewer says that it lacks, as far as it is there and allowed.

        Args:
            viewer: who asks.
            sequences: the numbers that it knows the packets by, 0 to 65,535. Of a long list
                the end is left out: who lost so much needs a key frame.
        """
        lane = self._lane(viewer)
        words = pack_losses(sequences)
        size = COMMAND_WORDS - 2
        for at in range(0, min(len(words), MAX_LOSS_COMMANDS * size), size):
            if self._commands.waiting:
                # The loop is behind; what is asked for now, the viewer will ask for again.
                self._losses_dropped += 1
                return
            part = words[at : at + size]
            part += [-1] * (size - len(part))
            self._post(lane, commands.RETRANSMIT, viewer, *part)

    def pause(self, viewer: ViewerId, paused: bool) -> None:
        """Send a viewer nothing while it is paused; afterwards it goes on.

        Where it was, if the history still has that, otherwise as one that is new.
        """
        self._post(self._lane(viewer), commands.PAUSE, viewer, int(paused))

    def remove_viewer(self, viewer: ViewerId) -> None:
        """Stop sending a track to a peer."""
        gone = self._viewers.pop(viewer, None)
        if gone is None:
            return
        owner, watched = self._peer(gone.peer), self._track(gone.track)
        owner.viewers.discard(viewer)
        watched.viewers.discard(viewer)
        self._loads[owner.lane] -= 1
        watched.lanes[owner.lane] -= 1
        if owner.lane and not watched.lanes[owner.lane]:
            self._post(owner.lane, commands.FEED, gone.track, 0)
        self._post(
            owner.lane,
            commands.REMOVE_VIEWER,
            viewer,
            then=lambda: self._viewer_ids.give(viewer),
        )

    def _lane(self, viewer: ViewerId) -> int:
        return self._peer(self._viewer(viewer).peer).lane

    def _place(self, peer: PeerId, owner: Peer) -> None:
        """Choose the lane of a peer that gets its first viewer, for the rest of its life.

        One libsrtp session serves one thread, so all viewers of a peer are in one lane.
        """
        if owner.is_placed:
            return
        owner.is_placed = True
        lane = least_loaded(self._loads)
        if lane == owner.lane:
            return
        self._post(owner.lane, commands.FORGET_DESTINATION, peer)
        if owner.sock is not None:
            self._use_socket(owner.lane, peer, None)
            self._use_socket(lane, peer, owner.sock)
        owner.lane = lane
        if owner.sessions is not None:
            self._post(lane, commands.SET_SENDER, peer, owner.sessions.pointers[1])
        if owner.words is not None:
            self._post(lane, commands.SELECT_PATH, peer, *owner.words)

    def _use_socket(self, lane: int, peer: PeerId, own: socket.socket | None) -> None:
        is_ipv6 = own is not None and own.family == socket.AF_INET6
        number = 0 if own is None else own.fileno() + 1
        self._post(lane, commands.USE_SOCKET, peer, number, int(is_ipv6))

    def viewer_stats(self, viewer: ViewerId) -> ViewerStats:
        """What a viewer was sent of its track."""
        self._viewer(viewer)
        return stats.viewer_stats(self._state.viewers, viewer)
