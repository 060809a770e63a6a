"""`%serve` and `%%serve test`: thin; each verb parses its words, makes one call and shows what came."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display as _display

from mlops_nb.core.durations import seconds_of
from mlops_nb.core.formatting import format_number, one_line
from mlops_nb.errors import InvalidInput, MlopsError, NotSupported, did_you_mean
from mlops_nb.fluent import serving
from mlops_nb.magics import serve_cards as cards
from mlops_nb.magics.arguments import split_words, unquoted
from mlops_nb.magics.live import is_live
from mlops_nb.magics.serve_monitor import live_panel, monitor_bundle
from mlops_nb.magics.serve_parsers import ENVIRONMENTS, EXPRESSIONS, START_VERB, VERBS, parser_of, share
from mlops_nb.magics.serve_snippets import snippets
from mlops_nb.models.exports import NEXT_STEPS
from mlops_nb.serving.client import Endpoint
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.payloads import request_of
from mlops_nb.serving.records import EndpointInfo

_MOST_RPS = 2000.0
_LONGEST_LOAD = 600.0
_SENDERS = 32


@magics_class
class ServeMagics(Magics):
    """The magic of endpoints."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self._served: dict[str, Any] = {}
        self._panels: dict[str, Any] = {}
        self.say: Callable[[str], None] = print

    @no_var_expand
    @line_cell_magic
    def serve(self, line: str, cell: str | None = None) -> Any:
        """Serve models, and look after what is served.

        %serve VAR|RUN|MODEL[@ALIAS] [--name N] [--example ROWS] [--ttl 2h] [--workers 1] [--canary 10%] [--shadow]
               [--port] [--timeout 60s] [--memory MIB] [--env kernel|clean] [--gpu] [--route json|v2|openai]
               [--accelerate auto|require] [--no-register] [--no-parity] [--allow-unsafe]
                                             a process of its own, behind Jupyter's login; ready when parity is proven
        %serve ls                            what is served
        %serve test N [ROWS]                 ask it; %%serve test N takes a JSON body
        %serve parity N ROWS [--with MODEL]  does it answer what the notebook's model answers?
        %serve load N [ROWS] [--rps 50] [--for 10s]
        %serve logs N | code N [curl|python|js] [--route v2]
        %serve monitor N [--ref VAR|RUN]     traffic, latency, versions; drift of requests against the training data, VAR or RUN
        %serve package N --docker|--bento|--kserve|--mlflow|--ray|--sagemaker DIR
        %serve promote N [--to prod] [--canary 50%] | rollback N | extend N 8h | stop N

        %serve model --name churn --example X_val[:3]
        %serve churn@prod --ttl 8h
        %serve better --name churn --canary 10%
        %serve promote churn --to prod

        More of one: %serve promote --help. In Python: mlops_nb.serve(model, "churn", example=X_val), which returns an Endpoint
        with .url .predict(rows) .logs() .stop(). On the command line: mlops-nb serve --help, mlops-nb models serve --help.
        """
        return self.run(line, cell)

    def run(self, line: str, cell: str | None = None) -> Any:
        """Do what a line says."""
        try:
            words = split_words(line, EXPRESSIONS)
        except InvalidInput as error:
            raise InvalidInput(f"%serve: {error.message}", hint=error.hint) from None
        if not words:
            return self._ls(None)
        verb = words[0] if words[0] in VERBS else START_VERB
        rest = words if verb == START_VERB else words[1:]
        parser = parser_of(verb)
        if "--help" in rest:
            return self.say(parser.help_text())
        if cell is not None and verb != "test":
            raise InvalidInput("%%serve takes a JSON body for `test` only.", hint="Write: %%serve test NAME")
        if verb == START_VERB and words[0] not in self.shell.user_ns and words[0].isidentifier() and len(words) > 1:
            near = did_you_mean(words[0], VERBS)
            if near and not words[1].startswith("-"):
                raise InvalidInput(f"%serve: no sub-command '{words[0]}'.", hint=near)
        arguments = parser.parse_args(rest)
        if verb == "test":
            return self._test(arguments, cell)
        return getattr(self, f"_{verb.lstrip('_')}")(arguments)

    # -- serving

    def _start(self, arguments: Any) -> Endpoint:
        if arguments.on is not None:
            raise NotSupported(
                f"--on {arguments.on}: models are served from this Jupyter server only, not on runners.",
                hint="Leave out --on, or take the endpoint elsewhere: %serve package NAME --docker DIR",
            )
        model, is_variable = self._model(arguments.model)
        example = None if arguments.example is None else self._evaluate(arguments.example, "--example")
        if is_variable and example is None:
            example = self._found_example(model)
            if example is None:
                raise InvalidInput(
                    f"`{arguments.model}` needs an example row to infer its schema.",
                    hint=f"Try `%serve {arguments.model} --example X_val[:3]`.",
                )
        name = unquoted(arguments.name) if arguments.name else arguments.model if is_variable and arguments.model.isidentifier() else None
        progress = _Progress(self.shell)
        try:
            endpoint = serving.serve(
                model,
                name,
                example=example,
                ttl=seconds_of(arguments.ttl) if arguments.ttl else None,
                workers=arguments.workers,
                canary=share(arguments.canary) if arguments.canary else None,
                shadow=share(arguments.shadow) if arguments.shadow else None,
                port=_port(arguments.port),
                limits=_limits(arguments),
                register=not arguments.no_register,
                parity=not arguments.no_parity,
                env_manager=arguments.env_manager or ENVIRONMENTS[arguments.env or "clean"],
                allow_unsafe=arguments.allow_unsafe,
                gpu=arguments.gpu,
                accelerate=arguments.accelerate,
                route=arguments.route,
                told=progress.told,
            )
        finally:
            progress.over()
        if is_variable:
            self._served[endpoint.name] = model
        form = cards.try_form(endpoint, endpoint.info()) if is_live(self.shell) else None
        if form is not None:
            _display(form)  # type: ignore[no-untyped-call]  # IPython's display has no types
        return endpoint

    def _model(self, word: str) -> tuple[Any, bool]:
        """Return what a word stands for, and whether it is a variable with a model."""
        head = word.partition("[")[0].partition(".")[0]
        if head in self.shell.user_ns and ":/" not in word and "@" not in word:
            value = self._evaluate(word, "MODEL")
            is_model = not isinstance(value, str) and not hasattr(value, "run_id") and not hasattr(value, "model_uri")
            return value, is_model
        return unquoted(word), False

    def _found_example(self, model: Any) -> Any:
        """Return the first rows of a table in the notebook that has exactly the columns that the model was fitted with."""
        names = getattr(model, "feature_names_in_", None)
        if names is None:
            return None
        wanted = [str(name) for name in names]
        for key, value in list(self.shell.user_ns.items()):
            if (
                not key.startswith("_")
                and hasattr(value, "iloc")
                and [str(name) for name in getattr(value, "columns", ())] == wanted
                and len(value)
            ):
                self.say(f"The example is `{key}`: it has the columns that the model was fitted with.")
                return value
        return None

    # -- looking after

    def _ls(self, _: Any) -> cards.EndpointList:
        return cards.EndpointList(serving.find_server().all())

    def _logs(self, arguments: Any) -> None:
        text = self._endpoint(arguments.name).logs(arguments.number)
        self.say(text or "Nothing has been printed.")

    def _stop(self, arguments: Any) -> None:
        self._endpoint(arguments.name).stop()
        self.say(f"■ {unquoted(arguments.name)} is stopped.")

    def _test(self, arguments: Any, cell: str | None) -> Any:
        endpoint = self._endpoint(arguments.name)
        if cell is not None:
            status, text = endpoint.send(cell)
            return self.say(text if status == 200 else f"✗ HTTP {status}: {text}")
        if arguments.data is not None:
            return endpoint.predict(self._evaluate(arguments.data, "VAR"))
        status, text = endpoint.send(self._example_body(endpoint))
        return self.say(text if status == 200 else f"✗ HTTP {status}: {text}")

    def _parity(self, arguments: Any) -> Any:
        name = unquoted(arguments.name)
        model = self._evaluate(arguments.model, "--with") if arguments.model else self._served.get(name)
        self.say(str(serving.endpoint(name, model=model).compare(self._evaluate(arguments.data, "VAR"))))

    def _load(self, arguments: Any) -> None:
        endpoint = self._endpoint(arguments.name)
        body = request_of(self._evaluate(arguments.data, "VAR")) if arguments.data else self._example_body(endpoint).encode()
        duration = seconds_of(arguments.duration)
        if not 0 < arguments.rps <= _MOST_RPS or not 0 < duration <= _LONGEST_LOAD:
            raise InvalidInput("%serve load sends at most 2,000 requests a second, for at most 10 minutes.", hint="Try --rps 50 --for 10s")
        self.say(_load(endpoint, body, arguments.rps, duration))

    def _monitor(self, arguments: Any) -> None:
        endpoint = self._endpoint(arguments.name)
        monitored = endpoint.monitor() if arguments.ref is None else self._held_against(endpoint, arguments.ref)
        bundle = monitor_bundle(monitored, endpoint.info())
        if not is_live(self.shell):
            _display(bundle, raw=True)  # type: ignore[no-untyped-call]
            return
        before = self._panels.pop(endpoint.name, None)
        if before is not None:  # one that follows is enough
            before.watcher.stop()
        panel = self._panels[endpoint.name] = live_panel(endpoint, bundle)
        _display(panel)  # type: ignore[no-untyped-call]

    def _held_against(self, endpoint: Endpoint, word: str) -> Monitored:
        """Set what requests are held against: rows of a variable, or a run by its name."""
        head = re.split(r"[^\w]", word, maxsplit=1)[0]
        if head in self.shell.user_ns and not word.startswith("@"):
            return endpoint.monitor(self._evaluate(word, "--ref"), source=f"`{one_line(word)}`")
        return endpoint.monitor(serving.reference_run(unquoted(word)))

    def _package(self, arguments: Any) -> None:
        endpoint = self._endpoint(arguments.name)
        directory = unquoted(arguments.directory)
        for path in endpoint.package(
            arguments.kind,
            directory,
            storage_uri=unquoted(arguments.storage_uri) if arguments.storage_uri else None,
            allow_unsafe=arguments.allow_unsafe,
        ):
            self.say(f"wrote {path}")
        self.say(f"Next: {NEXT_STEPS[arguments.kind].format(directory=directory)}")

    def _code(self, arguments: Any) -> None:
        endpoint = self._endpoint(arguments.name)
        code = snippets(endpoint, endpoint.info(), arguments.route)
        self.say(code[arguments.language] if arguments.language else "\n\n".join(f"# {name}\n{text}" for name, text in code.items()))

    def _promote(self, arguments: Any) -> Endpoint:
        endpoint = self._endpoint(arguments.name)
        endpoint.promote(
            share=share(arguments.canary) if arguments.canary else None, alias=unquoted(arguments.to) if arguments.to else None
        )
        return endpoint

    def _rollback(self, arguments: Any) -> Endpoint:
        endpoint = self._endpoint(arguments.name)
        endpoint.rollback()
        return endpoint

    def _extend(self, arguments: Any) -> Endpoint:
        endpoint = self._endpoint(arguments.name)
        endpoint.extend(seconds_of(arguments.ttl))
        return endpoint

    # -- parts

    def _endpoint(self, word: str) -> Endpoint:
        return serving.endpoint(unquoted(word))

    def _example_body(self, endpoint: Endpoint) -> str:
        example = endpoint.info().example
        if example is None:
            raise InvalidInput(f"The endpoint '{endpoint.name}' has no example.", hint=f"Give rows: %serve test {endpoint.name} X[:3]")
        return json.dumps(example)

    def _evaluate(self, expression: str, key: str) -> Any:
        try:
            return self.shell.ev(expression)
        except Exception as error:  # the expression is the user's; whatever it raises is the answer
            raise InvalidInput(f"%serve: {key} {expression} cannot be evaluated: {type(error).__name__}: {error}") from error


class _Progress:
    """One line under the cell while an endpoint starts, where somebody looks."""

    def __init__(self, shell: Any) -> None:
        self._handle: Any = None
        self._is_live = is_live(shell)
        self._began = time.monotonic()

    def told(self, info: EndpointInfo) -> None:
        """Show that it is on its way."""
        if not self._is_live:
            return
        step = f" · {one_line(info.attempt.step)[:120]}" if info.attempt is not None and info.attempt.step else ""
        text = f"◌ {info.name} is starting · {time.monotonic() - self._began:.0f} s{step}"
        if self._handle is None:
            self._handle = _display({"text/plain": text}, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update({"text/plain": text}, raw=True)

    def over(self) -> None:
        """Take the line away."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"'{text}' is no port.", hint="Give a number, or --port alone for any.")
    return int(text)


def _limits(arguments: Any) -> Limits | None:
    given: dict[str, Any] = {}
    if arguments.timeout:
        given["timeout"] = seconds_of(arguments.timeout)
    if arguments.memory is not None:
        given["memory"] = arguments.memory << 20
    if not given:
        return None
    limits = Limits(**given)
    limits.check()
    return limits


def _load(endpoint: Endpoint, body: bytes, rate: float, duration: float) -> str:
    """Send requests at a rate, each at its own time whatever the others do, and return what came of it."""
    times: list[float] = []
    errors: dict[str, int] = {}
    lock = threading.Lock()
    count = max(1, int(rate * duration))
    begin = time.perf_counter()
    following = iter(range(count))

    def send() -> None:
        while True:
            with lock:
                number = next(following, None)
            if number is None:
                return
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                status, _ = endpoint.send(body)
                problem = "" if status == 200 else f"HTTP {status}"
            except MlopsError as error:
                problem = type(error).__name__
            took = time.perf_counter() - due  # since when it should have left: a full queue is not hidden
            with lock:
                times.append(took)
                if problem:
                    errors[problem] = errors.get(problem, 0) + 1

    threads = [threading.Thread(target=send, daemon=True) for _ in range(min(_SENDERS, count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begin
    times.sort()
    p50, p95, p99 = (format_number(times[min(len(times) - 1, int(share * len(times)))] * 1000) for share in (0.5, 0.95, 0.99))
    failed = ", ".join(f"{number} {problem}" for problem, number in errors.items()) or "no errors"
    text = (
        f"{len(times)} requests in {wall:.1f} s ({len(times) / wall:.0f}/s of {rate:g}/s) · p50 {p50} · p95 {p95} · p99 {p99} ms · {failed}"
    )
    return text + (" · saturated: it cannot keep up" if len(times) / wall < 0.9 * rate else "")
