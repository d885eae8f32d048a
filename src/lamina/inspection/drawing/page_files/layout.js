// Places for all that can be seen, given which nodes are open. The same method as columns.py, arranging.py and
// scene.py; layers and their order come with the data.
"use strict";

const WEAK = 1e-9;

/** Put the vertices of one component into columns: see columns.py. */
function columns(plan) {
  const { layers, widths, thin, ties, gaps, ownWidth, runs } = plan;
  const up = new Map(), down = new Map(), middles = new Map();
  const note = (map, key, tie) => (map.has(key) ? map.get(key).push(tie) : map.set(key, [tie]));
  for (const [upper, lower, strong, upperAt, lowerAt] of ties) {
    note(up, lower, [upper, strong ? 1 : WEAK, upperAt - lowerAt]);
    note(down, upper, [lower, strong ? 1 : WEAK, lowerAt - upperAt]);
  }
  for (const [strong, run] of runs) {
    const members = strong ? run.filter((vertex) => !ownWidth.has(vertex)) : [];
    const widest = Math.max(0, ...members.map((vertex) => widths.get(vertex)));
    for (const vertex of members) widths.set(vertex, widest);
  }
  const apart = (left, right) => (widths.get(left) + widths.get(right)) / 2 + gaps[thin.has(left) + thin.has(right)];

  function wish(near, vertex) {
    if (!near.length) return [middles.get(vertex), 1e-3];
    let total = 0, pulled = 0, most = 0;
    for (const [, weight] of near) total += weight;
    for (const [other, weight, offset] of near) {
      pulled += weight * (middles.get(other) + offset);
      most = Math.max(most, weight);
    }
    return [pulled / total, most];
  }

  function settle(layer, wishes) {
    const shifts = [], pools = [];
    let shift = 0, at = 0;
    layer.forEach((vertex, i) => shifts.push((shift += i ? apart(layer[i - 1], vertex) : 0)));
    wishes.forEach(([wished, weight], i) => {
      pools.push([(wished - shifts[i]) * weight, weight, 1]);
      for (let n = pools.length; n > 1 && pools[n - 2][0] * pools[n - 1][1] > pools[n - 1][0] * pools[n - 2][1]; n--) {
        const last = pools.pop();
        pools[n - 2] = pools[n - 2].map((mine, part) => mine + last[part]);
      }
    });
    for (const [pulled, weight, count] of pools)
      for (let n = 0; n < count; n++, at++) middles.set(layer[at], pulled / weight + shifts[at]);
  }

  const above = (vertex) => up.get(vertex) ?? [], below = (vertex) => down.get(vertex) ?? [];
  for (const layer of layers) settle(layer, layer.map(() => [0, 1]));
  for (let round = 0; round < 6; round++) {
    for (const layer of layers.slice(1)) settle(layer, layer.map((vertex) => wish(above(vertex), vertex)));
    for (const layer of layers.slice(0, -1).reverse()) settle(layer, layer.map((vertex) => wish(below(vertex), vertex)));
  }
  for (let round = 0; round < 6; round++)
    for (const layer of layers) settle(layer, layer.map((vertex) => wish([...above(vertex), ...below(vertex)], vertex)));
  straighten({ layers, runs, middles, apart, settle, pull: (vertex) => wish([...above(vertex), ...below(vertex)], vertex) });
  return middles;
}

/** Draw each run into one line as far as there is room. */
function straighten({ layers, runs, middles, apart, settle, pull }) {
  const placeOf = new Map(), fixed = new Set();
  for (const layer of layers) layer.forEach((vertex, at) => placeOf.set(vertex, [layer, at]));

  function room(layer, at, side) {
    let taken = 0;
    for (let i = at; layer[i + side] !== undefined; i += side) {
      taken += side > 0 ? apart(layer[i], layer[i + 1]) : apart(layer[i], layer[i - 1]);
      if (fixed.has(layer[i + side])) return side * middles.get(layer[i + side]) - taken;
    }
    return Infinity;
  }
  function push(layer, at, side) {
    for (let i = at; layer[i + side] !== undefined; i += side) {
      const least = side * middles.get(layer[i]) + apart(layer[i], layer[i + side]);
      if (side * middles.get(layer[i + side]) >= least - 1e-9) return;
      middles.set(layer[i + side], side * least);
    }
  }
  function align(run) {
    for (let begin = 0, end; begin < run.length; begin = end) {
      let low = -Infinity, high = Infinity;
      for (end = begin; end < run.length; end++) {
        const [layer, at] = placeOf.get(run[end]);
        const least = -room(layer, at, -1), most = room(layer, at, 1);
        if (Math.max(low, least) > Math.min(high, most) + 1e-6 && end > begin) break;
        low = Math.max(low, least);
        high = Math.min(high, most);
      }
      let sum = 0;
      for (let i = begin; i < end; i++) sum += middles.get(run[i]);
      for (let i = begin; i < end; i++) {
        const [layer, at] = placeOf.get(run[i]);
        middles.set(run[i], Math.max(low, Math.min(sum / (end - begin), high)));
        push(layer, at, -1);
        push(layer, at, 1);
      }
    }
  }
  for (const strong of [1, 0]) {
    for (const [isStrong, run] of runs) {
      if (isStrong !== strong) continue;
      const places = run.map((vertex) => middles.get(vertex));
      const least = places.reduce((a, b) => Math.min(a, b)), most = places.reduce((a, b) => Math.max(a, b));
      if (most - least > 1e-6) align(run);
      run.forEach((vertex) => fixed.add(vertex));
    }
    if (!strong) continue;
    for (const layer of layers) // forks and joins, to the middle of what is around them now
      settle(layer, layer.map((vertex) => (fixed.has(vertex) ? [middles.get(vertex), 1e6] : pull(vertex))));
    placeOf.forEach((_, vertex) => fixed.add(vertex));
    for (const [isStrong, run] of runs) if (!isStrong) run.forEach((vertex) => fixed.delete(vertex));
  }
}

/** The scene: size, frames, boxes and curves, for the nodes that are open. See arranging.py and scene.py. */
function layOut(data, isOpen) {
  const { nodes, scopes, links, routes, measures, sideways, reverse } = data;
  const { pad, title, margin } = measures;
  const pads = sideways ? [pad + title, pad, pad, pad] : reverse ? [pad, pad, pad, pad + title] : [pad, pad, pad + title, pad];
  const seen = []; // for each node the one that is seen in its place: itself, or a closed one that holds it
  nodes.forEach((node, index) => {
    const outer = node.parent === null ? null : seen[node.parent];
    seen.push(outer === null || (outer === node.parent && isOpen[outer]) ? index : outer);
  });
  const shown = (index) => seen[index] === index;
  const opened = (index) => shown(index) && isOpen[index] && nodes[index].members > 0;
  const inScopes = scopes.filter((scope) => scope.owner === null || opened(scope.owner));
  const live = new Set(inScopes), scopeOf = new Map(inScopes.map((scope) => [scope.owner, scope]));
  const spots = new Map(), corners = new Map([[null, [0, 0]]]);
  const edges = visibleEdges();
  const loops = new Set(edges.filter((edge) => edge.source === edge.target).map((edge) => edge.source));
  const backs = new Map(); // scope -> strand -> 1 for down, 2 for up, 3 for both
  for (const { legs } of edges)
    for (const [scope, strand, back] of legs) {
      if (!backs.has(scope)) backs.set(scope, new Map());
      const ways = backs.get(scope);
      ways.set(strand, (ways.get(strand) ?? 0) | (back ? 2 : 1));
    }

  const rank = (scope) => (scope.owner === null ? -1 : scope.owner);
  const outward = [...inScopes].sort((a, b) => rank(b) - rank(a));
  for (const scope of outward) spots.set(scope.owner, arrange(scope));
  for (const scope of outward.reverse()) putDown(scope);
  return scene();

  function visibleEdges() {
    const found = new Map();
    links.forEach(([source, target], at) => {
      const ends = [seen[source], seen[target]], key = ends.join();
      if ((ends[0] === ends[1] && !(source === target && shown(source))) || found.has(key)) return;
      const legs = routes[at].map(([scope, strand, back]) => [scopes[scope], strand, back]);
      found.set(key, { source: ends[0], target: ends[1], key: source, legs: legs.filter(([scope]) => live.has(scope)) });
    });
    return [...found.values()];
  }

  function sizeOf(index) {
    if (opened(index)) {
      const spot = spots.get(index);
      return [spot.across + pads[0] + pads[1], spot.along + pads[2] + pads[3]];
    }
    const [width, height] = nodes[index].size;
    return sideways ? [height, width] : [width, height];
  }
  function vertexSize([kind, of]) {
    if (kind !== "node") return [0, 0];
    const [across, along] = sizeOf(of);
    return [across + (loops.has(of) ? 2 * measures.loop : 0), along];
  }

  function innerPort(scope, vertex, side, key) {
    const [kind, of] = scope.vertices[vertex];
    if (kind !== "node" || !opened(of)) return null;
    const inner = scopeOf.get(of), at = inner.vertices.findIndex(([kind, of]) => kind === side && of === key);
    return at < 0 ? null : spots.get(of).middles.get(at) + pads[0] - sizeOf(of)[0] / 2;
  }
  function port(scope, strand, vertex) {
    if (!scope.strands[strand].includes(vertex)) return 0;
    const side = scope.strands[strand][0] === vertex ? "bottom" : "top";
    const known = scope.carried[strand].map((key) => innerPort(scope, vertex, side, key)).filter((at) => at !== null);
    return known.length ? known.reduce((a, b) => a + b) / known.length : 0;
  }
  function wayOf(scope, [strand, bends]) {
    const [upper, lower] = scope.strands[strand];
    return [upper, ...bends, lower];
  }

  function arrange(scope) {
    const spot = { across: 0, along: 0, middles: new Map(), bands: new Map(), halves: new Map(), fasten: new Map() };
    const sizes = scope.vertices.map(vertexSize);
    sizes.forEach(([, along], at) => spot.halves.set(at, along / 2));
    const ports = new Set(), frames = new Set();
    scope.vertices.forEach(([kind, of], at) => {
      if (kind !== "node") ports.add(at);
      else if (opened(of)) frames.add(at);
    });
    let begin = 0;
    for (const component of scope.components) {
      const widths = new Map(), thin = new Set(ports), ties = [];
      for (const [strand, bends] of component.bends) {
        for (const bend of bends) widths.set(bend, 0), thin.add(bend);
        const way = wayOf(scope, [strand, bends]);
        for (let i = 0; i + 1 < way.length; i++)
          ties.push([way[i], way[i + 1], scope.strong[strand], port(scope, strand, way[i]), port(scope, strand, way[i + 1])]);
      }
      for (const layer of component.layers)
        for (const vertex of layer) if (vertex < sizes.length) widths.set(vertex, sizes[vertex][0]);
      const middles = columns({
        layers: component.layers, widths, thin, ties, gaps: measures.gaps, ownWidth: frames, runs: component.runs,
      });
      let low = Infinity, high = -Infinity;
      for (const [vertex, middle] of middles) {
        low = Math.min(low, middle - widths.get(vertex) / 2);
        high = Math.max(high, middle + widths.get(vertex) / 2);
      }
      for (const [vertex, middle] of middles) spot.middles.set(vertex, middle - low + begin);
      begin += high - low + measures.components;
      spot.along = Math.max(spot.along, stack(component.layers, ties, ports, spot));
    }
    spot.across = Math.max(begin - measures.components, 0);
    widen(scope, spot);
    fastenings(scope, spot);
    return spot;
  }

  function stack(layers, ties, ports, spot) {
    const layerOf = new Map(), aside = layers.map(() => 0), [least, more, most] = measures.between;
    layers.forEach((layer, at) => layer.forEach((vertex) => layerOf.set(vertex, at)));
    for (const [upper, lower, , upperAt, lowerAt] of ties) {
      const moved = Math.abs(spot.middles.get(upper) + upperAt - spot.middles.get(lower) - lowerAt);
      aside[layerOf.get(upper)] = Math.max(aside[layerOf.get(upper)], moved);
    }
    let begin = 0, end = 0;
    layers.forEach((layer, at) => {
      const atRim = layers.slice(at, at + 2).some((near) => near.every((vertex) => ports.has(vertex)));
      end = begin + 2 * layer.reduce((half, vertex) => Math.max(half, spot.halves.get(vertex) ?? 0), 0);
      for (const vertex of layer) spot.bands.set(vertex, [begin, end]);
      begin = end + Math.min(least + more * aside[at], most) * (atRim ? measures.port : 1);
    });
    return end;
  }

  function widen(scope, spot) {
    const heading = scope.owner === null ? null : nodes[scope.owner].title;
    if (!heading) return;
    const width = heading[6] + measures.toggle;
    if (sideways) spot.along = Math.max(spot.along, width);
    else if (spot.across < width) {
      for (const [vertex, middle] of spot.middles) spot.middles.set(vertex, middle + (width - spot.across) / 2);
      spot.across = width;
    }
  }

  function fastenings(scope, spot) {
    const sides = new Map();
    for (const component of scope.components)
      for (const entry of component.bends) {
        const way = wayOf(scope, entry), strand = entry[0];
        for (const [vertex, other, upper] of [[way[0], way[1], 0], [way[way.length - 1], way[way.length - 2], 1]]) {
          const there = spot.middles.get(other) + port(scope, strand, other), side = 2 * vertex + upper;
          if (!sides.has(side)) sides.set(side, []);
          sides.get(side).push([strand, there - spot.middles.get(vertex)]);
        }
      }
    for (const [side, pulls] of sides) {
      const vertex = side >> 1, farthest = pulls.reduce((most, [, pull]) => Math.max(most, Math.abs(pull)), 0) || 1;
      const width = vertexSize(scope.vertices[vertex])[0] - (loops.has(scope.vertices[vertex][1]) ? 2 * measures.loop : 0);
      const reach = pulls.length > 1 ? Math.min(Math.max(width / 2 - measures.corner, 0), measures.reach * farthest) : 0;
      for (const [strand, pull] of pulls) spot.fasten.set(`${strand},${vertex}`, (pull / farthest) * reach);
    }
  }

  function inside(owner) {
    const [across, along] = corners.get(owner);
    return owner === null ? [across, along] : [across + pads[0], along + pads[2]];
  }
  function putDown(scope) {
    const spot = spots.get(scope.owner), begin = inside(scope.owner);
    scope.vertices.forEach(([kind, of], at) => {
      if (kind !== "node") return;
      const [across, along] = sizeOf(of), [from, to] = spot.bands.get(at);
      corners.set(of, [begin[0] + spot.middles.get(at) - across / 2, begin[1] + (from + to) / 2 - along / 2]);
    });
  }

  function lane(scope, strand, back) {
    return backs.get(scope).get(strand) === 3 ? measures.lane * (back ? 1 : -1) : 0;
  }
  function endOf(scope, strand, back, vertex, key) {
    const isUpper = scope.strands[strand][0] === vertex, spot = spots.get(scope.owner), [kind, of] = scope.vertices[vertex];
    if (kind !== "node")
      return [
        inside(scope.owner)[0] + spot.middles.get(vertex),
        corners.get(scope.owner)[1] + (kind === "bottom" ? sizeOf(scope.owner)[1] : 0),
      ];
    const at = innerPort(scope, vertex, isUpper ? "bottom" : "top", key)
      ?? spot.fasten.get(`${strand},${vertex}`) + lane(scope, strand, back);
    const corner = corners.get(of), size = sizeOf(of);
    return [corner[0] + size[0] / 2 + at, corner[1] + (isUpper ? size[1] : 0)];
  }
  function legPoints([scope, strand, back], key) {
    const spot = spots.get(scope.owner), [upper, lower] = scope.strands[strand], [x, y] = inside(scope.owner);
    const bends = scope.components.flatMap((component) => component.bends).find(([index]) => index === strand)[1];
    const first = endOf(scope, strand, back, upper, key), last = endOf(scope, strand, back, lower, key);
    const points = [first, [first[0], y + spot.bands.get(upper)[1]]];
    for (const bend of bends)
      for (const edge of spot.bands.get(bend)) points.push([x + spot.middles.get(bend) + lane(scope, strand, back), y + edge]);
    points.push([last[0], y + spot.bands.get(lower)[0]], last);
    return back ? points.reverse() : points;
  }

  function curve(points) {
    const [length, half] = measures.arrow, tip = points.pop(), ahead = tip[1] > points[0][1] ? 1 : -1;
    const base = [tip[0], tip[1] - ahead * length], last = () => points[points.length - 1];
    while (points.length > 1 && (last()[1] - base[1]) * ahead > 0 && last()[0] === tip[0]) points.pop();
    points.push(base);
    const steps = [["M", [points[0]]]];
    let at = points[0];
    for (const point of points.slice(1)) {
      if (Math.max(Math.abs(point[0] - at[0]), Math.abs(point[1] - at[1])) < 0.01) continue;
      if (Math.abs(point[0] - at[0]) < 0.01) {
        if (steps[steps.length - 1][0] === "L") steps.pop();
        steps.push(["L", [point]]);
      } else {
        const middle = (at[1] + point[1]) / 2;
        steps.push(["C", [[at[0], middle], [point[0], middle], point]]);
      }
      at = point;
    }
    return [steps, [tip, [tip[0] - half, base[1]], [tip[0] + half, base[1]]]];
  }
  function loopCurve(index) {
    const [across, along] = sizeOf(index), [x, y] = corners.get(index), [length, half] = measures.arrow;
    const edge = x + across, out = edge + measures.loop, low = y + 0.3 * along, high = y + 0.7 * along;
    const base = [edge + length, low];
    return [
      [["M", [[edge, high]]], ["C", [[out, high + 4], [out, low - 4], base]]],
      [[edge, low], [base[0], low - half], [base[0], low + half]],
    ];
  }

  function scene() {
    const { across, along } = spots.get(null), round = (value) => Math.round(value * 100) / 100;
    function onPaper([u, v]) {
      const flipped = reverse ? along - v : v;
      return (sideways ? [flipped, u] : [u, flipped]).map((value) => round(value + margin));
    }
    const frames = [], boxes = [];
    nodes.forEach((node, index) => {
      if (!shown(index)) return;
      const corner = corners.get(index), size = sizeOf(index);
      const one = onPaper(corner), other = onPaper([corner[0] + size[0], corner[1] + size[1]]);
      const x = Math.min(one[0], other[0]), y = Math.min(one[1], other[1]);
      const placed = { index, x, y, width: Math.abs(one[0] - other[0]), height: Math.abs(one[1] - other[1]) };
      (opened(index) ? frames : boxes).push(placed);
    });
    const curves = edges.map(({ source, target, key, legs }) => {
      const [steps, head] = source === target ? loopCurve(source) : curve(legs.flatMap((leg) => legPoints(leg, key)));
      return { source, target, steps: steps.map(([letter, points]) => [letter, points.map(onPaper)]), head: head.map(onPaper) };
    });
    const [width, height] = sideways ? [along, across] : [across, along];
    return { width: width + 2 * margin, height: height + 2 * margin, frames, boxes, curves };
  }
}
