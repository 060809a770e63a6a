"""Cut GitHub's published REST description down to the operations that the loopback GitHub has.

npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
python trim_github.py package/generated/api.github.com.json package/generated/ghec.json > github.json

The second has the operations of enterprises, which the first leaves out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

REPO = "/repos/{owner}/{repo}"
OPERATIONS = {
    "/user": "get",
    "/users/{username}": "get",
    "/app/installations/{installation_id}/access_tokens": "post",
    REPO: "get",
    f"{REPO}/installation": "get",
    f"{REPO}/actions/jobs/{{job_id}}": "get",
    f"{REPO}/actions/jobs/{{job_id}}/rerun": "post",
    f"{REPO}/actions/runners": "get",
    f"{REPO}/actions/runners/downloads": "get",
    f"{REPO}/actions/runners/generate-jitconfig": "post",
    f"{REPO}/actions/runners/registration-token": "post",
    f"{REPO}/actions/runners/{{runner_id}}": "get delete",
    f"{REPO}/actions/runs": "get",
    f"{REPO}/actions/runs/{{run_id}}": "get",
    f"{REPO}/actions/runs/{{run_id}}/cancel": "post",
    f"{REPO}/actions/runs/{{run_id}}/jobs": "get",
    f"{REPO}/actions/runs/{{run_id}}/rerun": "post",
    f"{REPO}/actions/runs/{{run_id}}/rerun-failed-jobs": "post",
    f"{REPO}/check-runs": "post",
    f"{REPO}/check-runs/{{check_run_id}}": "get patch",
    f"{REPO}/check-runs/{{check_run_id}}/annotations": "get",
    f"{REPO}/comments/{{comment_id}}": "get patch delete",
    f"{REPO}/commits/{{commit_sha}}/comments": "get post",
    f"{REPO}/commits/{{commit_sha}}/pulls": "get",
    f"{REPO}/commits/{{ref}}/check-runs": "get",
    f"{REPO}/git/blobs": "post",
    f"{REPO}/git/commits": "post",
    f"{REPO}/git/commits/{{commit_sha}}": "get",
    f"{REPO}/git/ref/{{ref}}": "get",
    f"{REPO}/git/refs": "post",
    f"{REPO}/git/refs/{{ref}}": "patch delete",
    f"{REPO}/git/trees": "post",
    f"{REPO}/git/trees/{{tree_sha}}": "get",
    f"{REPO}/issues/comments/{{comment_id}}": "get patch delete",
    f"{REPO}/issues/{{issue_number}}/comments": "get post",
    f"{REPO}/contents/{{path}}": "get put",
    f"{REPO}/pulls": "get post",
    f"{REPO}/pulls/{{pull_number}}": "get patch",
    f"{REPO}/pulls/{{pull_number}}/merge": "put",
    f"{REPO}/statuses/{{sha}}": "post",
}
for place in ("/orgs/{org}", "/enterprises/{enterprise}"):
    OPERATIONS |= {
        f"{place}/actions/runners": "get",
        f"{place}/actions/runners/downloads": "get",
        f"{place}/actions/runners/generate-jitconfig": "post",
        f"{place}/actions/runners/{{runner_id}}": "get delete",
    }
OPERATIONS["/orgs/{org}/installation"] = "get"
TALK = {"description", "summary", "examples", "example", "externalDocs", "tags", "x-github", "x-octokit", "title", "operationId"}


def quiet(node: Any, *, is_names: bool = False) -> Any:
    """Drop what only people read; the keys of `properties` are names and stay."""
    if isinstance(node, list):
        return [quiet(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: quiet(value, is_names=key in ("properties", "schemas", "parameters", "responses", "headers"))
        for key, value in node.items()
        if is_names or key not in TALK
    }


def trim(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the operations above and the components that they reach."""
    paths: dict[str, Any] = {}
    for path, methods in OPERATIONS.items():
        item = whole["paths"][path]
        paths[path] = {method: quiet(item[method]) for method in methods.split()}
        for method, operation in paths[path].items():
            operation["operationId"] = item[method]["operationId"]
    components: dict[str, dict[str, Any]] = {}
    waiting = set(re.findall(r'"#/components/(\w+/[^"]+)"', json.dumps(paths)))
    while waiting:
        kind, name = waiting.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = quiet(whole["components"][kind][name])
            waiting |= set(re.findall(r'"#/components/(\w+/[^"]+)"', json.dumps(components[kind][name])))
    for item in paths.values():
        for operation in item.values():
            for answer in operation["responses"].values():
                answer.setdefault("description", "") if "$ref" not in answer else None
    for answer in components.get("responses", {}).values():
        answer.setdefault("description", "")
    components = {kind: dict(sorted(parts.items())) for kind, parts in sorted(components.items())}
    return {"openapi": whole["openapi"], "info": {k: whole["info"][k] for k in ("version", "title", "license")}, "paths": paths} | {
        "components": components
    }


if __name__ == "__main__":
    first, second = (json.loads(Path(one).read_text(encoding="utf-8")) for one in sys.argv[1:])
    first["paths"] = second["paths"] | first["paths"]
    for kind in second["components"]:
        first["components"][kind] = second["components"][kind] | first["components"].get(kind, {})
    json.dump(trim(first), sys.stdout, separators=(",", ":"))
