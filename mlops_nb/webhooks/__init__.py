"""Webhooks: telling others of changes in the model registry.

A message is stored with the change itself, and sent by whichever server of the store runs, or by `mlops-nb webhooks deliver`:
at least once, signed as MLflow signs, through the guarded session of `outgoing`.

What a receiver does with one (see `core.webhooks.signature`):

    delivery_id, timestamp = headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"]
    expected = hmac.new(secret.encode(), f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    given = base64.b64decode(headers["X-MLflow-Signature"].removeprefix("v1,"))
    assert hmac.compare_digest(given, expected) and abs(time.time() - int(timestamp)) < 300
    # The same delivery id again is the same message again: answer 200 and do nothing.
"""
