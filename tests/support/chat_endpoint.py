"""An OpenAI-compatible endpoint on the loopback address that answers well, or badly on command.

It also serves a directory as a mirror, so that one URL stands for all hosts of a run.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[str], Reply]


def completion(content: Any, **changes: Any) -> Reply:
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text, **changes.pop("message", {})}
    choice = {"index": 0, "finish_reason": "stop", "message": message} | changes
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    body = {"choices": [choice], "usage": usage}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def good(station: str) -> Reply:
    exits = [{"exit_code": "A", "nearby_landmarks": [f"a park by {station.title()}"]}]
    answer = {"station_name": station, "extraction_confidence": "high", "exits": exits}
    return completion(answer)


def fenced(station: str) -> Reply:
    answer = {"station_name": station, "extraction_confidence": "low", "exits": []}
    return completion(f"```json\n{json.dumps(answer)}\n```")


def not_json(_station: str) -> Reply:
    return completion("Sure! Here is what I found about the station:")


def wrong_schema(station: str) -> Reply:
    return completion({"station_name": station, "extraction_confidence": "certain", "exits": {}})


def wrong_station(_station: str) -> Reply:
    return good("ANOTHER MRT STATION")


def refusal(_station: str) -> Reply:
    return completion("", message={"content": None, "refusal": "I cannot help with that."})


def cut_off(_station: str) -> Reply:
    return completion('{"station_name": ', finish_reason="length")


def no_completion(_station: str) -> Reply:
    return 200, {"Content-Type": "text/html"}, b"<html><title>Welcome</title></html>"


def rate_limited(_station: str) -> Reply:
    return 429, {"Retry-After": "0"}, b'{"error": "slow down"}'


def out_of_order(_station: str) -> Reply:
    return 500, {}, b""


def no_key(_station: str) -> Reply:
    return 401, {}, b'{"error": "no such key"}'


class Endpoint(ThreadingHTTPServer):
    """The mirror's directory, the behaviours that wait, and the requests so far."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.waiting: deque[Behaviour] = deque()
        self.always: Behaviour = good
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.fetched: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def forget(self) -> None:
        self.asked.clear()
        self.fetched.clear()


@contextmanager
def endpoint(directory: Path) -> Iterator[Endpoint]:
    with Endpoint(directory) as server:
        thread = Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        station = prompt.partition("Station: ")[2].partition("\n")[0]
        self.server.asked.append(station)
        self.server.keys.append(self.headers.get("Authorization", ""))
        behave = self.server.waiting.popleft() if self.server.waiting else self.server.always
        self._reply(*behave(station))

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass

    def _serve(self) -> None:
        path = self.server.directory / unquote(urlsplit(self.path).path).lstrip("/")
        self.server.fetched.append(f"{self.command} {path.name}")
        if path.is_file():
            self._reply(200, {"ETag": f'"{path.stat().st_mtime_ns}"'}, path.read_bytes())
        else:
            self._reply(404, {}, b"")

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
