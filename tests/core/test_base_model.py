"""The names that BaseModel uses, and the batch that it hands to a method."""

import pytest
import torch
from torch import nn

from ssl_core.batch import Batch
from ssl_core.errors import MethodError


@pytest.mark.parametrize("name", ["features", "fit", "train_step", "run", "optimizer", "probes", "data"])
def test_module_with_a_reserved_name_raises(make_config, tiny_model, name):
    class Clashing(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            setattr(self, name, nn.Linear(2, 2))

    with pytest.raises(MethodError, match=rf"^Clashing\.{name} = Linear\(\.\.\.\): '{name}' is used by BaseModel"):
        Clashing(make_config()).fit()


def test_value_with_the_name_of_a_method_raises(make_config, tiny_model):
    model = tiny_model(make_config())
    with pytest.raises(MethodError, match=r"'features' is used by BaseModel; choose another name"):
        model.features = 128


def test_other_names_are_free(make_config, tiny_model):
    """Names that earlier versions of BaseModel used, among them."""

    class Named(tiny_model):
        def initialize_modules(self):
            super().initialize_modules()
            self.distributed, self.plan, self.logger, self.timer = 1, [2], nn.Linear(2, 2), "four"

    model = Named(make_config(optim__epochs=1))
    model.fit()
    assert (model.distributed, model.plan, model.timer) == (1, [2], "four")


@pytest.mark.parametrize("views", [1, 3])
def test_views_are_always_a_list(make_config, tiny_model, toy_data, views):
    seen = []

    class Looking(tiny_model):
        def train_step(self, batch):
            assert batch is self.data
            seen.append(batch)
            return super().train_step(batch)

        def compute_loss(self):
            return nn.functional.cross_entropy(self.forward(self.data.views[0]), self.data.labels)

        def eval_step(self, batch):
            seen.append(batch)
            super().eval_step(batch)

    config = make_config(optim__epochs=1)
    config.data = toy_data(views)
    Looking(config).fit()
    assert {type(batch) for batch in seen} == {Batch}
    assert {len(batch[0]) for batch in seen} == {views, 1}
    assert all(batch[1].dtype == batch[2].dtype == torch.int64 for batch in seen)
