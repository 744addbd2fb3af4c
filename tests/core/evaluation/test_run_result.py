"""The result of fit(): a dict that a notebook shows as a table and a figure."""

import base64
import json
import os
import pickle
import re
import sys

from ssl_eval import Table


def png_of(page):
    return base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])


def test_result_is_the_dict_of_the_last_metrics(make_config, tiny_model):
    model = tiny_model(make_config(log__report=True, optim__epochs=1))
    result = model.fit()
    assert result == model.run.folder.read_summary()["metrics"]
    assert type(pickle.loads(pickle.dumps(result))) is dict  # as a job sends it
    assert pickle.loads(pickle.dumps(result)) == result
    assert not model.run.folder.table_json.exists()  # computed only when it is shown


def test_shown_result_has_table_and_figure(make_config, tiny_model):
    model = tiny_model(make_config(log__report=True, optim__epochs=1))
    result = model.fit()
    page = result._repr_html_()
    for label in (
        "trained encoder",
        "untrained encoder",
        "raw pixels",
        "linear probe",
        "after 1 epochs",
        "toy/accuracy",
    ):
        assert label in page
    assert png_of(page) == model.run.folder.curves.read_bytes()
    written = model.run.folder.table_json.stat().st_mtime_ns
    assert tiny_model(make_config(log__report=True, optim__epochs=1)).fit()._repr_html_() == page
    assert model.run.folder.table_json.stat().st_mtime_ns == written  # the same run: the files of the folder


def test_table_older_than_the_checkpoint_is_computed_again(make_config, tiny_model, monkeypatch):
    computed = []

    def write_report(model):
        computed.append(model.progress.epoch)
        table = Table(title="run", columns=["", "kNN"], rows=[["trained encoder", 0.5]])
        model.run.folder.table_json.write_text(json.dumps(table.to_dict()))

    monkeypatch.setattr("ssl_core.evaluation.run_result.write_report", write_report)
    config = make_config(log__report=True, optim__epochs=1)
    for _ in range(2):
        result = tiny_model(config).fit()
        assert "trained encoder" in result._repr_html_()
        assert computed == [1]
    os.utime(result.folder.table_json, (0, 0))
    tiny_model(config).fit()._repr_html_()
    assert computed == [1, 1]


def test_without_report_only_metrics_are_shown(make_config, tiny_model):
    page = tiny_model(make_config(optim__epochs=1)).fit()._repr_html_()
    assert "toy/accuracy" in page
    assert "trained encoder" not in page
    assert "<img" not in page


def test_without_matplotlib_the_table_is_shown_alone(make_config, tiny_model, monkeypatch):
    result = tiny_model(make_config(log__report=True, optim__epochs=1)).fit()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = result._repr_html_()
    assert "trained encoder" in page
    assert "<img" not in page


def test_damaged_table_is_a_warning(make_config, tiny_model, caplog):
    result = tiny_model(make_config(optim__epochs=1)).fit()
    result.folder.table_json.write_text("{")
    assert "toy/accuracy" in result._repr_html_()
    assert any("final report" in each.getMessage() for each in caplog.records)


def test_failing_report_is_a_warning(make_config, tiny_model, caplog):
    class Failing(tiny_model):
        fails = False

        def features(self, x):
            if self.fails:
                raise ValueError("no features")
            return super().features(x)

    result = Failing(make_config(log__report=True, optim__epochs=1)).fit()
    Failing.fails = True
    assert "toy/accuracy" in result._repr_html_()
    [line] = [each.getMessage() for each in caplog.records if "final report" in each.getMessage()]
    assert "no features" in line
