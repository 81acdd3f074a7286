"""The parts of the page as HTML texts: pictures, classes, curves. Names from files are escaped."""

from __future__ import annotations

from html import escape
from typing import Sequence

import numpy as np

from caffe_gp.explore import plots
from caffe_gp.explore.examples import Example
from caffe_gp.explore.look import Look
from caffe_gp.explore.net import DISPLAY, SharedNet
from caffe_gp.report import panels, pictures
from caffe_gp.report.colours import Kind, css
from caffe_gp.report.page import data_uri
from caffe_gp.report.pictures import Changes

TOP = 5  # classes of a pixel
_MOST_CLASSES = 12  # rows of the table


def about_net(net: SharedNet) -> str:
    """What the page looks through, and what was done to it."""
    changes = "".join(f"<li>{escape(one)}</li>" for one in net.changes)
    shown = "" if net.settings.model is not None else " open"  # what was guessed of a stranger's net
    blobs = f"input <code>{escape(net.input)}</code>, scores <code>{escape(net.score)}</code>"
    return (
        f"<h1>{escape(net.title)}</h1><p class='soft'>{net.classes} classes; {blobs}</p>"
        f"<details{shown}><summary>How the net was made ready, and how pictures are fed</summary>"
        f"<ul>{changes}</ul></details>"
    )


def example_buttons(examples: Sequence[Example], left_out: int) -> str:
    """A button with a thumbnail for each."""
    if not examples:
        return "<p class='soft'>No example pictures for this net: upload one, or start with --images.</p>"
    buttons = "".join(
        f"<button type='button' data-example='{k}' title='{escape(one.name)}'>"
        f"<img src='{data_uri(one.thumbnail)}' alt='{escape(one.name)}'></button>"
        for k, one in enumerate(examples)
    )
    more = f"<p class='soft'>{left_out} more are not shown.</p>" if left_out else ""
    return f"<div class='examples'>{buttons}</div>{more}"


def picture_line(look: Look) -> str:
    """What the picture is, and at which size it was labelled."""
    width, height = look.size
    fed = f"{look.canvas.valid[1]} x {look.canvas.valid[0]}"
    own = f"{width} x {height} pixels"
    if (width, height) != (look.canvas.valid[1], look.canvas.valid[0]):
        own += f", fed to the net at {fed}"
    shown = look.canvas.image.shape
    if shown[:2] != (height, width):
        own += f", shown at {shown[1]} x {shown[0]}"
    return f"<p class='picture-line'><b>{escape(look.name)}</b> <span class='soft'>{own}</span></p>"


def problem(text: str) -> str:
    """A message about what went wrong."""
    return f"<p class='problem' role='alert'>{escape(text)}</p>"


def said(net: SharedNet, look: Look) -> str:
    """One line: what changed, how sure the net is, what it took."""
    before, after = look.confidence()
    passes = sum(look.found.passes.values())
    seconds = sum(look.found.seconds.values())
    if look.whole:
        labels = [name_of(net, int(one.flat[0])) for one in (look.found.base_labels, look.found.labels)]
        changed = f"{labels[0]} stays" if labels[0] == labels[1] else f"{labels[0]} becomes {labels[1]}"
        sure = "confidence"
    else:
        share = float(np.mean(np.not_equal(*look.maps())))
        changed, sure = f"{100 * share:.2f} % of the pixels change their label", "mean confidence"
    took = f"{passes} pass{'es' if passes > 1 else ''}, {seconds:.2f} s"
    return (
        f"<p class='said'>eps {look.eps:g}: <b>{escape(changed)}</b>; {sure} {before:.4f} &rarr; "
        f"{after:.4f} <span class='soft'>({took})</span></p>"
    )


# ---- pictures


def shown_pictures(net: SharedNet, look: Look) -> str:
    """The picture, its labels before and after, what changed, and what was added; each can be clicked."""
    image = look.canvas.image
    size = panels.cell_size(image.shape, 1, DISPLAY)
    cells = [("Picture", image, "")]
    if not look.whole:
        base, after = look.maps()
        changes = Changes.of(base, after, look.truth)
        cells += [
            ("Base", pictures.overlay(image, base, net.palette, size), ""),
            (f"GP, eps {look.eps:g}", pictures.overlay(image, after, net.palette, size), ""),
            ("Changed pixels", pictures.changed(image, changes, size), _legend(changes.legend())),
        ]
    perturbed = look.perturbed()
    if perturbed is not None:
        cells.append(("Perturbed picture, as the net sees it", perturbed, ""))
    if look.step().ndim == 3:
        cells.append((_step_title(net, look), pictures.amplify(_bgr(look)), ""))
    figures = "".join(_figure(look, *cell) for cell in cells)
    return f"<div class='pictures'>{figures}</div>"


def _bgr(look: Look) -> np.ndarray:
    """What was added, its colours in the order of pictures."""
    added = look.step() * np.sign(look.eps)
    return added[::-1] if look.feed.channel_order == "rgb" and len(added) == 3 else added


def _step_title(net: SharedNet, look: Look) -> str:
    assert look.method is not None
    if look.method.blob == net.input:
        return f"Perturbation, amplified (it is {abs(look.eps):g} per value)"
    channels, height, width = look.step().shape
    return f"Perturbation of {look.method.blob}, mean of {channels} channels, {width} x {height}"


def _figure(look: Look, title: str, picture: np.ndarray, legend: str) -> str:
    mark = ""
    if look.pixel is not None and not look.whole:
        place = f"left:{100 * look.pixel.x:.2f}%;top:{100 * look.pixel.y:.2f}%"
        mark = f"<i class='mark' style='{place}'></i>"
    name = escape(title)
    return (
        f"<figure><div class='frame'><img data-pick src='{data_uri(picture)}' alt='{name}'>{mark}</div>"
        f"<figcaption>{name}{legend}</figcaption></figure>"
    )


def _legend(kinds: Sequence[Kind]) -> str:
    items = "".join(
        f"<span><i style='background:{kind.colour}'></i>{escape(kind.name)}</span>" for kind in kinds
    )
    return f"<span class='legend'>{items}</span>"


# ---- classes


def classes(net: SharedNet, look: Look) -> str:
    """The classes with their areas before and after; of a classifier the ten likeliest with probabilities."""
    areas = look.areas()
    palette = pictures.full_palette(net.palette)
    rows = []
    for area in areas[:_MOST_CLASSES]:
        name = name_of(net, area.label)
        swatch = "" if look.whole else f"<i style='background:{css(palette[area.label % 256])}'></i>"
        change = 100 * (area.after - area.before)
        shares = "".join(f"<td>{_bar(one)}{100 * one:.2f}</td>" for one in (area.before, area.after))
        rows.append(f"<tr><td><span>{swatch}{escape(name)}</span></td>{shares}<td>{change:+.2f}</td></tr>")
    what = "probability, %" if look.whole else "area, % of the picture"
    more = len(areas) - _MOST_CLASSES
    left_out = f"<p class='soft'>{more} smaller ones are not shown.</p>" if more > 0 else ""
    return (
        f"<table class='classes'><caption>Classes: {what}</caption><thead><tr><th>class</th><th>base</th>"
        f"<th>GP</th><th>change</th></tr></thead><tbody>{''.join(rows)}</tbody></table>{left_out}"
    )


def name_of(net: SharedNet, label: int) -> str:
    """What a class is called."""
    return net.names[label] if label < len(net.names) else f"class {label}"


def _bar(share: float) -> str:
    return f"<span class='bar'><b style='width:{100 * min(1.0, share):.1f}%'></b></span>"


# ---- curves


def curves(net: SharedNet, look: Look) -> str:
    """The confidence over eps, and the five highest scores of the pixel that was clicked."""
    parts = [_plot("Confidence over eps", plots.confidence(look))]
    if look.pixel_scores is not None and look.pixel is not None:
        top = np.argsort(-look.pixel_scores.mean(axis=0), kind="stable")[:TOP]
        names = [name_of(net, int(label)) for label in top]
        where = "" if look.whole else f" of the pixel at {_position(look)}"
        parts.append(_plot(f"Highest {len(top)} scores{where} over eps", plots.scores(look, names, top)))
    elif not look.whole:
        parts.append("<p class='soft hint'>Click on a picture to see the scores of that pixel over eps.</p>")
    return f"<div class='plots'>{''.join(parts)}</div>"


def _position(look: Look) -> str:
    assert look.pixel is not None
    return f"{int(look.pixel.x * look.size[0])}, {int(look.pixel.y * look.size[1])} (x, y)"


def _plot(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"
