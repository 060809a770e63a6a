"""Secrets taken out of text before it is stored or shown: by known value, then by name, then by shape."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping

MIN_SECRET = 8
_MIN_NAMED = 6

counts: Counter[str] = Counter()
"""How many secrets were taken out in this process, by name."""

_NAME = re.compile(
    r"(^|[_\-.])(pass(word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth|authorization|cookie|"
    r"dsn|connection[_-]?string|sas|signature)s?($|[_\-.\d])",
    re.IGNORECASE,
)
_WORDS = ("pass", "secret", "token", "key", "credential", "auth", "cookie", "dsn", "connection", "sas", "signature")
"""Of which a secret's name holds one."""
_NAME_EXCEPTION = re.compile(r"(_tokens|_token_id|tokenizer|cls_token|max_tokens)$", re.IGNORECASE)
# name = "value", name: 'value', --name value, "name": "value"
_ASSIGNMENT = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]{1,100})["']?\s{0,20}(?:\]\s{0,20})?(?:=|:)\s{0,20}(?P<quote>["'])(?P<value>[^"'\n]{6,10000})(?P=quote)"""
)
_SHAPES = (
    (("PRIVATE KEY",), re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)),
    (("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{10,4000}\.[\w-]{10,4000}\.[\w-]{5,4000}")),
    (("://",), re.compile(r"(?<=://)[^/\s:@'\"]{0,200}:[^/\s@'\"]{1,500}(?=@)")),
    (("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    (("AIza",), re.compile(r"\bAIza[\w-]{35}")),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,})"),
    ),
    (("mnba_",), re.compile(r"\bmnba_[\w-]{30,}")),
    (("sk-", "hf_", "xox"), re.compile(r"\b(?:sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|xox[abprs]-[\w-]{10,})")),
    (("sig=", "X-Amz-Signature="), re.compile(r"(?<=[?&]sig=)[^&\s'\"]+|(?<=X-Amz-Signature=)[0-9a-f]+")),
)
"""What secrets look like, each with texts of which it holds one: looking for those first is quick."""


def is_secret_name(name: str) -> bool:
    """Return whether a variable, key or setting of this name holds a secret."""
    return _NAME.search(name) is not None and _NAME_EXCEPTION.search(name) is None


class Redactor:
    """Takes secrets out of text.

    Args:
        environment: Variables; the values of those with a secret's name are known secrets.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {v: k for k, v in environment.items() if is_secret_name(k) and len(v) >= MIN_SECRET}
        self._known = sorted(values.items(), key=lambda item: -len(item[0]))

    def __call__(self, text: str) -> str:
        """Return the text with every secret replaced by `[redacted:name:mark]`; equal secrets have equal marks."""
        for value, name in self._known:
            if value in text:
                text = text.replace(value, _mask(name, value))
        folded = text.casefold()
        if any(word in folded for word in _WORDS):  # most text names no secret
            text = _ASSIGNMENT.sub(self._by_name, text)
        for signs, shape in _SHAPES:
            if any(sign in text for sign in signs):
                text = shape.sub(lambda match: _mask("secret", match[0]), text)
        return text

    def value(self, name: str, value: object) -> str:
        """Return what something of this name holds as text without secrets.

        All of it is masked if the name says that it is one; from then on it is known, wherever it stands.
        """
        text = str(value)
        if is_secret_name(name) and len(text) >= _MIN_NAMED and value is not None and not isinstance(value, (int, float)):
            if len(text) >= MIN_SECRET and (text, name) not in self._known:
                self._known.append((text, name))
            return _mask(name, text)
        return self(text)

    @staticmethod
    def _by_name(match: re.Match[str]) -> str:
        value = match["value"]
        if not is_secret_name(match["name"]) or value.startswith(("[redacted", "env:")):
            return match[0]
        return match[0].replace(value, _mask(match["name"], value))


def _mask(name: str, value: str) -> str:
    counts[name] += 1
    return f"[redacted:{name}:{hashlib.sha256(value.encode()).hexdigest()[:4]}]"
