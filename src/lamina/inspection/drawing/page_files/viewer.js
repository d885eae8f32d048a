// The page: draws the scene, moves and enlarges it, searches, folds and unfolds.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { nodes, facts, measures } = data;
  const byId = (id) => document.getElementById(id);
  const svg = byId("graph"), view = byId("view"), panel = byId("panel"), search = byId("search");
  const isOpen = nodes.map((node) => node.open);
  const camera = { x: 0, y: 0, scale: 1 };
  const SMALLEST = 0.02, LARGEST = 4;
  let scene = null, selected = null, hits = [], hit = -1;

  // Drawing

  function element(parent, name, attributes = {}, text = null) {
    const made = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    return made;
  }
  function rectangle(parent, { x, y, width, height }, rx, attributes = {}) {
    return element(parent, "rect", { x, y, width, height, rx, ...attributes });
  }
  function label(parent, [, , text, size, bold, tone, width], x, y) {
    const look = { class: bold ? `${tone} bold` : tone, "font-size": size, textLength: width, lengthAdjust: "spacingAndGlyphs" };
    element(parent, "text", { x, y, ...look }, text);
  }
  function toggle(parent, index, x, y) {
    const open = isOpen[index], named = open ? "Fold" : "Unfold";
    const group = element(parent, "g", { class: "toggle", "data-toggle": index, role: "button", "aria-label": named });
    element(group, "title", {}, named);
    element(group, "circle", { cx: x, cy: y, r: 8 });
    element(group, "path", { d: `M${x - 4},${y}H${x + 4}` + (open ? "" : `M${x},${y - 4}V${y + 4}`) });
  }
  function drawFrame(placed) {
    const node = nodes[placed.index];
    const group = element(view, "g", { class: "frame", "data-node": placed.index });
    element(group, "title", {}, node.tooltip);
    rectangle(group, placed, data.radius + 2);
  }
  function drawHeading(placed) { // over the edges that may pass behind it
    const group = element(view, "g", { class: "frame heading", "data-node": placed.index });
    label(group, nodes[placed.index].title, placed.x + measures.pad, placed.y + measures.title);
    toggle(group, placed.index, placed.x + placed.width - 16, placed.y + 17);
  }
  function drawBox(placed) {
    const node = nodes[placed.index], { x, y, width } = placed;
    const group = element(view, "g", { class: `node ${node.kind}`, "data-node": placed.index, tabindex: 0, role: "button" });
    group.setAttribute("aria-label", node.tooltip);
    element(group, "title", {}, node.tooltip);
    rectangle(group, placed, data.radius);
    if (node.rule !== null) element(group, "line", { x1: x, x2: x + width, y1: y + node.rule, y2: y + node.rule });
    for (const text of node.texts) label(group, text, x + text[0], y + text[1]);
    if (node.members) toggle(group, placed.index, x + width, y);
  }
  function drawEdge(parent, { source, target, steps, head }) {
    const group = element(parent, "g", { class: "edge", "data-from": source, "data-to": target });
    element(group, "path", { d: steps.map(([letter, points]) => letter + points.map((point) => point.join()).join(" ")).join(" ") });
    element(group, "polygon", { points: head.map((point) => point.join()).join(" ") });
  }
  function draw() {
    scene = layOut(data, isOpen);
    view.replaceChildren();
    scene.frames.forEach(drawFrame);
    const edges = element(view, "g", { class: "edges" });
    for (const placed of scene.boxes)
      if (nodes[placed.index].stacked)
        rectangle(edges, { ...placed, x: placed.x + 4, y: placed.y + 4 }, data.radius, { class: `behind ${nodes[placed.index].kind}` });
    scene.curves.forEach((curve) => drawEdge(edges, curve));
    scene.frames.forEach(drawHeading);
    scene.boxes.forEach(drawBox);
    mark();
  }
  const placeOf = (index) => [...scene.boxes, ...scene.frames].find((placed) => placed.index === index);
  const holders = (index) => (index === null ? [] : [...holders(nodes[index].parent), index]);

  // Moving and enlarging

  function look() {
    view.setAttribute("transform", `translate(${camera.x} ${camera.y}) scale(${camera.scale})`);
    byId("scale").textContent = `${Math.round(camera.scale * 100)}%`;
  }
  function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
    const scale = Math.min(LARGEST, Math.max(SMALLEST, camera.scale * factor));
    camera.x = x - ((x - camera.x) * scale) / camera.scale;
    camera.y = y - ((y - camera.y) * scale) / camera.scale;
    camera.scale = scale;
    look();
  }
  function fit(least = SMALLEST) {
    const all = Math.min(svg.clientWidth / scene.width, svg.clientHeight / scene.height, 1);
    camera.scale = Math.max(least, all);
    const spare = [svg.clientWidth - scene.width * camera.scale, svg.clientHeight - scene.height * camera.scale];
    const [begin, end] = data.reverse ? [1, 0] : [0, 1];
    // What does not fit begins where the model does.
    camera.x = spare[0] > 0 || !data.sideways ? spare[0] / 2 : spare[0] * begin;
    camera.y = spare[1] > 0 || data.sideways ? spare[1] / 2 : spare[1] * (1 - end);
    look();
  }
  function centre(index) {
    const { x, y, width, height } = placeOf(index);
    camera.scale = Math.max(camera.scale, 0.6);
    camera.x = svg.clientWidth / 2 - (x + width / 2) * camera.scale;
    camera.y = svg.clientHeight / 2 - (y + height / 2) * camera.scale;
    look();
  }

  // Folding

  function setOpen(index, open) {
    if (!nodes[index].members) return;
    const before = placeOf(index);
    isOpen[index] = open;
    draw();
    const after = placeOf(index);
    if (before && after) { // what was clicked stays where it is
      camera.x += (before.x + before.width / 2 - after.x - after.width / 2) * camera.scale;
      camera.y += (before.y - after.y) * camera.scale;
      look();
    }
  }
  function setAll(open) {
    nodes.forEach((node, index) => { isOpen[index] = open && node.members > 0; });
    if (selected !== null && !open) select(holders(selected)[0]);
    draw();
    fit(0.5);
  }
  function reveal(index) {
    const closed = holders(index).slice(0, -1).filter((holder) => !isOpen[holder]);
    for (const holder of closed) isOpen[holder] = true;
    if (closed.length) draw();
    centre(index);
  }

  // Selecting and searching

  function select(index) {
    selected = index;
    mark();
    showPanel();
  }
  function mark() {
    const found = new Set(hits), holding = new Set(hits.flatMap((index) => holders(index).slice(0, -1)));
    view.classList.toggle("dimmed", hits.length > 0);
    for (const group of view.querySelectorAll("[data-node]")) {
      const index = Number(group.dataset.node);
      group.classList.toggle("hit", found.has(index));
      group.classList.toggle("holds", holding.has(index));
      group.classList.toggle("selected", index === selected);
    }
    for (const edge of view.querySelectorAll(".edge"))
      edge.classList.toggle("near", selected !== null && [edge.dataset.from, edge.dataset.to].includes(String(selected)));
  }
  function find() {
    const wanted = search.value.trim().toLowerCase();
    const fits = (about) => [about.name, about.class, about.path].some((text) => text.toLowerCase().includes(wanted));
    hits = wanted ? Object.keys(facts).map(Number).filter((index) => fits(facts[index])).sort((a, b) => a - b) : [];
    hit = -1;
    byId("found").textContent = wanted ? (hits.length ? `${hits.length} found` : "none") : "";
    mark();
  }
  function jump(step) {
    if (!hits.length) return;
    hit = hit < 0 && step < 0 ? hits.length - 1 : (hit + step + hits.length) % hits.length;
    byId("found").textContent = `${hit + 1} of ${hits.length}`;
    reveal(hits[hit]);
    select(hits[hit]);
  }

  // The panel

  function html(parent, name, text = null, attributes = {}) {
    const made = parent.appendChild(document.createElement(name));
    if (text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }
  const number = (value) => value.toLocaleString("en");
  function bytes(count) {
    let unit = 0;
    for (; count >= 1024 && unit < 4; unit++) count /= 1024;
    return `${unit ? count.toFixed(2) : count} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
  }
  function list(pairs) {
    const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    if (!known.length) return;
    const made = html(panel, "dl");
    for (const [key, value] of known) {
      html(made, "dt", key);
      html(made, "dd", value);
    }
  }
  function showPanel() {
    panel.hidden = selected === null;
    panel.replaceChildren();
    if (selected === null) return;
    const node = nodes[selected], about = facts[selected];
    html(panel, "button", "×", { class: "close", "aria-label": "Close" }).addEventListener("click", () => select(null));
    html(panel, "h2", about ? about.class : node.title[2]);
    if (about) {
      html(panel, "p", about.path, { class: "path" });
      list([
        ["name", about.name],
        ["input", about.input],
        ["output", about.output ?? (about.class === "own weights" ? null : "not called")],
        ["calls", about.calls > 1 ? number(about.calls) : null],
        ["dtype", about.dtype],
        ["activation", about.activation],
        ["parameters", number(about.params)],
        ["trainable", about.trainable === null ? null : about.trainable ? "yes" : "no"],
        ["FLOPs", about.flops ? number(about.flops) : null],
        ["output memory", about.bytes ? `${bytes(about.bytes)} a sample` : null],
      ]);
      const config = Object.entries(about.config);
      if (config.length) html(panel, "h3", "Configuration");
      list(config);
    } else {
      html(panel, "p", node.texts.slice(1).map((text) => text[2]).join(), { class: "path" });
      list([["copies", node.count > 1 ? number(node.count) : null]]);
    }
    if (node.members) {
      const act = html(panel, "button", isOpen[selected] ? "Fold" : "Unfold", { class: "act" });
      act.addEventListener("click", () => { setOpen(selected, !isOpen[selected]); showPanel(); });
    }
  }

  // What the reader does

  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = { x: event.clientX, y: event.clientY, moved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moved && Math.hypot(dx, dy) < 4) return;
    if (!held.moved) svg.setPointerCapture(event.pointerId);
    svg.classList.add("held");
    Object.assign(held, { x: event.clientX, y: event.clientY, moved: true });
    camera.x += dx;
    camera.y += dy;
    look();
  });
  svg.addEventListener("pointerup", (event) => {
    const click = held && !held.moved;
    held = null;
    svg.classList.remove("held");
    if (!click) return;
    const button = event.target.closest("[data-toggle]"), group = event.target.closest("[data-node]");
    if (button) {
      const index = Number(button.dataset.toggle);
      setOpen(index, !isOpen[index]);
      if (selected !== null) select(scene && placeOf(selected) ? selected : index);
    } else select(group ? Number(group.dataset.node) : null);
  });
  svg.addEventListener("pointercancel", () => { held = null; svg.classList.remove("held"); });
  svg.addEventListener("dblclick", (event) => {
    const group = event.target.closest("[data-node]");
    if (!group || event.target.closest("[data-toggle]")) return;
    setOpen(Number(group.dataset.node), !isOpen[group.dataset.node]);
    showPanel();
  });
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { left, top } = svg.getBoundingClientRect(), lines = event.deltaMode === 1 ? 30 : 1;
    zoom(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * 0.0022), event.clientX - left, event.clientY - top);
  }, { passive: false });

  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") jump(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { search.value = ""; find(); svg.focus(); }
  });
  const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  document.addEventListener("keydown", (event) => {
    if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = event.target.closest?.("[data-node]");
    if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") select(null);
    else if (event.key === "/") search.focus();
    else if (focused && event.key === "Enter") select(Number(focused.dataset.node));
    else if (focused && event.key === " ") setOpen(Number(focused.dataset.node), !isOpen[focused.dataset.node]);
    else if (MOVES[event.key]) { camera.x += MOVES[event.key][0]; camera.y += MOVES[event.key][1]; look(); }
    else return;
    event.preventDefault();
  });
  byId("in").addEventListener("click", () => zoom(1.25));
  byId("out").addEventListener("click", () => zoom(0.8));
  byId("fit").addEventListener("click", () => fit());
  byId("fold").addEventListener("click", () => setAll(false));
  byId("unfold").addEventListener("click", () => setAll(true));
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = getComputedStyle(root).colorScheme === "dark";
    root.classList.toggle("dark", !dark);
    root.classList.toggle("light", dark);
  });
  window.addEventListener("resize", look);

  const { model } = data;
  byId("name").textContent = model.name;
  byId("totals").textContent = [
    model.class,
    `${number(Object.keys(facts).length)} layers`,
    `${number(model.params)} parameters (${bytes(model.bytes)})`,
    model.trainable === model.params ? null : `${number(model.trainable)} trained`,
    model.flops ? `${number(model.flops)} FLOPs` : null,
  ].filter(Boolean).join(" · ");
  if (!nodes.some((node) => node.members)) byId("fold").hidden = byId("unfold").hidden = true;
  draw();
  fit(0.75);
})();
