"""Whatever the graph, the picture is right: all is there, nothing covers anything, edges go where they should."""

from __future__ import annotations

import itertools

import pytest
import scene_checks
from networks_to_draw import NETWORKS, chain, fan, fold_branches, random_diagram, residual, resnext, uneven

from lamina.inspection import measure
from lamina.inspection.drawing.arranging import TURNS
from lamina.inspection.drawing.boxes import Box, Shown
from lamina.inspection.drawing.diagram import Diagram, Node, draw_up
from lamina.inspection.drawing.scene import lay_out

ALL = Shown(shapes=True, dtype=True, names=True, activations=True, trainable=True)


def drawing(model, items=None, shown=ALL, expand_nested=True):
    report = measure(model, expand_nested=expand_nested)
    return draw_up(report, items(report.rows) if items else list(range(len(report.rows))), shown)


@pytest.mark.parametrize("rankdir", TURNS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_in_every_direction(name, rankdir):
    diagram = drawing(NETWORKS[name]())
    scene_checks.check_scene(lay_out(diagram, rankdir), diagram)


@pytest.mark.parametrize("rankdir", TURNS)
def test_any_graph(rankdir):
    for seed in range(25):
        diagram = random_diagram(f"{rankdir}{seed}")
        try:
            scene_checks.check_scene(lay_out(diagram, rankdir), diagram)
        except AssertionError as error:
            raise AssertionError(f"random_diagram({rankdir}{seed})") from error


def test_any_graph_with_its_models_closed():
    for seed in range(40):
        diagram = random_diagram(seed).closed(groups=True, models=True)
        scene_checks.check_scene(lay_out(diagram), diagram)


def test_folded_branches_are_one_box():
    diagram = drawing(resnext(), fold_branches).closed(groups=True, models=True)
    assert len(diagram.nodes) == 1 + 2 * 3 and len(diagram.links) == 2 * 4
    scene_checks.check_scene(lay_out(diagram), diagram)
    opened = drawing(resnext(), fold_branches)
    assert len(opened.nodes) == 1 + 2 * (64 + 3)
    scene_checks.check_scene(lay_out(opened), opened)


def middles(scene, diagram, model):
    names = [row.name for row in measure(model).rows]
    return {names[diagram.nodes[box.node].row]: box.x + box.width / 2 for box in scene.boxes}


def test_a_chain_is_a_straight_line():
    model = chain()
    diagram = drawing(model)
    scene = lay_out(diagram)
    assert max(middles(scene, diagram, model).values()) - min(middles(scene, diagram, model).values()) < 0.02
    assert all(len(curve.steps) == 2 and curve.steps[1][0] == "L" for curve in scene.curves)


def test_residual_blocks_are_a_straight_line_with_the_skips_beside_it():
    model = residual()
    diagram = drawing(model)
    scene = lay_out(diagram)
    found = middles(scene, diagram, model)
    assert max(found.values()) - min(found.values()) < 0.02
    skips = [curve for curve in scene.curves if len(curve.steps) > 2]
    assert len(skips) == 3
    lines = {round(x, 1) for curve in skips for letter, points in curve.steps[1:-1] if letter == "L" for x, _ in points}
    assert len(lines) == 1 and min(lines) > max(box.x + box.width for box in scene.boxes)


@pytest.mark.parametrize("make", [fan, uneven])
def test_branches_are_symmetric_and_in_order(make):
    model = make()
    diagram = drawing(model)
    found = middles(lay_out(diagram), diagram, model)
    first = [found[name] for name in sorted(found) if name[0] == "d" and name[2:] in ("", "0")]
    assert first == sorted(first)
    middle = pytest.approx(sum(first) / len(first), abs=0.02)
    assert found["x"] == middle and found["join"] == middle


def test_tensors_go_down_unless_told_otherwise():
    diagram = drawing(chain(3))
    begins = {}
    for rankdir in TURNS:
        boxes = lay_out(diagram, rankdir).boxes
        begins[rankdir] = [(boxes[at].x, boxes[at].y) for at in (0, 2)]
    assert begins["TB"][0][1] < begins["TB"][1][1] and begins["BT"][0][1] > begins["BT"][1][1]
    assert begins["LR"][0][0] < begins["LR"][1][0] and begins["RL"][0][0] > begins["RL"][1][0]


def test_1200_boxes_below_each_other_and_beside_each_other():
    box = Box("dense", 80, 40, tooltip="box")
    nodes = [Node(at, None, at, box) for at in range(1200)]
    deep = Diagram(nodes, list(itertools.pairwise(range(1200))))
    scene = lay_out(deep)
    scene_checks.check_scene(scene, deep)
    assert scene.height > 1200 * 60 and scene.width < 130
    wide = Diagram(nodes, [(0, at) for at in range(1, 1199)] + [(at, 1199) for at in range(1, 1199)])
    scene_checks.check_complete(lay_out(wide), wide)


def test_boxes_without_links_form_a_block():
    diagram = Diagram([Node(at, None, at, Box("dense", 80, 40, tooltip="box")) for at in range(16)], [])
    scene = lay_out(diagram)
    scene_checks.check_scene(scene, diagram)
    assert len({box.y for box in scene.boxes}) == 4 and scene.width < 500
    assert [(box.y, box.x) for box in scene.boxes] == sorted((box.y, box.x) for box in scene.boxes)


def test_a_graph_of_nothing_is_empty_paper():
    scene = lay_out(Diagram([], []))
    assert (scene.boxes, scene.curves, scene.width, scene.height) == ([], [], 40, 40)


def test_every_row_and_link_of_the_report_is_there():
    for name, make in NETWORKS.items():
        report = measure(make())
        diagram = draw_up(report, list(range(len(report.rows))), ALL)
        scene = lay_out(diagram)
        assert len(scene.boxes) == len(report.rows)
        wanted = {(link.row, place) for place, row in enumerate(report.rows) for link in row.links}
        rows = {(diagram.nodes[c.source].row, diagram.nodes[c.target].row) for c in scene.curves}
        assert rows == wanted and len(scene.curves) == len(wanted), name


BREAKS = {
    "boxes too near": ("gaps", (0.0, 0.0, 0.0)),
    "edges fastened beside the box": ("corner", -200.0),
    "no room between layers": ("between", (1.0, 0.0, 1.0)),
    "frames without a margin": ("pad", 0.0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_checks_see_what_is_wrong(what, monkeypatch):
    from lamina.inspection.drawing import arranging

    monkeypatch.setitem(arranging.MEASURES, *BREAKS[what])
    if what == "edges fastened beside the box":
        monkeypatch.setitem(arranging.MEASURES, "reach", 5.0)

    def all_of_them():
        for name in ("uneven", "nested", "circle"):
            diagram = drawing(NETWORKS[name]())
            scene_checks.check_scene(lay_out(diagram), diagram)

    with pytest.raises(AssertionError):
        all_of_them()
