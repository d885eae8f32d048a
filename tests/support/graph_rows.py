"""Rows of graphs made by hand, and an independent look at what was folded of them."""

from __future__ import annotations

from typing import Any

from lamina.inspection import Link, Row
from lamina.inspection.folding import Group, fold, members


def row(cls: str, *takes: Any, size: int = 4, params: int | None = None, **config: Any) -> Row:
    """A row that takes tensors of rows, given as places or as links."""
    links = [link if isinstance(link, Link) else Link(f"row_{link}", link) for link in takes]
    return Row("", cls, call_shapes=[(None, size)], num_params=size if params is None else params, links=links,
               dtype="float32", config={"units": size, **config})  # fmt: skip


def named(rows: list[Row]) -> list[Row]:
    for place, one in enumerate(rows):
        one.name = one.path = f"row_{place}"
    return rows


class Net:
    """Rows, appended one by one."""

    def __init__(self) -> None:
        self.rows = [row("InputLayer", params=0)]

    def __call__(self, cls: str, *takes: Any, **rest: Any) -> int:
        self.rows.append(row(cls, *takes, **rest))
        return len(self.rows) - 1

    def fold(self, limit: int = 1000) -> list[Any]:
        items = fold(named(self.rows), limit)
        check(self.rows, items)
        return items

    def titles(self, limit: int = 1000) -> list[str]:
        return [item.title if isinstance(item, Group) else self.rows[item].class_name for item in self.fold(limit)]


def residual(net: Net, x: int, classes: tuple[str, ...] = ("Conv", "Norm", "ReLU", "Conv"), **rest: Any) -> int:
    h = x
    for cls in classes:
        h = net(cls, h, **rest)
    return net("Add", h, x)


# ------------------------------------------------------------------ an independent look at what a tree of groups says


def flat(items: list[Any]) -> list[int]:
    """The places in the order of the tree, which pairs the rows of copies."""
    return [place for item in items for place in (flat(sum(item.copies, [])) if isinstance(item, Group) else [item])]


def looks(one: Row) -> Any:
    config = {key: value for key, value in one.config.items() if key not in ("name", "seed", "function")}
    if one.class_name == "Lambda":
        return "Lambda", one.output_shape
    return one.class_name, one.output_shape, one.dtype, one.num_params, one.trainable, repr(sorted(config.items()))


def check(rows: list[Row], items: list[Any]) -> None:
    """Every row once, in order, and each group what it says it is."""
    assert sorted(flat(items)) == list(range(len(rows)))
    assert sorted(place for item in items for place in members(item)) == list(range(len(rows)))
    waiting = [items]
    while waiting:
        some = waiting.pop()
        firsts = [members(item)[0] for item in some]
        assert firsts == sorted(firsts)
        for item in some:
            if isinstance(item, Group):
                check_group(rows, item)
                waiting += item.copies[:1]
                for other in item.copies[1:] if item.kind != "block" else []:
                    for nested in other:
                        if isinstance(nested, Group):
                            check_group(rows, nested)


def check_group(rows: list[Row], group: Group) -> None:
    copies = [flat(one) for one in group.copies]
    assert group.count == len(copies) and group.kind in ("parallel", "run", "block")
    assert {len(one) for one in copies} == {len(copies[0])}
    for places in zip(*copies, strict=True):
        if group.kind == "block":
            assert len({rows[place].class_name for place in places}) == 1
        else:
            assert len({str(looks(rows[place])) for place in places}) == 1
    if group.kind == "parallel":
        check_parallel(rows, copies)
    elif group.count > 1:
        check_run(rows, copies)


def spots(copies: list[list[int]]) -> dict[int, tuple[int, int]]:
    return {place: (k, j) for k, one in enumerate(copies) for j, place in enumerate(one)}


def seen(rows: list[Row], place: int, where: dict[int, tuple[int, int]]) -> list[Any]:
    """What a row takes: from its own copy by position, from another one, or from outside."""
    k = where[place][0]
    found = []
    for link in rows[place].links:
        spot = where.get(link.row)
        found.append(
            ("outside", link.row, link.call, link.tensor)
            if spot is None
            else ("back", k - spot[0], spot[1], link.call, link.tensor)
        )
    return found


def readers(rows: list[Row], place: int, where: dict[int, tuple[int, int]]) -> set[Any]:
    return {(other, link.call, link.tensor) for other, one in enumerate(rows) for link in one.links
            if link.row == place and other not in where}  # fmt: skip


def check_parallel(rows: list[Row], copies: list[list[int]]) -> None:
    where = spots(copies)
    assert len(copies) >= 3
    for places in zip(*copies, strict=True):
        first = seen(rows, places[0], where)
        assert all(seen(rows, place, where) == first for place in places)
        assert all(kind != "back" or rest[0] == 0 for kind, *rest in first)
    ends = [set().union(*(readers(rows, place, where) for place in one)) for one in copies]
    assert len({place for end in ends for place, _, _ in end}) == 1, "the branches end at one join"


def check_run(rows: list[Row], copies: list[list[int]]) -> None:
    where = spots(copies)
    entries: dict[Any, Any] = {}
    steady = set()
    for k, one in enumerate(copies[1:], 1):
        for j, place in enumerate(one):
            before = seen(rows, copies[k - 1][j], where)
            now = seen(rows, place, where)
            assert len(now) == len(before) or not before
            for (kind, *rest), earlier in zip(now, before or [("outside", None)] * len(now), strict=True):
                if kind == "outside":
                    assert earlier == (kind, *rest)
                    steady.add(earlier)
                elif rest[0] == 1 and k == 1:
                    assert earlier[0] == "outside" and entries.setdefault(tuple(rest), earlier) == earlier
                else:
                    assert rest[0] <= 1 and earlier == (kind, *rest)
    assert entries, "each block takes from the one before"
    assert len(set(entries.values())) == len(entries) and steady.isdisjoint(entries.values())
    handed = {(j, call, tensor) for _, j, call, tensor in entries}
    for j, places in enumerate(zip(*copies, strict=True)):
        outside = [readers(rows, place, where) for place in places]
        assert all(found == outside[0] for found in outside[:-1])
        assert outside[0] <= outside[-1]
        assert all((j, call, tensor) in handed for _, call, tensor in outside[-1] - outside[0])
