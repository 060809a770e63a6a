"""What every model registry must do. A registry's test inherits `RegistryContract` and gives the fixture `store`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlops_nb.core.registry import TAG_IS_PROMPT, TAG_MODEL_VERSIONS, TAG_PROMPT_TEXT, RegistryQuery, Stage
from mlops_nb.errors import AlreadyExists, FilterError, InvalidInput, MlopsError, NotFound
from mlops_nb.store.base import ServedStore
from mlops_nb.store.registry import ModelRegistry

CLOUD = "s3://bucket/model"
HOSTILE = "<b>ünï</b> \"q\" 'q' 🚀 \\ % _"
PROMPT = {TAG_IS_PROMPT: "true"}


def found(registry: ModelRegistry, filter: str = "", *order_by: str, **query: object) -> list[str]:
    """Return the names of the models that a search finds."""
    page = registry.search_models(RegistryQuery(filter=filter, order_by=list(order_by), **query))  # type: ignore[arg-type]
    return [model.name for model in page.items]


def versions(registry: ModelRegistry, filter: str = "", *order_by: str, **query: object) -> list[str]:
    """Return name/version of the versions that a search finds."""
    page = registry.search_versions(RegistryQuery(filter=filter, order_by=list(order_by), **query))  # type: ignore[arg-type]
    return [f"{version.name}/{version.version}" for version in page.items]


class RegistryContract:
    @pytest.fixture
    def registry(self, store: ServedStore) -> ModelRegistry:
        return store.registry

    # -- registered models

    def test_a_model_is_what_it_was_created_as(self, registry: ModelRegistry) -> None:
        created = registry.create_model(HOSTILE.replace("/", ""), description=HOSTILE, tags={"team": HOSTILE, "empty": ""})
        assert created == registry.get_model(created.name)
        assert (created.description, created.tags) == (HOSTILE, {"team": HOSTILE, "empty": ""})
        assert (created.aliases, created.latest) == ({}, [])
        assert created.creation_time == created.last_update_time > 1_700_000_000_000

    @pytest.mark.parametrize("name", ["", "  ", "a/b", "a:b", "/", ".", "..", "x" * 257])
    def test_a_name_that_could_be_mistaken_is_refused(self, registry: ModelRegistry, name: str) -> None:
        registry.create_model("other")
        with pytest.raises(InvalidInput):
            registry.create_model(name)
        with pytest.raises(InvalidInput):
            registry.rename_model("other", name)
        with pytest.raises(InvalidInput):
            registry.get_model(name)
        assert found(registry) == ["other"]

    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            ({}, {}, r"Registered Model \(name=m\) already exists"),
            (PROMPT, PROMPT, r"Prompt \(name=m\) already exists"),
            (PROMPT, {}, "already taken by a prompt"),
            ({}, PROMPT, "already taken by a registered model"),
        ],
    )
    def test_a_name_is_taken_once_by_models_and_prompts_alike(
        self, registry: ModelRegistry, first: dict[str, str], second: dict[str, str], message: str
    ) -> None:
        registry.create_model("m", tags=first)
        with pytest.raises(AlreadyExists, match=message):
            registry.create_model("m", tags=second)

    def test_names_differ_by_case(self, registry: ModelRegistry) -> None:
        registry.create_model("churn")
        registry.create_model("Churn")
        assert registry.get_model("Churn").name == "Churn"

    def test_what_is_not_there_is_not_found(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        calls: list[Callable[[], object]] = [
            lambda: registry.get_model("no"),
            lambda: registry.rename_model("no", "new"),
            lambda: registry.update_model("no", description=""),
            lambda: registry.delete_model("no"),
            lambda: registry.set_model_tag("no", "k", "v"),
            lambda: registry.delete_model_tag("no", "k"),
            lambda: registry.latest_versions("no"),
            lambda: registry.create_version("no", CLOUD),
            lambda: registry.get_version("no", 1),
            lambda: registry.get_version("m", 1),
            lambda: registry.get_version("m", -1),
            lambda: registry.get_version("m", 10**30),
            lambda: registry.update_version("m", 1, description=""),
            lambda: registry.move_version("m", 1, Stage.PRODUCTION),
            lambda: registry.delete_version("m", 1),
            lambda: registry.set_version_tag("m", 1, "k", "v"),
            lambda: registry.delete_version_tag("m", 1, "k"),
            lambda: registry.set_alias("m", "a", 1),
            lambda: registry.delete_alias("no", "a"),
            lambda: registry.version_of_alias("no", "a"),
            lambda: registry.version_of_alias("m", "latest"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(NotFound):
                call()
                pytest.fail(f"call {number} found something")

    def test_renaming_moves_versions_aliases_and_tags(self, registry: ModelRegistry) -> None:
        registry.create_model("old", tags={"k": "v"})
        registry.create_version("old", CLOUD, tags={"t": "1"})
        registry.set_alias("old", "champion", 1)
        renamed = registry.rename_model("old", "new")
        assert (renamed.name, renamed.tags, renamed.aliases) == ("new", {"k": "v"}, {"champion": 1})
        assert [version.name for version in renamed.latest] == ["new"]
        assert registry.version_of_alias("new", "champion").tags == {"t": "1"}
        assert registry.get_version("new", 1).last_update_time == renamed.last_update_time
        with pytest.raises(NotFound):
            registry.get_version("old", 1)
        registry.create_model("old")
        with pytest.raises(AlreadyExists, match="name=old"):
            registry.rename_model("new", "old")
        assert registry.rename_model("new", "new").name == "new"

    def test_a_description_is_changed_and_removed(self, registry: ModelRegistry) -> None:
        registry.create_model("m", description="first")
        assert registry.update_model("m", description="second").description == "second"
        assert registry.update_model("m", description="").description == ""

    def test_deleting_a_model_deletes_all_of_it_and_frees_its_name(self, registry: ModelRegistry) -> None:
        registry.create_model("m", tags={"k": "v"})
        registry.create_model("other")
        registry.create_version("other", CLOUD)
        for _ in range(3):
            registry.create_version("m", CLOUD, tags={"t": "1"})
        registry.set_alias("m", "a", 2)
        registry.delete_model("m")
        assert versions(registry) == ["other/1"]
        fresh = registry.create_model("m")
        assert (fresh.tags, fresh.aliases, fresh.latest) == ({}, {}, [])
        assert registry.create_version("m", CLOUD).version == 1

    # -- tags

    def test_tags_are_set_replaced_and_removed(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        before = registry.create_version("m", CLOUD)
        model = registry.get_model("m")
        for value in ("1", HOSTILE, "v" * 100_000):
            registry.set_model_tag("m", "a/b c.d:e-f", value)
            registry.set_version_tag("m", 1, "a/b c.d:e-f", value)
            assert registry.get_model("m").tags == registry.get_version("m", 1).tags == {"a/b c.d:e-f": value}
        registry.delete_model_tag("m", "a/b c.d:e-f")
        registry.delete_version_tag("m", 1, "a/b c.d:e-f")
        registry.delete_model_tag("m", "a/b c.d:e-f")
        registry.delete_version_tag("m", 1, "a/b c.d:e-f")
        assert registry.get_model("m") == model
        assert registry.get_version("m", 1) == before

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("", "v", "would resolve to"),
            ("a!", "v", "Names may only contain alphanumerics"),
            ("/a", "v", "would resolve to '/a'"),
            ("a/../b", "v", "would resolve to 'b'"),
            ("k" * 251, "v", "'key' exceeds the maximum length of 250 characters"),
            ("k", "v" * 100_001, "'value' exceeds the maximum length of 100000 characters"),
            (TAG_PROMPT_TEXT, "v" * 100_001, "Prompt text exceeds max length of 100000 characters"),
        ],
    )
    def test_a_tag_out_of_bounds_is_refused_wherever_it_is_given(self, registry: ModelRegistry, key: str, value: str, message: str) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD)
        calls: list[Callable[[], object]] = [
            lambda: registry.create_model("new", tags={key: value}),
            lambda: registry.create_version("m", CLOUD, tags={"fine": "1", key: value}),
            lambda: registry.set_model_tag("m", key, value),
            lambda: registry.set_version_tag("m", 1, key, value),
        ]
        for call in calls:
            with pytest.raises(InvalidInput, match=message):
                call()
        assert found(registry) == ["m"]
        assert versions(registry) == ["m/1"]

    # -- versions

    def test_versions_are_numbered_and_a_number_is_never_given_twice(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        assert [registry.create_version("m", CLOUD).version for _ in range(3)] == [1, 2, 3]
        registry.delete_version("m", 3)
        registry.delete_version("m", 1)
        assert registry.create_version("m", CLOUD).version == 4
        assert sorted(versions(registry)) == ["m/2", "m/4"]

    def test_a_version_is_what_it_was_created_as(self, registry: ModelRegistry) -> None:
        model = registry.create_model("m")
        created = registry.create_version(
            "m", CLOUD, run_id="r1", run_link="https://x/y", description=HOSTILE, user="me", tags={"k": HOSTILE}
        )
        assert created == registry.get_version("m", 1)
        assert (created.name, created.version, created.stage, created.status) == ("m", 1, Stage.NONE, "READY")
        assert (created.source, created.storage_location, created.run_id, created.model_id) == (CLOUD, CLOUD, "r1", "")
        assert (created.run_link, created.description, created.user, created.tags) == ("https://x/y", HOSTILE, "me", {"k": HOSTILE})
        assert registry.get_model("m").last_update_time == created.creation_time >= model.creation_time

    def test_a_change_of_a_version_is_dated(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        created = registry.create_version("m", CLOUD)
        changed = registry.update_version("m", 1, description="new")
        assert changed.description == "new"
        assert changed.creation_time == created.creation_time
        assert changed.last_update_time >= created.last_update_time
        assert registry.update_version("m", 1, description="").description == ""

    def test_deleting_a_version_takes_its_aliases_along(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD, tags={"k": "v"})
        registry.create_version("m", CLOUD)
        registry.set_alias("m", "a", 1)
        registry.set_alias("m", "b", 2)
        registry.delete_version("m", 1)
        assert registry.get_model("m").aliases == {"b": 2}
        with pytest.raises(InvalidInput, match="Registered model alias a not found"):
            registry.version_of_alias("m", "a")

    def test_writers_at_once_get_different_numbers(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        with ThreadPoolExecutor(8) as pool:
            numbers = list(pool.map(lambda _: registry.create_version("m", CLOUD).version, range(40)))
        assert sorted(numbers) == list(range(1, 41))

    # -- stages

    def test_latest_versions_are_the_newest_of_each_stage(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        for stage in (Stage.PRODUCTION, Stage.PRODUCTION, Stage.STAGING, Stage.NONE, Stage.ARCHIVED):
            version = registry.create_version("m", CLOUD)
            registry.move_version("m", version.version, stage)
        newest = {version.stage: version.version for version in registry.latest_versions("m")}
        assert newest == {Stage.PRODUCTION: 2, Stage.STAGING: 3, Stage.NONE: 4, Stage.ARCHIVED: 5}
        assert registry.get_model("m").latest == registry.latest_versions("m")
        assert [v.version for v in registry.latest_versions("m", [Stage.PRODUCTION, Stage.PRODUCTION])] == [2]
        registry.create_model("empty")
        assert registry.latest_versions("empty") == []

    def test_moving_a_version_can_archive_those_that_were_there(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        registry.create_model("other")
        registry.create_version("other", CLOUD)
        registry.move_version("other", 1, Stage.PRODUCTION)
        for _ in range(4):
            registry.create_version("m", CLOUD)
        registry.move_version("m", 1, Stage.PRODUCTION)
        registry.move_version("m", 2, Stage.PRODUCTION)
        registry.move_version("m", 3, Stage.STAGING)
        moved = registry.move_version("m", 4, Stage.PRODUCTION, archive_existing=True)
        assert (moved.stage, registry.get_model("m").last_update_time) == (Stage.PRODUCTION, moved.last_update_time)
        stages = [registry.get_version("m", number) for number in (1, 2, 3, 4)]
        assert [version.stage for version in stages] == [Stage.ARCHIVED, Stage.ARCHIVED, Stage.STAGING, Stage.PRODUCTION]
        assert stages[0].last_update_time == moved.last_update_time
        assert registry.move_version("m", 4, Stage.PRODUCTION, archive_existing=True).stage is Stage.PRODUCTION
        assert registry.get_version("other", 1).stage is Stage.PRODUCTION

    @pytest.mark.parametrize("stage", [Stage.NONE, Stage.ARCHIVED])
    def test_only_stages_in_use_can_be_cleared(self, registry: ModelRegistry, stage: Stage) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD)
        with pytest.raises(InvalidInput, match="is not an Active stage"):
            registry.move_version("m", 1, stage, archive_existing=True)

    # -- aliases

    def test_an_alias_names_one_version_and_can_be_moved(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD)
        registry.create_version("m", CLOUD)
        for alias in ("champion", "Champion", "1", "-", "ä", "v1a", "x" * 255):
            registry.set_alias("m", alias, 1)
        assert registry.version_of_alias("m", "champion").version == 1
        assert registry.get_version("m", 1).aliases == sorted(["champion", "Champion", "1", "-", "ä", "v1a", "x" * 255])
        registry.set_alias("m", "champion", 2)
        assert registry.version_of_alias("m", "champion") == registry.get_version("m", 2)
        assert registry.get_version("m", 2).aliases == ["champion"]
        assert registry.get_model("m").aliases["champion"] == 2
        registry.delete_alias("m", "champion")
        registry.delete_alias("m", "champion")
        with pytest.raises(InvalidInput, match="Registered model alias champion not found"):
            registry.version_of_alias("m", "champion")

    @pytest.mark.parametrize(
        ("alias", "message"),
        [
            ("", "cannot be empty"),
            ("latest", "reserved"),
            ("LATEST", "reserved"),
            ("v1", "reserved"),
            ("V12", "reserved"),
            ("a b", "Names may only contain"),
            ("a/b", "Names may only contain"),
            ("a\n", "Names may only contain"),
            ("x" * 256, "exceeds the maximum length of 255 characters"),
        ],
    )
    def test_an_alias_that_could_be_mistaken_is_refused(self, registry: ModelRegistry, alias: str, message: str) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD)
        with pytest.raises(InvalidInput, match=message):
            registry.set_alias("m", alias, 1)

    def test_latest_names_the_newest_version_of_any_stage(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        for _ in range(3):
            registry.create_version("m", CLOUD)
        registry.move_version("m", 3, Stage.ARCHIVED)
        assert registry.version_of_alias("m", "Latest").version == 3

    # -- where versions come from

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("mlflow-artifacts:/0/RUN/artifacts/model", "mlflow-artifacts:/0/RUN/artifacts/model"),
            ("mlflow-artifacts:/0/RUN/artifacts", "mlflow-artifacts:/0/RUN/artifacts"),
            ("MLFLOW-ARTIFACTS:///0/RUN/artifacts//a b#ü/", "mlflow-artifacts:/0/RUN/artifacts/a b#ü"),
            ("runs:/RUN/model", "runs:/RUN/model"),
            ("Runs:///RUN//model/", "runs:/RUN/model"),
            ("S3://bucket/Key//x", "s3://bucket/Key//x"),
            ("gs://bucket/k", "gs://bucket/k"),
            ("wasbs://c@account.blob.core.windows.net/k", "wasbs://c@account.blob.core.windows.net/k"),
            ("abfss://c@account.dfs.core.windows.net/k", "abfss://c@account.dfs.core.windows.net/k"),
            ("dbfs:/k", "dbfs:/k"),
        ],
    )
    def test_a_source_is_kept_in_canonical_form(self, store: ServedStore, given: str, kept: str) -> None:
        run_id = store.create_run("0").run_id
        store.registry.create_model("m")
        version = store.registry.create_version("m", given.replace("RUN", run_id), run_id=run_id)
        assert version.source == version.storage_location == kept.replace("RUN", run_id)
        assert version.run_id == run_id

    @pytest.mark.parametrize(
        "source",
        [
            "mlflow-artifacts:/0/RUN/artifacts/../../OTHER/artifacts",
            "mlflow-artifacts:/0/RUN/artifacts/%2e%2e/x",
            "mlflow-artifacts:/0/RUN/artifacts/%252e%252e/x",
            "mlflow-artifacts:/0/RUN/artifacts/%25252525252e/x",
            "mlflow-artifacts:/0/RUN/artifacts/..\\x",
            "mlflow-artifacts:/0/RUN/artifacts/./x",
            "mlflow-artifacts:/0/RUN/artifactsx",
            "mlflow-artifacts:/0/RUN",
            "mlflow-artifacts:/0/OTHER/artifacts/model",
            "mlflow-artifacts:/",
            "mlflow-artifacts://host/0/RUN/artifacts",
            "runs:/OTHER/model",
            "runs://host/RUN/model",
            "runs:/",
            "runs:/RUN/../OTHER/model",
            "/etc/passwd",
            "//etc/passwd",
            "etc/passwd",
            "~/x",
            "C:\\x",
            "file:/etc/passwd",
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "http://169.254.169.254/latest",
            "https://host/api/2.0/mlflow-artifacts/artifacts/0/RUN/artifacts",
            "ftp://host/x",
            "sftp://host/x",
            "javascript:alert(1)",
            "data:text/html,x",
            "weird:/x",
            "s3://",
            "s3://bucket",
            "s3:///key",
            "s3:key",
            "s3://bucket/../x",
            "s3://bucket/k?x=../y",
            "s3://bucket/k\n",
            "s3://bucket/%00",
            " s3://bucket/k",
            "s3://bucket/" + "k" * 4000,
            "dummy-source",
            "models:/m",
            "models:/m/1/2",
            "models:/m/",
            "models:/m@",
            "models:/m/Nowhere",
            "models:/",
            "models://host/m/1",
            "models:/m-0123456789abcdef0123456789abcdef",
            "",
        ],
    )
    def test_a_source_that_leads_elsewhere_is_refused(self, store: ServedStore, source: str) -> None:
        run_id, other = store.create_run("0").run_id, store.create_run("0").run_id
        store.registry.create_model("m")
        with pytest.raises(InvalidInput):
            store.registry.create_version("m", source.replace("RUN", run_id).replace("OTHER", other), run_id=run_id)
        assert versions(store.registry) == []
        assert store.registry.create_version("m", CLOUD).version == 1

    def test_a_password_in_a_source_is_refused_and_not_repeated(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        with pytest.raises(InvalidInput, match="holds no password") as refused:
            registry.create_version("m", "s3://user:hunter2@bucket/k")
        assert "hunter2" not in str(refused.value)

    @pytest.mark.parametrize("source", ["runs:/RUN/model", "mlflow-artifacts:/0/RUN/artifacts/model"])
    @pytest.mark.parametrize("named", [None, "", "0" * 32])
    def test_a_source_within_a_run_must_name_that_run(self, store: ServedStore, source: str, named: str | None) -> None:
        store.registry.create_model("m")
        with pytest.raises(InvalidInput, match=r"Invalid model version source: .*The run_id request parameter must identify"):
            store.registry.create_version("m", source.replace("RUN", store.create_run("0").run_id), run_id=named)

    def test_a_copy_says_which_version_it_copies_and_has_its_files(self, store: ServedStore) -> None:
        registry, run_id = store.registry, store.create_run("0").run_id
        registry.create_model("from")
        registry.create_model("to")
        registry.create_version("from", f"runs:/{run_id}/model", run_id=run_id)
        registry.create_version("from", CLOUD)
        registry.set_alias("from", "champion", 1)
        registry.move_version("from", 1, Stage.PRODUCTION)
        for source in ("models:/from/1", "models:/from@champion", "models:/from/production"):
            copy = registry.create_version("to", source)
            assert (copy.source, copy.storage_location, copy.run_id) == ("models:/from/1", f"runs:/{run_id}/model", run_id)
        assert registry.create_version("to", "models:/from/LATEST").storage_location == CLOUD
        copy = registry.create_version("to", "models:/to/1", run_id=run_id)
        assert (copy.source, copy.storage_location) == ("models:/to/1", f"runs:/{run_id}/model")

    @pytest.mark.parametrize(
        ("source", "error"),
        [
            ("models:/from/9", NotFound),
            ("models:/from/99999999999999999999", NotFound),
            ("models:/none/1", NotFound),
            ("models:/from@none", InvalidInput),
            ("models:/from/Production", NotFound),
            ("models:/prompt/1", InvalidInput),
        ],
    )
    def test_a_copy_of_nothing_is_refused(self, registry: ModelRegistry, source: str, error: type[MlopsError]) -> None:
        registry.create_model("from")
        registry.create_version("from", CLOUD)
        registry.create_model("prompt", tags=PROMPT)
        registry.create_version("prompt", "dummy-source", tags=PROMPT)
        with pytest.raises(error):
            registry.create_version("from", source)

    @pytest.mark.parametrize(("run_id", "model_id"), [("other", None), ("", None), (None, "m-other")])
    def test_a_copy_cannot_claim_another_origin(self, registry: ModelRegistry, run_id: str | None, model_id: str | None) -> None:
        registry.create_model("m")
        registry.create_version("m", CLOUD, run_id="r1")
        with pytest.raises(InvalidInput, match="must match the referenced model version"):
            registry.create_version("m", "models:/m/1", run_id=run_id, model_id=model_id)

    def test_a_version_made_from_a_logged_model_has_its_files_and_run(self, store: ServedStore) -> None:
        run_id = store.create_run("0").run_id
        model = store.logged_models.create("0", name="lm", source_run_id=run_id)
        store.registry.create_model("m")
        version = store.registry.create_version("m", f"models:/{model.model_id}", model_id=model.model_id)
        assert (version.source, version.storage_location) == (f"models:/{model.model_id}", model.artifact_location)
        assert (version.run_id, version.model_id) == (run_id, model.model_id)
        below = store.registry.create_version("m", f"{model.artifact_location}/sub", model_id=model.model_id, run_id=run_id)
        assert below.storage_location == f"{model.artifact_location}/sub"
        copy = store.registry.create_version("m", "models:/m/1", model_id=model.model_id)
        assert (copy.storage_location, copy.model_id) == (model.artifact_location, model.model_id)
        tag = store.logged_models.get(model.model_id).tags[TAG_MODEL_VERSIONS]
        assert json.loads(tag) == [{"name": "m", "version": number} for number in (1, 2, 3)]

    def test_a_source_within_a_logged_model_must_name_that_model(self, store: ServedStore) -> None:
        run = store.create_run("0")
        model, other = (store.logged_models.create("0", name=name, source_run_id=run.run_id) for name in ("a", "b"))
        store.registry.create_model("m")
        inside, uri = f"{model.artifact_location}/sub", f"models:/{model.model_id}"
        cases: list[tuple[str, str | None]] = [
            (inside, None),
            (inside, other.model_id),
            (inside, "m-none"),
            (uri, None),
            (uri, other.model_id),
            (f"runs:/{run.run_id}/model", model.model_id),
            (f"{run.artifact_uri}/model", model.model_id),
        ]
        for source, model_id in cases:
            with pytest.raises(InvalidInput, match=r"The (model|run)_id request parameter must identify"):
                store.registry.create_version("m", source, run_id=run.run_id, model_id=model_id)
        store.logged_models.delete(model.model_id)
        for source in (uri, CLOUD):
            with pytest.raises(NotFound, match=model.model_id):
                store.registry.create_version("m", source, model_id=model.model_id)

    # -- prompts

    def test_a_version_of_a_prompt_has_a_placeholder_for_a_source(self, registry: ModelRegistry) -> None:
        registry.create_model("p", tags=PROMPT)
        version = registry.create_version("p", "dummy-source", tags={**PROMPT, TAG_PROMPT_TEXT: "Hi {{name}}"})
        assert (version.source, version.storage_location) == ("dummy-source", "dummy-source")
        with pytest.raises(InvalidInput, match="Prompt sources must use an MLflow placeholder"):
            registry.create_version("p", "/etc/passwd", tags=PROMPT)

    def test_prompts_are_found_only_by_their_tag(self, registry: ModelRegistry) -> None:
        for name, tags in (("model", {}), ("prompt", PROMPT), ("never", {TAG_IS_PROMPT: "false"})):
            registry.create_model(name, tags={**tags, "team": "a"})
            registry.create_version(name, "dummy-source" if tags is PROMPT else CLOUD, tags={**tags, "team": "a"})
        tag = f"tags.`{TAG_IS_PROMPT}`"
        for filter, names in (
            ("", ["model", "never"]),
            ("name = 'prompt'", []),
            ("tags.team = 'a'", ["model", "never"]),
            (f"{tag} = 'true'", ["prompt"]),
            (f"tag.{TAG_IS_PROMPT} = 'true' AND name LIKE 'p%'", ["prompt"]),
            (f"{tag} = 'true' AND name = 'model'", []),
            (f"{tag} != 'true'", ["model", "never"]),
            (f"{tag} = 'false' AND tags.team = 'a'", ["model", "never"]),
            (f"{tag} != 'false'", ["prompt"]),
            (f"{tag} = 'true' OR name = 'model'", ["model", "prompt"]),
            (f"NOT {tag} = 'true'", ["model", "never"]),
        ):
            assert found(registry, filter) == names, filter
            assert versions(registry, filter, "name") == [f"{name}/1" for name in names], filter

    # -- searches

    def test_models_are_found_by_name_and_tags(self, registry: ModelRegistry) -> None:
        for name, team in (("churn-a", "growth"), ("churn-b", "risk"), ("Fraud", "risk")):
            registry.create_model(name, tags={"team": team})
        registry.create_model("bare")
        for filter, names in (
            ("name = 'churn-a'", ["churn-a"]),
            ("name != 'churn-a'", ["Fraud", "bare", "churn-b"]),
            ("name LIKE 'churn%'", ["churn-a", "churn-b"]),
            ("name LIKE 'fraud'", []),
            ("name ILIKE 'FRAUD'", ["Fraud"]),
            ("name IN ('bare', 'Fraud')", ["Fraud", "bare"]),
            ("tags.team = 'risk' AND name LIKE 'c%'", ["churn-b"]),
            ("tag.team != 'risk'", ["churn-a"]),
            ("tags.team IS NULL", ["bare"]),
            ("tags.none = 'x'", []),
        ):
            assert found(registry, filter) == names, filter

    def test_models_are_sorted_and_paged(self, registry: ModelRegistry) -> None:
        for name in ("b", "a", "C"):
            registry.create_model(name)
        assert found(registry) == ["C", "a", "b"]
        assert found(registry, "", "name DESC") == ["b", "a", "C"]
        assert sorted(found(registry, "", "timestamp DESC")) == ["C", "a", "b"]
        names, token = [], None
        for _ in range(3):
            page = registry.search_models(RegistryQuery(order_by=["name DESC"], max_results=1, page_token=token))
            names += [model.name for model in page.items]
            token = page.token
        assert (names, token) == (["b", "a", "C"], None)
        for wrong in (0, -1, 1001):
            with pytest.raises(InvalidInput):
                found(registry, max_results=wrong)

    def test_versions_are_found_by_what_they_are(self, registry: ModelRegistry) -> None:
        for name, number in itertools.product(("a", "b"), (1, 2, 3)):
            if number == 1:
                registry.create_model(name)
            registry.create_version(name, f"s3://bucket/{name}/{number}", run_id=f"run{number}", tags={"k": f"V{number}"})
        for filter, expected in (
            ("name = 'a'", ["a/1", "a/2", "a/3"]),
            ("run_id = 'run2'", ["a/2", "b/2"]),
            ("run_id IN ('run1', 'run2') AND name = 'a'", ["a/1", "a/2"]),
            ("run_id NOT IN ('run1') AND name = 'a'", ["a/2", "a/3"]),
            ("source_path = 's3://bucket/b/3'", ["b/3"]),
            ("source_path LIKE 's3://bucket/b/%'", ["b/1", "b/2", "b/3"]),
            ("version_number > 1 AND version_number != 3", ["a/2", "b/2"]),
            ("tags.k ILIKE 'v1'", ["a/1", "b/1"]),
            ("tags.k != 'V1' AND name = 'a'", ["a/2", "a/3"]),
            ("name = 'none'", []),
        ):
            assert versions(registry, filter, "name", "version_number") == expected, filter

    def test_versions_are_sorted_last_changed_first_and_paged(self, registry: ModelRegistry) -> None:
        for name in ("a", "b"):
            registry.create_model(name)
            for _ in range(3):
                registry.create_version(name, CLOUD)
        assert versions(registry, "", "name ASC", "version_number DESC") == ["a/3", "a/2", "a/1", "b/3", "b/2", "b/1"]
        assert versions(registry, "", "version_number ASC") == ["a/1", "b/1", "a/2", "b/2", "a/3", "b/3"]
        newest = max(registry.get_version(name, 3).last_update_time for name in ("a", "b"))
        while registry.update_version("a", 1, description="new").last_update_time == newest:
            pass
        assert versions(registry)[0] == "a/1"
        for order in ([], ["name DESC"], ["version_number ASC", "name ASC"], ["creation_timestamp DESC"]):
            seen, token = [], ""
            while token is not None:
                page = registry.search_versions(RegistryQuery(order_by=order, max_results=4, page_token=token))
                seen += [f"{version.name}/{version.version}" for version in page.items]
                token = page.token
            assert seen == versions(registry, "", *order)
            assert len(seen) == 6

    def test_search_results_are_whole_records(self, registry: ModelRegistry) -> None:
        registry.create_model("m", description="d", tags={"k": "v"})
        registry.create_version("m", CLOUD, tags={"k": "v"})
        registry.set_alias("m", "a", 1)
        assert registry.search_models(RegistryQuery()).items == [registry.get_model("m")]
        assert registry.search_versions(RegistryQuery()).items == [registry.get_version("m", 1)]

    @pytest.mark.parametrize("filter", ["name", "name > 'a'", "params.x = '1'", "status = 'x'", "name = 'a' AND", "x' OR 1=1"])
    def test_a_filter_that_makes_no_sense_is_refused(self, registry: ModelRegistry, filter: str) -> None:
        with pytest.raises(FilterError):
            found(registry, filter)
        with pytest.raises(FilterError):
            versions(registry, filter)

    def test_more_records_than_one_statement_can_name_are_found(self, registry: ModelRegistry) -> None:
        registry.create_model("m")
        for number in range(520):
            registry.create_version("m", CLOUD, tags={"n": str(number)})
        page = registry.search_versions(RegistryQuery(order_by=["version_number ASC"], max_results=10_000))
        assert [version.tags["n"] for version in page.items] == [str(number) for number in range(520)]
