"""Builders of tiny models with two networks, and a slow reference, for the tests of CPS and RRN."""

import numpy as np
import runs
import tiny
import torch
from mmseg.registry import MODELS
from reference import log_softmax


def config(kind='CrossPseudo', num_classes=3, aux=False, dropout=0.1, **method):
    """A tiny model; ``method`` overrides its settings."""
    discriminator = dict(discriminator=dict(channels=8, grid=2)) if kind == 'RRN' else {}
    networks = tiny.networks(num_classes, aux, dropout)
    return {'type': kind, **networks, **discriminator, **method}


def build(kind='CrossPseudo', seed=0, progress=(0, 10), **settings):
    """A built model in training mode, whose networks are sure of many pixels."""
    torch.manual_seed(seed)
    model = MODELS.build(config(kind, **settings))
    model.before_iter(*progress)
    for network in model.networks:
        torch.nn.init.normal_(network.decode_head.conv_seg.weight)
    return model.train()


def gradients(model, losses):
    """Gradient of the summed losses for every parameter; None where there is none."""
    model.zero_grad()
    tiny.total(losses).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def without_gradient(model, losses):
    """:func:`tiny.without_gradient` after the backward of these losses."""
    gradients(model, losses)
    return tiny.without_gradient(model)


def runner(root, work_dir, kind='RRN', max_iters=6, **changes):
    """A tiny run of six labeled and unlabeled images a step; dotted ``changes`` are merged in."""
    preprocessor = runs.settings(root, max_iters)['model']['data_preprocessor']
    settings = {
        'model': {'_delete_': True, **config(kind, data_preprocessor=preprocessor)},
        'train_dataloader.batch_size': 6,
        'train_dataloader.sampler.ratio': (1, 2),
        'default_hooks.checkpoint.save_best': 'mean/mIoU',
        'optim_wrapper.constructor': 'SemiOptimWrapperConstructor',
    }
    return runs.runner(root, work_dir, max_iters, **{**settings, **changes})


# one pixel at a time, plain Python; arrays are numpy, (B, C, H, W) and (B, H, W)
def slow_vote(scores, size, threshold):
    """Pixel by pixel: the region a pixel lies in, by whole numbers."""
    batch, _, rows, columns = scores.shape
    votes = np.zeros((batch, *size))
    for b in range(batch):
        for y in range(size[0]):
            for x in range(size[1]):
                region = scores[b, 0, y * rows // size[0], x * columns // size[1]]
                votes[b, y, x] = 1.0 if region > threshold else 0.0
    return votes


def slow_cross_entropy(logits, target, weight=None, ignore_index=255):
    weight = np.ones(target.shape) if weight is None else weight
    total, weights = 0.0, 0.0
    for b, y, x in np.ndindex(target.shape):
        if target[b, y, x] == ignore_index:
            continue
        log_prob = log_softmax([float(value) for value in logits[b, :, y, x]])
        total -= weight[b, y, x] * log_prob[target[b, y, x]]
        weights += weight[b, y, x]
    return total / weights if weights else 0.0


def slow_share(hit, valid, grid):
    batch, height, width = hit.shape
    hits, counts = np.zeros((batch, 1, *grid)), np.zeros((batch, 1, *grid))
    for b, y, x in np.ndindex(hit.shape):
        region = b, 0, y * grid[0] // height, x * grid[1] // width
        counts[region] += valid[b, y, x]
        hits[region] += hit[b, y, x] and valid[b, y, x]
    return hits / np.maximum(counts, 1), counts


def slow_rrn(model, made):
    """Everything that RRN adds to CPS, from the formulas, in plain numpy; evaluation mode."""
    prob = [logits.softmax(1).detach() for logits in made.logits_m]
    labels = made.batch.labels
    images, images_l = made.mixed / 255, made.batch.images_l / 255
    real = torch.zeros(2, 3, *tiny.CROP)
    for b, y, x in np.ndindex(labels.shape):
        if labels[b, y, x] != 255:
            real[b, labels[b, y, x], y, x] = 1

    def score(j, maps, own_images):
        with torch.no_grad():
            logits, feature = model.discriminators[j](maps, own_images)
        return 1 / (1 + np.exp(-logits.double().numpy())), feature.numpy()

    result: dict[str, float] = {'rrn.loss_matching': 0.0}
    terms = {'local': 0.0, 'dynamic': 0.0} if model.vote == 'sum' else {'both': 0.0}
    shares, real_scores, fake_scores = [], [], []
    for k in (0, 1):
        own, feature = score(k, prob[k], images)
        crossed, _ = score(1 - k, prob[k], images)
        of_real, real_feature = score(k, real, images_l)
        result['rrn.loss_matching'] += 0.1 * np.abs(real_feature.mean(0) - feature.mean(0)).mean()
        result[f'disc.loss_network{k + 1}'] = (
            -np.log(1 - own).mean() - np.log(of_real).mean()
        ) / 2  # fmt: skip
        real_scores.append(of_real.mean())
        fake_scores.append(own.mean())
        votes = []
        for scores in (own, crossed):
            gamma = model.threshold
            if model.accepted_share is not None:
                gamma = np.percentile(scores, 100 * (1 - model.accepted_share))
            votes.append(slow_vote(scores, tiny.CROP, gamma))
        both = votes[0] * votes[1]
        shares.append([votes[0].mean(), votes[1].mean(), both.mean()])
        chosen = dict(zip(('local', 'dynamic'), votes, strict=True))
        for name in terms:
            student = k if model.target == 'self' else 1 - k
            label = prob[k].argmax(1).numpy() if model.target == 'self' else made.pseudo[k].numpy()
            label = np.where(made.valid.numpy(), label, 255)
            terms[name] += slow_cross_entropy(
                made.logits_m[student].detach().numpy(), label, chosen.get(name, both)
            )
    result.update({f'rrn.loss_{name}': model.selection_weight * v for name, v in terms.items()})
    accepted = dict(zip(('own', 'crossed', 'both'), np.mean(shares, 0), strict=True))
    result.update({f'semi/accepted_{name}': share for name, share in accepted.items()})
    return {**result, 'semi/d_real': np.mean(real_scores), 'semi/d_fake': np.mean(fake_scores)}
