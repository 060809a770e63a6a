"""What every tracking store must do with data sets and models that runs read and made."""

from __future__ import annotations

import pytest

from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput, ModelOutput
from mlops_nb.core.records import LifecycleStage, Metric
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import RunQuery, TrackingStore


def given(name: str = "iris", digest: str = "abc", context: str = "training", **texts: str) -> DatasetInput:
    dataset = Dataset(name=name, digest=digest, source_type="local", source=f'{{"uri": "{name}.csv"}}', **texts)
    return DatasetInput(dataset=dataset, tags={CONTEXT_TAG: context} if context else {})


class InputsContract:
    def test_a_data_set_comes_back_as_it_was_logged(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        one = given(schema='{"ü": "long"}', profile='{"num_rows": 3}')
        store.log_inputs(run.run_id, [one])
        assert store.get_run(run.run_id).inputs.datasets == [one]
        assert [found.inputs.datasets for found in store.search_runs(RunQuery()).items] == [[one]]

    def test_a_run_without_has_none(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        assert store.get_run(run.run_id).inputs.datasets == [] and store.get_run(run.run_id).outputs == []

    def test_logging_a_data_set_changes_the_run_for_its_followers(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.log_inputs(run.run_id, [given()])
        assert [changed.inputs.datasets for changed in store.changed_runs(run.revision)] == [[given()]]

    def test_the_same_data_set_is_stored_once_and_its_first_words_stay(self, store: TrackingStore) -> None:
        first, second = store.create_run("0"), store.create_run("0")
        store.log_inputs(first.run_id, [given()])
        store.log_inputs(first.run_id, [given(context="evaluation")])
        store.log_inputs(second.run_id, [given(context="evaluation", schema="other")])
        assert store.get_run(first.run_id).inputs.datasets == [given()]
        assert store.get_run(second.run_id).inputs.datasets == [given(context="evaluation")]

    def test_an_experiment_of_its_own_has_data_sets_of_its_own(self, store: TrackingStore) -> None:
        other = store.create_run(store.create_experiment("other"))
        run = store.create_run("0")
        store.log_inputs(run.run_id, [given()])
        store.log_inputs(other.run_id, [given(schema="other")])
        assert store.get_run(other.run_id).inputs.datasets == [given(schema="other")]

    def test_runs_are_found_by_their_data_set(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.create_run("0")
        store.log_inputs(run.run_id, [given()])
        for text in ("dataset.name = 'iris'", "dataset.digest IN ('abc')", "dataset.context LIKE 'train%'"):
            assert [found.run_id for found in store.search_runs(RunQuery(filter=text)).items] == [run.run_id]

    @pytest.mark.parametrize("long", [{"name": "n" * 501}, {"digest": "d" * 37}, {"schema": "s" * 1_048_576}, {"context": "c" * 501}])
    def test_what_is_too_long_is_refused_and_nothing_is_stored(self, store: TrackingStore, long: dict[str, str]) -> None:
        run = store.create_run("0")
        with pytest.raises(InvalidInput, match="exceeds the maximum length"):
            store.log_inputs(run.run_id, [given(name="fine"), given(**long)])
        assert store.get_run(run.run_id).inputs.datasets == []

    def test_nothing_is_logged_to_a_deleted_or_an_unknown_run(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
        with pytest.raises(InvalidInput, match="active"):
            store.log_inputs(run.run_id, [given()])
        with pytest.raises(NotFound):
            store.log_inputs("0" * 32, [given()])

    def test_an_unknown_model_is_refused(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        with pytest.raises(NotFound, match="m-none"):
            store.log_inputs(run.run_id, [given()], ["m-none"])
        with pytest.raises(NotFound, match="m-none"):
            store.log_outputs(run.run_id, [ModelOutput(model_id="m-none")])
        with pytest.raises(NotFound, match="m-none"):
            store.log_batch(run.run_id, metrics=[Metric(key="a", value=1.0, timestamp=1, model_id="m-none")])
        found = store.get_run(run.run_id)
        assert (found.inputs.datasets, found.outputs, found.metrics) == ([], [], {})

    def test_a_point_names_a_data_set_in_full_or_not_at_all(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        with pytest.raises(InvalidInput, match="Both dataset_name and dataset_digest"):
            store.log_batch(run.run_id, metrics=[Metric(key="a", value=1.0, timestamp=1, dataset_name="iris")])
