"""The loss of a training step is the one of the paper: clustering, neighbours and pretext tasks.

Oracle: the pseudocode or published code of each paper, written here in float64 from the modules of the model, at the third step
of a run, so that queues, prototypes and memories are in use.
"""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly.models.modules.heads import SMoGPrototypes

from ssl_core import ConfigError
from ssl_core.modules.random_numbers import Stream, uniform


def unit(x):
    return F.normalize(x.double(), dim=-1)


def embeddings_of_all(model):
    """Return the embeddings of two global and any number of local views: batch statistics are those of all views of a size."""
    views = model.data.views
    features = torch.cat([model.backbone(torch.cat(same)) for same in (views[:2], views[2:]) if same])
    return unit(model.projector(features)).split(len(views[0]))


def swav(model):
    """Caron et al. 2020, algorithm 1 of the appendix, with the queue of the published code."""
    keys, z = model.config.model, embeddings_of_all(model)
    prototypes = model.criterion.prototypes.double()
    torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(len(prototypes)).double())
    loss = 0.0
    for view in (0, 1):
        rows = torch.cat([model.criterion.queues[view].rows.double(), z[view]])
        assert len(rows) == keys.queue_size + len(z[view])
        q = torch.exp(rows @ prototypes.T / keys.epsilon).T  # (K, B)
        q /= q.sum()
        for _ in range(keys.sinkhorn_iterations):
            q /= q.sum(dim=1, keepdim=True) * len(q)
            q /= q.sum(dim=0, keepdim=True) * q.shape[1]
        q = (q * q.shape[1]).T[-len(z[view]) :]
        others = [other for other in range(len(z)) if other != view]
        loss -= sum((q * (z[v] @ prototypes.T / keys.temperature).log_softmax(1)).sum(1).mean() for v in others) / len(
            others
        )
    return loss / 2


@pytest.mark.parametrize("num_local", [0, 2])
def test_loss_of_swav_equals_the_published_code(make_method, num_local, losses_of_third_step):
    model = make_method("swav", log__eval_every=0, optim__epochs=1)
    model.config.model.queue_start_epoch = model.config.model.freeze_prototypes_epochs = 0

    def prepare():
        views = model.data.views
        model.data = model.data._replace(views=[F.interpolate(v, scale_factor=2) for v in views] + views[:num_local])

    expected, found = losses_of_third_step(model, swav, prepare)
    assert found == pytest.approx(expected, rel=1e-4)


def test_queue_of_swav_starts_late(make_method):
    """Before its first epoch, and without a queue, the run is the same to the bit."""
    weights = []
    for run, queue_size in (("late", 24), ("none", 0)):
        model = make_method("swav", log__run=run, log__eval_every=0, optim__epochs=1)
        model.config.model.queue_size, model.config.model.queue_start_epoch = queue_size, 1
        model.fit()
        weights.append([value for key, value in model.state_dict().items() if "queues" not in key])
    assert all(map(torch.equal, *weights))


def test_prototypes_of_swav_are_frozen_then_unit(make_method):
    model = make_method("swav", log__eval_every=0, optim__weight_decay=0.1)
    model.config.model.freeze_prototypes_epochs = 1
    prototypes = []
    model.before_train_step = lambda: prototypes.append(model.criterion.prototypes.detach().clone())
    model.fit()
    first, second = prototypes[:4], prototypes[4:]  # 4 batches an epoch
    assert all(torch.equal(each, prototypes[0]) for each in (*first, second[0]))
    assert not torch.equal(second[1], second[0])
    for each in (*second, model.criterion.prototypes.detach()):
        torch.testing.assert_close(each.norm(dim=1), torch.ones(len(each)))


def deepcluster_v2(model):
    """Caron et al. 2020: main_deepclusterv2.py of the published code."""
    keys, bank = model.config.model, model.assignments
    z = embeddings_of_all(model)
    assert bank.ids.tolist() == list(range(64))
    loss = 0.0
    for prototypes, of_all in zip(model.prototypes.double(), bank.rows.T):
        scores = torch.cat(z) @ prototypes.T / keys.temperature
        loss += F.cross_entropy(scores, of_all[model.data.ids].repeat(len(z)))
    return loss / keys.num_clusterings


def test_deepcluster_v2_clusters_features_of_last_epoch(make_method):
    """Before the first epoch those of an extra pass; then the views that were trained on, each in its step."""
    model = make_method("deepcluster_v2", log__eval_every=0)
    seen, clusterings, cluster = {}, [], model.cluster

    def clustered():
        cluster()
        expected = torch.stack([seen[n] for n in range(64)]) if seen else None
        clusterings.append((model.memory.rows.clone(), expected, model.prototypes.clone()))
        for h, (centroids, assignments) in enumerate(zip(model.prototypes, model.assignments.rows.T)):
            assert torch.equal(assignments, (model.memory.rows[:, h % 2] @ centroids.T).argmax(1))

    @torch.no_grad()
    def before():
        views = torch.stack(embeddings_of_all(model), dim=1).float()
        seen.update(zip(model.data.ids.tolist(), views))

    model.cluster, model.before_train_step = clustered, before
    model.fit()
    (untrained, nothing, first), (remembered, expected, second) = clusterings
    assert untrained.shape == (64, 2, 8)
    assert nothing is None
    torch.testing.assert_close(remembered, expected)
    assert not torch.equal(first, second)


def test_more_clusters_than_samples_raises(make_method):
    model = make_method("deepcluster_v2")
    model.config.model.num_prototypes = 65
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert (caught.value.key, caught.value.expected) == (
        "model.num_prototypes",
        "at most the 64 samples of the training data",
    )


def nnbyol(model):
    """Dwibedi et al. 2021, section 4.4; nnbyol.py of solo-learn."""
    z1, z2 = (unit(model.teacher.model(view)) for view in model.data.views)
    p1, p2 = (unit(model.predictor(model.projector(model.backbone(view)))) for view in model.data.views)
    queue = model.queue.rows.double()
    assert len(queue) == 24  # full
    nn1, nn2 = (queue[(z @ queue.T).argmax(1)] for z in (z1, z2))
    return 4 - 2 * (p1 * nn2).sum(1).mean() - 2 * (p2 * nn1).sum(1).mean()


def smog(model):
    """Pang et al. 2022, algorithm 1, with the groups of lightly (SMoGPrototypes), which does not normalise the embeddings."""
    first, second = model.data.views
    z = model.projector(model.backbone(first))
    keys, prediction, target = model.config.model, model.predictor(z).double(), model.teacher.model(second).double()
    theirs = SMoGPrototypes(model.groups.groups.double(), keys.beta)
    labels = theirs.assign_groups(target)
    logits = theirs(prediction, theirs.get_updated_group_features(unit(z)), keys.temperature)
    return F.cross_entropy(logits, labels)


def info_nce(targets, predictions, temperature):
    logits = unit(targets) @ unit(predictions).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits)))


def all4one(model):
    """Estepa et al. 2023: all4one.py of solo-learn, with the usual positions."""
    keys, (x1, x2) = model.config.model, model.data.views
    z1, z2 = (model.projector(model.backbone(x)) for x in (x1, x2))
    t1, t2 = (unit(model.teacher.model(x)) for x in (x1, x2))
    queue = model.queue.rows.double()
    nn1, nn2 = (queue[(t @ queue.T).topk(5, dim=1).indices] for t in (t1, t2))
    place = torch.tensor(
        [[p / 10_000 ** (d // 2 * 2 / 8) + d % 2 * math.pi / 2 for d in (0, 2, 4, 6, 1, 3, 5, 7)] for p in range(5)]
    )
    transformer = copy.deepcopy(model.summary.layers).double()

    def summary(rows):
        return transformer(rows + place.double().sin())[:, 0]

    q1, q2 = (model.centroid_predictor(z).double() for z in (z1, z2))
    mixed1, mixed2 = (summary(torch.cat([q[:, None], nn], dim=1)[:, :5]) for q, nn in ((q1, nn1), (q2, nn2)))
    centroid = info_nce(summary(nn1), mixed2, 0.1) / 2 + info_nce(summary(nn2), mixed1, 0.1) / 2
    p1, p2 = (model.predictor(z) for z in (z1, z2))
    neighbour = info_nce(nn1[:, 0], p2, 0.2) / 2 + info_nce(nn2[:, 0], p1, 0.2) / 2
    norm = [F.normalize(x.double(), dim=0) for x in (t1, z2, t2, z1)]
    c1, c2 = norm[0].T @ norm[1], norm[2].T @ norm[3]
    other = ~torch.eye(len(c1), dtype=torch.bool)
    on = (((c1.diag() - 1) ** 2).mean() / 2 + ((c2.diag() - 1) ** 2).mean() / 2).sqrt()
    off = ((c1[other] ** 2).mean() / 2 + (c2[other] ** 2).mean() / 2).sqrt()
    assert len(queue) == keys.queue_size
    return 0.5 * centroid + 0.5 * neighbour + 0.5 * (0.5 * on + 0.5 * off) * 10


def rotnet(model):
    """Gidaris et al. 2018: all four rotations of each image in one batch, the pixels of numpy's rot90."""
    images = model.data.views[0].numpy()
    turned = torch.cat([torch.from_numpy(np.rot90(images, turns, axes=(2, 3)).copy()) for turns in range(4)])
    logits = model.classifier(model.backbone(turned)).double()
    return F.cross_entropy(logits, torch.arange(4).repeat_interleave(len(images)))


def cut(image, draws, share):
    """Return 9 patches of an image (C, 8, 8): cells of 2 pixels, patches of 1, resized to 8."""
    edge = int(share * 2)
    assert edge == 1
    patches = []
    for place in range(9):
        top, left = (2 * (place // 3) + int(draws[place] * 2), 2 * (place % 3) + int(draws[9 + place] * 2))
        patches.append(image[:, top : top + 1, left : left + 1].expand(-1, 8, 8))
    return torch.stack(patches)


def jigsaw(model):
    """Noroozi & Favaro 2016: 9 patches, each standardised and encoded by itself, in one of P orders."""
    ids, seed, epoch = model.data.ids, model.config.hardware.seed, model.progress.epoch
    places = uniform(ids, 18, seed, epoch, Stream.PATCH_PLACES)
    labels = (uniform(ids, 1, seed, epoch, Stream.PATCH_ORDER)[:, 0] * 5).long()
    puzzles = []
    for image, draws, label in zip(model.data.views[0], places, labels):
        patches = cut(image, draws, 64 / 75)
        mean, deviation = patches.mean((1, 2, 3), keepdim=True), patches.std((1, 2, 3), correction=0, keepdim=True)
        puzzles.append(((patches - mean) / (deviation + 1e-5))[model.permutations[label]])
    features = model.patch_layer(model.backbone(torch.cat(puzzles)))  # one batch: its statistics count
    return F.cross_entropy(model.classifier(features.reshape(len(ids), -1)).double(), labels)


def pirl(model):
    """Misra & van der Maaten 2020, equations 3 to 5, sample by sample."""
    keys, ids, (image, puzzle) = model.config.model, model.data.ids, model.data.views
    seed, epoch = model.config.hardware.seed, model.progress.epoch
    orders = uniform(ids, 9, seed, epoch, Stream.PATCH_ORDER).argsort(1)
    places = uniform(ids, 18, seed, epoch, Stream.PATCH_PLACES)
    puzzles = [cut(x, draws, 64 / 85)[order] for x, draws, order in zip(puzzle, places, orders)]
    patches = model.patch_projector(model.backbone(torch.cat(puzzles))).reshape(len(ids), -1)
    f, g = unit(model.projector(model.backbone(image))), unit(model.puzzle_projector(patches))
    memory = model.memory.rows.double()
    torch.testing.assert_close(memory.norm(dim=1), torch.ones(64).double())
    drawn = (uniform(torch.zeros(1), 20, seed, model.progress.step, Stream.NEGATIVES)[0] * 64).long()
    loss = 0.0
    for n, sample in enumerate(ids.tolist()):
        negatives = memory[[row for row in drawn.tolist() if row != sample]]
        for weight, v in ((keys.patch_weight, g[n]), (1 - keys.patch_weight, f[n])):
            positive, others = (memory[sample] @ v / 0.07).exp(), (negatives @ v / 0.07).exp()
            total = positive + others.sum()
            loss -= weight * ((positive / total).log() + (1 - others / total).log().sum()) / len(ids)
    return loss


PAPERS = {
    "all4one": all4one,
    "deepcluster_v2": deepcluster_v2,
    "jigsaw": jigsaw,
    "nnbyol": nnbyol,
    "pirl": pirl,
    "rotnet": rotnet,
    "smog": smog,
}


@pytest.mark.parametrize("name", PAPERS)
def test_loss_of_a_step_equals_the_paper(make_method, name, losses_of_third_step):
    model = make_method(name, log__eval_every=0, optim__epochs=1)
    expected, found = losses_of_third_step(model, PAPERS[name])
    assert found == pytest.approx(expected, rel=1e-4)


def test_smog_makes_new_groups_and_copies_the_student(make_method):
    """At the start from all samples, then every 3 steps from the queue."""
    model = make_method("smog", log__eval_every=0)
    made, regroup, restart = [], model.regroup, []

    def regrouped(rows):
        made.append((model.progress.step, len(rows)))
        regroup(rows)
        torch.testing.assert_close(model.groups.groups.norm(dim=1), torch.ones(6))

    def after():
        if model.progress.step == 1:
            real = model.teacher.restart
            model.teacher.restart = lambda: (restart.append(model.progress.step), real())

    model.regroup, model.after_train_step = regrouped, after
    model.fit()
    assert made == [(0, 64), (3, 24), (6, 24)]
    assert restart == [3, 6]


def test_more_groups_than_embeddings_raises(make_method):
    model = make_method("smog")
    model.config.model.num_groups, model.config.model.queue_size = 65, 65
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert caught.value.key == "model.num_groups"
    model.config.model.queue_size = 64
    with pytest.raises(ConfigError) as caught:
        model.config.model.check()
    assert caught.value.key == "model.queue_size"


def test_width_that_the_heads_of_all4one_cannot_share_raises(make_method):
    model = make_method("all4one")
    model.config.model.num_heads = 3
    with pytest.raises(ConfigError) as caught:
        model.fit()
    assert (caught.value.key, caught.value.expected) == (
        "model.num_heads",
        "a divisor of the width of the embeddings, 8",
    )


def test_pirl_keeps_the_embeddings_of_the_images(make_method):
    """Filled by a pass before the first epoch; then half of the old row and half of the new one, once an epoch."""
    model = make_method("pirl", log__eval_every=0, optim__epochs=1)
    found = {}

    @torch.no_grad()
    def before():
        if not found:
            found["filled"] = model.memory.rows.clone()
        rows = unit(model.projector(model.backbone(model.data.views[0]))).float()
        found.update(zip(model.data.ids.tolist(), rows))

    model.before_train_step = before
    model.fit()
    assert model.memory.ids.tolist() == list(range(64))
    expected = F.normalize((found["filled"] + torch.stack([found[n] for n in range(64)])) / 2, dim=1)
    torch.testing.assert_close(model.memory.rows, expected)


@pytest.mark.parametrize("name", ["all4one", "deepcluster_v2", "pirl", "smog"])
def test_resume_in_the_second_epoch_equals_uninterrupted_run(make_method, name):
    """The memory of half an epoch is that of the checkpoint, nothing is clustered again, and dropout draws the same."""
    runs = [make_method(name, log__run=run, log__eval_every=0) for run in ("whole", "broken", "broken")]
    for model in runs if name == "all4one" else ():
        model.config.model.dropout = 0.1

    def fail():
        if runs[1].progress.step == 7:
            raise RuntimeError("stop here")

    runs[1].before_train_step = fail
    runs[0].fit()
    with pytest.raises(RuntimeError, match="stop here"):
        runs[1].fit()
    runs[2].fit()
    for key, value in runs[0].state_dict().items():
        assert torch.equal(runs[2].state_dict()[key], value), key


def test_rotnet_needs_square_images(make_method):
    model = make_method("rotnet")
    model.image_shape = (3, 8, 9)
    with pytest.raises(ConfigError, match=r"^model\.name='rotnet': the images are \(8, 9\) pixels"):
        model.initialize_modules()
