"""MLflow's operations on webhooks. What only we can tell of, such as stages, MLflow's clients are not shown: they would fail on it."""

from __future__ import annotations

from mlops_nb.api.mlflow.wire import Answer, Empty, EnumName, Request, page_size, required, twins
from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.webhooks import STAGE_SET, TestResult, Webhook, check_status
from mlops_nb.errors import InvalidInput
from mlops_nb.store.webhooks import MAX_WEBHOOKS_PAGE
from mlops_nb.webhooks import managing

_PATH = twins("/webhooks")
_ONE = twins("/webhooks/{webhook_id}")
_ENTITIES = (
    "ENTITY_UNSPECIFIED",
    *("REGISTERED_MODEL", "MODEL_VERSION", "MODEL_VERSION_TAG", "MODEL_VERSION_ALIAS", "PROMPT", "PROMPT_VERSION", "PROMPT_TAG"),
    *("PROMPT_VERSION_TAG", "PROMPT_ALIAS", "BUDGET_POLICY"),
)
_ACTIONS = ("ACTION_UNSPECIFIED", "CREATED", "UPDATED", "DELETED", "SET", "EXCEEDED")
_STATUSES = ("", "ACTIVE", "DISABLED")


class EventForm(Request, kw_only=True):
    entity: EnumName | None = None
    action: EnumName | None = None

    def event(self) -> str:
        return f"{_name(self.entity, _ENTITIES, 'entity')}.{_name(self.action, _ACTIONS, 'action')}".lower()


class WebhookId(Request, kw_only=True):
    webhook_id: str | None = None

    def id(self) -> str:
        return required(self.webhook_id, "webhook_id")


class CreateWebhook(Request, kw_only=True):
    name: str | None = None
    description: str | None = None
    url: str | None = None
    events: list[EventForm] | None = None
    secret: str | None = None
    status: EnumName | None = None


class ListWebhooks(Request, kw_only=True):
    max_results: int | None = None
    page_token: str | None = None


class UpdateWebhook(WebhookId, kw_only=True):
    name: str | None = None
    description: str | None = None
    url: str | None = None
    events: list[EventForm] | None = None
    secret: str | None = None
    status: EnumName | None = None


class TestWebhook(WebhookId, kw_only=True):
    event: EventForm | None = None


class WebhookEventForm(Answer, kw_only=True):
    entity: str
    action: str


class WebhookForm(Answer, kw_only=True):
    webhook_id: str
    name: str
    url: str
    events: list[WebhookEventForm]
    status: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""


class WebhookAnswer(Answer, kw_only=True):
    webhook: WebhookForm


class WebhooksAnswer(Answer, kw_only=True):
    webhooks: list[WebhookForm] = []
    next_page_token: str | None = None


class TestResultForm(Answer, kw_only=True):
    success: bool
    response_status: int | None = None
    response_body: str | None = None
    error_message: str | None = None


class TestAnswer(Answer, kw_only=True):
    result: TestResultForm


# Not grouped with other writes: it is looked up what a URL leads to.
@operation("mlflow.webhooks.create", "POST", _PATH, permission=Permission.WRITE, files=True)
def create_webhook(context: Context, request: CreateWebhook) -> WebhookAnswer:
    """Create a webhook."""
    made = managing.create(
        context.store.webhooks,
        required(request.name, "name"),
        required(request.url, "url"),
        [event.event() for event in required(request.events, "events")],
        description=request.description or "",
        secret=request.secret or None,
        status=check_status(_name(request.status or "ACTIVE", _STATUSES, "status")),
    )
    return WebhookAnswer(webhook=_form(made))


# For writing: where one is told of, and by what, is nothing for those who only read.
@operation("mlflow.webhooks.list", "GET", _PATH, permission=Permission.WRITE, files=True)
def list_webhooks(context: Context, request: ListWebhooks) -> WebhooksAnswer:
    """Return the webhooks, the newest first."""
    size = page_size(request.max_results or None, 100, largest=MAX_WEBHOOKS_PAGE)
    page = context.project.store().webhooks.page(max_results=size, page_token=request.page_token or None)
    return WebhooksAnswer(webhooks=[_form(one) for one in page.items if one.events != [STAGE_SET]], next_page_token=page.token)


@operation("mlflow.webhooks.get", "GET", _ONE, permission=Permission.WRITE, files=True)
def get_webhook(context: Context, request: WebhookId) -> WebhookAnswer:
    """Return a webhook."""
    return WebhookAnswer(webhook=_form(context.project.store().webhooks.get(request.id())))


@operation("mlflow.webhooks.update", "PATCH", _ONE, permission=Permission.WRITE, files=True)
def update_webhook(context: Context, request: UpdateWebhook) -> WebhookAnswer:
    """Change what is given of a webhook; an empty secret removes it."""
    changed = managing.update(
        context.store.webhooks,
        request.id(),
        name=request.name or None,
        url=request.url or None,
        events=[event.event() for event in request.events] if request.events else None,
        description=request.description,
        secret=request.secret,
        status=check_status(_name(request.status, _STATUSES, "status")) if request.status else None,
    )
    return WebhookAnswer(webhook=_form(changed))


@operation("mlflow.webhooks.delete", "DELETE", _ONE, permission=Permission.WRITE)
def delete_webhook(context: Context, request: WebhookId) -> Empty:
    """Delete a webhook, with the messages that wait for it."""
    context.store.webhooks.delete(request.id())
    return Empty()


@operation("mlflow.webhooks.test", "POST", twins("/webhooks/{webhook_id}/test"), permission=Permission.WRITE, files=True)
def test_webhook(context: Context, request: TestWebhook) -> TestAnswer:
    """Send an example to a webhook now, and return what came of it."""
    event = request.event.event() if request.event else None
    result: TestResult = managing.send_example(context.store.webhooks, request.id(), event)
    form = TestResultForm(
        success=result.success,
        response_status=result.response_status,
        response_body=result.response_body,
        error_message=result.error_message,
    )
    return TestAnswer(result=form)


def _name(value: EnumName | None, names: tuple[str, ...], what: str) -> str:
    """Return an enum's name, given by name or number; names that are none are refused later, with what there is."""
    if isinstance(value, int):
        if not 0 < value < len(names):
            raise InvalidInput(f"{value} is no {what} of a webhook.")
        return names[value]
    return required(value, what)


def _form(webhook: Webhook) -> WebhookForm:
    pairs = [event.upper().split(".") for event in webhook.events if event != STAGE_SET]
    return WebhookForm(
        webhook_id=webhook.webhook_id,
        name=webhook.name,
        url=webhook.url,
        events=[WebhookEventForm(entity=entity, action=action) for entity, action in pairs],
        status=webhook.status.value,
        creation_timestamp=webhook.creation_time,
        last_updated_timestamp=webhook.last_update_time,
        description=webhook.description,
    )


OPERATIONS = (create_webhook, list_webhooks, get_webhook, update_webhook, delete_webhook, test_webhook)
