"""What must be true of every picture: checked on the scene alone, whatever laid it out."""

from __future__ import annotations

import numpy as np

SLACK = 0.05  # coordinates are rounded to 0.01


def check_scene(scene, diagram):
    """All nodes and links are there, nothing covers anything, edges begin and end where they should."""
    check_complete(scene, diagram)
    check_boxes(scene)
    check_frames(scene, diagram)
    check_labels(scene)
    check_edges(scene, diagram)


def check_complete(scene, diagram):
    leaves = [node.index for node in diagram.nodes if not node.members]
    assert sorted(placed.node for placed in scene.boxes) == leaves
    assert sorted(placed.node for placed in scene.frames) == [node.index for node in diagram.nodes if node.members]
    assert [(curve.source, curve.target) for curve in scene.curves] == diagram.links


def sides(placed):
    return placed.x, placed.y, placed.x + placed.width, placed.y + placed.height


def check_boxes(scene):
    """No two boxes touch, and all are on the paper."""
    found = np.array([sides(placed) for placed in scene.boxes]).reshape(-1, 4)
    for at, (left, top, right, bottom) in enumerate(found):
        assert left >= 5 and top >= 5 and right <= scene.width - 5 and bottom <= scene.height - 5
        others = np.delete(found, at, axis=0)
        apart = (others[:, 0] > right + 5) | (others[:, 2] < left - 5)
        apart |= (others[:, 1] > bottom + 5) | (others[:, 3] < top - 5)
        assert apart.all(), f"{scene.boxes[at].box.tooltip} touches another box"


def check_frames(scene, diagram):
    """A frame has inside what its node holds, and nothing else."""
    for frame in scene.frames:
        left, top, right, bottom = sides(frame)
        for placed in [*scene.boxes, *scene.frames]:
            x0, y0, x1, y1 = sides(placed)
            if frame.node in diagram.holders(placed.node)[1:]:
                assert left < x0 and top + 20 < y0 and x1 < right and y1 < bottom
            elif placed.node not in diagram.holders(frame.node):
                assert x0 > right or x1 < left or y0 > bottom or y1 < top
        assert 10 + frame.title.width < frame.width


def check_labels(scene):
    """No label leaves its box, and none lies on another."""
    for placed in scene.boxes:
        lines = []
        for text in placed.box.texts:
            assert text.x >= 4 and text.x + text.width <= placed.width - 4, text
            assert text.y - 0.8 * text.size >= 2 and text.y + 0.25 * text.size <= placed.height - 2, text
            lines.append((text.x, text.x + text.width, text.y - 0.73 * text.size, text.y + 0.24 * text.size))
        for at, one in enumerate(lines):
            for other in lines[:at]:
                beside = one[0] > other[1] or one[1] < other[0]
                assert beside or one[2] > other[3] or one[3] < other[2], placed.box.texts


def check_edges(scene, diagram):
    """Edges run from border to border, outside of all boxes and of the frames that hold neither end."""
    places = {placed.node: placed for placed in [*scene.boxes, *scene.frames]}
    every = list(places.values())
    corners = np.array([sides(placed) for placed in every]).reshape(-1, 4)
    for curve in scene.curves:
        points = drawn(curve)
        source, target = places[curve.source], places[curve.target]
        tip, head = curve.head[0], np.array(curve.head[1:])
        assert on_border(points[0], source), f"{curve} does not begin at its box"
        assert on_border(tip, target), f"{curve} does not end at its box"
        assert np.allclose(head.mean(axis=0), points[-1], atol=SLACK)  # the line goes to the foot of the arrowhead
        assert not inside(head, sides(target)).any(), f"the arrowhead of {curve} is in its box"
        own = {*diagram.holders(curve.source), *diagram.holders(curve.target)}
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        near = (corners[:, 0] < right) & (corners[:, 2] > left) & (corners[:, 1] < bottom) & (corners[:, 3] > top)
        for at in near.nonzero()[0]:
            placed = every[at]
            if placed.node not in own or (placed.node in (curve.source, curve.target) and placed.title is None):
                assert not inside(points, corners[at]).any(), f"{curve} runs through {placed.box.tooltip}"


def drawn(curve, count=60):
    """Points along a curve, close to each other."""
    found = [np.array(curve.steps[0][1])]
    at = found[0][0]
    t = np.linspace(0, 1, count)[:, None]
    for letter, points in curve.steps[1:]:
        p = [at, *map(np.array, points)]
        if letter == "L":
            found.append(p[0] * (1 - t) + p[1] * t)
        else:
            found.append(p[0] * (1 - t) ** 3 + 3 * p[1] * t * (1 - t) ** 2 + 3 * p[2] * t**2 * (1 - t) + p[3] * t**3)
        at = p[-1]
    return np.concatenate(found)


def inside(points, box):
    """Which points lie within a box, its border left out."""
    x, y = np.asarray(points).T
    return (x > box[0] + SLACK) & (x < box[2] - SLACK) & (y > box[1] + SLACK) & (y < box[3] - SLACK)


def on_border(point, placed):
    left, top, right, bottom = sides(placed)
    x, y = point
    across = left - SLACK <= x <= right + SLACK and min(abs(y - top), abs(y - bottom)) <= SLACK
    beside = top - SLACK <= y <= bottom + SLACK and min(abs(x - left), abs(x - right)) <= SLACK
    return across or beside
