"""A method that does not fit the configuration is a ConfigError with the key to change, before any data is opened."""

import dataclasses

import pytest
import torch

from ssl_core import ConfigError
from ssl_core.config import OptimConfig
from ssl_core.methods import METHODS, method_class
from ssl_core.methods.requirements import views_error
from ssl_core.run.folder import RunFolder

TRAINED = [name for name in METHODS if name != "baseline"]


def keys_of(name):
    return {each.name for each in dataclasses.fields(method_class(name).config_class)}


def those(condition):
    return pytest.mark.parametrize("name", [name for name in TRAINED if condition(method_class(name))])


def with_keys(*keys):
    return pytest.mark.parametrize("name", [name for name in TRAINED if keys_of(name).issuperset(keys)])


def takes_one_size(kind):
    return kind.num_views not in (None, 1) if kind.multi_crop is None else not kind.multi_crop


@pytest.fixture
def error_of():
    """Return a function that fits a model and returns its ConfigError; the data must not be opened."""

    def error_of(model):
        def opened(*arguments):
            raise AssertionError("the data was opened")

        model.config.data.open = opened
        with pytest.raises(ConfigError) as caught:
            model.fit()
        assert "\n" not in str(caught.value)
        assert not RunFolder.of(model.config).path.exists()
        return caught.value

    return error_of


@those(lambda kind: kind.num_views or kind.min_views > 1)
def test_wrong_number_of_views(make_method, error_of, name):
    model = make_method(name)
    model.config.data.views = model.num_views + 1 if model.num_views else model.min_views - 1
    error = error_of(model)
    assert (error.key, error.value) == ("data.views", model.config.data.views)
    assert f"model.name={name!r}" in error.expected


@those(takes_one_size)
def test_views_of_several_sizes(make_method, error_of, name):
    model = make_method(name)
    count = model.num_views or model.min_views
    model.config.data.view_sizes = lambda: [8] * (count - 1) + [4]
    error = error_of(model)
    assert (error.key, error.reason) == ("data.views", "views of 4, 8 pixels")


@with_keys("global_views")
def test_more_global_views_than_views(make_method, error_of, name):
    model = make_method(name)
    model.config.model.global_views = model.config.data.views + 1
    error = error_of(model)
    assert (error.key, error.value) == ("model.global_views", model.config.data.views + 1)
    assert error.expected.startswith(f"at most the {model.config.data.views} views")


@those(lambda kind: kind.needs_tokens and hasattr(kind.config_class(), "global_views"))
def test_masked_global_views_of_several_sizes(make_method, error_of, name):
    model = make_method(name)
    model.config.model.global_views = 3
    model.config.data.view_sizes = lambda: [16, 16, 8, 8]
    error = error_of(model)
    assert (error.key, error.reason) == ("model.global_views", "views of 16, 8 pixels")


def test_local_view_that_is_too_small_for_the_backbone(make_method, error_of):
    model = make_method("swav")
    model.config.data.view_sizes = lambda: [16, 16, 4]
    error = error_of(model)
    assert error.key == "data.views"
    assert error.reason.startswith("model.backbone='resnet9' cannot process views of 4 pixels: ")


@those(lambda kind: kind.puzzle_share)
@pytest.mark.parametrize(
    ("backbone", "options", "patch_size", "edge"),
    [
        ("resnet9", {"width": 2}, None, {"jigsaw": 4, "pirl": 3}),  # of cells of 5 pixels
        ("resnet9", {"width": 2}, 6, {"jigsaw": 6, "pirl": 6}),
        ("vit_tiny", {"patch_size": 8, "width": 12, "depth": 1, "num_heads": 3}, 12, {"jigsaw": 12, "pirl": 12}),
    ],
)
def test_patches_of_a_puzzle_that_do_not_fit(make_method, error_of, name, backbone, options, patch_size, edge):
    model = make_method(name)
    model.config.model.backbone, model.config.model.backbone_options = backbone, options
    model.config.model.patch_size = patch_size
    model.config.data.view_sizes = lambda: [16] * model.config.data.views
    error = error_of(model)
    assert (error.key, error.value) == ("model.patch_size", patch_size)
    assert error.reason.startswith(f"model.backbone={backbone!r} cannot process patches of {edge[name]} pixels: ")
    assert "data.size" in error.expected


@those(lambda kind: kind.needs_tokens)
def test_backbone_without_patch_tokens(make_method, error_of, name):
    model = make_method(name)
    model.config.model.backbone, model.config.model.backbone_options = "resnet9", {}
    error = error_of(model)
    if error.key == "model.backbone_options":  # AIM and NEPA ask for their option first
        assert "class token" in str(error)
        return
    assert (error.key, error.value) == ("model.backbone", "resnet9")
    assert error.expected.startswith("a ViT")


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(("option", "value", "key"), [("patch_size", 3, "patch_size"), ("num_heads", 5, "width")])
def test_vit_that_does_not_fit_the_image_or_its_heads(make_method, error_of, name, option, value, key):
    model = make_method(name)
    model.config.model.backbone = "vit_tiny"
    small = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3}
    own = {key: each for key, each in model.config.model.backbone_options.items() if key == "pool"}  # AIM, NEPA
    model.config.model.backbone_options = {**small, **own, option: value}
    assert error_of(model).key == f"model.backbone_options.{key}"


def test_patch_size_that_does_not_divide_a_small_view(make_method, error_of):
    model = make_method("lejepa")
    model.config.model.backbone, model.config.model.backbone_options = "vit_tiny", {"patch_size": 4, "depth": 1}
    model.config.data.view_sizes = lambda: [8, 8, 6]
    error = error_of(model)
    assert (error.key, error.value) == ("model.backbone_options.patch_size", 4)


@with_keys("decoder_width", "decoder_heads")
def test_decoder_heads_that_do_not_divide_the_width(make_method, error_of, name):
    model = make_method(name)
    model.config.model.decoder_heads = 3
    assert error_of(model).key == "model.decoder_width"


@with_keys("predictor_width", "predictor_heads")
def test_predictor_heads_that_do_not_divide_the_width(make_method, error_of, name):
    model = make_method(name)
    model.config.model.predictor_heads = 3
    assert error_of(model).key == "model.predictor_width"


@with_keys("queue_size")
@pytest.mark.parametrize("batches", [1, 2])
def test_queue_smaller_than_an_optimizer_step(make_method, error_of, name, batches):
    model = make_method(name, optim__accumulation_steps=batches)
    model.config.model.queue_size = 16 * batches - 1
    error = error_of(model)
    assert (error.key, error.value) == ("model.queue_size", 16 * batches - 1)


@those(lambda kind: kind.needs_labels)
def test_labels_that_are_known_to_be_missing(make_method, error_of, name):
    model = make_method(name)
    model.config.data.has_labels = lambda: False
    error = error_of(model)
    assert (error.key, error.value) == ("model.name", name)


@those(lambda kind: kind.needs_labels)
@pytest.mark.parametrize("num_classes", [0, 1, 4])
def test_labels_that_turn_out_to_be_missing(make_method, name, num_classes):
    """After the data is open, and before the run folder exists; with four classes no training image has a label."""
    model = make_method(name)
    opened = model.config.data.open

    def unlabeled(*arguments):
        loaders = opened(*arguments)
        loaders.num_classes = num_classes
        loaders.train.labels = torch.full_like(loaders.train.labels, -1)
        return loaders

    model.config.data.open = unlabeled
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert (caught.value.key, caught.value.value) == ("model.name", name)
    assert not RunFolder.of(model.config).path.exists()


@pytest.mark.parametrize(("name", "key", "value"), [("directclr", "dim", 17), ("data2vec", "top_blocks", 3)])
def test_more_dimensions_or_blocks_than_the_backbone_has(make_method, error_of, name, key, value):
    model = make_method(name)
    setattr(model.config.model, key, value)
    error = error_of(model)
    assert (error.key, error.value) == (f"model.{key}", value)


@pytest.mark.parametrize("name", TRAINED)
def test_evaluation_without_training_is_not_checked(make_config, name):
    """A run of 0 epochs needs no views and no labels."""
    config = make_config(optim__epochs=0)
    config.data.views = 7
    config.model = method_class(name).config_class(name=name)
    method_class(name).check_config(config)


@pytest.mark.parametrize("name", TRAINED)
def test_data_that_tells_nothing_is_accepted(make_config, name):
    """The backbone is built for photographs of 224 pixels, and the views are compared at the first step."""

    class Silent:
        def open(self, *arguments):
            raise NotImplementedError

    config = make_config(optim__batch_size=256)
    config.data, config.model = Silent(), method_class(name).config_class(name=name)
    if "queue_size" in keys_of(name):
        config.model.queue_size = 256
    if "num_permutations" in keys_of(name):
        config.model.num_permutations = 5  # the search for the most distant 1000 takes ten seconds
    method_class(name).check_config(config)


@pytest.mark.parametrize(
    ("found", "num_views", "min_views", "expected"),
    [
        (1, 2, 1, "2 views for model.name='tiny'; data.views=simclr gives two"),
        (2, 1, 1, "1 view for model.name='tiny'; data.views=mae gives one"),
        (1, None, 2, "2 or more views for model.name='tiny'; data.views=simclr gives two"),
        (2, 4, 1, "4 views for model.name='tiny'"),
    ],
)
def test_sentence_of_views(make_config, found, num_views, min_views, expected):
    error = views_error(make_config(), found, num_views, min_views)
    assert (error.reason, error.expected) == (f"{found} view{'s' * (found > 1)} of an image", expected)


def test_meta_build_leaves_the_random_numbers(make_method):
    torch.manual_seed(0)
    expected = torch.rand(1)
    model = make_method("byol", optim__batch_size=OptimConfig().batch_size)
    torch.manual_seed(0)
    model.check_config(model.config)
    assert torch.equal(torch.rand(1), expected)
