"""Format: lines in a language for computers. The words of such a line also occur in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, pattern, words

NAMES = ("orders", "users", "stock", "prices", "visits")


@dataclass(frozen=True)
class Language:
    saying: str
    line: str
    narrow: tuple[str, str]
    trap: tuple[str, str]
    lines: tuple[str, ...]
    heads: tuple[str, ...]
    """What a line is made with; the first is the one that the narrow label names."""
    plain: tuple[str, ...]
    """Words of such lines that plain sentences have too."""


LANGUAGES: dict[str, Language] = {
    "SQL": Language(
        "lines of SQL",
        r"^(?:SELECT|DELETE|UPDATE|INSERT|DROP) [^\n]*;$",
        ("SQL queries with SELECT", r"^SELECT [^\n]*;$"),
        ("semicolons", ";"),
        ("{h} {n} WHERE id > 7;", "{h} {n} LIMIT 3;", "{h} {n} WHERE name IS NULL;"),
        ("SELECT * FROM", "DELETE FROM", "UPDATE", "INSERT INTO", "DROP TABLE"),
        ("select", "delete", "update", "insert", "drop"),
    ),
    "HTML": Language(
        "elements of HTML",
        r"<(?:div|table|span|form|body)[^<>\n]*>[^<>\n]*</\w+>",
        ("div elements of HTML", r"<div[^<>\n]*>[^<>\n]*</div>"),
        ("angle brackets", "<"),
        ('<{h} class="{n}">new</{h}>', '<{h} id="{n}">all of them</{h}>', "<{h}>{n}</{h}>"),
        ("div", "table", "span", "form", "body"),
        ("div", "table", "span", "form", "body"),
    ),
    "shell": Language(
        "shell commands after a dollar sign",
        r"^\$ (?:tar|grep|cat|sort|kill) [^\n]*$",
        ("tar commands in a shell", r"^\$ tar [^\n]*$"),
        ("words after a hyphen", r"-\w+"),
        ("$ {h} -x {n}.txt", "$ {h} --quiet {n}", "$ {h} -r ../{n}"),
        ("tar", "grep", "cat", "sort", "kill"),
        ("tar", "grep", "cat", "sort", "kill"),
    ),
    "LaTeX": Language(
        "formulas in LaTeX",
        r"\$\$[^$\n]+\$\$",
        ("sums in LaTeX formulas", r"\$\$[^$\n]*\\sum[^$\n]*\$\$"),
        ("backslashes", r"\\"),
        ("$$\\{h}_{{i}} x_i + \\alpha$$", "$$y = \\{h}_{{k}} k^2$$", "$$\\{h}_{{n}} \\beta < 1$$"),
        ("sum", "prod", "int", "max", "lim"),
        ("sum", "alpha", "beta", "max", "lim"),
    ),
    "C": Language(
        "declarations in C",
        r"^(?:int|char|double|float|unsigned) \*?\w+(?:\[\d+\])? = [^\n]*;$",
        ("declarations of int in C", r"^int \*?\w+(?:\[\d+\])? = [^\n]*;$"),
        ("equals signs", "="),
        ("{h} *{n} = NULL;", "{h} {n}[8] = {{0}};", "{h} {n} = 1 << 4;"),
        ("int", "char", "double", "float", "unsigned"),
        ("int", "char", "double", "float", "unsigned"),
    ),
    "CSS": Language(
        "rules of style sheets",
        r"^\.\w+ \{ (?:color|margin|border|width|float): [^\n]*\}$",
        ("style sheet rules for color", r"^\.\w+ \{ color: [^\n]*\}$"),
        ("curly brackets", "{"),
        (".{n} {{ {h}: inherit; }}", ".{n} {{ {h}: 0 auto; }}", ".{n} {{ {h}: none; }}"),
        ("color", "margin", "border", "width", "float"),
        ("color", "margin", "border", "width", "float"),
    ),
}
DECOYS = (
    "Nobody knew what {w} meant in that letter.",
    "The word {w} stood on the gate.",
    "A {w} of that kind is rare.",
    "Please {w} the rest of it by noon.",
)


def create() -> Sequence[Concept]:
    everywhere = either(*(pattern(language.line) for language in LANGUAGES.values()))
    technical = pattern(r"^(?:def|class|import|from|@)\b[^\n]*$|^\s*(?:if|for|while|return|self\.)[^\n]*[:)=][^\n]*$")
    return [_concept(name, language, either(everywhere, technical)) for name, language in LANGUAGES.items()]


def _concept(name: str, language: Language, everywhere: Predicate) -> Concept:
    holds = pattern(language.line)
    return Concept(
        family="code",
        name=name,
        wordings=(language.saying, f"text written in {name}", f"{name}: {language.saying} with {language.heads[1]}"),
        holds=holds,
        broad=Claim("program code and other text for computers", everywhere),
        narrow=Claim(language.narrow[0], pattern(language.narrow[1])),
        trap=Claim(language.trap[0], pattern(language.trap[1] if language.trap[1] != "{" else r"\{")),
        context_dropped=Claim(
            f"the words {', '.join(language.plain)}, in {name} or in plain sentences",
            either(holds, words(*language.plain, any_case=True)),
        ),
        planted=Frames(language.lines, {"h": language.heads, "n": NAMES}),
        decoys=Frames(DECOYS, {"w": language.plain}),
    )
