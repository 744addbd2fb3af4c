"""The loss of a training step is the one of the paper.

Oracle: the pseudocode of each paper, written here in float64 from the modules of the model, at the third step of a run, so that
queues, covariances and teachers are in use.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from ssl_core.modules.masks.multi_block import multi_block_mask
from ssl_core.modules.masks.patch_masks import block_mask, random_mask


def unit(x):
    return F.normalize(x.double(), dim=1)


def students(model):
    return [model.projector(model.backbone(view)) for view in model.data.views]


def teachers(model):
    return [model.teacher.model(view) for view in model.data.views]


def predictions(model, embeddings):
    return [model.predictor(z) for z in embeddings]


def cosine(a, b):
    return (unit(a) * unit(b)).sum(1).mean()


def own_row(queries, keys, temperature):
    """Cross-entropy of finding the own key among all keys."""
    return F.cross_entropy(unit(queries) @ unit(keys).T / temperature, torch.arange(len(queries)))


def nt_xent(model, sigma=None, without_positive=False):
    z = torch.cat([unit(each) for each in students(model)])
    n, temperature = len(z) // 2, model.config.model.temperature
    similarity = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    partner = (torch.arange(2 * n) + n) % (2 * n)
    positive = similarity[torch.arange(2 * n), partner]
    if without_positive:
        similarity[torch.arange(2 * n), partner] = -math.inf
    return (similarity.logsumexp(1) - positive).mean()


def byol(model):
    (p1, p2), (z1, z2) = predictions(model, students(model)), teachers(model)
    return (2 - 2 * cosine(p1, z2)) + (2 - 2 * cosine(p2, z1))


def simsiam(model):
    z1, z2 = students(model)
    p1, p2 = predictions(model, (z1, z2))
    return -cosine(p1, z2) / 2 - cosine(p2, z1) / 2


def moco_v2(model):
    query, key = unit(students(model)[0]), unit(teachers(model)[1])
    queue = model.criterion.queue.contents(key).double()
    assert len(queue) == 24  # full
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], dim=1)
    return F.cross_entropy(logits / model.config.model.temperature, torch.zeros(len(query), dtype=torch.int64))


def moco_v3(model):
    (q1, q2), (k1, k2) = predictions(model, students(model)), teachers(model)
    temperature = model.config.model.temperature
    return 2 * temperature * (own_row(q1, k2, temperature) + own_row(q2, k1, temperature))


def nnclr(model):
    z1, z2 = students(model)
    p1, p2 = predictions(model, (z1, z2))
    support, temperature = model.criterion.support.contents(z1).double(), model.config.model.temperature
    neighbours = [support[(unit(z) @ support.T).argmax(1)] for z in (z1, z2)]
    return own_row(neighbours[0], p2, temperature) / 2 + own_row(neighbours[1], p1, temperature) / 2


def ressl(model):
    keys = model.config.model
    student, teacher = unit(students(model)[0]), unit(teachers(model)[1])
    queue = model.criterion.queue.contents(student).double()
    target = (teacher @ queue.T / keys.teacher_temperature).softmax(1)
    return -(target * (student @ queue.T / keys.student_temperature).log_softmax(1)).sum(1).mean()


def tico(model):
    keys = model.config.model
    z1, z2 = unit(students(model)[0]), unit(teachers(model)[1])
    beta = keys.covariance_momentum
    covariance = beta * model.criterion.covariance.double() + (1 - beta) * z1.T @ z1 / len(z1)
    return -(z1 * z2).sum(1).mean() + keys.contrast * ((z1 @ covariance) * z1).sum(1).mean()


def supcon(model):
    z, labels = torch.cat([unit(each) for each in students(model)]), model.data.labels.repeat(2)
    logits = (z @ z.T / model.config.model.temperature).fill_diagonal_(-math.inf)
    log_probability = logits - logits.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels).fill_diagonal_(False)
    return -(log_probability.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()


def directclr(model):
    keys = model.config.model
    r1, r2 = (model.backbone(view)[:, : keys.dim] for view in model.data.views)
    return own_row(r1, r2, keys.temperature) / 2 + own_row(r2, r1, keys.temperature) / 2


def patches_of(images, size):
    """Return the pixels of each patch, ``(N, L, p p C)``, as MAE's patchify."""
    n, channels, height, width = images.shape
    x = images.reshape(n, channels, height // size, size, width // size, size)
    return torch.einsum("nchpwq->nhwpqc", x).reshape(n, -1, size**2 * channels).double()


def mae(model):
    """He et al. 2022: encode the visible patches, restore the order, decode everything, compare the masked patches."""
    images, encoder, decoder = model.data.views[0], model.backbone, model.decoder
    mask = random_mask(model.data.ids, encoder.grid, 0.75, model.config.hardware.seed, model.progress.epoch)
    losses = []
    for image, masked in zip(images, mask):
        x = encoder.patches(image[None]).flatten(2).transpose(1, 2) + encoder.positions
        x = torch.cat([encoder.class_token.view(1, 1, -1), x[:, ~masked]], dim=1)
        x = decoder.project(encoder.norm(encoder.blocks(x)))
        full = decoder.mask_token.expand(1, len(masked), -1).clone()
        full[:, ~masked] = x[:, 1:]
        x = torch.cat([x[:, :1], full + decoder.positions], dim=1)
        for block in decoder.blocks:
            x = block(x)
        prediction = decoder.head(decoder.norm(x))[0, 1:].double()
        target = patches_of(image[None], encoder.patch_size)[0]
        target = (target - target.mean(1, keepdim=True)) / (target.var(1, keepdim=True) + 1e-6).sqrt()
        losses.append((prediction - target).square().mean(1)[masked].mean())
    return torch.stack(losses).mean()


def masked_tokens(model, mask):
    """Return the tokens of the patches after mask tokens have replaced the masked ones."""
    encoder = model.backbone
    x = encoder.patches(model.data.views[0]).flatten(2).transpose(1, 2).clone()
    x[mask] = model.mask_token.weight
    x = torch.cat([encoder.class_token.expand(len(x), 1, -1), x + encoder.positions], dim=1)
    return encoder.norm(encoder.blocks(x))[:, 1:]


def simmim(model):
    encoder, seed, epoch = model.backbone, model.config.hardware.seed, model.progress.epoch
    mask = random_mask(model.data.ids, encoder.grid, model.config.model.mask_ratio, seed, epoch)
    error = model.decoder(masked_tokens(model, mask)) - patches_of(model.data.views[0], encoder.patch_size)
    return error.abs()[mask].mean()


def data2vec(model):
    encoder, keys = model.teacher.model, model.config.model
    mask = block_mask(model.data.ids, encoder.grid, keys.mask_ratio, model.config.hardware.seed, model.progress.epoch)
    x = encoder.patches(model.data.views[0]).flatten(2).transpose(1, 2) + encoder.positions
    x = torch.cat([encoder.class_token.expand(len(x), 1, -1), x], dim=1)
    outputs = []
    for block in encoder.blocks:
        x = block(x)
        outputs.append(F.layer_norm(x[:, 1:], x.shape[2:]))
    target = F.layer_norm(torch.stack(outputs[-keys.top_blocks :]).mean(0), x.shape[2:])
    prediction = model.predictor(masked_tokens(model, mask))
    return F.smooth_l1_loss(prediction[mask].double(), target[mask].double(), beta=keys.beta)


def i_jepa(model):
    images, encoder = model.data.views[0], model.backbone
    context, targets = multi_block_mask(
        model.data.ids, encoder.grid, model.config.hardware.seed, model.progress.epoch, 4
    )
    losses = []
    for n in range(len(images)):
        features = model.teacher.model.tokens(images[n : n + 1])[0, 1:]
        visible = encoder.tokens(images[n : n + 1], keep=context[n : n + 1])
        for block in targets[n]:
            prediction = model.predictor(visible, context[n : n + 1], block[None])[0]
            target = F.layer_norm(features[block], features.shape[1:])
            losses.append(F.smooth_l1_loss(prediction.double(), target.double()))
    return torch.stack(losses).mean()


def views_together(model):
    """MINIMAL.md of LeJEPA's authors: all views in one pass of backbone and projector. The losses have their own tests."""
    views = model.data.views
    embeddings = model.projector(model.backbone(torch.cat(views))).double().chunk(len(views))
    return copy.deepcopy(model.criterion)(*embeddings)


PAPERS = {
    "simclr": nt_xent,
    "dcl": lambda model: nt_xent(model, without_positive=True),
    "supcon": supcon,
    "directclr": directclr,
    "moco_v2": moco_v2,
    "moco_v3": moco_v3,
    "byol": byol,
    "simsiam": simsiam,
    "fastsiam": simsiam,  # with two views
    "nnclr": nnclr,
    "ressl": ressl,
    "lejepa": views_together,
    "visreg": views_together,
    "tico": tico,
    "mae": mae,
    "simmim": simmim,
    "i_jepa": i_jepa,
    "data2vec": data2vec,
}


@pytest.mark.parametrize("name", PAPERS)
def test_loss_of_a_step_equals_the_paper(make_method, losses_of_third_step, name):
    model = make_method(name, log__eval_every=0, optim__epochs=1)
    expected, found = losses_of_third_step(model, PAPERS[name])
    assert found == pytest.approx(expected, rel=1e-4)


def test_learning_rate_of_the_predictor_of_simsiam_is_constant(make_method):
    """Section 4.2 of the paper: no decay for the predictor."""
    model, rates = make_method("simsiam", optim__warmup_epochs=0), []
    model.after_train_step = lambda: rates.append([group["lr"] for group in model.optimizer.param_groups])
    model.fit()
    head = {id(parameter) for parameter in model.predictor.parameters()}
    groups = model.optimizer.param_groups
    for number, group in enumerate(groups):
        first, last = rates[0][number], rates[-1][number]
        assert (last == first) == (id(group["params"][0]) in head)
