"""Which names a cell reads, binds and changes, told from its source."""

from __future__ import annotations

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from mlops_nb.core.dataflow import Names, code_of, names_of


def names(source: str) -> Names:
    plain = TransformerManager().transform_cell
    return names_of(plain(source), plain)


def words(text: str) -> set[str]:
    return set(text.split())


@pytest.mark.parametrize(
    ("source", "reads", "binds"),
    [
        ("x = 1", "", "x"),
        ("x = y + 1", "y", "x"),
        ("x = 1\ny = x", "", "x y"),
        ("x = x + 1", "x", "x"),
        ("x += 1", "x", "x"),
        ("(a, *b), c[0] = d", "c d", "a b"),
        ("for i in rows:\n    total = i", "rows", "i total"),
        ("[a for a in b if a > c]", "b c", ""),
        ("{k: v for k, v in d.items()}", "d", ""),
        ("[y := f(x) for x in xs]", "f xs", "y"),
        ("if a:\n    b = 1\nb", "a", "b"),  # what it may read besides, see below
        ("if a:\n    b = 1\nelse:\n    b = 2\nb", "a", "b"),
        ("while n:\n    n -= 1", "n", "n"),
        ("with open(p) as f:\n    t = f.read()", "open p", "f t"),
        ("try:\n    a = f()\nexcept ValueError as e:\n    a = e\na", "ValueError f", "a"),
        ("try:\n    df\nexcept NameError:\n    df = load()", "NameError load", "df"),
        ("import a.b, c as d\nfrom e import f", "", "a d f"),
        ("def f(a, b=c):\n    return a + b + k", "c", "f"),
        ("def f():\n    return k\nf()", "k", "f"),
        ("k = 1\ndef f():\n    return k\nf()", "", "k f"),
        ("g = lambda x: x + k", "", "g"),
        ("g = lambda x: x + k\ng(1)", "k", "g"),
        ("gs = {'a': lambda x: x + k}", "", "gs"),
        ("g = map(lambda x: x + k, xs)", "k map xs", "g"),
        ("@wrap\ndef f():\n    return k", "k wrap", "f"),
        ("class A(B):\n    n = m\n    def f(self):\n        return k", "B m", "A"),
        ("class A:\n    x = 1\n    y = x", "", "A"),
        ("del x", "x", "x"),
        ("x: int = y", "int y", "x"),
        ("print(f'{a!r:>{b}}')", "a b print", ""),
        ("match v:\n    case [a, *b]:\n        c = a\n    case {'k': d, **e}:\n        c = d", "v", "a b c d e"),
        ("async def f():\n    return k\nawait f()", "k", "f"),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        return x + k\n    return g()\nf()", "k", "f"),
        ("%%time\ny = f(x)", "f x", "y"),
        ("%%capture out\ny = 1", "", "out y"),
        ("%time y = f(x)", "f x", "y"),
        ("%timeit -n 5 y = f(x)", "f x", ""),
        ("%%bash\necho $x", "", ""),
        ("files = !ls", "", "files"),
    ],
)
def test_reads_and_binds(source: str, reads: str, binds: str) -> None:
    found = names(source)
    assert (found.reads, found.binds) == (words(reads), words(binds))


@pytest.mark.parametrize(
    ("source", "changes", "evolves"),
    [
        ("df['a'] = 1", "df", ""),
        ("df['a'] = df['a'] * 2", "df", "df"),
        ("df['a'] = df['a'].fillna(0)", "df", ""),
        ("df.loc[m, 'a'] += 1", "df", "df"),
        ("df = df[df['a'] > 0]", "", ""),
        ("df = df[df['a'] > df['a'].mean()]", "", "df"),
        ("df = df[['a', 'b']]", "", ""),
        ("df = df.iloc[1:]", "", "df"),
        ("df = df.dropna().sort_values('a')", "", ""),
        ("x = int(x)", "", ""),
        ("x = f(x)", "", "x"),
        ("a, b = b, a", "", "a b"),
        ("n += 1", "", "n"),
        ("mask &= other", "", ""),
        ("y = df.pop('y')", "df", "df"),
        ("df.dropna(inplace=True)", "df", ""),
        ("df.drop(columns='a', inplace=True)", "df", "df"),
        ("model.fit(X, y)", "model", ""),
        ("model = Model().fit(X)", "", ""),
        ("loss.backward()\nopt.step()\nprint(1)", "opt", "opt"),
        ("random.shuffle(xs)", "random xs", "random xs"),
        ("heapq.heappush(heap, 1)", "heap", "heap"),
        ("obj.a.b[0] = 1", "obj", ""),
        ("x = []\nx.append(1)", "", ""),
        ("def clean(frame, n):\n    frame['a'] = n\nclean(df, 1)", "df", ""),
        ("def clean(frame):\n    frame = frame.copy()\n    frame['a'] = 1\nclean(df)", "", ""),
        ("df.plot()\nplt.show()\ndf.to_csv('a')", "", ""),
    ],
)
def test_changes_in_place_and_what_another_run_would_change_again(source: str, changes: str, evolves: str) -> None:
    found = names(source)
    assert (found.changes, found.evolves) == (words(changes), words(evolves))


def test_what_only_may_change_is_told_apart() -> None:
    found = names("rows.append(1)\nthing.frobnicate()\nax.plot(x)\nlog.info('x')\nthing.frobnicate()")
    assert found.touches == {"rows", "thing"} and found.evolves == {"rows"}
    assert names("1\nthing.frobnicate()").touches == set()  # its value is shown


def test_settings_of_modules_count() -> None:
    assert names("np.random.seed(0)").settings == {"np"}
    assert names("pd.options.display.width = 5").settings == {"pd"} and names("os.environ['A'] = 'b'").settings == {"os"}
    assert names("np.sqrt(4)\n1").settings == set()


def test_functions_tell_what_they_use_and_promise_and_spoil() -> None:
    found = names("def f(a, b):\n    global g\n    g = a\n    b.pop('x')\n    return k(a)\nclass C:\n    def m(self):\n        return z")
    assert found.deferred == {"f": {"k"}, "C": {"z"}} and found.promised == {"g"} and found.spoils == {"f": {1}}
    assert names("f(x, 1, y)").calls == [("f", {0: "x", 2: "y"})]


def test_magics_tell_what_they_may_read_and_set() -> None:
    found = names("%track log auc=score(y, p) 'not this' --step i\n%cd data\n%load_ext autoreload\n%load_ext mlops_nb")
    assert found.words == {"score", "y", "p", "i"} and found.state == {"%cd data", "%load_ext autoreload"}
    assert names("%run other.py").is_opaque and names("from x import *").is_opaque and names("exec(text)").is_opaque
    assert not names("a = 1").is_opaque


def test_what_is_always_the_same_is_known() -> None:
    assert names("import a\nK = [1, -2]\ndef f(): ...\nx = g()\ny = 1\ny = g()").definite == {"a", "K", "f"}


def test_comments_and_layout_are_no_code() -> None:
    assert code_of("x = 1  # one\n\n\ny=2") == code_of("x=1\ny = 2") != code_of("x = 2\ny = 2")
    with pytest.raises(SyntaxError):
        names_of("%magic")
