"""summary.json of a resumed run."""

from ssl_core.run.folder import RunFolder
from ssl_core.run.progress import Progress
from ssl_core.run.summary import Summary


def test_sources_of_weights_survive_a_resume(tmp_path):
    folder = RunFolder(tmp_path)
    weights = {name: {"file": f"{name}.pt", "sha256": "0" * 64} for name in ("init_from", "teacher")}
    folder.write_summary({"status": "preempted", **weights})
    with Summary(folder, Progress(), dict, lambda: None, {}):
        pass
    assert {name: folder.read_summary()[name] for name in weights} == weights
