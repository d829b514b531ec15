"""What a person names as a video (a file, `camera:0`, a stream), and how FFmpeg opens it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ferops.errors import FeropsError

if TYPE_CHECKING:
    from av.container import InputContainer

Source = str | os.PathLike[str]
"""A file, by its path or name, `camera:N`, or an rtsp or http(s) address."""

SUFFIXES = (
    *(
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".dv",
        ".flv",
        ".h264",
        ".h265",
        ".hevc",
        ".ivf",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
    ),
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""Endings of video files. Images that move (GIF, WebP) are images."""

WAIT_S = 10.0
"""Seconds without any data after which a stream is given up."""

_CAMERA = re.compile(r"camera:(\d{1,3})")
_PROTOCOLS = {
    "file": "file",
    "http": "http,https,tcp,tls,crypto,data",
    "https": "http,https,tcp,tls,crypto,data",
    "rtsp": "rtsp,rtp,udp,tcp,tls",
    "rtsps": "rtsp,rtp,udp,tcp,tls",
}
"""What FFmpeg may open for a source of that scheme: a playlist from elsewhere must not name files of this machine."""


def is_video(source: Source) -> bool:
    """Whether `source` names a video: `camera:N`, an rtsp or http(s) address, or a file with a video's ending."""
    return _scheme(source) != "file" or Path(source).suffix.lower() in SUFFIXES


def shown(source: Source) -> str:
    """Return `source` for tables and messages: an address without the password and the query that it may carry."""
    source = os.fspath(source)
    if _scheme(source) in ("file", "camera"):
        return source
    address = urlsplit(source)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"


def open_container(source: Source) -> InputContainer:
    """Open `source` with FFmpeg.

    Raises:
        FeropsError: there is no such file, camera or stream, it gives no answer, or it is no video.
    """
    import av

    source = os.fspath(source)
    scheme, name, container_format = _scheme(source), source, None
    options = {"protocol_whitelist": _PROTOCOLS.get(scheme, "file")}
    if scheme == "camera":
        name, container_format = f"/dev/video{source.partition(':')[2]}", "v4l2"
        options = {}
    elif scheme == "file":
        name = f"file:{source}"  # so that a name with a colon is no protocol
    elif scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # over UDP, cameras lose parts of frames
    try:
        return av.open(
            name,
            format=container_format,
            options=options,
            metadata_errors="replace",
            timeout=None if scheme in ("file", "camera") else WAIT_S,
        )
    except (av.FFmpegError, OSError) as error:
        raise FeropsError(_why(source, error)) from error


def is_live(source: Source, container: InputContainer) -> bool:
    """Whether frames come as they happen, so that those that nobody fetches in time are lost."""
    return _scheme(source) != "file" and container.duration is None


def _scheme(source: Source) -> str:
    source = os.fspath(source)
    if _CAMERA.fullmatch(source):
        return "camera"
    scheme = source.partition("://")[0].lower()
    return scheme if scheme in _PROTOCOLS and scheme != "file" else "file"


def _why(source: str, error: Exception) -> str:
    """The reason without FFmpeg's own text, which holds the address and with it a password."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    if _scheme(source) == "camera":
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        cameras = f"this machine has {', '.join(found)}" if found else "this machine sees no camera: no /dev/video*"
        return f"{source} cannot be opened ({reason}); {cameras}"
    if _scheme(source) == "file":
        return f"{source} is not a video that FFmpeg reads ({reason}); an MP4 that was never finished has no index"
    return f"{shown(source)} cannot be opened ({reason}). Check address and login; ffplay or VLC must open it, too"
