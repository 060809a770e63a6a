"""A small Kubernetes for tests: an API over real HTTP that keeps, checks and refuses, and a controller that runs pods as processes.

What comes in is held to the published schemas of Kubernetes (kubernetes-validate, strict). Containers run for real, by `sh`, with their
volumes as folders whose paths take the place of the mount paths in commands and environment. Faults are put before or behind calls.
"""

from __future__ import annotations

import base64
import functools
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

Document = dict[str, Any]
KINDS = {
    "jobs": ("batch/v1", "Job"),
    "pods": ("v1", "Pod"),
    "secrets": ("v1", "Secret"),
    "events": ("v1", "Event"),
    "nodes": ("v1", "Node"),
    "resourcequotas": ("v1", "ResourceQuota"),
}
PATH = re.compile(r"/(?:api/v1|apis/([^/]+)/v1)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/(log))?")
TOKEN = "the-clusters-token"
VERSION = "1.30"


class Refused(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
        self.code = code


class Cut(Exception):
    """The connection ends without an answer."""


Fault = Callable[[str, str], str]
"""From verb and resource to what happens: "", `before`, `after`, `throttled`, `cut`, `cut after`, `malformed`."""


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """The objects of a cluster, and what becomes of them. `denied` holds (verb, resource, namespace or "*")."""

    def __init__(self, folder: Path, *, runs_pods: bool = True) -> None:
        self.folder = folder
        self.objects: dict[tuple[str, str, str], Document] = {}
        self.namespaces = {"default", "team", "other"}
        self.denied: set[tuple[str, str, str]] = set()
        self.fault: Fault = lambda verb, resource: ""
        self.calls: list[str] = []
        self.bodies: list[Document] = []
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.runs_pods = runs_pods
        self.version = 0
        self.lock = threading.RLock()
        self.add_node("node-1", {})
        self._over = threading.Event()
        self._turns = threading.Thread(target=self._turn_on, daemon=True)

    # -- what is there

    def add_node(self, name: str, labels: Mapping[str, str], *, gpus: int = 0, cpus: int = 64) -> None:
        room = {"cpu": str(cpus), "memory": "256Gi", "nvidia.com/gpu": str(gpus)}
        self.put("nodes", "", {"metadata": {"name": name, "labels": dict(labels)}, "status": {"allocatable": room}})

    def put(self, resource: str, namespace: str, body: Document) -> Document:
        with self.lock:
            self.version += 1
            version, kind = KINDS[resource]
            metadata = {
                "creationTimestamp": now(),
                "uid": str(uuid.uuid4()),
                **({"namespace": namespace} if namespace else {}),
                **body["metadata"],
                "resourceVersion": str(self.version),
            }
            made = {"status": {}, **body, "apiVersion": version, "kind": kind, "metadata": metadata}
            self.objects[resource, namespace, metadata["name"]] = made
            return made

    def of(self, resource: str, namespace: str | None = None) -> list[Document]:
        with self.lock:
            return [one for (kind, place, _), one in self.objects.items() if kind == resource and namespace in (None, place)]

    def event(self, about: Document, reason: str, message: str, kind: str = "Warning") -> None:
        place = about["metadata"]["namespace"]
        known = (e for e in self.of("events", place) if e["involvedObject"]["name"] == about["metadata"]["name"])
        if all((e["reason"], e["message"]) != (reason, message) for e in known):
            body = {"metadata": {"name": f"e-{uuid.uuid4().hex[:12]}"}, "reason": reason, "message": message, "type": kind}
            self.put("events", place, {**body, "involvedObject": {"kind": about["kind"], "name": about["metadata"]["name"]}})

    # -- what is asked

    def answer(self, method: str, url: str, body: Document | None, token: str) -> Document | str:
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if token != TOKEN:
            raise Refused(401, "Unauthorized", "Unauthorized")
        if parts.path.endswith("/selfsubjectaccessreviews"):
            return self._review(body or {})
        match = PATH.fullmatch(parts.path)
        if match is None or match[3] not in KINDS:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        group, namespace, resource, name, log = match.groups()
        verb = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}[method]
        self._allow(verb, f"{resource}/log" if log else resource, group or "", namespace)
        if log:
            return self._log(namespace or "", name or "", query)
        if verb == "create":
            return self._create(resource, namespace or "", body or {})
        if verb == "list":
            return self._list(resource, namespace, query)
        with self.lock:
            there = self.objects.get((resource, namespace or "", name or ""))
            if there is None:
                raise Refused(404, "NotFound", f'{resource}{f".{group}" if group else ""} "{name}" not found')
            return there if verb == "get" else self._delete(resource, there, query.get("propagationPolicy", "Background"))

    def _allow(self, verb: str, resource: str, group: str, namespace: str | None) -> None:
        if {(verb, resource, namespace or "*"), (verb, resource, "any")} & self.denied:
            where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
            raise Refused(403, "Forbidden", f'x is forbidden: User "dev" cannot {verb} resource "{resource}" in API group "{group}"{where}')

    def _review(self, body: Document) -> Document:
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
        denied = {(asked["verb"], resource, asked.get("namespace") or "*"), (asked["verb"], resource, "any")} & self.denied
        return {**body, "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": {"allowed": not denied}}

    def _create(self, resource: str, namespace: str, body: Document) -> Document:
        self.bodies.append(body)
        if namespace not in self.namespaces:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        try:
            _checker(body["apiVersion"], body["kind"]).validate(body)
        except jsonschema.ValidationError as error:
            raise Refused(422, "Invalid", f"{body.get('kind')} is invalid: {error.message}") from None
        name, labels = body["metadata"]["name"], body["metadata"].get("labels", {})
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", name):
            raise Refused(422, "Invalid", f'metadata.name: Invalid value: "{name}"')
        for value in labels.values():
            if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", value):
                raise Refused(422, "Invalid", f'metadata.labels: Invalid value: "{value}"')
        with self.lock:
            if (resource, namespace, name) in self.objects:
                raise Refused(409, "AlreadyExists", f'{resource} "{name}" already exists')
            body = {key: value for key, value in body.items() if key != "status"}
            if text := body.pop("stringData", None):
                body["data"] = {**body.get("data", {}), **{k: base64.b64encode(v.encode()).decode() for k, v in text.items()}}
            return self.put(resource, namespace, body)

    def _list(self, resource: str, namespace: str | None, query: Mapping[str, str]) -> Document:
        found = sorted(self.of(resource, namespace), key=lambda one: str(one["metadata"]["name"]))
        for key, value in (part.split("=", 1) for part in query.get("labelSelector", "").replace("==", "=").split(",") if part):
            found = [one for one in found if one["metadata"].get("labels", {}).get(key) == value]
        for key, value in (part.split("=", 1) for part in query.get("fieldSelector", "").replace("==", "=").split(",") if part):
            assert key == "involvedObject.name"
            found = [one for one in found if one["involvedObject"]["name"] == value]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        rest = str(start + limit) if limit and start + limit < len(found) else ""
        version, kind = KINDS[resource]
        page = found[start : start + limit] if limit else found
        return {"apiVersion": version, "kind": f"{kind}List", "metadata": {"continue": rest, "resourceVersion": "1"}, "items": page}

    def _delete(self, resource: str, there: Document, policy: str) -> Document:
        if resource == "jobs" and policy == "Foreground" and self._owned(there):
            there["metadata"]["deletionTimestamp"] = now()
            there["metadata"]["finalizers"] = ["foregroundDeletion"]
        elif resource == "pods" and self.processes.get(there["metadata"]["uid"]):
            self._end(there)
        else:
            self.objects.pop((resource, there["metadata"].get("namespace", ""), there["metadata"]["name"]), None)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}

    def _log(self, namespace: str, name: str, query: Mapping[str, str]) -> str:
        path = self.folder / self.objects["pods", namespace, name]["metadata"]["uid"] / f"{query['container']}.log"
        if not path.exists():
            raise Refused(400, "BadRequest", f'container "{query["container"]}" in pod "{name}" is waiting to start')
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        return "".join(lines[-int(query.get("tailLines", 10**6)) :])

    # -- what becomes of it

    def __enter__(self) -> Cluster:
        self._turns.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._turns.join()
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _turn_on(self) -> None:
        while not self._over.wait(0.02):
            with self.lock:
                for job in self.of("jobs"):
                    self._drive_job(job)
                for pod in self.of("pods"):
                    self._drive_pod(pod)
                uids = {one["metadata"]["uid"] for one in self.objects.values()}
                for key, one in list(self.objects.items()):
                    owners = one["metadata"].get("ownerReferences", ())
                    if owners and all(owner["uid"] not in uids for owner in owners) and key[0] != "pods":
                        del self.objects[key]

    def _owned(self, job: Document) -> list[Document]:
        return [p for p in self.of("pods") if any(o["uid"] == job["metadata"]["uid"] for o in p["metadata"].get("ownerReferences", ()))]

    def _drive_job(self, job: Document) -> None:
        metadata, spec, status = job["metadata"], job["spec"], job["status"]
        if status.get("conditions") and not metadata.get("deletionTimestamp"):
            if time.monotonic() > status["x-ended"] + spec["ttlSecondsAfterFinished"]:
                self._delete("jobs", job, "Foreground")
            return
        pods = self._owned(job)
        if metadata.get("deletionTimestamp"):
            for pod in pods:
                self._delete("pods", pod, "Background")
            if not self._owned(job):
                del self.objects["jobs", metadata["namespace"], metadata["name"]]
            return
        begun = status.setdefault("x-begun", time.monotonic())
        if time.monotonic() > begun + spec["activeDeadlineSeconds"]:
            for pod in pods:
                self._end(pod)
            self._conclude(job, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif not pods:
            self._make_pod(job)
        elif pods[0]["status"].get("phase") in ("Succeeded", "Failed"):
            good = pods[0]["status"]["phase"] == "Succeeded"
            self._conclude(
                job, *(("Complete", "", "") if good else ("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit"))
            )

    def _conclude(self, job: Document, kind: str, reason: str, message: str) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}
        job["status"] |= {"conditions": [condition], "x-ended": time.monotonic()}

    def _make_pod(self, job: Document) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        for quota in self.of("resourcequotas", metadata["namespace"]):
            hard, used = int(quota["status"]["hard"]["pods"]), len(self.of("pods", metadata["namespace"]))
            if used >= hard:
                name, limit = quota["metadata"]["name"], f"requested: pods=1, used: pods={used}, limited: pods={hard}"
                self.event(
                    job, "FailedCreate", f'Error creating: pods "{metadata["name"]}-x" is forbidden: exceeded quota: {name}, {limit}'
                )
                return
        labels = {**template["metadata"]["labels"], "job-name": metadata["name"]}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        name = f"{metadata['name']}-{uuid.uuid4().hex[:5]}"
        body = {"metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}, "spec": {**template["spec"]}}
        self.put("pods", metadata["namespace"], {**body, "status": {"phase": "Pending", "conditions": []}})

    def _drive_pod(self, pod: Document) -> None:
        spec, status, uid = pod["spec"], pod["status"], pod["metadata"]["uid"]
        process = self.processes.get(uid)
        if process is not None:
            if process.poll() is not None:
                del self.processes[uid]
                words = self.folder / uid / "termination-log"
                ended = {
                    "exitCode": process.returncode,
                    "message": words.read_text(),
                    "reason": "Error" if process.returncode else "Completed",
                }
                status["containerStatuses"] = [{**_status("runner"), "state": {"terminated": ended}}]
                status["phase"] = "Failed" if process.returncode else "Succeeded"
                if pod["metadata"].get("deletionTimestamp"):
                    del self.objects["pods", pod["metadata"]["namespace"], pod["metadata"]["name"]]
            return
        if status["phase"] != "Pending":
            return
        if "nodeName" not in spec:
            fitting = [node for node in self.of("nodes") if _fits(spec, node)]
            if not fitting:
                message = f"0/{len(self.of('nodes'))} nodes are available: {len(self.of('nodes'))} node(s) didn't match."
                status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
                return
            spec["nodeName"] = fitting[0]["metadata"]["name"]
        secret = self.objects.get(("secrets", pod["metadata"]["namespace"], spec["volumes"][0]["secret"]["secretName"]))
        if self.runs_pods and secret is not None:
            self._start(pod, secret)

    def _start(self, pod: Document, secret: Document) -> None:
        root = self.folder / pod["metadata"]["uid"]
        folders = {volume["name"]: root / volume["name"] for volume in pod["spec"]["volumes"]}
        for folder in folders.values():
            folder.mkdir(parents=True)
        for key, value in secret["data"].items():
            (folders["order"] / key).write_bytes(base64.b64decode(value))
        (root / "termination-log").touch()
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
            paths = {mount["mountPath"]: str(folders[mount["name"]]) for mount in container["volumeMounts"]}
            paths[container["terminationMessagePath"]] = str(root / "termination-log")
            pattern = re.compile("|".join(rf"{re.escape(path)}(?![\w-])" for path in sorted(paths, key=len, reverse=True)))
            texts = [pattern.sub(lambda found, paths=paths: paths[found[0]], text) for text in container["command"]]  # type: ignore[misc]
            values = {one["name"]: pattern.sub(lambda found, paths=paths: paths[found[0]], one["value"]) for one in container["env"]}  # type: ignore[misc]
            with (root / f"{container['name']}.log").open("wb") as log:
                environment = {"PATH": os.environ["PATH"], "TMPDIR": str(folders["home"]), **values}
                process = subprocess.Popen(texts, env=environment, stdout=log, stderr=log, cwd="/", start_new_session=True)
            if container is not pod["spec"]["containers"][-1]:
                assert process.wait(10) == 0, (root / f"{container['name']}.log").read_text()
        self.processes[pod["metadata"]["uid"]] = process
        pod["status"] |= {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{**_status("runner"), "state": {"running": {}}}]}

    def _end(self, pod: Document) -> None:
        pod["metadata"].setdefault("deletionTimestamp", now())
        process = self.processes.get(pod["metadata"]["uid"])
        if process is None:
            self.objects.pop(("pods", pod["metadata"]["namespace"], pod["metadata"]["name"]), None)
        elif "x-told" not in pod["status"]:
            pod["status"]["x-told"] = True
            process.send_signal(signal.SIGTERM)  # as kubelet does: the first process of the container alone


@functools.cache
def _checker(version: str, kind: str) -> Any:
    """Return what checks documents of a kind, made once: reading the schemas takes most of the time of a check."""
    import kubernetes_validate
    from jsonschema.validators import Draft202012Validator

    made = []
    real = Draft202012Validator.validate
    try:
        Draft202012Validator.validate = lambda self, data: made.append(self)
        kubernetes_validate.validate({"apiVersion": version, "kind": kind}, VERSION, strict=True)
    finally:
        Draft202012Validator.validate = real
    return made[0]


def _status(name: str) -> Document:
    return {"name": name, "image": "python", "imageID": "", "ready": False, "restartCount": 0}


def _fits(spec: Document, node: Document) -> bool:
    labels, room = node["metadata"]["labels"], node["status"]["allocatable"]
    wanted = spec["containers"][0]["resources"]["requests"]
    cpus, gpus = int(wanted.get("cpu", "0m").removesuffix("m")) / 1000, int(wanted.get("nvidia.com/gpu", 0))
    chosen = all(labels.get(key) == value for key, value in spec.get("nodeSelector", {}).items())
    return chosen and cpus <= int(room["cpu"]) and gpus <= int(room["nvidia.com/gpu"])
