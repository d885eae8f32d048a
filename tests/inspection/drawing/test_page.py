"""The page in a real browser: what it draws, and what it does when it is clicked, dragged and typed into."""

from __future__ import annotations

import json
import random
import re

import pytest
import scene_checks
from chromium import chromium
from networks_to_draw import fold_branches, nested, random_diagram, resnext

from lamina.inspection import Report, Row, plot_model
from lamina.inspection.drawing import page, plotting
from lamina.inspection.drawing.arranging import TURNS
from lamina.inspection.drawing.scene import Curve, Placed, Scene, lay_out
from lamina.layers import Dense, Input
from lamina.models import Sequential


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "folded", fold_branches)
        plot_model(resnext(), folder / "folded.html", show_layer_names=True)
    plot_model(nested(), folder / "nested.html", show_shapes=True, show_layer_names=True)
    plot_model(nested(), folder / "opened.html", expand_nested=True, rankdir="LR")
    return folder


@pytest.fixture
def shown(browser, pages):
    """Opens one of the pages; at the end nothing may have gone wrong in it, and nothing have been fetched."""

    def opened(name):
        browser.get((pages / f"{name}.html").as_uri())
        return browser

    yield opened
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def elements(browser, selector):
    return browser.find_elements("css selector", selector)


def press(browser, selector):
    elements(browser, selector)[0].click()


def names(browser):
    """The second line of each box, or the only one."""
    return browser.execute_script(
        "const lines = box => [...box.querySelectorAll('text')].map(text => text.textContent);"
        "return [...document.querySelectorAll('.node')].map(box => lines(box).slice(0, 2).pop())"
    )


def box_named(browser, name):
    return elements(browser, ".node")[names(browser).index(name)]


def click_toggle(browser, name):
    browser.execute_script(TOGGLE, name)


TOGGLE = """
const all = [...document.querySelectorAll('.node, .frame')];
const group = all.find(g => [...g.querySelectorAll('text')].some(t => t.textContent === arguments[0]));
const button = group.querySelector('.toggle'), {left, top} = button.getBoundingClientRect();
const where = {bubbles: true, button: 0, pointerId: 1, clientX: left + 8, clientY: top + 8};
for (const kind of ['pointerdown', 'pointerup']) button.dispatchEvent(new PointerEvent(kind, where));
"""


def check_drawn(browser):
    """No two boxes of the page overlap, and no box stands on the rim of a frame."""
    found = browser.execute_script(
        "const at = r => [r.x, r.y, r.x + r.width, r.y + r.height];"
        "const all = s => [...document.querySelectorAll(s)].map(e => at(e.getBBox()));"
        "return [all('.node > rect'), all('.frame > rect')]"
    )
    boxes, frames = found
    for at, one in enumerate(boxes):
        for other in boxes[:at]:
            assert one[0] > other[2] or one[2] < other[0] or one[1] > other[3] or one[3] < other[1]
        for frame in frames:
            outside = one[0] > frame[2] or one[2] < frame[0] or one[1] > frame[3] or one[3] < frame[1]
            within = one[0] > frame[0] and one[2] < frame[2] and one[1] > frame[1] and one[3] < frame[3]
            assert outside or within
    return len(boxes), len(frames)


def camera(browser):
    text = elements(browser, "#view")[0].get_attribute("transform")
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]


def test_it_opens_folded(shown):
    browser = shown("folded")
    assert check_drawn(browser) == (7, 0) and len(elements(browser, ".edge")) == 8
    assert names(browser)[:3] == ["x", "320 parameters", "b0_cat"]
    assert browser.title == "resnext" and elements(browser, "#name")[0].text == "resnext"
    assert "133 layers" in elements(browser, "#totals")[0].text


def test_a_group_opens_and_closes_where_it_is(shown):
    browser = shown("folded")
    where = box_named(browser, "320 parameters").find_element("css selector", "rect").rect
    click_toggle(browser, "320 parameters")
    assert check_drawn(browser) == (6 + 64, 1)
    assert {"b0_slice0", "b0_conv31"} <= set(names(browser)) and "b1_conv0" not in names(browser)
    assert len(elements(browser, ".edge")) == 8 - 2 + 3 * 32
    frame = elements(browser, ".frame > rect")[0].rect
    assert abs(frame["y"] - where["y"]) < 2
    assert abs(frame["x"] + frame["width"] / 2 - where["x"] - where["width"] / 2) < 8
    click_toggle(browser, "32 × (Lambda → Conv2D)")
    assert check_drawn(browser) == (7, 0)
    press(browser, "#unfold")
    assert check_drawn(browser) == (5 + 128, 2)
    press(browser, "#fold")
    assert check_drawn(browser) == (7, 0)


def test_nested_models_open_by_double_click(shown):
    from selenium.webdriver import ActionChains

    browser = shown("nested")
    assert sorted(names(browser)) == ["aux", "deep", "side", "sum", "tail", "x"]
    ActionChains(browser).double_click(box_named(browser, "deep")).perform()
    assert check_drawn(browser) == (5 + 4, 1) and "inner" in names(browser)
    ActionChains(browser).double_click(box_named(browser, "inner")).perform()
    assert check_drawn(browser) == (5 + 3 + 4, 2)
    ends = {(edge.get_attribute("data-from"), edge.get_attribute("data-to")) for edge in elements(browser, ".edge")}
    assert len(ends) == len(elements(browser, ".edge"))
    press(browser, "#unfold")
    assert check_drawn(browser) == (4 + 3 + 4 + 2, 3)


def test_expanded_models_are_open_at_once_and_direction_is_kept(shown):
    browser = shown("opened")
    assert check_drawn(browser) == (13, 3)
    first, last = (element.rect["x"] for element in (elements(browser, ".node")[0], elements(browser, ".node")[-1]))
    assert first < last


def test_the_script_lays_out_as_python_does(shown):
    browser = shown("folded")
    for seed in range(12):
        diagram, rankdir = random_diagram(f"page{seed}"), list(TURNS)[seed % 4]
        data = page.page_data(fake_report(diagram), diagram, rankdir, open_models=True)
        script = "const data = JSON.parse(arguments[0]); return layOut(data, data.nodes.map(n => n.members > 0))"
        found, wanted = browser.execute_script(script, json.dumps(data)), lay_out(diagram, rankdir)
        assert found["width"] == pytest.approx(wanted.width, abs=0.02)
        places = {placed["index"]: [placed[key] for key in ("x", "y", "width", "height")] for placed in boxes_of(found)}
        for placed in [*wanted.boxes, *wanted.frames]:
            assert places[placed.node] == pytest.approx([placed.x, placed.y, placed.width, placed.height], abs=0.03)
        for curve, other in zip(wanted.curves, found["curves"], strict=True):
            assert [letter for letter, _ in curve.steps] == [letter for letter, _ in other["steps"]]
            numbers = [value for _, points in [*curve.steps, ("", curve.head)] for point in points for value in point]
            others = [
                value for _, points in [*other["steps"], ("", other["head"])] for point in points for value in point
            ]
            assert numbers == pytest.approx(others, abs=0.03)


def test_whatever_is_open_the_picture_is_right(shown):
    browser = shown("folded")
    for seed in range(30):
        diagram, rng = random_diagram(f"open{seed}"), random.Random(seed)
        is_open = [bool(node.members) and rng.random() < 0.6 for node in diagram.nodes]
        data = page.page_data(fake_report(diagram), diagram, rng.choice(list(TURNS)), open_models=True)
        script = "return layOut(JSON.parse(arguments[0]), arguments[1])"
        found = browser.execute_script(script, json.dumps(data), is_open)
        scene = scene_of(found, diagram)
        shut = [next((h for h in diagram.holders(i)[::-1] if not is_open[h]), i) for i in range(len(diagram.nodes))]
        assert {placed.node for placed in [*scene.boxes, *scene.frames]} == {
            i for i, seen in enumerate(shut) if seen == i
        }
        links = [
            (shut[source], shut[target])
            for source, target in diagram.links
            if source != target or shut[source] == source
        ]
        wanted = dict.fromkeys(link for link in links if link[0] != link[1] or link in diagram.links)
        assert [(curve.source, curve.target) for curve in scene.curves] == list(wanted)
        scene_checks.check_boxes(scene)
        scene_checks.check_frames(scene, diagram)
        scene_checks.check_edges(scene, diagram)


def fake_report(diagram):
    return Report("m", "Model", [Row(f"n{node.index}", "Dense") for node in diagram.nodes], 0, 0, 0)


def boxes_of(found):
    return found["boxes"] + found["frames"]


def scene_of(found, diagram):
    """The script's scene in the form of Python's."""

    def placed(item, opened):
        node = diagram.nodes[item["index"]]
        sides = (item["x"], item["y"], item["width"], item["height"])
        return Placed(node.index, *sides, node.box, node.title if opened else None)

    curves = [
        Curve(
            curve["source"],
            curve["target"],
            [(letter, [tuple(point) for point in points]) for letter, points in curve["steps"]],
            [tuple(point) for point in curve["head"]],
        )
        for curve in found["curves"]
    ]
    frames, boxes = ([placed(item, kind == "frames") for item in found[kind]] for kind in ("frames", "boxes"))
    return Scene(found["width"], found["height"], frames, boxes, curves)


def test_a_click_tells_about_a_layer(shown):
    browser = shown("nested")
    panel = elements(browser, "#panel")[0]
    assert not panel.is_displayed()
    box_named(browser, "aux").click()
    lines = panel.text.split("\n")
    assert "Dense" in lines and panel.is_displayed()
    pairs = browser.execute_script(
        "return [...document.querySelectorAll('#panel dt')].map(e => [e.textContent, e.nextSibling.textContent])"
    )
    facts = dict(pairs)
    assert facts["name"] == "aux" and facts["input"] == "(None, 4)" and facts["output"] == "(None, 3)"
    assert facts["parameters"] == "15" and facts["units"] == "3" and facts["trainable"] in ("yes", "true")
    assert facts["output memory"] == "12 B a sample" and facts["kernel_initializer"] == "GlorotUniform"
    assert len(elements(browser, ".edge.near")) == 1
    box_named(browser, "deep").click()
    assert "Unfold" in panel.text
    press(browser, "#panel .act")
    assert "in2" in names(browser) and "Fold" in panel.text
    elements(browser, "#graph")[0].send_keys("\ue00c")  # Escape
    assert not panel.is_displayed() and elements(browser, ".selected") == []


def test_search_finds_inside_what_is_folded(shown):
    browser = shown("folded")
    field = elements(browser, "#search")[0]
    field.send_keys("B1_CONV3")
    found = elements(browser, "#found")[0]
    assert found.text == "3 found" and elements(browser, ".hit") == [] and len(elements(browser, ".holds")) == 1
    field.send_keys("\ue007")  # Enter
    assert found.text == "1 of 3" and len(elements(browser, ".hit")) == 3
    assert check_drawn(browser) == (6 + 64, 1)
    selected = elements(browser, ".selected")
    assert len(selected) == 1 and "b1_conv3" in selected[0].text
    here, graph = selected[0].rect, elements(browser, "#graph")[0].rect
    assert abs(here["x"] + here["width"] / 2 - graph["x"] - graph["width"] / 2) < 30
    field.send_keys("\ue007")
    assert found.text == "2 of 3" and "b1_conv30" in elements(browser, ".selected")[0].text
    field.send_keys("\ue008\ue007")  # Shift and Enter
    assert found.text == "1 of 3"
    field.send_keys("9")
    assert found.text == "none" and elements(browser, ".hit") == []
    field.send_keys("\ue00c")
    assert found.text == "" and field.get_attribute("value") == ""
    field.send_keys("concat")  # a class
    assert found.text == "2 found" and len(elements(browser, ".hit")) == 2


def test_dragging_moves_and_the_wheel_enlarges_around_the_pointer(shown):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    browser = shown("nested")
    graph = elements(browser, "#graph")[0]
    before = camera(browser)
    ActionChains(browser).move_to_element_with_offset(graph, -300, 0).click_and_hold().move_by_offset(
        80, -40
    ).release().perform()
    after = camera(browser)
    assert after == pytest.approx([before[0] + 80, before[1] - 40, before[2]], abs=1)
    assert not elements(browser, "#panel")[0].is_displayed()
    box = box_named(browser, "side")
    middle = box.rect["x"] + box.rect["width"] / 2, box.rect["y"] + box.rect["height"] / 2
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(box), 0, -200).perform()
    assert camera(browser)[2] > after[2] * 1.2
    now = box.rect
    assert (now["x"] + now["width"] / 2, now["y"] + now["height"] / 2) == pytest.approx(middle, abs=2)


def test_buttons_and_keys_enlarge_and_move(shown):
    browser = shown("nested")
    scale = camera(browser)[2]
    press(browser, "#in")
    assert camera(browser)[2] == pytest.approx(1.25 * scale)
    assert elements(browser, "#scale")[0].text == f"{round(125 * scale)}%"
    press(browser, "#out")
    assert camera(browser)[2] == pytest.approx(scale)
    graph = elements(browser, "#graph")[0]
    graph.send_keys("+")
    graph.send_keys("-")
    graph.send_keys("-")
    assert camera(browser)[2] == pytest.approx(0.8 * scale)
    x = camera(browser)[0]
    graph.send_keys("\ue012")  # left: what is there comes into sight
    assert camera(browser)[0] == pytest.approx(x + 60)
    graph.send_keys("0")
    view, whole = elements(browser, "#view")[0].rect, graph.rect
    assert whole["y"] <= view["y"] and view["y"] + view["height"] <= whole["y"] + whole["height"]
    graph.send_keys("/")
    assert browser.switch_to.active_element == elements(browser, "#search")[0]


def test_boxes_can_be_reached_and_opened_by_keys(shown):
    browser = shown("nested")
    box_named(browser, "deep").send_keys("\ue007")
    assert "deep" in elements(browser, "#panel")[0].text
    box_named(browser, "deep").send_keys(" ")
    assert "in2" in names(browser)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_light_and_dark_follow_the_system_and_the_button(shown):
    browser = shown("nested")
    light, dark = "rgb(255, 255, 255)", "rgb(20, 24, 29)"
    assert background(browser) == light
    press(browser, "#theme")
    assert background(browser) == dark
    press(browser, "#theme")
    assert background(browser) == light
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    shown("nested")
    assert background(browser) == dark
    fill = "return getComputedStyle(document.querySelector('.dense > rect')).fill"
    assert browser.execute_script(fill) == "rgb(48, 42, 82)"
    press(browser, "#theme")
    assert background(browser) == light


OUTSIDE = """
const leaves = (inner, outer) => inner.x < outer.x || inner.x + inner.width > outer.x + outer.width
  || inner.y < outer.y || inner.y + inner.height > outer.y + outer.height;
const texts = box => [...box.querySelectorAll('text')];
return [...document.querySelectorAll('.node')].flatMap(box =>
  texts(box).filter(text => leaves(text.getBBox(), box.querySelector('rect').getBBox())).map(text => text.textContent));
"""


def test_labels_stay_in_their_boxes_in_the_browser_too(shown):
    browser = shown("nested")
    press(browser, "#unfold")
    outside = browser.execute_script(OUTSIDE)
    assert outside == []
    # In a font of another width too: texts say how wide they are.
    assert len(elements(browser, "#graph text")) == len(elements(browser, "#graph text[textLength]")) > 0


def test_a_name_cannot_break_out(browser, tmp_path):
    wild = "</script><img src=x onerror=alert(1)><!--<script>%%DATA%%"
    model = Sequential([Input((2,)), Dense(2, name="n")], name="m")
    model.layers[0].name = model.name = wild
    plot_model(model, tmp_path / "m.html", show_layer_names=True)
    browser.get((tmp_path / "m.html").as_uri())
    assert elements(browser, "img") == [] and browser.title == wild
    assert (
        browser.execute_script("return JSON.parse(document.getElementById('data').textContent).facts[0].name") == wild
    )
    elements(browser, ".node")[0].click()
    assert wild in elements(browser, "#panel")[0].text and elements(browser, "img") == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
