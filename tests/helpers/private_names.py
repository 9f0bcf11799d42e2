"""Find private names of Keras and TensorFlow in source code."""

import ast
import functools
import pathlib
import re

import keras
import tensorflow as tf

# Of each, the files whose objects this package handles.
FOREIGN_FILES = (
    *pathlib.Path(keras.__file__).parent.joinpath("src").rglob("*.py"),
    *pathlib.Path(tf.__file__).parent.joinpath("python/data").rglob("ops/*.py"),
    *pathlib.Path(tf.__file__).parent.joinpath("python/eager").rglob("*.py"),
)
PRIVATE_MODULES = ("keras.src", "tensorflow.python")
# What each namedtuple has, documented by Python.
NAMEDTUPLE = {"_asdict", "_fields", "_make", "_replace"}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def foreign_names() -> frozenset[str]:
    """Return the private names of attributes and methods of Keras and TensorFlow."""
    found = set()
    for path in FOREIGN_FILES:
        text = path.read_text("utf-8")
        found.update(re.findall(r"(?:\.|def )(_[a-zA-Z]\w*)\b", text))
    return frozenset(name for name in found if not name.endswith("__"))


@functools.cache
def foreign_classes() -> frozenset[str]:
    """Return the names of their classes that no public module exports."""
    found = set()
    for path in FOREIGN_FILES:
        if not path.name.endswith("_test.py"):
            text = path.read_text("utf-8")
            found.update(re.findall(r"^class (\w+)", text, re.MULTILINE))
    public = [keras, tf]
    public += [getattr(keras, name) for name in dir(keras) if name != "src"]
    return frozenset(found - {name for each in public for name in dir(each)})


def _is_private(name) -> bool:
    return isinstance(name, str) and bool(re.fullmatch(r"_[a-zA-Z]\w*", name))


class Project:
    """Know which private names are a project's own: of its classes and its modules.

    Args:
        sources: Source code by the dotted name of its module.
    """

    def __init__(self, sources: dict[str, str]):
        self.trees = {name: ast.parse(text) for name, text in sources.items()}
        # By module, and by class with the names of its bases.
        self.of_modules = {name: _defined(tree) for name, tree in self.trees.items()}
        self.classes = {}
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    # Two modules may have classes of one name.
                    own, bases = self.classes.get(node.name, (set(), []))
                    both = own | _own_names(node), [*bases, *_bases(node)]
                    self.classes[node.name] = both
        self.of_objects = NAMEDTUPLE.union(*(own for own, _ in self.classes.values()))

    def of_class(self, name: str) -> set[str]:
        """Return the private names that a class and its bases in the project define."""
        own, bases = self.classes.get(name, (set(), []))
        return own.union(*(self.of_class(base) for base in bases if base != name))

    def foreign(self, module: str) -> list[str]:
        """Return `line: name` for each foreign private name that a module touches."""
        reader = _Reader(self, module)
        reader.visit(self.trees[module])
        return reader.found


class _Reader(ast.NodeVisitor):
    def __init__(self, project: Project, module: str):
        self.project, self.within = project, []
        self.modules = _imported(project, project.trees[module])
        self.found = []

    def note(self, node, name: str) -> None:
        self.found.append(f"{node.lineno}: {name}")

    def check(self, node, owner, name: str) -> None:
        """Note a private name of an object, unless it is one of our own."""
        if not _is_private(name) or name.endswith("__"):
            return
        if isinstance(owner, ast.Name) and owner.id in ("self", "cls") and self.within:
            known = name in self.project.of_class(self.within[-1])
        elif isinstance(owner, ast.Name) and owner.id in self.modules:
            known = name in self.project.of_modules[self.modules[owner.id]]
        else:
            known = name in self.project.of_objects and (
                name in NAMEDTUPLE or name not in foreign_names()
            )
        if not known:
            self.note(node, name)

    def visit_ClassDef(self, node) -> None:
        self.within.append(node.name)
        for each in node.body:
            # A method that Keras would call.
            if (
                isinstance(each, FUNCTIONS)
                and _is_private(each.name)
                and each.name in foreign_names()
            ):
                self.note(each, each.name)
        self.generic_visit(node)
        self.within.pop()

    def visit_Attribute(self, node) -> None:
        self.check(node, node.value, node.attr)
        self.generic_visit(node)

    def visit_Constant(self, node) -> None:
        text = node.value
        if not isinstance(text, str):
            return
        names = foreign_names() if _is_private(text) else foreign_classes()
        if text.startswith(PRIVATE_MODULES) or text in names:
            self.note(node, text)
        # Code that is shown, such as a repair.
        for name in re.findall(r"\.(_[a-zA-Z]\w*)", text):
            self.check(node, None, name)

    def visit_JoinedStr(self, node) -> None:
        for each in node.values:  # Its texts are pieces of a name at most.
            if isinstance(each, ast.FormattedValue):
                self.visit(each)

    def visit_Import(self, node) -> None:
        for each in node.names:
            if each.name.startswith(PRIVATE_MODULES):
                self.note(node, each.name)

    def visit_ImportFrom(self, node) -> None:
        if node.module and node.module.startswith(PRIVATE_MODULES):
            self.note(node, node.module)


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a module defines at its outermost level."""
    found = set()
    for node in tree.body:
        if isinstance(node, FUNCTIONS | ast.ClassDef):
            found.add(node.name)
        for each in ast.walk(node) if isinstance(node, ast.Assign) else ():
            if isinstance(each, ast.Name):
                found.add(each.id)
    return found


def _own_names(node: ast.ClassDef) -> set[str]:
    """Return the private names that a class defines: methods, fields, attributes."""
    found = {each.name for each in node.body if isinstance(each, FUNCTIONS)}
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            if isinstance(each.value, ast.Name) and each.value.id in ("self", "cls"):
                found.add(each.attr)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.add(each.id)
    return {name for name in found if _is_private(name)}


def _bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).split(".")[-1] for base in node.bases]


def _imported(project: Project, tree: ast.Module) -> dict[str, str]:
    """Return the project's modules that a module imports, by their names in it."""
    found = {}
    for node in ast.walk(tree):
        for each in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            parent = getattr(node, "module", None)
            full = f"{parent}.{each.name}" if parent else each.name
            if full in project.trees:
                found[each.asname or each.name] = full
    return found
