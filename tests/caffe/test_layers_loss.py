"""Loss layers, Accuracy, SegAccuracy against float64 formulas written here and their finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError, NetError
from caffe_gp.proto import messages as pb
from tests.caffe.layer_harness import Run, assert_close, check_layer, make_layer, numeric_gradient

SHAPE = (2, 3, 4, 5)
FLT_MIN = np.finfo(np.float32).tiny


def values(*shape, seed=0):
    return np.asarray(np.random.RandomState(seed).randn(*shape), np.float32)


def labels(*shape, classes=3, seed=0):
    return np.random.RandomState(seed + 100).randint(0, classes, shape).astype(np.float32)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def rejects(message, text, inputs, error=NetError, **options):
    with pytest.raises(error, match=message):
        Run(text, inputs, **options)


MODES = [
    ("", None),
    ("normalization: FULL", "FULL"),
    ("normalization: VALID", "VALID"),
    ("normalization: BATCH_SIZE", "BATCH_SIZE"),
    ("normalization: NONE", "NONE"),
    ("normalize: true", "VALID"),
    ("normalize: false", "BATCH_SIZE"),
    ("normalize: false normalization: FULL", "FULL"),
]


def normalizer(mode, outer, inner, valid):
    return max(1, {"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "NONE": 1}[mode])


# ---- SoftmaxWithLoss


@pytest.mark.parametrize(("text", "mode"), MODES)
@pytest.mark.parametrize("ignored", [None, 1, 255])
def test_softmax_loss(text, mode, ignored):
    label = labels(2, 1, 4, 5)
    if ignored == 255:
        label[0, 0, :2] = 255

    def formula(x, lab):
        lab = np.rint(lab).astype(int).reshape(2, 4, 5)
        valid = np.ones(lab.shape, bool) if ignored is None else lab != ignored
        picked = np.take_along_axis(softmax(x, 1), np.where(valid, lab, 0)[:, None], 1)[:, 0]
        return -np.log(picked)[valid].sum() / normalizer(mode or "VALID", 2, 20, valid.sum())

    loss = f"{text} " + ("" if ignored is None else f"ignore_label: {ignored}")
    run = check_layer(
        f'type: "SoftmaxWithLoss" loss_param {{ {loss} }}',
        [values(*SHAPE), label],
        formula,
        propagate=[True, False],
        loss=True,
    )
    if ignored == 255:
        assert not run.bottom[0].diff[0, :, :2].any()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax_loss_axis_and_probabilities(axis):
    start = axis % 4
    outer, inner = int(np.prod(SHAPE[:start])), int(np.prod(SHAPE[start + 1 :]))
    label = labels(2, outer * inner // 2, classes=2)

    def formula(x, lab):
        prob = softmax(x, axis)
        flat = np.moveaxis(prob.reshape(outer, SHAPE[start], inner), 1, 2).reshape(-1, SHAPE[start])
        picked = flat[np.arange(len(flat)), np.rint(lab).astype(int).ravel()]
        return [-np.log(picked).sum() / len(flat), prob]

    check_layer(
        f'type: "SoftmaxWithLoss" softmax_param {{ axis: {axis} }}',
        [values(*SHAPE), label],
        formula,
        num_top=2,
        propagate=[True, False],
        loss=True,
    )


def test_softmax_loss_extremes():
    run = Run('type: "SoftmaxWithLoss"', [[[1000.0, -1000.0]], [1]])
    assert_close(run.data[0], -np.log(float(FLT_MIN)))
    text = 'type: "SoftmaxWithLoss" loss_param { ignore_label: 0 }'
    everything_ignored = Run(text, [values(2, 3), [0, 0]])
    assert everything_ignored.data[0] == 0
    assert not everything_ignored.backward([1.0], [True, False])[0].any()


def test_softmax_loss_reads_labels_as_caffe_does():
    # static_cast<int> truncates
    a = Run('type: "SoftmaxWithLoss"', [values(2, 3), [1.9, 0.2]]).data[0]
    assert a == Run('type: "SoftmaxWithLoss"', [values(2, 3), [1, 0]]).data[0]


def test_softmax_loss_errors():
    text = 'type: "SoftmaxWithLoss"'
    rejects("need 40 labels", text, [values(*SHAPE), values(2, 3, 4, 5)])
    rejects("first dimension", text, [values(2, 3), values(3)])
    rejects("found label 3, expected 0 to 2; is an ignore_label missing", text, [values(2, 3), [0, 3]])
    rejects("found label -1", text, [values(2, 3), [0, -1]])
    ignoring = text + " loss_param { ignore_label: 7 }"
    rejects("found label 255.*or ignore_label 7", ignoring, [values(2, 3), [7, 255]])
    run = Run(text, [values(2, 3), [0, 1]])
    with pytest.raises(NetError, match="label"):
        run.backward([1.0], [True, True])


def test_loss_layers_have_weight_one_and_no_label_gradient():
    for kind in ("SoftmaxWithLoss", "HingeLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss"):
        layer = make_layer(f'type: "{kind}"')
        assert [layer.default_loss_weight(i) for i in (0, 1)] == [1, 0]
        assert [layer.allow_force_backward(i) for i in (0, 1)] == [True, False]
        assert layer.auto_top_blobs
    assert make_layer('type: "EuclideanLoss"').allow_force_backward(1)
    contrastive = make_layer('type: "ContrastiveLoss"')
    assert [contrastive.allow_force_backward(i) for i in range(3)] == [True, True, False]
    infogain_layer = make_layer('type: "InfogainLoss"')
    assert [infogain_layer.allow_force_backward(i) for i in range(3)] == [True, False, False]


# ---- SigmoidCrossEntropyLoss


@pytest.mark.parametrize(("text", "mode"), MODES)
@pytest.mark.parametrize("ignored", [None, 1, 255])
def test_sigmoid_cross_entropy_loss(text, mode, ignored):
    target = labels(*SHAPE, classes=2)
    if ignored == 255:
        target[0, 1] = 255

    def formula(x, t):
        t = np.rint(t)
        valid = np.ones(t.shape, bool) if ignored is None else t != ignored
        p = 1 / (1 + np.exp(-x))
        losses = -np.where(t == 1, np.log(p), np.log(1 - p))
        return losses[valid].sum() / normalizer(mode or "BATCH_SIZE", 2, 60, valid.sum())

    loss = f"{text} " + ("" if ignored is None else f"ignore_label: {ignored}")
    check_layer(
        f'type: "SigmoidCrossEntropyLoss" loss_param {{ {loss} }}',
        [values(*SHAPE), target],
        formula,
        propagate=[True, False],
        loss=True,
    )


def test_sigmoid_cross_entropy_loss_of_soft_targets_and_large_scores():
    x, t = values(4, 3), np.abs(values(4, 3, seed=1)) / 5

    def formula(x, t):
        return (np.log1p(np.exp(x)) - x * t).sum() / 4

    check_layer('type: "SigmoidCrossEntropyLoss"', [x, t], formula, propagate=[True, False], loss=True)
    assert Run('type: "SigmoidCrossEntropyLoss"', [[[500.0, -500]], [[0, 1]]]).data[0] == 1000
    rejects("one count", 'type: "SigmoidCrossEntropyLoss"', [values(2, 3), values(2, 4)])


# ---- InfogainLoss


def infogain(x, lab, h, mode, ignored, axis=1):
    start = axis % x.ndim
    classes = x.shape[start]
    logs = np.moveaxis(np.log(softmax(x, axis)), start, -1).reshape(-1, classes)
    lab = np.rint(lab).astype(int).ravel()
    valid = np.ones(lab.shape, bool) if ignored is None else lab != ignored
    rows = h.reshape(classes, classes)[np.where(valid, lab, 0)]
    outer = int(np.prod(x.shape[:start]))
    inner = int(np.prod(x.shape[start + 1 :]))
    return -(rows * logs)[valid].sum() / normalizer(mode, outer, inner, valid.sum())


@pytest.mark.parametrize(("text", "mode"), [m for m in MODES if "normalize" not in m[0]])
@pytest.mark.parametrize("ignored", [None, 1, 255])
def test_infogain_loss(text, mode, ignored):
    label = labels(2, 4, 5)
    if ignored == 255:
        label[0, 1] = 255
    loss = f"{text} " + ("" if ignored is None else f"ignore_label: {ignored}")
    inputs = [values(*SHAPE), label, values(1, 1, 3, 3, seed=2)]
    run = check_layer(
        f'type: "InfogainLoss" loss_param {{ {loss} }}',
        inputs,
        lambda x, lab, h: [infogain(x, lab, h, mode or "VALID", ignored), softmax(x, 1)],
        num_top=2,
        propagate=[True, False, False],
        loss=True,
    )
    for wanted, message in (([True, True, False], "label"), ([True, False, True], "infogain matrix")):
        with pytest.raises(NetError, match=message):
            run.layer.backward(run.top, wanted, run.bottom)


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_infogain_loss_axis(axis):
    classes = SHAPE[axis]
    inputs = [values(*SHAPE), labels(2, 120 // classes // 2, classes=2), values(classes, classes, seed=2)]
    check_layer(
        f'type: "InfogainLoss" infogain_loss_param {{ axis: {axis} }}',
        inputs,
        lambda x, lab, h: infogain(x, lab, h, "VALID", None, axis),
        propagate=[True, False, False],
        loss=True,
    )


def test_infogain_matrix_from_a_file(tmp_path):
    matrix = np.abs(values(3, 3, seed=4))
    path = tmp_path / "infogain.binaryproto"
    inputs = [values(4, 3), labels(4)]
    for legacy in (True, False):
        blob = pb.BlobProto(data=matrix.ravel().tolist())
        if legacy:
            blob.num, blob.channels, blob.height, blob.width = 1, 1, 3, 3
        else:
            blob.shape.dim.extend([3, 3])
        path.write_bytes(blob.SerializeToString())
        check_layer(
            f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}',
            inputs,
            lambda x, lab: infogain(x, lab, matrix.astype(float), "VALID", None),
            propagate=[True, False],
            loss=True,
        )


def test_infogain_errors(tmp_path):
    inputs = [values(4, 3), labels(4)]
    rejects("third bottom or", 'type: "InfogainLoss"', inputs)
    rejects("square matrix", 'type: "InfogainLoss"', [*inputs, values(2, 2)])
    old = 'type: "InfogainLoss" loss_param { normalize: true }'
    rejects("use normalization", old, [*inputs, values(3, 3)])
    source = 'type: "InfogainLoss" infogain_loss_param {{ source: "{}" }}'
    rejects("cannot read", source.format(tmp_path / "none"), inputs, DataError)
    for content, message in ((b"\x0f\xff not a blob", "cannot be parsed"), (b"", "holds 0 values")):
        path = tmp_path / "bad"
        path.write_bytes(content)
        rejects(message, source.format(path), inputs, DataError)
    path.write_bytes(pb.BlobProto(data=[1, 2, 3], num=1, channels=1, height=2, width=2).SerializeToString())
    rejects("holds 3 values", source.format(path), inputs, DataError)


# ---- the others


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2, 2)])
def test_multinomial_logistic_loss(shape):
    prob = softmax(values(*shape), 1)
    label = labels(4)

    def formula(p, lab):
        return -np.log(p.reshape(4, -1)[np.arange(4), np.rint(lab).astype(int)]).mean()

    check_layer('type: "MultinomialLogisticLoss"', [prob, label], formula, propagate=[True, False], loss=True)


def test_multinomial_logistic_loss_floor_and_errors():
    run = Run('type: "MultinomialLogisticLoss"', [[[0.0, 1.0]], [0]])
    assert_close(run.data[0], -np.log(1e-20))
    assert_close(run.backward([2.0], [True, False])[0], [[-2e20, 0]])
    rejects("one label for each item", 'type: "MultinomialLogisticLoss"', [values(2, 3), values(2, 2)])
    rejects("found label 3", 'type: "MultinomialLogisticLoss"', [values(2, 3), [0, 3]])


@pytest.mark.parametrize("second", [SHAPE, (2, 60)])
def test_euclidean_loss(second):
    check_layer(
        'type: "EuclideanLoss"',
        [values(*SHAPE), values(*second, seed=1)],
        lambda a, b: ((a - b.reshape(a.shape)) ** 2).sum() / 4,
        loss=True,
    )
    rejects("one size", 'type: "EuclideanLoss"', [values(2, 3), values(2, 4)])
    rejects("first dimension", 'type: "EuclideanLoss"', [values(2, 3), values(3, 3)])


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2, 1)])
def test_hinge_loss(norm, shape):
    label = labels(4, classes=5)
    classes = int(np.prod(shape[1:]))

    def formula(x, lab):
        target = -np.ones((4, classes))
        target[np.arange(4), np.rint(lab).astype(int)] = 1
        return (np.maximum(0, 1 - target * x.reshape(4, -1)) ** (1 if norm == "L1" else 2)).sum() / 4

    text = f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}'
    run = check_layer(text, [values(*shape), label], formula, propagate=[True, False], loss=True)
    again = run.backward([1.5], [True, False])[0]
    assert (again == run.backward([1.5], [True, False])[0]).all()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("margin", [1, 3, 8])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1, 1)])
def test_contrastive_loss(legacy, margin, shape):
    a, b, similar = values(*shape), values(*shape, seed=1), np.array([1, 0, 0, 1, 0, 0], np.float32)

    def formula(a, b, y):
        squared = ((a - b) ** 2).reshape(6, -1).sum(1)
        apart = np.maximum(margin - squared, 0) if legacy else np.maximum(margin - np.sqrt(squared), 0) ** 2
        return np.where(np.rint(y) == 1, squared, apart).sum() / 12

    text = (
        f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: {margin} '
        f"legacy_version: {str(legacy).lower()} }}"
    )
    run = Run(text, [a, b, similar])
    assert_close(run.data[0], formula(a.astype(float), b.astype(float), similar))
    diffs = run.backward([1.5], [True, True, False])
    # Caffe divides by d + 1e-4, finite differences by d
    for i, found in enumerate(diffs[:2]):

        def loss(v, i=i):
            return 1.5 * formula(*[v if k == i else arg for k, arg in enumerate((a, b))], similar)

        assert_close(found, numeric_gradient(loss, (a, b)[i]), 1e-3)


def test_contrastive_loss_of_equal_vectors_and_errors():
    run = Run('type: "ContrastiveLoss"', [np.ones((2, 3)), np.ones((2, 3)), [0, 1]])
    assert run.data[0] == 0.25
    assert not run.backward([1.0], [True, True, False])[0].any()
    rejects("two blobs of vectors", 'type: "ContrastiveLoss"', [values(2, 3), values(2, 4), [0, 1]])
    rejects("two blobs of vectors", 'type: "ContrastiveLoss"', [values(2, 3, 2), values(2, 3, 2), [0, 1]])
    rejects("one label", 'type: "ContrastiveLoss"', [values(2, 3), values(2, 3), values(2, 2)])


# ---- measures


def test_accuracy():
    scores, label = values(*SHAPE), labels(2, 4, 5)
    lab = label.astype(int)
    order = np.argsort(-scores, 1)
    for k in (1, 2, 3):
        right = (order[:, :k] == lab[:, None]).any(1)
        run = Run(f'type: "Accuracy" accuracy_param {{ top_k: {k} }}', [scores, label], num_top=2)
        assert_close(run.data[0], right.mean())
        assert_close(run.data[1], [right[lab == c].mean() for c in range(3)])
        text = f'type: "Accuracy" accuracy_param {{ top_k: {k} ignore_label: 1 }}'
        ignoring = Run(text, [scores, label], num_top=2)
        assert_close(ignoring.data[0], right[lab != 1].mean())
        assert ignoring.data[1][1] == 0


def test_accuracy_ties_count_against_the_true_class():
    run = Run('type: "Accuracy"', [[[1.0, 1.0], [2.0, 1.0]], [0, 0]])
    assert run.data[0] == 0.5
    assert Run('type: "Accuracy" accuracy_param { top_k: 2 }', [[[1.0, 1.0, 0]], [1]]).data[0] == 1


def test_accuracy_axis_and_nothing_to_count():
    scores = values(2, 3, 4)
    run = Run('type: "Accuracy" accuracy_param { axis: -1 }', [scores, labels(2, 3, classes=4)])
    assert_close(run.data[0], (scores.argmax(2) == labels(2, 3, classes=4)).mean())
    assert Run('type: "Accuracy" accuracy_param { ignore_label: 0 }', [values(2, 3), [0, 0]]).data[0] == 0


def test_accuracy_errors():
    rejects("need 6 labels", 'type: "Accuracy" accuracy_param { axis: 2 }', [values(2, 3, 4), values(4)])
    rejects("top_k must be", 'type: "Accuracy" accuracy_param { top_k: 4 }', [values(2, 3), values(2)])
    rejects("found label 3", 'type: "Accuracy"', [values(2, 3), [0, 3]])
    run = Run('type: "Accuracy"', [values(2, 3), [0, 1]])
    with pytest.raises(NetError, match="no gradient"):
        run.backward([1.0])
    assert not run.layer.allow_force_backward(0)


def confusion_results(matrix):
    right, true, guessed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    recall = [r / t for r, t in zip(right, true, strict=True) if t]
    jaccard = [
        1.0 if t + g - r == r else r / (t + g - r) for r, t, g in zip(right, true, guessed, strict=True)
    ]
    return [right.sum() / matrix.sum(), np.mean(recall), np.mean(jaccard)]


def test_seg_accuracy():
    scores, label = values(2, 4, 5, 6), labels(2, 1, 5, 6, classes=3)  # class 3 never occurs
    scores[:, 3] -= 1
    label[0, 0, 0] = 255
    label[1, 0, 0] = 254
    matrix = np.zeros((4, 4))
    for true, guess in zip(label.ravel(), scores.argmax(1).ravel(), strict=True):
        if true < 254:
            matrix[int(true), guess] += 1
    text = 'type: "SegAccuracy" seg_accuracy_param {{ ignore_label: 255 ignore_label: 254 {} }}'
    run = Run(text.format(""), [scores, label])
    assert_close(run.data[0], np.reshape(confusion_results(matrix), (1, 1, 1, 3)))
    run.forward()
    assert_close(run.data[0], np.reshape(confusion_results(matrix), (1, 1, 1, 3)))
    running = Run(text.format("reset: false"), [scores, label])
    other = values(2, 4, 5, 6, seed=5)
    running.bottom[0].data[...] = other
    running.forward()
    for true, guess in zip(label.ravel(), other.argmax(1).ravel(), strict=True):
        if true < 254:
            matrix[int(true), guess] += 1
    assert_close(running.data[0], np.reshape(confusion_results(matrix), (1, 1, 1, 3)))


def test_seg_accuracy_edges_and_errors():
    # ties go to the larger class; a class that is neither there nor predicted has Jaccard index 1
    run = Run('type: "SegAccuracy"', [np.zeros((1, 3, 1, 2)), [[[[2, 2]]]]])
    assert run.data[0].ravel().tolist() == [1, 1, 1]
    rejects("found label 3", 'type: "SegAccuracy"', [values(1, 3, 1, 2), [[[[3, 0]]]]])
    rejects("need labels", 'type: "SegAccuracy"', [values(1, 3, 1, 2), [[[[0]]]]])
    with pytest.raises(NetError, match="no gradient"):
        run.backward([np.ones((1, 1, 1, 3))])
