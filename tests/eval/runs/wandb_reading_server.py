"""A stand-in for wandb's server: as much of its GraphQL as the public API asks to read the runs of a project.

What the client asks was recorded: Viewer (by the key), then Runs page by page, and for each run its history (RunHistoryKeys,
RunParquetHistory, HistoryPage).
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WandbReadingServer:
    """Listens from ``with`` on.

    Parameters
    ----------
    runs : list of dict
        Each with ``name``, ``state``, ``config``, ``summary`` and ``history`` (a list of lines), of the project
        ``somebody/digits``; and ``exported``, where the lines are in a Parquet file: its bytes.
    page : int
        Runs in an answer.
    """

    def __init__(self, runs, page=2):
        self.runs = runs
        self.page = page
        self.asked = []

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, name, variables):
        self.asked.append(name)
        if name in ("Viewer", "GetDefaultEntity"):
            return {"viewer": {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}", "teams": None}}
        if (variables.get("entity"), variables.get("project")) != ("somebody", "digits"):
            return {"project": None}
        if name == "Runs":
            begin = int(variables.get("cursor") or 0)
            edges = [
                {"node": self._node(number), "cursor": str(number + 1)}
                for number in range(begin, min(begin + self.page, len(self.runs)))
            ]
            more = begin + self.page < len(self.runs)
            info = {"endCursor": str(begin + len(edges)), "hasNextPage": more}
            return self._project({"runCount": len(self.runs), "runs": {"edges": edges, "pageInfo": info}})
        number = int(variables.get("run") or variables.get("runName") or variables["name"])
        history = self.runs[number]["history"]
        if name == "RunHistoryKeys":
            return self._project({"run": {"historyKeys": {"lastStep": history[-1]["_step"] if history else -1}}})
        if name == "RunParquetHistory":
            urls = [f"{self.url}/exported/{number}"] if "exported" in self.runs[number] else []
            return self._project({"run": {"parquetHistory": {"parquetUrls": urls, "liveData": []}}})
        if name == "HistoryPage":
            lines = [line for line in history if variables["minStep"] <= line["_step"] < variables["maxStep"]]
            return self._project({"run": {"history": [json.dumps(line) for line in lines]}})
        return self._project({"run": self._node(number)})

    def _project(self, values):
        return {"project": {"id": "p", "internalId": "1", "name": "digits", "readOnly": False, **values}}

    def _node(self, number):
        run = self.runs[number]
        return {
            "id": f"id{number}",
            "projectId": "1",
            "tags": [],
            "name": str(number),
            "displayName": run["name"],
            "state": run["state"],
            "config": json.dumps({key: {"value": value} for key, value in {**run["config"], "_wandb": {}}.items()}),
            "summaryMetrics": json.dumps(run["summary"]),
            "systemMetrics": "{}",
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:10:00Z",
            "historyLineCount": len(run["history"]),
            "readOnly": False,
            "user": {"name": "somebody", "username": "somebody"},
            **dict.fromkeys(("sweepName", "group", "jobType", "commit", "description", "notes")),
        }


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            server.asked.append(self.path)
            whole = server.runs[int(self.path.rpartition("/")[2])]["exported"]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            first, last = (int(asked[1]), int(asked[2] or len(whole) - 1)) if asked else (0, len(whole) - 1)
            self.send_response(206 if asked else 200)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            self.wfile.write(whole[first : last + 1])

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = {}
            if self.path == "/graphql":
                message = json.loads(body)
                name = re.search(r"(?:query|mutation)\s+(\w+)", message["query"])[1]
                answer = {"data": server.answer(name, message.get("variables") or {})}
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler
