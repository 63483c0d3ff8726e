"""The events of a flow's run and nodes, with the fields of each release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.simulator.node_values import shown_file
from tests.simulator.steps import Event, Turn

_PARALLEL = ("parallel_id", "parallel_start_node_id", "parent_parallel_id", "parent_parallel_start_node_id")


class Nodes:
    """Makes workflow_* and node_* events for one run."""

    def __init__(self, turn: Turn, end_user: dict[str, str]) -> None:
        self.turn = turn
        self._end_user = end_user
        self._order: list[str] = []  # node ids as they started
        self._ids: dict[str, str] = {}

    def event(self, name: str, **fields: Any) -> Event:
        turn = self.turn
        if turn.app.mode == "workflow":
            return {"event": name, "workflow_run_id": turn.workflow_run_id, "task_id": turn.task_id, **fields}
        return {
            "event": name,
            "conversation_id": turn.conversation_id,
            "message_id": turn.message_id,
            "created_at": turn.created_at,
            "task_id": turn.task_id,
            "workflow_run_id": turn.workflow_run_id,
            **fields,
        }

    @property
    def started_count(self) -> int:
        return len(self._order)

    def run_inputs(self, complete: bool = False) -> dict[str, Any]:
        """The run's inputs; `complete` as the start node has them, with what it adds itself."""
        turn = self.turn
        files = {"sys.files": self.files()}
        identity = {
            "sys.user_id": turn.user,
            "sys.app_id": turn.app_id,
            "sys.workflow_id": turn.workflow_id,
            "sys.workflow_run_id": turn.workflow_run_id,
        }
        legacy = turn.profile.sequence_numbers
        if turn.app.mode == "workflow":
            stamp = {"sys.timestamp": turn.created_at} if complete and not legacy else {}
            return {**turn.inputs, **files, **identity, **stamp}
        conversation = {"sys.conversation_id": turn.conversation_id}
        if legacy:
            talk = {"sys.query": turn.query, **files, **conversation, "sys.user_id": turn.user}
            return {**turn.inputs, **talk, "sys.dialogue_count": turn.dialogue_count, **identity}
        talk = {"sys.query": turn.query, **(conversation if complete else {})}
        return {**turn.inputs, **files, **identity, **talk, "sys.dialogue_count": turn.dialogue_count + 1}

    def files(self) -> list[dict[str, Any]]:
        """The user's files as flows show them, with a link that Dify signs anew each time."""
        return [shown_file(self.turn, file) for file in self.turn.files]

    def workflow_started(self) -> Event:
        turn = self.turn
        data = {"id": turn.workflow_run_id, "workflow_id": turn.workflow_id, **self._sequence()}
        data |= {"inputs": self.run_inputs(), "created_at": turn.created_at}
        if turn.profile.started_reason:
            data["reason"] = "initial"
        return self.event("workflow_started", data=data)

    def workflow_finished(
        self, status: str, outputs: Any, error: str | None, tokens: int, exceptions: int, seconds: float
    ) -> Event:
        turn = self.turn
        return self.event(
            "workflow_finished",
            data={
                "id": turn.workflow_run_id,
                "workflow_id": turn.workflow_id,
                **self._sequence(),
                "status": status,
                "outputs": outputs,
                "error": error,
                "elapsed_time": seconds,
                "total_tokens": tokens,
                "total_steps": self.started_count,
                "created_by": self._end_user,
                "created_at": turn.created_at,
                "finished_at": turn.created_at + int(seconds),
                "exceptions_count": exceptions,
                "files": [],
            },
        )

    def node_started(self, node_id: str, node_type: str, execution_id: str) -> Event:
        self._order.append(node_id)
        self._ids[node_id] = execution_id
        legacy = self.turn.profile.sequence_numbers
        data = self._node(node_id, node_type) | {"inputs": None}
        if not legacy:
            data["inputs_truncated"] = False
        data |= {"created_at": self.turn.created_at, "extras": {}}
        if legacy:
            data |= dict.fromkeys((*_PARALLEL, "iteration_id", "parallel_run_id"))
        else:
            data |= {"iteration_id": None, "loop_id": None, "agent_strategy": None}
        return self.event("node_started", data=data)

    def node_finished(
        self,
        node_id: str,
        node_type: str,
        *,
        inputs: Any = None,
        process_data: Any = None,
        outputs: Any = None,
        status: str = "succeeded",
        error: str | None = None,
        execution_metadata: Any = None,
        seconds: float = 0.01,
        retry_index: int | None = None,
        files: Sequence[Any] = (),
    ) -> Event:
        """Also node_retry, which is the same with a retry_index."""
        legacy = self.turn.profile.sequence_numbers
        data = self._node(node_id, node_type)
        for name, value in (("inputs", inputs), ("process_data", process_data), ("outputs", outputs)):
            data[name] = value if value is not None or legacy else {}
            if not legacy:
                data[f"{name}_truncated"] = False
        data |= {"status": status, "error": error, "elapsed_time": seconds, "execution_metadata": execution_metadata}
        data |= {"created_at": self.turn.created_at, "finished_at": self.turn.created_at + int(seconds)}
        data["files"] = list(files)
        data |= dict.fromkeys((*_PARALLEL, "iteration_id") if legacy else ("iteration_id", "loop_id"))
        if retry_index is None:
            return self.event("node_finished", data=data)
        return self.event("node_retry", data=data | {"retry_index": retry_index})

    def _node(self, node_id: str, node_type: str) -> dict[str, Any]:
        index = self._order.index(node_id)
        legacy = self.turn.profile.sequence_numbers
        return {
            "id": self._ids[node_id],
            "node_id": node_id,
            "node_type": node_type,
            "title": node_id.upper(),
            "index": index + 1 if legacy else 1,
            "predecessor_node_id": self._order[index - 1] if legacy and index else None,
        }

    def _sequence(self) -> dict[str, int]:
        return {"sequence_number": self.turn.run_number} if self.turn.profile.sequence_numbers else {}
