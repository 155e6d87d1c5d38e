"""Bodies are tested where they are read: over real sockets in native/test_app.py."""

from __future__ import annotations

from http import HTTPStatus

from live777py.api.body import SDP_TYPE, refuse


def test_a_refusal_keeps_its_headers() -> None:
    error = refuse(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send SDP", {"Accept-Post": SDP_TYPE}
    )
    assert error.status == 415
    assert error.text == "send SDP"
    assert error.headers["Accept-Post"] == SDP_TYPE
