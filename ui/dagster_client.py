"""The only talk with Dagster: GraphQL over HTTP on loopback.

What belongs here: whether Dagster answers, launching, cancelling, a run's state and log lines. What does not: what a run
found out, which lies in its folder in the lake and needs no Dagster.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_URL = "http://127.0.0.1:3000"
TIMEOUT_S = 10.0
FINISHED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } } }"
_ADD_PARTITION = """mutation P($s: RepositorySelector!, $d: String!, $k: String!) {
  addDynamicPartition(repositorySelector: $s, partitionsDefName: $d, partitionKey: $k) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message } } }"""
_LAUNCH = """mutation L($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId status } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on PipelineNotFoundError { message }
  ... on InvalidSubsetError { message } ... on UnauthorizedError { message } } }"""
_TERMINATE = """mutation T($r: [String!]!) { terminateRuns(runIds: $r, terminatePolicy: SAFE_TERMINATE) { __typename
  ... on TerminateRunsResult { terminateRunResults { __typename ... on TerminateRunFailure { message } } }
  ... on PythonError { message } } }"""
_RUNS = """query R($f: RunsFilter!, $n: Int!) { runsOrError(filter: $f, limit: $n) { __typename ... on Runs { results {
  runId jobName status creationTime startTime endTime canTerminate tags { key value } } } ... on PythonError { message } } }"""
_EVENTS = """query E($r: ID!) { runOrError(runId: $r) { __typename ... on Run { status
  eventConnection(limit: 1000) { events { __typename ... on MessageEvent { message timestamp level } } } } } }"""


class DagsterUnreachableError(Exception):
    """Nothing answers where Dagster should be. The text says where and what to do."""


class DagsterRefusedError(Exception):
    """Dagster answered, and said no. The text is Dagster's own."""


@dataclass(frozen=True, slots=True)
class DagsterRun:
    """One Dagster run, as far as the pages need it. Times in seconds since the epoch; None where not yet."""

    run_id: str
    job: str
    status: str
    partition: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    can_cancel: bool

    @property
    def is_finished(self) -> bool:
        """Whether Dagster will change it no more."""
        return self.status in FINISHED


def dagster_url() -> str:
    """Where Dagster's web server listens: RWID_DAGSTER_URL, which `rwid up` sets, else the default port."""
    return os.environ.get("RWID_DAGSTER_URL", DEFAULT_URL).rstrip("/")


class DagsterClient:
    """Talks with one Dagster web server. Every call raises DagsterUnreachableError where nothing answers."""

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or dagster_url()).rstrip("/")

    def is_up(self, timeout_s: float = 1.0) -> bool:
        """Whether Dagster answers."""
        try:
            # no proxy: the server is on loopback, and its address must not leave this machine
            with _OPENER.open(f"{self.url}/server_info", timeout=timeout_s) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def launch(self, job: str, *, partition_set: str, key: str, config: Mapping[str, Any]) -> str:
        """Adds the partition where it is new and launches the job with it; Dagster's run id.

        Raises DagsterRefusedError with Dagster's words where it does not accept.
        """
        repository = self._repository_of(job)
        answer = self._ask(_ADD_PARTITION, {"s": repository, "d": partition_set, "k": key})[
            "addDynamicPartition"
        ]
        if answer["__typename"] not in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"):
            raise DagsterRefusedError(answer.get("message", answer["__typename"]))
        parameters = {
            "selector": {**repository, "jobName": job},
            "runConfigData": dict(config),
            "mode": "default",
            "executionMetadata": {
                "tags": [
                    {"key": "dagster/partition", "value": key},
                    {"key": "launched_by", "value": "rwid-ui"},
                ]
            },
        }
        answer = self._ask(_LAUNCH, {"p": parameters})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            errors = [e["message"] for e in answer.get("errors", [])] or [
                answer.get("message", answer["__typename"])
            ]
            raise DagsterRefusedError(" ".join(errors))
        return str(answer["run"]["runId"])

    def runs(
        self, *, job: str | None = None, partition: str | None = None, limit: int = 10
    ) -> list[DagsterRun]:
        """The newest runs, of one job or partition where named."""
        wanted: dict[str, Any] = {}
        if job:
            wanted["pipelineName"] = job
        if partition:
            wanted["tags"] = [{"key": "dagster/partition", "value": partition}]
        answer = self._ask(_RUNS, {"f": wanted, "n": limit})["runsOrError"]
        if answer["__typename"] != "Runs":
            raise DagsterRefusedError(answer.get("message", answer["__typename"]))
        return [_run(found) for found in answer["results"]]

    def messages(self, run_id: str) -> list[str]:
        """The run's own messages, oldest first."""
        answer = self._ask(_EVENTS, {"r": run_id})["runOrError"]
        if answer["__typename"] != "Run":
            return []
        events = answer["eventConnection"]["events"]
        return [e["message"] for e in events if e.get("message")]

    def cancel(self, run_id: str) -> None:
        """Asks a run to stop. Raises DagsterRefusedError where it cannot."""
        answer = self._ask(_TERMINATE, {"r": [run_id]})["terminateRuns"]
        results = answer.get("terminateRunResults", [answer])
        for result in results:
            if "message" in result:
                raise DagsterRefusedError(result["message"])

    def _repository_of(self, job: str) -> dict[str, str]:
        nodes = self._ask(_REPOSITORIES, {})["repositoriesOrError"].get("nodes", [])
        for node in nodes:
            if any(j["name"] == job for j in node["jobs"]):
                return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
        raise DagsterRefusedError(
            f"Dagster has no job {job!r}: its code location did not load. See {self.url}/locations."
        )

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
            f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        if request.type not in ("http", "https"):
            raise DagsterUnreachableError(f"{self.url} is no web address. Mend RWID_DAGSTER_URL.")
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            raise DagsterRefusedError(f"Dagster answered with HTTP {error.code}.") from None
        except (OSError, ValueError):
            raise DagsterUnreachableError(
                f"Nothing answers at {self.url}. Start Dagster and the pages together with: rwid up"
            ) from None
        if "errors" in answer:
            raise DagsterRefusedError("; ".join(e["message"] for e in answer["errors"]))
        return dict(answer["data"])


def _run(found: Mapping[str, Any]) -> DagsterRun:
    tags = {t["key"]: t["value"] for t in found["tags"]}
    return DagsterRun(
        run_id=found["runId"],
        job=found["jobName"],
        status=found["status"],
        partition=tags.get("dagster/partition"),
        created_at=float(found["creationTime"]),
        started_at=found["startTime"],
        ended_at=found["endTime"],
        can_cancel=bool(found["canTerminate"]),
    )


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
