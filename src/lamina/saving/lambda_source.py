"""Small functions of tensors as text in a file, and back, without `eval`: a language of one expression.

The text is parsed, every part of it is looked up in a closed list (`lambda_names`), and the expression is computed by
walking through it. It can compute with tensors and numbers. It cannot import, call or reach anything else: there are no
names but the arguments and torch's functions of tensors, and no attributes but a tensor's.
"""

from __future__ import annotations

import ast
import dis
import inspect
import linecache
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lamina.errors import LoadError
from lamina.saving.lambda_names import BINARY, COMPARED, METHODS, MODULES, NAMES, PROPERTIES, UNARY

MAX_LENGTH = 2000
MAX_NUMBER = 2**63

_PLAIN = (bool, int, float, str, type(None), type(Ellipsis))


# ---------------------------------------------------------------------- from text
def function_from(text: str) -> Callable[..., Any]:
    """The function that a text in a file describes.

    Args:
        text: a lambda, as `source_of` gives it.

    Returns:
        A function that computes the expression anew at each call.

    Raises:
        LoadError: the text is anything but a lambda of tensors.

    Example:
        >>> import torch
        >>> function = function_from("lambda x: torch.relu(x)[:, :2] * 2 + 1")
        >>> function(torch.tensor([[1.0, -1.0, 5.0]])).tolist()
        [[3.0, 1.0]]
        >>> function_from("lambda x: open('file')")
        Traceback (most recent call last):
        lamina.errors.LoadError: The function in the file does more than compute with tensors.
          expected: an expression of torch's functions
          received: open
          fix:      pass the function itself in custom_objects
    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise _refused("a text of another length or kind")
    try:
        found = ast.parse(text.strip(), mode="eval").body
        if not isinstance(found, ast.Lambda):
            raise _refused(text[:60])
        _check(found.body, {argument.arg for argument in _arguments(found)})
        signature = _signature(found)
        canonical = ast.unparse(found)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, LoadError):
            raise
        raise _refused(f"{text[:60]}, which cannot be parsed") from error

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _value(found.body, bound.arguments)

    function.__name__ = function.__qualname__ = "<lambda>"
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__dict__["source"] = canonical
    return function


def _signature(found: ast.Lambda) -> inspect.Signature:
    """The arguments with their defaults."""
    names = _arguments(found)
    defaults: list[Any] = [inspect.Parameter.empty] * (len(names) - len(found.args.defaults))
    defaults += [_value(node, {}) for node in found.args.defaults]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(n.arg, kind, default=d) for n, d in zip(names, defaults, strict=True)])


def _arguments(found: ast.Lambda) -> list[ast.arg]:
    """The plain arguments; there may be no other ones."""
    given = found.args
    if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs:
        raise _refused("starred or separated arguments")
    for node in given.defaults:
        _check(node, set())
    return given.args


def _check(node: ast.AST, arguments: set[str]) -> None:
    """Refuse an expression unless each part of it is known."""
    for part in _parts(node):
        if isinstance(part, ast.Constant):
            if not isinstance(part.value, _PLAIN) or (isinstance(part.value, int) and abs(part.value) > MAX_NUMBER):
                raise _refused(repr(part.value)[:60])
        elif isinstance(part, ast.Name):
            if part.id not in arguments and part.id not in NAMES:
                raise _refused(part.id)
        elif isinstance(part, ast.Attribute):
            if _dotted(part) not in NAMES and part.attr not in METHODS | PROPERTIES:
                raise _refused(_dotted(part) or part.attr)
        elif isinstance(part, ast.BinOp):
            _known(type(part.op).__name__, BINARY)
        elif isinstance(part, ast.UnaryOp):
            _known(type(part.op).__name__, UNARY)
        elif isinstance(part, ast.Compare):
            for operation in part.ops:
                _known(type(operation).__name__, COMPARED)
        elif isinstance(part, ast.Call):
            if any(keyword.arg is None for keyword in part.keywords) or not isinstance(
                part.func, (ast.Name, ast.Attribute)
            ):
                raise _refused(ast.unparse(part)[:60])
            if isinstance(part.func, ast.Name) and part.func.id in arguments:
                raise _refused(f"a call of the argument {part.func.id}")
        elif not isinstance(part, (ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.IfExp)):
            raise _refused(type(part).__name__)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Each part of an expression; a dotted name that is known is one part."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.keyword)):
            waiting.extend([part.value] if isinstance(part, ast.keyword) else [])
            continue
        yield part
        if not (isinstance(part, ast.Attribute) and _dotted(part) in NAMES):
            waiting.extend(ast.iter_child_nodes(part))


def _known(name: str, table: Mapping[str, Any]) -> None:
    if name not in table:
        raise _refused(f"the operator {name}")


def _dotted(node: ast.AST) -> str:
    """A name with dots, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""  # type: ignore[attr-defined]


def _value(node: Any, names: Mapping[str, Any]) -> Any:
    """What an expression that has been checked comes to."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id] if node.id in names else NAMES[node.id]
    if isinstance(node, ast.Attribute):
        dotted = _dotted(node)
        if dotted in NAMES and dotted.partition(".")[0] not in names:
            return NAMES[dotted]
        owner = _value(node.value, names)
        if not hasattr(type(owner), "__torch_function__"):
            raise _refused(f".{node.attr} of a {type(owner).__name__}")
        return getattr(owner, node.attr)
    if isinstance(node, ast.Call):
        keywords = {word.arg: _value(word.value, names) for word in node.keywords}
        return _value(node.func, names)(*(_value(argument, names) for argument in node.args), **keywords)
    if isinstance(node, ast.BinOp):
        return _computed(type(node.op).__name__, _value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.UnaryOp):
        return UNARY[type(node.op).__name__](_value(node.operand, names))
    if isinstance(node, ast.Subscript):
        return _value(node.value, names)[_value(node.slice, names)]
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else _value(part, names) for part in (node.lower, node.upper, node.step)))
    if isinstance(node, (ast.Tuple, ast.List)):
        members = [_value(member, names) for member in node.elts]
        return tuple(members) if isinstance(node, ast.Tuple) else members
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, names) else node.orelse, names)
    return _compared(node, names)


def _compared(node: ast.Compare, names: Mapping[str, Any]) -> Any:
    """A chain of comparisons, which ends at the first that fails."""
    left, result = _value(node.left, names), True
    for operation, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, names)
        result = COMPARED[type(operation).__name__](left, right)
        left = right
        if len(node.ops) > 1 and not result:
            break
    return result


def _computed(name: str, left: Any, right: Any) -> Any:
    """An operation; between plain numbers it must not come to a huge one, or to a long text."""
    if isinstance(left, str) or isinstance(right, str):
        raise _refused("an operation on texts")
    if name == "Mult" and any(isinstance(value, (list, tuple)) for value in (left, right)):
        raise _refused("a list times a number")
    whole = isinstance(left, int) and isinstance(right, int)
    if name == "Pow" and whole and right * math.log2(abs(left) + 2) > 64:
        raise _refused(f"{str(left)[:20]} ** {str(right)[:20]}")
    return BINARY[name](left, right)


# ---------------------------------------------------------------------- to text
def source_of(function: Any) -> str | None:
    """The text of a function for a file, if it is one that `function_from` reads.

    Args:
        function: a lambda, or a function that does nothing but return an expression.

    Returns:
        A lambda; `None` if the text is not known, or uses anything but its arguments, numbers and torch's functions.

    Example:
        >>> source_of(function_from("lambda x: x+1"))
        'lambda x: x + 1'
        >>> source_of(print) is None
        True
    """
    if not isinstance(function, types.FunctionType):
        return None
    if isinstance(function.__dict__.get("source"), str) and hasattr(function, "__signature__"):
        return function.__dict__["source"]
    if function.__closure__ or function.__kwdefaults__:
        return None
    found = {ast.unparse(node): node for node in _definitions(function)}
    if len(found) != 1:
        return None
    names = {argument.arg for argument in next(iter(found.values())).args.args}
    text = ast.unparse(_Canonical(function.__globals__, names).visit(next(iter(found.values()))))
    try:
        function_from(text)
    except LoadError:
        return None
    return text


def _definitions(function: types.FunctionType) -> Iterator[ast.Lambda]:
    """The places in a function's file whose text gives that very function, as lambdas."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__ and not node.decorator_list:
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
                continue
            found: Any = ast.copy_location(ast.Lambda(node.args, body[0].value), node)
        elif isinstance(node, ast.Lambda) and function.__name__ == "<lambda>":
            found = node
        else:
            continue
        first = getattr(node, "lineno", 0)
        if first == code.co_firstlineno and _same_code(found, code):
            for argument in found.args.args:
                argument.annotation = None
            yield found


def _same_code(found: ast.Lambda, code: types.CodeType) -> bool:
    """Whether a lambda compiles to the instructions of a function: its file may have changed since it was imported."""
    made = compile(ast.fix_missing_locations(ast.Expression(found)), "<text>", "eval")  # compared, and never run
    inner = next((value for value in made.co_consts if isinstance(value, types.CodeType)), None)
    return inner is not None and _steps(inner) == _steps(code)


def _steps(code: types.CodeType) -> list[tuple[str, Any]]:
    """The instructions of a function with what they are about; a call through an imported module is as any other."""
    alike = {"LOAD_METHOD": "LOAD_ATTR", "CALL_METHOD": "CALL_FUNCTION"}
    steps = [step for step in dis.get_instructions(code) if step.opname != "PUSH_NULL"]
    found = [(alike.get(step.opname, step.opname), step.argval) for step in steps]
    return [*found, ("arguments", code.co_varnames[: code.co_argcount]), ("flags", code.co_flags & 0x0C)]


class _Canonical(ast.NodeTransformer):
    """Writes what a function's globals stand for: torch's modules under their own names, and numbers as numbers."""

    def __init__(self, names: Mapping[str, Any], arguments: set[str]) -> None:
        self._names, self._arguments = names, arguments

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A module or number in place of a name that is not an argument."""
        value = self._names.get(node.id)
        if node.id in self._arguments or value is None:
            return node
        if isinstance(value, (bool, int, float)):
            return ast.copy_location(ast.Constant(value), node)
        for name, known in {**MODULES, **{n: k for n, k in NAMES.items() if callable(k)}}.items():
            if known is value:
                return ast.copy_location(ast.parse(name, mode="eval").body, node)
        return ast.copy_location(ast.Name("__unknown__", ast.Load()), node)


def _refused(received: str) -> LoadError:
    return LoadError(
        "The function in the file does more than compute with tensors.",
        expected="an expression of torch's functions",
        received=received,
        fix="pass the function itself in custom_objects",
    )
