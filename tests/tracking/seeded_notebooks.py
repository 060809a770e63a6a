"""Notebooks with known faults and without any: stories of ordinary cells, and what people do with them.

Each story names the cells that its faults are about:
`source`: makes what others need; another version of it is `other`. `first_user` is the first cell that needs it, `user` one
that can be changed. `evolving`: running it again makes something else. `again`: may be run again at once. `shadowed`: its
input is written again further down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mlops_nb.core.hygiene import FindingKind
from tests.tracking.live_notebook import LiveNotebook


class Story(NamedTuple):
    name: str
    cells: list[str]
    source: str
    other: str
    first_user: str
    user: str
    evolving: str
    again: str
    shadowed: str


STORIES = [
    Story(
        "customers",
        [
            "import pandas as pd\nimport numpy as np",
            "df = pd.DataFrame({'age': [31, 45, None, 22, 67], 'income': [10.0, 20, 30, 40, 55], 'bought': [0, 1, 1, 0, 1]})",
            "df.describe()",
            "df = df.dropna()\ndf['log_income'] = np.log(df['income'])",
            "df['age'] = df['age'] - df['age'].min()",
            "by_bought = df.groupby('bought')['income'].mean()\nby_bought",
            "ratio = by_bought[1] / by_bought[0]\nprint(f'ratio {ratio:.2f}')",
        ],
        source="c1",
        other="df = pd.DataFrame({'age': [1, 2, 3, 4], 'income': [5.0, 6, 7, 8], 'bought': [0, 1, 1, 0]})",
        first_user="c2",
        user="c3",
        evolving="c4",
        again="c5",
        shadowed="c2",
    ),
    Story(
        "gradient descent",
        [
            "import numpy as np\nrng = np.random.default_rng(7)",
            "X = rng.normal(size=(80, 3))\ntrue_w = np.array([1.0, -2.0, 0.5])\ny = X @ true_w",
            "lr = 0.1\nepochs = 20",
            "def loss_of(w):\n    return float(np.mean((X @ w - y) ** 2))",
            "w = np.zeros(3)\nhistory = []",
            "for epoch in range(epochs):\n    w = w - lr * 2 / len(X) * X.T @ (X @ w - y)\n    history.append(loss_of(w))",
            "print('last loss', history[-1])",
            "lr_next = lr / 10\nhistory = history[-5:]",
        ],
        source="c2",
        other="lr = 0.05\nepochs = 30",
        first_user="c5",
        user="c5",
        evolving="c5",
        again="c3",
        shadowed="c6",
    ),
    Story(
        "words",
        [
            "import re\nfrom collections import Counter",
            "text = 'The cat sat on the mat. The dog sat on the log.'\nstop_words = {'the', 'on'}",
            "def tokens_of(text):\n    return [word for word in re.findall(r'[a-z]+', text.lower()) if word not in stop_words]",
            "tokens = tokens_of(text)",
            "counts = Counter(tokens)\ncounts.most_common(3)",
            "counts.subtract({'sat': 1})\ntokens += ['end']",
            "vocabulary = {word: number for number, word in enumerate(sorted(counts))}\nlen(vocabulary)",
            "text = text.replace('.', '')",
        ],
        source="c1",
        other="text = 'A bird flew over the house.'\nstop_words = {'a', 'the'}",
        first_user="c3",
        user="c3",
        evolving="c5",
        again="c6",
        shadowed="c3",
    ),
    Story(
        "a class of its own",
        [
            "import numpy as np",
            "depth = 3\nshrink = 0.5",
            "class Smoother:\n    def __init__(self):\n        self.state = 0.0\n    def step(self, value):\n"
            "        self.state = shrink * self.state + (1 - shrink) * value\n        return self.state",
            "smoother = Smoother()",
            "smoothed = [smoother.step(value) for value in range(depth * 4)]",
            "best = max(smoothed)\nworst = min(smoothed)",
            "print(best, worst)",
            "best = best + worst",
        ],
        source="c1",
        other="depth = 5\nshrink = 0.25",
        first_user="c4",
        user="c4",
        evolving="c7",
        again="c5",
        shadowed="c6",
    ),
    Story(
        "sales by week",
        [
            "import pandas as pd\nimport matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt",
            "raw = pd.DataFrame({'day': pd.date_range('2024-01-01', periods=28), 'sales': range(28)})",
            "raw.plot(x='day', y='sales')\nplt.title('raw')\nplt.show()",
            "raw.insert(0, 'store', 'north')\nraw['week'] = raw['day'].dt.isocalendar().week",
            "weekly = raw.groupby('week', as_index=False)['sales'].sum()",
            "weekly = weekly.iloc[1:]",
            "fig, ax = plt.subplots()\nax.bar(weekly['week'], weekly['sales'])\nax.set_title('weekly')\nplt.close(fig)",
            "top = weekly.sort_values('sales').iloc[-1]\nprint(top['week'], top['sales'])",
        ],
        source="c1",
        other="raw = pd.DataFrame({'day': pd.date_range('2024-02-01', periods=14), 'sales': range(14, 0, -1)})",
        first_user="c2",
        user="c4",
        evolving="c5",
        again="c6",
        shadowed="c2",
    ),
    Story(
        "nearest neighbours",
        [
            "import numpy as np\nimport random\nrandom.seed(3)",
            "points = [(random.random(), random.random()) for _ in range(30)]\nlabels = [int(x > y) for x, y in points]",
            "def distance(a, b):\n    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2",
            "k = 5",
            "def predict(point):\n    near = sorted(range(len(points)), key=lambda i: distance(points[i], point))[:k]\n"
            "    return round(sum(labels[i] for i in near) / k)",
            "accuracy = sum(predict(p) == label for p, label in zip(points, labels)) / len(points)\naccuracy",
            "results = {}\nresults[k] = accuracy",
            "points.append((0.5, 0.4))\nlabels.append(1)",
        ],
        source="c3",
        other="k = 9",
        first_user="c5",
        user="c5",
        evolving="c7",
        again="c6",
        shadowed="c5",
    ),
    Story(
        "settings and folds",
        [
            "import json\nimport statistics",
            'config = json.loads(\'{"folds": 4, "scale": 2.0}\')',
            "values = [float(v) for v in range(1, 13)]",
            "def fold(number, folds):\n    return [v for at, v in enumerate(values) if at % folds == number]",
            "scores = [statistics.mean(fold(n, config['folds'])) * config['scale'] for n in range(config['folds'])]",
            "config['scale'] *= 0.5",
            "mean_score = statistics.mean(scores)\nspread = statistics.pstdev(scores)",
            "report = {'mean': mean_score, 'spread': spread}\nreport",
            "scores = sorted(scores)[1:]",
        ],
        source="c2",
        other="values = [float(v) ** 2 for v in range(1, 13)]",
        first_user="c4",
        user="c4",
        evolving="c5",
        again="c7",
        shadowed="c6",
    ),
    Story(
        "matrix factors",
        [
            "import numpy as np",
            "np.random.seed(0)\nratings = np.random.rand(6, 5)",
            "rank = 2",
            "u, s, vt = np.linalg.svd(ratings)\nu, s, vt = u[:, :rank], s[:rank], vt[:rank]",
            "approx = u * s @ vt",
            "error = np.linalg.norm(ratings - approx)\nprint('error', error)",
            "errors = []",
            "errors.append(error)\nif error > 10:\n    raise ValueError(error)",
            "approx = approx.clip(0, 0.5)",
        ],
        source="c2",
        other="rank = 3",
        first_user="c3",
        user="c3",
        evolving="c7",
        again="c3",
        shadowed="c5",
    ),
    Story(
        "titanic-like",
        [
            "from pathlib import Path\nimport csv, io\nfrom dataclasses import dataclass, field",
            "RAW = '''name,age,fare,survived\nA,22,7.25,0\nB,38,71.2,1\nC,,8.05,1\nD,35,53.1,1\nE,54,51.8,0\n'''",
            "def parse(raw):\n    rows = list(csv.DictReader(io.StringIO(raw)))\n    for row in rows:\n"
            "        row['age'] = float(row['age'] or 30)\n        row['fare'] = float(row['fare'])\n    return rows",
            "rows = parse(RAW)",
            "@dataclass\nclass Stats:\n    n: int = 0\n    total: float = 0.0\n    seen: list = field(default_factory=list)\n"
            "    def feed(self, value):\n        self.n += 1\n        self.total += value\n        self.seen.append(value)",
            "stats = Stats()",
            "for row in rows:\n    stats.feed(row['fare'])",
            "mean_fare = stats.total / stats.n\nf'{mean_fare:.2f}'",
            "rows.sort(key=lambda row: row['fare'])\ncheapest = rows.pop(0)",
        ],
        source="c1",
        other="RAW = 'name,age,fare,survived\\nZ,1,2,0\\nY,3,4,1\\n'",
        first_user="c3",
        user="c3",
        evolving="c8",
        again="c7",
        shadowed="c6",
    ),
    Story(
        "pipeline with helpers",
        [
            "import numpy as np, pandas as pd\nfrom functools import partial, lru_cache",
            "rng = np.random.default_rng(42)\nn = 120\nframe = pd.DataFrame({'x': rng.normal(size=n), 'g': rng.integers(0, 3, n)})",
            "def add_features(frame, power=2):\n    frame[f'x{power}'] = frame['x'] ** power",
            "add_features(frame)\nadd3 = partial(add_features, power=3)\nadd3(frame)",
            "train, test = frame.iloc[:90], frame.iloc[90:]",
            "@lru_cache\ndef centre(group):\n    return float(train.loc[train['g'] == group, 'x'].mean())",
            "predictions = test['g'].map(centre)\nmse = ((predictions - test['x']) ** 2).mean()\nmse",
            "log = {'mse': []}\nlog['mse'].append(mse)",
            "frame = frame.iloc[5:]",
        ],
        source="c1",
        other="rng = np.random.default_rng(1)\nn = 99\nframe = pd.DataFrame({'x': rng.normal(size=n), 'g': rng.integers(0, 3, n)})",
        first_user="c3",
        user="c4",
        evolving="c8",
        again="c6",
        shadowed="c4",
    ),
    Story(
        "torchless training loop",
        [
            "import math, random\nrandom.seed(11)",
            "settings = dict(lr=0.2, steps=15, momentum=0.5)",
            "class Net:\n    def __init__(self):\n        self.w = 0.0\n        self.v = 0.0\n    def __call__(self, x):\n"
            "        return math.tanh(self.w * x)\n    def update(self, grad):\n"
            "        self.v = settings['momentum'] * self.v - settings['lr'] * grad\n        self.w += self.v",
            "net = Net()\nlosses: list[float] = []",
            "def train(net, steps):\n    for _ in range(steps):\n        x = random.uniform(-1, 1)\n"
            "        error = net(x) - math.tanh(2 * x)\n        net.update(error * x)\n        losses.append(error ** 2)",
            "train(net, settings['steps'])",
            "final = sum(losses[-5:]) / 5\nif final > 1:\n    print('bad')\nelse:\n    print('fine', round(final, 4))",
            "ablation = {}\nfor lr in (0.1, 0.3):\n    other = Net()\n    train(other, 3)\n    ablation[lr] = other.w",
            "losses += [0.0] * 3",
        ],
        source="c1",
        other="settings = dict(lr=0.1, steps=10, momentum=0.9)",
        first_user="c3",
        user="c5",
        evolving="c8",
        again="c6",
        shadowed="c6",
    ),
    Story(
        "report",
        [
            "import json, collections, datetime as dt",
            "events = [{'day': d, 'kind': k, 'n': d * 2} for d in range(1, 6) for k in ('a', 'b')]",
            "totals = collections.defaultdict(int)\nfor event in events:\n    totals[event['kind']] += event['n']",
            "%%time\nper_day = {d: [e for e in events if e['day'] == d] for d in {e['day'] for e in events}}",
            "with open('report.json', 'w') as file:\n    json.dump({'totals': dict(totals), 'days': len(per_day)}, file)",
            "try:\n    share = totals['a'] / sum(totals.values())\nexcept ZeroDivisionError as error:\n    share = 0.0\nshare",
            "best_day, *_others = sorted(per_day, key=lambda d: -len(per_day[d]))",
            "summary = f'{best_day}: {share:.1%} {dt.date(2024, 1, best_day)}'\nprint(summary)",
            "events.extend({'day': 9, 'kind': 'c', 'n': 1} for _ in range(2))\nshare *= 100",
        ],
        source="c1",
        other="events = [{'day': d, 'kind': k, 'n': d} for d in range(1, 9) for k in ('a', 'b')]",
        first_user="c2",
        user="c2",
        evolving="c8",
        again="c5",
        shadowed="c7",
    ),
]


class Case(NamedTuple):
    """`play` does it; `faulty` are the cells of which one has to be named, with one of `kinds`. No kinds: it is clean."""

    name: str
    story: Story
    play: Callable[[LiveNotebook], None]
    kinds: frozenset[FindingKind] = frozenset()
    faulty: frozenset[str] = frozenset()


# -- faults

_UNDEFINED = frozenset({FindingKind.UNDEFINED, FindingKind.OUT_OF_ORDER})  # where a cell further down happens to bind the name


def changed_after_it_ran(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.edit(story.source, story.other)
        live.save()

    return Case("changed after it ran", story, play, frozenset({FindingKind.CHANGED}), frozenset({story.source}))


def deleted_but_used(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.delete(story.source)
        live.save()

    return Case("deleted, but used", story, play, frozenset({FindingKind.DELETED}), frozenset({story.source}))


def input_written_again(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.edit(story.source, story.other)
        live.run(story.source)
        live.save()

    return Case("its input was written again", story, play, frozenset({FindingKind.STALE}), frozenset({story.user}))


def an_older_version_is_used(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.edit(story.source, story.other)
        live.run(story.source)

    return Case("an older version is used, not saved yet", story, play, frozenset({FindingKind.UNSAVED}), frozenset({story.source}))


def moved_below_its_use(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.move_to_end(story.source)
        live.save()

    return Case("moved below its use", story, play, frozenset({FindingKind.OUT_OF_ORDER}), frozenset({story.first_user}))


def run_again_after_the_end(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run_all()
        live.run(story.shadowed)
        live.save()

    return Case(
        "run again after its input was changed below", story, play, frozenset({FindingKind.OUT_OF_ORDER}), frozenset({story.shadowed})
    )


def undefined_in_a_fresh_kernel(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.delete(story.source)
        live.save()

    return Case("nothing defines it", story, play, _UNDEFINED, frozenset({story.first_user}))


def run_twice(story: Story) -> Case:
    def play(live: LiveNotebook) -> None:
        live.run(*(cell_id for cell_id, _ in live.cells if cell_id <= story.evolving))
        live.run(story.evolving)
        live.run(*live.after(story.evolving))
        live.save()

    return Case("run twice", story, play, frozenset({FindingKind.RUN_TWICE}), frozenset({story.evolving}))


FAULTS = [
    changed_after_it_ran,
    deleted_but_used,
    input_written_again,
    an_older_version_is_used,
    moved_below_its_use,
    run_again_after_the_end,
    undefined_in_a_fresh_kernel,
    run_twice,
]


# -- what is fine


def run_all(live: LiveNotebook, _: Story) -> None:
    live.run_all()
    live.save()


def run_all_twice(live: LiveNotebook, _: Story) -> None:
    live.run_all()
    live.run_all()
    live.save()


def run_a_cell_again_at_once(live: LiveNotebook, story: Story) -> None:
    live.run(*(cell_id for cell_id, _ in live.cells if cell_id <= story.again))
    live.run(story.again)
    live.run(*live.after(story.again))
    live.save()


def comment_a_cell(live: LiveNotebook, story: Story) -> None:
    live.run_all()
    live.edit(story.source, "# what all of it begins with\n\n" + dict(live.cells)[story.source] + "  # so it is\n")
    live.save()


def look_in_a_scratch_cell(live: LiveNotebook, story: Story) -> None:
    live.run(*(cell_id for cell_id, _ in live.cells if cell_id <= story.user))
    scratch = live.insert("looked = sorted(name for name in dir() if not name.startswith('_'))\nlooked[:3]", before=story.user)
    live.run(scratch)
    live.delete(scratch)
    live.run(*live.after(story.user))
    live.save()


def change_and_run_all_below(live: LiveNotebook, story: Story) -> None:
    live.run_all()
    live.edit(story.source, story.other)
    live.run_all()
    live.save()


def change_and_run_without_saving(live: LiveNotebook, story: Story) -> None:
    live.edit(story.source, story.other)
    live.run_all()


def mend_a_typo(live: LiveNotebook, story: Story) -> None:
    right = dict(live.cells)[story.user]
    live.run(*(cell_id for cell_id, _ in live.cells if cell_id < story.user))
    live.edit(story.user, "undefined_name_of_a_typo\n" + right)
    live.run(story.user, fails=True)
    live.edit(story.user, right)
    live.run(story.user, *live.after(story.user))
    live.save()


def run_the_first_half(live: LiveNotebook, story: Story) -> None:
    live.run(*(cell_id for cell_id, _ in live.cells if cell_id <= story.user))
    live.save()


def import_again(live: LiveNotebook, _: Story) -> None:
    live.run_all()
    imports, definition = live.insert("import math", before="c0"), live.insert("def unused():\n    return math.pi", before="c0")
    live.run(imports, definition)
    live.edit(imports, "import math\nimport sys")
    live.run(imports)
    live.save()


def never_run(live: LiveNotebook, _: Story) -> None:
    live.save()


def add_a_cell_that_is_not_saved(live: LiveNotebook, story: Story) -> None:
    live.run_all()
    live.run(live.insert("shown = [1, 2, 3]\nprint(shown)"))


CLEAN = [
    run_all,
    run_all_twice,
    run_a_cell_again_at_once,
    comment_a_cell,
    look_in_a_scratch_cell,
    change_and_run_all_below,
    change_and_run_without_saving,
    mend_a_typo,
    run_the_first_half,
    import_again,
    never_run,
    add_a_cell_that_is_not_saved,
]


def faulty_cases() -> Iterator[Case]:
    for story in STORIES:
        for fault in FAULTS:
            yield fault(story)


def clean_cases() -> Iterator[Case]:
    for story in STORIES:
        for usage in CLEAN:

            def play(live: LiveNotebook, usage: Callable[[LiveNotebook, Story], None] = usage, story: Story = story) -> None:
                usage(live, story)

            yield Case(usage.__name__.replace("_", " "), story, play)
