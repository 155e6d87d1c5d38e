"""A stream's viewer that is another server: we publish there, by WHIP."""

from __future__ import annotations

from live777py.clients.sdp_session import SdpClient
from live777py.clients.whip import WhipClient
from live777py.errors import NotPublished
from live777py.protocol.codecs import Codec, Kind
from live777py.rtc.outgoing_offer import OutgoingMedia
from live777py.rtc.remote import OpenedPeer
from live777py.rtc.viewer import Viewer, sent_media


class Sink(OpenedPeer, Viewer):
    """Sends a stream to another server's WHIP endpoint."""

    _verb = "takes"

    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        return WhipClient(token, headers=headers)

    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        self._offered = await self._published()
        # Behind the await: the publisher may leave meanwhile.
        if self._tracks.source is None:
            raise NotPublished(self._tracks.name)
        return self._offered

    def _prepare(self) -> None:
        accepted = (m for m in self._answered.media if m.is_accepted)
        self._media = {media.kind: sent_media(media) for media in accepted}

    def source_changed(self) -> None:
        """Send what is now being published, or begin anew where it was not offered."""
        new = [
            f"{codec.name} {kind}"
            for kind, codec in self._tracks.codecs.items()
            if not self._was_offered(kind, codec)
        ]
        if new:
            self.end(f"the stream now has {' and '.join(new)}", "codec_changed")
            return
        super().source_changed()

    def _was_offered(self, kind: Kind, codec: Codec) -> bool:
        """Whether the other server has had its say on this."""
        if kind in self._media:
            # It takes it in some codec; `Viewer` sees to which.
            return True
        offered = (media for media in self._offered if media.kind == kind)
        return any(c.name == codec.name for media in offered for c in media.codecs)
