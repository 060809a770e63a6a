"""AWS: the spot notice two minutes ahead, and the recommendation to rebalance, from IMDSv2.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
"""

from __future__ import annotations

import json

from mlops_nb.runners.machine.notices.base import Notice
from mlops_nb.runners.machine.notices.metadata import ADDRESS, MetadataService, seconds_until

_TOKEN = "/latest/api/token"
_LIFETIME = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
_WORDS = {
    "terminate": "AWS takes this spot machine back",
    "stop": "AWS stops this spot machine",
    "hibernate": "AWS hibernates this machine",
}
_LEAST, _MOST = 20.0, 120.0


class AwsNotices:
    """Reads `spot/instance-action` and `events/recommendations/rebalance`."""

    def __init__(self, url: str = ADDRESS) -> None:
        self._service = MetadataService(url)
        self._token = ""

    def check(self) -> Notice | None:
        action = self._read("/latest/meta-data/spot/instance-action")
        if action:
            what, moment = _fields(action, "action", "time")
            text = _WORDS.get(what, "AWS takes this spot machine back")
            return Notice(text=f"{text} ({moment or 'now'})", seconds=seconds_until(moment, least=_LEAST, most=_MOST))
        if self._read("/latest/meta-data/events/recommendations/rebalance"):
            return Notice(text="AWS recommends to leave this machine: it may be taken back soon", seconds=_MOST, final=False)
        return None

    def _read(self, path: str) -> str:
        for _ in range(2):
            if not self._token:
                status, text = self._service.ask(_TOKEN, _LIFETIME, method="PUT")
                if status != 200:
                    return ""
                self._token = text.strip()
            status, text = self._service.ask(path, {"X-aws-ec2-metadata-token": self._token})
            if status != 401:
                return text if status == 200 else ""
            self._token = ""  # it has expired
        return ""


def _fields(text: str, *names: str) -> list[str]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return [str(document.get(name, "")) if isinstance(document, dict) else "" for name in names]
