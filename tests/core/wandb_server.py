"""A stand-in for wandb's server: as much of its protocol as the client needs to start a run, send lines and files, and finish.

It keeps what it is sent as the real one does: a line of history goes where its offset says, and a run that is asked for again
says how many lines it has and which was the last. How it behaves can be changed while it works:

``works``, ``status 401`` (any HTTP status), ``hangs`` (accepts and never answers), ``drips`` (answers a byte a second),
``gone`` (closes the connection).
"""

import contextlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WandbServer:
    """Listens on a port of this machine from ``with`` on; ``behaviour`` says how, ``dies_after`` when it stops to answer.

    Attributes
    ----------
    runs : dict
        id -> {"history": [line], "files": {name: bytes}, "finished": exit code or None}.
    """

    def __init__(self, behaviour="works", dies_after=None):
        self.behaviour = behaviour
        self.dies_after = dies_after  # (path or query, behaviour): from the first request for it on
        self.runs = {}
        self.requests = []  # paths or names of queries
        self.asked = False  # something, since it behaves as it is to behave in the end
        self.released = threading.Event()  # whoever hangs may go

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40}
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def steps(self, run=None):
        """Return the steps of a run's history as they have arrived; of the only run where none is named."""
        if run is None:
            (run,) = self.runs
        return [json.loads(line)["_step"] for line in self.runs[run]["history"]]

    def answer(self, name, variables):
        run = self.runs.get(variables.get("name") or variables.get("run"))
        project = {"id": "p", "internalId": "1", "name": "stable-ssl", "entity": {"id": "e", "name": "somebody"}}
        if name == "RunResumeStatus":
            return {"model": {**project, "bucket": run and self._bucket(variables["name"])}}
        if name == "UpsertBucket":
            fresh = {"history": [], "files": {}, "finished": None}
            self.runs.setdefault(variables["name"], fresh)["config"] = json.loads(variables["config"] or "{}")
            return {
                "upsertBucket": {
                    "bucket": {**self._bucket(variables["name"]), "project": project},
                    "inserted": run is None,
                }
            }
        if name == "CreateRunFiles":
            to = [{"name": f, "uploadUrl": f"{self.url}/upload/{variables['run']}/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": to}}
        if name == "Run":
            return {"project": {**project, "run": run and self._bucket(variables["name"])}}
        if name in ("Viewer", "GetDefaultEntity"):
            return {"viewer": {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}"}}
        return {}

    def _bucket(self, name):
        history = self.runs[name]["history"]
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "state": "finished",
            "config": "{}",
            "summaryMetrics": "{}",
            "historyLineCount": len(history),
            "historyTail": json.dumps(history[-1:]),
            "historyKeys": None,
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "wandbConfig": '{"t": 1}',  # without it the run counts as never begun
        }

    def stream(self, run, message):
        history = message.get("files", {}).get("wandb-history.jsonl")
        if history:
            begin, lines = history["offset"], history["content"]
            assert begin <= len(self.runs[run]["history"]), "a gap"
            self.runs[run]["history"][begin : begin + len(lines)] = lines
        if message.get("complete"):
            self.runs[run]["finished"] = message["exitcode"]


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.rpartition("/")[2]
            message = json.loads(body) if path in ("graphql", "file_stream") else {}
            name = re.search(r"(?:query|mutation)\s+(\w+)", message["query"]).group(1) if path == "graphql" else path
            server.requests.append(name)
            if server.dies_after and name == server.dies_after[0]:
                server.behaviour = server.dies_after[1]
            server.asked = not server.dies_after or server.behaviour == server.dies_after[1]
            if server.behaviour == "gone":
                self.close_connection = True
            elif server.behaviour == "hangs":
                server.released.wait()
                self.close_connection = True
            elif server.behaviour == "drips":
                for byte in b"HTTP/1.1 200 OK\r\n" + 100 * b"X-Slow: 1\r\n":
                    self.wfile.write(bytes([byte]))
                    if server.released.wait(1.0):
                        break
                self.close_connection = True
            elif server.behaviour.startswith("status"):
                self.reply(int(server.behaviour.split()[1]), {"error": "no"})
            elif path == "graphql":
                self.reply(200, {"data": server.answer(name, message.get("variables") or {})})
            else:
                if path == "file_stream":
                    server.stream(self.path.split("/")[-2], message)
                self.reply(200, {})

        def do_PUT(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            _, _, run, name = self.path.split("/", 3)
            server.runs[run]["files"][name] = body
            self.reply(200, {})

        def reply(self, status, answer):
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self):
            with contextlib.suppress(ConnectionError):  # the client was ended
                super().handle()

    return Handler


if __name__ == "__main__":
    with WandbServer() as server:
        print(server.url, flush=True)
        time.sleep(1e6)
