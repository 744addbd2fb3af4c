"""Steps of DINO and its successors, MSN, PMSN and CAPI.

Oracle: the pseudocode of each paper, written here in float64 from the modules of the model, at the third step of a run with two
global views and two local ones of half the size. The oracle keeps its own centres and its own copy of the Gram teacher.
"""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ssl_core.batch import Batch
from ssl_core.modules.heads import Prototypes
from ssl_core.modules.masks.patch_masks import (
    block_mask,
    inverse_block_mask,
    masked_ratios,
    num_masked,
    random_mask,
    random_subset,
    split_mask,
)

K = 6  # prototypes
VIT = {"patch_size": 2, "width": 12, "depth": 2, "num_heads": 3}


def unit(x):
    return F.normalize(x.double(), dim=-1)


def head(network, features):
    """DINO's head: an MLP, unit rows, and a linear layer whose rows have norm 1."""
    projector, last = network
    return unit(projector(features)) @ unit(last.weight).T


def temperature(model):
    """From 0.04 to 0.07 in the first epoch of four steps."""
    return 0.04 + 0.03 * model.progress.step / 4


def entropy(target, logits):
    return -(target * logits.log_softmax(-1)).sum(-1)


def balanced(logits, temperature):
    """Sinkhorn-Knopp on the matrix itself, three iterations."""
    q = (logits / temperature).exp()
    for _ in range(3):
        q = q / q.sum(0, keepdim=True) / q.shape[1]
        q = q / q.sum(1, keepdim=True)
    return q


def masks(model):
    """Return the mask of each global view; sample i of view v is numbered 2 i + v."""
    keys, seed, epoch = model.config.model, model.config.hardware.seed, model.progress.epoch
    found = []
    for view in range(2):
        ids = 2 * model.data.ids + view
        ratios = masked_ratios(ids, 0.1, 0.5, keys.mask_probability, seed, epoch)
        found.append(block_mask(ids, model.backbone.grid, ratios, seed, epoch))
    return found


def masked_tokens(model, images, mask):
    """Return all tokens after mask tokens have replaced the masked patches."""
    encoder = model.backbone
    x = encoder.patches(images).flatten(2).transpose(1, 2).clone()
    x[mask] = model.mask_token
    x = torch.cat([encoder.class_token.expand(len(x), 1, -1), x + encoder.positions], dim=1)
    return encoder.norm(encoder.blocks(x))


def class_loss(student, teacher, targets):
    """Algorithm 1 of DINO: all pairs of a teacher's view and another view of the student."""
    terms = [
        entropy(targets[t], student[s] / 0.1).mean() for t in range(len(teacher)) for s in range(len(student)) if s != t
    ]
    return sum(terms) / len(terms)


def dino(model, state):
    views, tau = model.data.views, temperature(model)
    teacher = [head(model.teacher_head.model, model.teacher.model(view)) for view in views[:2]]
    student = [head(model.head, model.backbone(view)) for view in views]
    center = state.get("center", torch.zeros(K).double())
    state["center"] = 0.9 * center + 0.1 * torch.cat(teacher).mean(0)
    return class_loss(student, teacher, [((z - center) / tau).softmax(1) for z in teacher])


def ibot(model, state):
    views, tau = model.data.views, temperature(model)
    tokens = [masked_tokens(model, view, mask) for view, mask in zip(views, masks(model))]
    whole = [model.teacher.model.tokens(view) for view in views[:2]]
    local = [head(model.head, model.backbone(view)) for view in views[2:]]
    student = [head(model.head, each) for each in tokens]
    teacher = [head(model.teacher_head.model, each) for each in whole]
    center, patch_center = state.get("center", torch.zeros(2, K).double())
    patch_means = torch.cat([z[:, 1:].mean(1) for z in teacher]).mean(0)
    class_means = torch.cat([z[:, 0] for z in teacher]).mean(0)
    state["center"] = 0.9 * torch.stack([center, patch_center]) + 0.1 * torch.stack([class_means, patch_means])
    targets = [((z[:, 0] - center) / tau).softmax(1) for z in teacher]
    classes = class_loss([*(z[:, 0] for z in student), *local], teacher, targets)
    patches = 0
    for z, t, mask in zip(student, teacher, masks(model)):
        terms = entropy(((t[:, 1:] - patch_center) / tau).softmax(2), z[:, 1:] / 0.1) * mask
        patches = patches + (terms.sum(1) / mask.sum(1).clamp(min=1)).mean() / 2
    return classes + patches


def nearest(z):
    """KoLeo's distances to the nearest other row."""
    return (torch.cdist(unit(z), unit(z)) + 10 * torch.eye(len(z))).min(1).values


def dinov2(model, state):
    views, tau = model.data.views, temperature(model)
    drawn = masks(model)
    tokens = [masked_tokens(model, view, mask) for view, mask in zip(views, drawn)]
    whole = [model.teacher.model.tokens(view) for view in views[:2]]
    student = [head(model.head, each[:, 0]) for each in tokens] + [
        head(model.head, model.backbone(v)) for v in views[2:]
    ]
    teacher = [head(model.teacher_head.model, each[:, 0]) for each in whole]
    classes = class_loss(student, teacher, balanced(torch.cat(teacher), tau).chunk(2))
    mask, of_student, of_teacher = torch.cat(drawn), torch.cat(tokens)[:, 1:], torch.cat(whole)[:, 1:]
    targets = balanced(head(model.teacher_patch_head.model, of_teacher[mask]), tau)
    terms = torch.zeros(mask.shape).double()
    terms[mask] = entropy(targets, head(model.patch_head, of_student[mask]) / 0.1)
    patches = (terms.sum(1) / mask.sum(1).clamp(min=1)).mean()
    koleo = sum(-nearest(each[:, 0]).log().mean() for each in tokens)
    return classes + patches + 0.1 * koleo


def dinov3(model, state):
    """The Gram teacher is the teacher of step 1, the only copy."""
    if model.progress.step == 1:
        state["gram"] = copy.deepcopy(model.teacher.model)
    loss = dinov2(model, state)
    if "gram" not in state:
        return loss
    for view, mask in zip(model.data.views, masks(model)):
        student, teacher = unit(masked_tokens(model, view, mask)[:, 1:]), unit(state["gram"].tokens(view)[:, 1:])
        loss = loss + 2 * (student @ student.mT - teacher @ teacher.mT).square().mean() / 2
    return loss


def assignments(model):
    """Return the anchors' assignments to prototypes, all rows, and the sharpened ones of the target."""
    target, anchor, *focal = model.data.views
    encoder, prototypes, keys = model.backbone, unit(model.criterion.prototypes), model.config.model
    # One anchor of the size of the target: its ids are those of the samples
    mask = random_mask(model.data.ids, encoder.grid, 0.15, model.config.hardware.seed, model.progress.epoch)
    features = []
    for image, masked in zip(anchor, mask):
        x = (encoder.patches(image[None]).flatten(2).transpose(1, 2) + encoder.positions)[:, ~masked]
        x = torch.cat([encoder.class_token.view(1, 1, -1), x], dim=1)
        features.append(encoder.norm(encoder.blocks(x))[0, 0])
    # Batch normalisation sees the views of one size together
    embeddings = torch.cat([model.projector(torch.stack(features)), model.projector(encoder(torch.cat(focal)))])
    p = (unit(embeddings) @ prototypes.T / keys.temperature).softmax(1)
    of_target = (unit(model.teacher.model(target)) @ prototypes.T / keys.temperature).softmax(1)
    sharpened = of_target ** (1 / 0.25)
    return p, sharpened / sharpened.sum(1, keepdim=True)


def msn(model, state):
    p, target = assignments(model)
    q = balanced(target.log(), 1.0)
    mean = p.mean(0)
    return -(q.repeat(3, 1) * p.log()).sum(1).mean() + (mean * mean.log()).sum() + math.log(K)


def pmsn(model, state):
    p, target = assignments(model)
    prior = torch.arange(1, K + 1).double() ** -0.25
    mean, prior = p.mean(0), prior / prior.sum()
    return -(target.repeat(3, 1) * p.log()).sum(1).mean() + (mean * (mean / prior).log()).sum()


def capi(model, state):
    images, ids, grid = model.data.views[0], model.data.ids, model.backbone.grid
    seed, epoch = model.config.hardware.seed, model.progress.epoch
    count = num_masked(grid, 0.65)
    keep, drop, _ = split_mask(inverse_block_mask(ids, grid, 0.65, seed, epoch), count)
    predicted = random_subset(drop, ids, 1, seed, epoch)  # 0.05 of 10 patches
    patches = unit(model.teacher.model.tokens(images)[:, 1:])
    logits = patches @ model.clusters.weight.double().T + model.clusters.bias.double()
    targets = torch.stack([balanced(logits[:, position], 0.06) for position in range(16)], dim=1)
    clustering = entropy(targets, logits / 0.12).mean()
    tokens = model.backbone.tokens(images, keep=keep)
    prediction = (
        unit(model.predictor(tokens, keep, predicted)) @ unit(model.prototypes.weight).T * model.prototypes.norm.T
    )
    rows = torch.arange(len(ids))
    return clustering + entropy(targets[rows, predicted[:, 0]], prediction[:, 0] / 0.12).mean()


PAPERS = {
    "dino": dino, "ibot": ibot, "dinov2": dinov2, "dinov3": dinov3, "msn": msn, "pmsn": pmsn, "capi": capi,
}  # fmt: skip


@pytest.fixture
def make_vit(make_method):
    """Return a function that makes a method with a small ViT and two local views."""

    def make(name, views=4, **changes):
        model = make_method(name, log__eval_every=0, **changes)
        model.config.model.backbone, model.config.model.backbone_options = "vit_tiny", VIT
        model.config.data.views = 1 if name == "capi" else views
        return model

    return make


def crop_local_views(model):
    large, small = model.data.views[:2], [view[..., :4, 2:6] for view in model.data.views[2:]]
    model.data = Batch([*large, *small], *model.data[1:])


@pytest.mark.parametrize("name", PAPERS)
def test_loss_of_a_step_equals_the_paper(make_vit, name):
    model, state, expected, found = make_vit(name, optim__epochs=1), {}, [], []
    if name == "dinov3":
        model.config.model.gram_copies = 1

    @torch.no_grad()
    def before():
        crop_local_views(model)
        expected.append(float(PAPERS[name](model, state)))

    def after():
        found.append(model.run.metrics.last["train/loss"])

    model.before_train_step, model.after_train_step = before, after
    model.fit()
    assert found == [pytest.approx(value, rel=1e-4) for value in expected]
    assert len(found) == 4
    if "center" in state:
        centers = [model.criterion.center, *([model.patch_criterion.center] if name == "ibot" else [])]
        torch.testing.assert_close(
            torch.stack(centers).double(), state["center"].view(len(centers), K), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", ["dino", "ibot", "dinov2"])
def test_accumulation_moves_teacher_and_centre_as_one_batch(make_vit, name):
    """Two batches of 8 equal one of 16: lightly and lightly-train moved both with every batch. Float64."""
    models = []
    for size, steps in ((16, 1), (8, 2)):
        changes = {"optim__batch_size": size, "optim__accumulation_steps": steps, "log__run": f"batch_{size}"}
        models.append(make_vit(name, hardware__precision="fp64", optim__epochs=1, **changes))
        if name == "dinov2":
            models[-1].config.model.centering = "mean"  # Sinkhorn-Knopp and KoLeo compare the samples of a batch
            models[-1].config.model.koleo = 0.0
        models[-1].fit()
    one, two = (model.state_dict() for model in models)
    assert {"criterion.center", "teacher.model.class_token", "teacher_head.model.1.weight"} <= one.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-9, atol=1e-12, msg=key)


def test_last_layer_is_frozen_in_the_first_epoch(make_vit):
    """Trap: weight decay and momentum of AdamW move a layer whose gradient is only set to zero."""
    model, seen = make_vit("ibot", optim__optimizer="AdamW", optim__weight_decay=0.1), []
    model.config.model.freeze_last_layer = 1

    def remember():
        seen.append((model.head[1].weight.detach().clone(), model.head[0][0].weight.detach().clone()))

    model.before_train_step = remember
    model.fit()
    last, others = zip(*seen)
    assert all(torch.equal(weight, last[0]) for weight in last[:5])  # before the step 0 to 4 of four an epoch
    assert not torch.equal(last[5], last[4])
    assert not torch.equal(others[1], others[0])


@pytest.mark.parametrize("name", ["ibot", "dinov2"])
def test_views_without_masked_patches_give_a_finite_loss(make_vit, name):
    model = make_vit(name, optim__epochs=1)
    model.config.model.mask_probability = 0.0
    metrics = model.fit()
    assert metrics["train/patch_loss"] == 0
    assert math.isfinite(metrics["train/loss"])
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_masks_of_ibot_differ_between_views_samples_and_epochs(make_vit):
    model, drawn = make_vit("ibot", optim__batch_size=64), []
    model.before_train_step = lambda: drawn.append(torch.cat(masks(model)))
    model.fit()
    first, second = drawn[0].chunk(2)
    assert 0.3 < first.any(1).float().mean() < 0.7  # about half of the views have masked patches
    assert not torch.equal(first, second)
    assert not torch.equal(drawn[0], drawn[1])
    shares = drawn[0][drawn[0].any(1)].float().mean(1)
    assert 0.1 <= shares.min() < shares.max() <= 0.5


@pytest.mark.parametrize("name", ["ibot", "dinov2", "msn"])
def test_vit_of_timm_is_trained(make_vit, name):
    model = make_vit(name, optim__epochs=1, optim__max_steps=2)
    options = {"img_size": 8, "patch_size": 2, "embed_dim": 12, "depth": 1, "num_heads": 3, "dynamic_img_size": True}
    model.config.model.backbone, model.config.model.backbone_options = "timm/vit_tiny_patch16_224", options
    model.before_train_step = lambda: crop_local_views(model)
    assert math.isfinite(model.fit()["train/loss"])


@pytest.mark.parametrize("name", ["msn", "pmsn"])
def test_prototypes_of_msn_have_no_weight_decay(make_vit, name):
    model = make_vit(name, optim__epochs=1, optim__weight_decay=0.1)
    model.fit()
    [group] = [g for g in model.optimizer.param_groups if any(p is model.criterion.prototypes for p in g["params"])]
    assert (group["weight_decay"], len(group["params"])) == (0.0, 1)
    assert model.teacher.ramp == "linear"


def test_patch_projection_of_dinov2_has_a_fifth_of_the_rate(make_vit):
    model = make_vit("dinov2", optim__epochs=1, optim__schedule="constant")
    model.fit()
    rates = {id(p): group["lr"] for group in model.optimizer.param_groups for p in group["params"]}
    for parameter in model.backbone.patches.parameters():
        assert rates[id(parameter)] == pytest.approx(0.2 * model.config.optim.lr)
    assert rates[id(model.head[1].weight)] == rates[id(model.backbone.class_token)] == model.config.optim.lr


def test_clusters_of_capi_get_no_gradient_from_the_predictions(make_vit):
    """And the clustering loss trains nothing else. The learning rate of the clusters is half the others'."""
    model = make_vit("capi", optim__epochs=1)
    gradients = []

    def look():
        terms = model.compute_loss()
        named = dict(model.named_parameters())
        trained = {name: p for name, p in named.items() if p.requires_grad}
        for term in terms.values():
            found = torch.autograd.grad(term, trained.values(), allow_unused=True)
            gradients.append({name for name, g in zip(trained, found) if g is not None and g.any()})

    model.before_train_step = look
    model.fit()
    prediction, clustering = gradients[:2]
    assert clustering == {"clusters.weight", "clusters.bias"}
    assert not prediction & clustering
    assert {"backbone.patches.weight", "predictor.mask_token", "prototypes.weight"} <= prediction
    rates = {id(p): group["lr"] for group in model.optimizer.param_groups for p in group["params"]}
    assert rates[id(model.clusters.weight)] == pytest.approx(rates[id(model.prototypes.weight)] / 2)


def test_gram_teacher_is_copied_three_times_and_resumes(make_vit):
    """Steps 2, 4 and 6 of 8. Between the copies it does not move."""
    model, seen = make_vit("dinov3"), []

    def remember():
        gram, teacher = model.gram_teacher.model.class_token, model.teacher.model.class_token
        seen.append((gram.clone(), teacher.clone()))

    model.before_train_step = remember
    model.fit()
    seen.append((model.gram_teacher.model.class_token.clone(), None))
    changed = [not torch.equal(after[0], before[0]) for before, after in itertools.pairwise(seen)]
    assert changed == [False, False, True, False, True, False, True, False]
    assert torch.equal(seen[3][0], seen[2][1])  # the teacher before step 2


def test_too_few_views_raise_with_the_remedy(make_vit):
    for name in ("dino", "ibot", "msn"):
        with pytest.raises(ValueError, match=r"^data\.views='?1'?: 1 view.* of an image; expected"):
            make_vit(name, views=1, log__run=name).fit()


def test_teacher_has_its_own_heads(make_vit):
    """DINOv2 has one head for class tokens and one for patches, iBOT one for both."""
    for name, count in (("ibot", 1), ("dinov2", 2)):
        model = make_vit(name, log__run=name, optim__max_steps=1, optim__epochs=1)
        model.fit()
        layers = [each for each in model.modules() if isinstance(each, Prototypes)]
        assert sum(layer.weight.requires_grad for layer in layers) == count == len(layers) / 2
