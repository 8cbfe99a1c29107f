"""What Dagster expects of the storage of a home, on whatever database: three parts, one instance.

`sqlite_storage` and `postgres_storage` make the parts, and declare their settings.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData


class HomeStorage(DagsterStorage, ConfigurableClass):
    """The runs, the events and the schedules of a Dagster home."""

    def __init__(
        self,
        runs: RunStorage,
        events: EventLogStorage,
        schedules: ScheduleStorage,
        inst_data: ConfigurableClassData | None,
    ) -> None:
        self._runs, self._events, self._schedules = runs, events, schedules
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]  # it ships none

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @property
    def run_storage(self) -> RunStorage:
        return self._runs

    @property
    def event_log_storage(self) -> EventLogStorage:
        return self._events

    @property
    def schedule_storage(self) -> ScheduleStorage:
        return self._schedules

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        super().register_instance(instance)
        for storage in (self._runs, self._events, self._schedules):
            if not storage.has_instance:
                storage.register_instance(instance)
