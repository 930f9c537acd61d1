"""A slow reference of the methods' formulas: one pixel and one class at a time, plain Python.

Arrays are numpy, laid out as in the package: (B, C, H, W) and (B, H, W).
"""

import math
from itertools import product

import numpy as np

IGNORE = 255


def pixels(array):
    """All (b, y, x) of an array (B, ..., H, W)."""
    shape = np.shape(array)
    return list(product(range(shape[0]), range(shape[-2]), range(shape[-1])))


def log_softmax(values):
    log_sum = max(values) + math.log(sum(math.exp(value - max(values)) for value in values))
    return [value - log_sum for value in values]


def softmax(values):
    return [math.exp(value) for value in log_softmax(values)]


def entropy(prob):
    result = np.zeros((prob.shape[0], *prob.shape[2:]))
    for b, y, x in pixels(prob):
        for c in range(prob.shape[1]):
            p = float(prob[b, c, y, x])
            if p > 0:
                result[b, y, x] -= p * math.log(p)
    return result


def threshold(values, percent, valid):
    kept = [values[place] for place in pixels(values) if valid[place]]
    return float(np.percentile(kept, percent)) if kept else math.inf


def reliable_places(target, entropies, percent):
    gamma = threshold(entropies, percent, target != IGNORE)
    return [p for p in pixels(target) if target[p] != IGNORE and entropies[p] < gamma]


def reliable_loss(logits, target, reverse_weight=0.0):
    places = [place for place in pixels(target) if target[place] != IGNORE]
    if not places:
        return 0.0, 0.0
    total = 0.0
    for b, y, x in places:
        log_prob = log_softmax([float(value) for value in logits[b, :, y, x]])
        total -= log_prob[target[b, y, x]]
        for c, log_p in enumerate(log_prob):
            one_hot = 1.0 if c == target[b, y, x] else 1e-4
            total -= reverse_weight * math.exp(log_p) * math.log(one_hot)
    weight = target.size / len(places)
    return weight * total / len(places), weight


def consistency_loss(logits, label, q, threshold):
    """Σ CE·1[q ≥ τ]·1[valid] / Σ 1[valid], a pixel at a time; also the share that is kept."""
    total, kept, valid = 0.0, 0, 0
    for b, y, x in pixels(label):
        if label[b, y, x] == IGNORE:
            continue
        valid += 1
        if q[b, y, x] >= threshold:
            kept += 1
            total -= log_softmax(logits[b, :, y, x].tolist())[label[b, y, x]]
    return total / valid, kept / valid


def unsupervised_loss(logits, target, entropies, percent):
    kept = np.full_like(target, IGNORE)
    for place in reliable_places(target, entropies, percent):
        kept[place] = target[place]
    return reliable_loss(logits, kept)[0]


def ranks(prob):
    result = np.zeros(prob.shape, dtype=int)
    for b, y, x in pixels(prob):
        column = prob[b, :, y, x]
        for c in range(len(column)):
            ahead = [d for d in range(len(column)) if column[d] > column[c]]
            tied = [d for d in range(c) if column[d] == column[c]]
            result[b, c, y, x] = len(ahead) + len(tied)
    return result


def anchors(prob, label, delta_p):
    result = np.zeros(prob.shape, dtype=bool)
    for b, y, x in pixels(prob):
        for c in range(prob.shape[1]):
            result[b, c, y, x] = label[b, y, x] == c and prob[b, c, y, x] > delta_p
    return result


def labeled_negatives(rank, label, low_rank):
    result = np.zeros(rank.shape, dtype=bool)
    for b, y, x in pixels(rank):
        for c in range(rank.shape[1]):
            another = label[b, y, x] not in (IGNORE, c)
            result[b, c, y, x] = another and rank[b, c, y, x] < low_rank
    return result


def unlabeled_negatives(rank, unreliable, low_rank, high_rank):
    result = np.zeros(rank.shape, dtype=bool)
    for b, y, x in pixels(rank):
        for c in range(rank.shape[1]):
            unlikely = low_rank <= rank[b, c, y, x] < high_rank
            result[b, c, y, x] = unreliable[b, y, x] and unlikely
    return result


def prototypes(rep, mask):
    """{class: mean representation} of the classes that have any pixel."""
    result = {}
    for c in range(mask.shape[1]):
        members = [rep[b, :, y, x] for b, y, x in pixels(mask) if mask[b, c, y, x]]
        if members:
            result[c] = sum(members) / len(members)
    return result


def cosine(one, other):
    return float(np.dot(one, other) / math.sqrt(np.dot(one, one) * np.dot(other, other)))


def info_nce_one(anchor, positive, negatives, temperature):
    """One anchor (D,), its positive (D,) and negatives (N, D)."""
    good = math.exp(cosine(anchor, positive) / temperature)
    bad = sum(math.exp(cosine(anchor, negative) / temperature) for negative in negatives)
    return -math.log(good / (good + bad))


def info_nce(anchor_set, positive_set, negative_sets, temperature):
    """(M, D), (1 or M, D), (M, N, D)."""
    values = [
        info_nce_one(anchor, positive_set[i % len(positive_set)], negative_sets[i], temperature)
        for i, anchor in enumerate(anchor_set)
    ]
    return sum(values) / len(values)


def contrastive_expectation(rep, teacher_rep, prob, label, unreliable, num_labeled, settings):
    """Mean of the contrastive loss over its random draws, with one negative an anchor.

    Starts from an empty bank that takes every negative of the step. ``settings``: delta_p,
    low_rank, high_rank, temperature.
    """
    rank = ranks(prob)
    anchor = anchors(prob, label, settings['delta_p'])
    low, high = settings['low_rank'], settings['high_rank']
    negative = np.concatenate(
        [
            labeled_negatives(rank[:num_labeled], label[:num_labeled], low),
            unlabeled_negatives(rank[num_labeled:], unreliable, low, high),
        ]
    )
    centers = prototypes(teacher_rep, anchor)
    values = []
    for c in range(prob.shape[1]):
        queries = [rep[b, :, y, x] for b, y, x in pixels(anchor) if anchor[b, c, y, x]]
        bank = [teacher_rep[b, :, y, x] for b, y, x in pixels(negative) if negative[b, c, y, x]]
        pairs = [
            info_nce_one(query, centers[c], [key], settings['temperature'])
            for query in queries
            for key in bank
        ]
        if pairs:
            values.append(sum(pairs) / len(pairs))
    return sum(values) / len(values) if values else 0.0
