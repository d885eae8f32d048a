"""What a pickle would do, found without doing it: its instructions are followed over descriptions, never over objects.

A pickle is a program for a small machine with a stack. This one has the same instructions, but where Python would
import a name it writes the name down, and where Python would call it keeps the call. What comes out is data.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from lamina.errors import LoadError

MAX_INSTRUCTIONS = 5_000_000
MAX_EXPANDED = 10_000_000
"""How many values a pickle may stand for when what is shared in it is written out each time."""

_MARK = object()


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle calls for.

    Attributes:
        module, name: where it is, and what it is called.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Call:
    """A call that a pickle asks for, or an object with a state.

    Attributes:
        function: what is called.
        arguments: with what.
        state: what is put into the result, if anything.
    """

    function: Any
    arguments: Any
    state: Any = None


@dataclass(eq=False)
class Stored:
    """Something that a pickle keeps outside of itself.

    Attributes:
        key: how it refers to it.
    """

    key: Any


@dataclass
class PickleContents:
    """What a pickle says.

    Attributes:
        value: numbers, texts, lists, tuples, dicts, `Name`, `Call` and `Stored`.
        names: the classes and functions that it calls for, in order, each once.
    """

    value: Any
    names: list[str] = field(default_factory=list)


def read_pickle(stream: IO[bytes], name: str) -> PickleContents:
    """Follow a pickle from where a stream stands, up to its end.

    Args:
        stream: the file.
        name: what messages call it.

    Raises:
        LoadError: it is no whole pickle, or stands for more than anyone could need.

    Example:
        >>> import io
        >>> read_pickle(io.BytesIO(b"cos\\nsystem\\n(S'ls'\\ntR."), "an example").names
        ['os.system']
    """
    machine = _Machine()
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_INSTRUCTIONS:
                raise _excessive(name, f"{MAX_INSTRUCTIONS:,} instructions", "more")
            machine.follow(instruction.name, argument)
            if instruction.name == "STOP":
                break
        value = machine.result
    except LoadError:
        raise
    except Exception as error:  # pickletools and the machine fail in many ways on what is no pickle
        raise LoadError(
            f"{name} is no whole pickle.",
            received=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            fix="the file may be cut short or damaged; get it again",
        ) from error
    if _expanded(value) > MAX_EXPANDED:
        raise _excessive(name, f"{MAX_EXPANDED:,} values", "more, by what is shared in it")
    return PickleContents(value, list(dict.fromkeys(machine.names)))


class _Machine:
    """The stack, the memo, and what the instructions do to them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.result: Any = None
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, instruction: str, argument: Any) -> None:
        """Do what one instruction says."""
        if instruction in _CONSTANTS:
            self._stack.append(_CONSTANTS[instruction]())
        elif instruction in _ARGUMENTS:
            self._stack.append(argument)
        elif instruction in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if instruction == "MEMOIZE" else argument] = self._stack[-1]
        elif instruction in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        else:
            _OTHERS[instruction](self, argument)

    def pop(self) -> Any:
        """The topmost value, which is none of the marks."""
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def since_mark(self) -> list[Any]:
        """All values above the topmost mark, which is removed too."""
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def name(self, module: Any, name: Any) -> None:
        """Note a class or function and put it on the stack."""
        found = Name(str(module), str(name))
        self.names.append(str(found))
        self._stack.append(found)

    def call(self, function: Any, arguments: Any) -> None:
        """Note a call; an ordered dict is a dict."""
        plain = str(function) == "collections.OrderedDict" and arguments == ()
        self._stack.append({} if plain else Call(function, arguments))

    def build(self, state: Any) -> None:
        """Note the state of an object."""
        if isinstance(self._stack[-1], Call):
            self._stack[-1].state = state

    def extend(self, values: list[Any]) -> None:
        """Append to a list or set."""
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(values)

    def fill(self, values: list[Any]) -> None:
        """Put keys and values into a dict."""
        pairs = zip(values[::2], values[1::2], strict=True)
        owner = self._stack[-1]
        if isinstance(owner, dict):
            owner.update((_key(key), value) for key, value in pairs)

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def top(self) -> Any:
        """The topmost value."""
        return self._stack[-1]


def _pair(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _reduce(machine: _Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


def _new_with_keywords(machine: _Machine) -> None:
    keywords, arguments, cls = machine.pop(), machine.pop(), machine.pop()
    machine.call(cls, (arguments, keywords))


def _instance(machine: _Machine, argument: str) -> None:
    module, _, name = str(argument).partition(" ")
    arguments = machine.since_mark()
    machine.name(module, name)
    machine.call(machine.pop(), tuple(arguments))


def _object(machine: _Machine) -> None:
    function, *arguments = machine.since_mark()
    machine.call(function, tuple(arguments))


def _tuple(length: int) -> Callable[[_Machine, Any], None]:
    def make(machine: _Machine, argument: Any) -> None:
        members = [machine.pop() for _ in range(length)]
        machine.push(tuple(reversed(members)))

    return make


def _dict(machine: _Machine) -> None:
    values = machine.since_mark()
    machine.push({})
    machine.fill(values)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.fill([key, value])


def _append(machine: _Machine) -> None:
    value = machine.pop()
    machine.extend([value])


def _stop(machine: _Machine) -> None:
    machine.result = machine.pop()


def _key(key: Any) -> Any:
    """A key that a dict can have, whatever a pickle uses as one."""
    try:
        hash(key)
    except TypeError:
        return repr(type(key))
    return key


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_ARGUMENTS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8".split()
)
_OTHERS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "READONLY_BUFFER": lambda m, a: None,
    "NEXT_BUFFER": lambda m, a: m.push(Stored("a buffer")),
    "STOP": lambda m, a: _stop(m),
    "POP": lambda m, a: m.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.push(m.top()),
    "LIST": lambda m, a: m.push(m.since_mark()),
    "FROZENSET": lambda m, a: m.push(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "DICT": lambda m, a: _dict(m),
    "APPEND": lambda m, a: _append(m),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: _set_item(m),
    "SETITEMS": lambda m, a: m.fill(m.since_mark()),
    "GLOBAL": lambda m, a: m.name(*str(a).split(" ", 1)),
    "STACK_GLOBAL": lambda m, a: _pair(m),
    "REDUCE": lambda m, a: _reduce(m),
    "NEWOBJ": lambda m, a: _reduce(m),
    "NEWOBJ_EX": lambda m, a: _new_with_keywords(m),
    "INST": _instance,
    "OBJ": lambda m, a: _object(m),
    "BUILD": lambda m, a: m.build(m.pop()),
    "PERSID": lambda m, a: m.push(Stored(a)),
    "BINPERSID": lambda m, a: m.push(Stored(m.pop())),
    "EXT1": lambda m, a: m.name("copyreg", f"extension {a}"),
    "EXT2": lambda m, a: m.name("copyreg", f"extension {a}"),
    "EXT4": lambda m, a: m.name("copyreg", f"extension {a}"),
}


def members_of(value: Any) -> list[Any]:
    """What lies right inside a value that `read_pickle` gave.

    Args:
        value: the value.
    """
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Call):
        return [value.function, value.arguments, value.state]
    return [value.key] if isinstance(value, Stored) else []


def _expanded(root: Any) -> int:
    """How many values there are if each is counted every time that it is reached; endless for what holds itself."""
    counts: dict[int, int] = {}
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        value, is_done = waiting.pop()
        if is_done:
            counts[id(value)] = 1 + sum(counts.get(id(m), 1) for m in members_of(value))
            if counts[id(value)] > MAX_EXPANDED:
                return counts[id(value)]
        elif id(value) not in counts:
            members = members_of(value)
            counts[id(value)] = MAX_EXPANDED + 1 if members else 1  # until it is known; what holds itself never is
            if members:
                waiting.append((value, True))
                waiting.extend((member, False) for member in members)
    return counts[id(root)]


def _excessive(name: str, expected: str, received: str) -> LoadError:
    return LoadError(
        f"{name} is beyond measure.", expected=f"at most {expected}", received=received, fix="do not load this file"
    )
