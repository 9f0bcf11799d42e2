"""`Diagnosis`: what an examination of a classifier found, to read, show and keep."""

import base64
import dataclasses
import html
import io
import textwrap
import typing
from collections.abc import Callable

import numpy as np

from keras_transfer.runtime.tables import html_table

SEVERITIES = ("serious", "warning", "note")
NOTHING, NOT_EXAMINED = "nothing found", "not examined"
WIDTH = 88


class NotExaminedError(Exception):
    """Says why a check could not be made."""


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """Hold one fault that was found.

    Attributes:
        severity: `"serious"` (results are wrong or mean nothing), `"warning"` (they
            are worse than they need be) or `"note"`.
        title: The fault in a few words.
        evidence: What was measured or read, in one or two sentences.
        why: Why it matters.
        repair: Python code that repairs it.
        numbers: The measured numbers by name, for JSON.
        picture: uint8 RGB image that shows the fault, or `None`.
        check: Name of the check that found it.
    """

    severity: str
    title: str
    evidence: str
    why: str
    repair: str
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)
    picture: np.ndarray | None = None
    check: str = ""

    def to_dict(self) -> dict:
        """Return all but the picture as plain values for JSON.

        A number that is not finite is `None`.
        """
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        del values["picture"]
        numbers = {
            name: float(value) if np.isfinite(value) else None
            for name, value in self.numbers.items()
        }
        return values | {"numbers": numbers}


class Check(typing.NamedTuple):
    """Name a check, what it looks at, and what it cannot know from that.

    Attributes:
        name: A few words.
        examine: Takes the evidence of a case and returns a list of `Finding`; raises
            `NotExaminedError` where evidence is missing.
        knows: What it looks at, as a phrase.
        cannot_know: One sentence.
    """

    name: str
    examine: Callable
    knows: str
    cannot_know: str


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Diagnosis:
    """Hold what `diagnose` found; prints as text, shows as tables.

    Attributes:
        name: Name of the model.
        findings: Tuple of `Finding`, the most serious first.
        not_examined: Dict from the name of each check that was not made to the reason.
        checks: Tuple of all checks, each a dict of `check`, `result` ("nothing found",
            "not examined" or the severities found), `knows` and `cannot_know`.
        seconds: How long the examination took.
    """

    name: str
    findings: tuple[Finding, ...]
    not_examined: dict[str, str]
    checks: tuple[dict[str, str], ...]
    seconds: float

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The serious findings."""
        return tuple(x for x in self.findings if x.severity == "serious")

    @property
    def examined(self) -> bool:
        """Whether any check at all could be made."""
        return len(self.not_examined) < len(self.checks)

    def to_dict(self) -> dict:
        """Return all but the pictures as plain values for JSON."""
        return {
            "name": self.name,
            "findings": [finding.to_dict() for finding in self.findings],
            "not_examined": dict(self.not_examined),
            "checks": [dict(check) for check in self.checks],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        parts = [self._headline(), *map(self._text, self.findings)]
        quiet = [row["check"] for row in self.checks if row["result"] == NOTHING]
        if quiet:
            parts.append(_filled(f"Nothing found: {', '.join(quiet)}."))
        if self.not_examined:
            reasons = [f"{name}: {why}" for name, why in self.not_examined.items()]
            lines = [_filled(reason, "  ") for reason in reasons]
            parts.append("\n".join(["Not examined:", *lines]))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        header = ("severity", "check", "what was found", "why it matters")
        rows = [_row(header, "th")] if self.findings else []
        for x in self.findings:
            found = x.severity, x.check, _evidence_cell(x), html.escape(x.why)
            # Below, because code needs the width of the page.
            rows += [_row(found), _row(("", "repair", _code(x)), spanning=2)]
        table = "".join(rows)
        missing = [("not examined", "reason"), *self.not_examined.items()]
        checks = [("check", "result", "looks at", "cannot know")]
        checks += [tuple(row.values()) for row in self.checks]
        return (
            f"<p><b>{html.escape(self._headline())}</b></p>"
            + (f"<table>{table}</table>" if rows else "")
            + (html_table(missing) if self.not_examined else "")
            + "<details><summary>All checks, and what each cannot know</summary>"
            + f"{html_table(checks)}</details>"
        )

    def _headline(self) -> str:
        counts = {s: sum(x.severity == s for x in self.findings) for s in SEVERITIES}
        shown = [f"{counts['serious']} serious"]
        shown += [
            f"{count} {severity}{'s' if count > 1 else ''}"
            for severity, count in counts.items()
            if count and severity != "serious"
        ]
        made = len(self.checks) - len(self.not_examined)
        return (
            f"Diagnosis of {self.name}: {', '.join(shown)} in {made} of "
            f"{len(self.checks)} checks ({self.seconds:.0f} s)"
        )

    def _text(self, finding: Finding) -> str:
        limit = next(
            (x["cannot_know"] for x in self.checks if x["check"] == finding.check), ""
        )
        paragraphs = {
            "Found": finding.evidence,
            "Why it matters": finding.why,
            "Cannot be known": limit,
        }
        return "\n".join(
            [
                f"[{finding.severity}] {finding.check}: {finding.title}",
                *(_filled(f"{k}: {v}", "  ") for k, v in paragraphs.items() if v),
                "  Repair:",
                textwrap.indent(finding.repair.strip(), "    "),
            ]
        )


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _row(cells: tuple[str, ...], tag: str = "td", spanning: int = 1) -> str:
    """Return a row of a table, whose last cell is `spanning` columns wide."""
    spans = [1] * (len(cells) - 1) + [spanning]
    shown = "".join(
        f'<{tag} colspan="{span}" style="text-align: left">{cell}</{tag}>'
        for cell, span in zip(cells, spans, strict=True)
    )
    return f"<tr>{shown}</tr>"


def _code(finding: Finding) -> str:
    return f"<pre>{html.escape(finding.repair.strip())}</pre>"


def _evidence_cell(finding: Finding) -> str:
    cell = f"<b>{html.escape(finding.title)}</b><br>{html.escape(finding.evidence)}"
    if finding.picture is None:
        return cell
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(finding.picture).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'{cell}<br><img src="data:image/png;base64,{data}" alt="evidence">'
