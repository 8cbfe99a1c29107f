"""An OpenAI-compatible endpoint on the loopback address, with correct and with bad answers.

It also serves a mirror directory, so that one URL serves all hosts of a run.
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


def answer_well(station: str) -> Reply:
    exits = [{"exit_code": "A", "nearby_landmarks": [f"a park by {station.title()}"]}]
    answer = {"station_name": station, "extraction_confidence": "high", "exits": exits}
    return completion(answer)


def fenced(station: str) -> Reply:
    answer = {"station_name": station, "extraction_confidence": "low", "exits": []}
    return completion(f"```json\n{json.dumps(answer)}\n```")


def not_json(_station: str) -> Reply:
    return completion("Sure! Here is what I found about the station:")


def field_twice(station: str) -> Reply:
    answer = f'"station_name": "{station}", "extraction_confidence": "high"'
    return completion(f'{{{answer}, "exits": [], "exits": [{{}}]}}')


def wrong_schema(station: str) -> Reply:
    return completion({"station_name": station, "extraction_confidence": "certain", "exits": {}})


def wrong_station(_station: str) -> Reply:
    return answer_well("ANOTHER MRT STATION")


def refusal(_station: str) -> Reply:
    return completion("", message={"content": None, "refusal": "I cannot help with that."})


def cut_off(_station: str) -> Reply:
    return completion('{"station_name": ', finish_reason="length")


def no_completion(_station: str) -> Reply:
    return 200, {"Content-Type": "text/html"}, b"<html><title>Welcome</title></html>"


def error_object(code: int | str, message: str = "try later") -> Behaviour:
    """Return a behaviour that answers 200 with an error, as some gateways do."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return lambda _: (200, {"Content-Type": "application/json"}, body)


def error_in_choice(_station: str) -> Reply:
    choice = {"index": 0, "finish_reason": "error", "error": {"code": 502, "message": "no backend"}}
    body = {"choices": [choice | {"message": {"role": "assistant", "content": ""}}]}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def empty_body(_station: str) -> Reply:
    return 200, {"Content-Type": "application/json"}, b""


def cut_body(station: str) -> Reply:
    status, headers, body = answer_well(station)
    return status, headers, body[: len(body) // 2]


def no_choice(_station: str) -> Reply:
    return 200, {"Content-Type": "application/json"}, b'{"id": "1", "choices": []}'


def rate_limited(_station: str) -> Reply:
    return 429, {"Retry-After": "0"}, b'{"error": "slow down"}'


def out_of_order(_station: str) -> Reply:
    return 500, {}, b""


def no_key(_station: str) -> Reply:
    return 401, {}, b'{"error": "no such key"}'


class Endpoint(ThreadingHTTPServer):
    """A server with a mirror directory, the next behaviours, and the requests so far."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.next_behaviours: deque[Behaviour] = deque()
        self.default_behaviour: Behaviour = answer_well
        self.stations: list[str] = []
        self.keys: list[str] = []
        self.fetched: list[str] = []
        self.answer_get: Behaviour | None = None
        """Answers a GET for its path and query, in the place of the directory."""
        self.on_request: Callable[[str], object] = lambda _: None
        """Called with the Authorization header of each GET."""
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def clear_requests(self) -> None:
        self.stations.clear()
        self.fetched.clear()


@contextmanager
def run_endpoint(directory: Path) -> Iterator[Endpoint]:
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
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = request["messages"][-1]["content"]
        station = prompt.partition("Station: ")[2].partition("\n")[0]
        self.server.stations.append(station)
        self.server.keys.append(self.headers.get("Authorization", ""))
        behave = (
            self.server.next_behaviours.popleft()
            if self.server.next_behaviours
            else self.server.default_behaviour
        )
        self._reply(*behave(station))

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        pass

    def _serve(self) -> None:
        self.server.on_request(self.headers.get("Authorization", ""))
        if self.server.answer_get:
            self.server.fetched.append(self.path)
            self._reply(*self.server.answer_get(self.path))
            return
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
