"""A language-model provider on 127.0.0.1: takes requests of both APIs, answers them by a plain function, and counts.

It makes the faults it is told to, keeps to limits a minute, and counts answers by the question's body, so that a test
can show that nothing was paid for twice. It knows nothing of features or labels. It does not stream.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Self

from flows.fake_provider.answers import fixed_text
from flows.fake_provider.anthropic_api import AnthropicApi
from flows.fake_provider.anthropic_batches import MessageBatches
from flows.fake_provider.api import Api, Refused, error_reply, fault_error
from flows.fake_provider.asked import Asked, Received, digest_of, question_name
from flows.fake_provider.batches import Batches, BatchRules, Outcome
from flows.fake_provider.faults import Call, CallFault, Fault, Faults, spoil
from flows.fake_provider.http_server import HOST, JSON, Break, HttpServer, Reply, Request, json_reply
from flows.fake_provider.logprobs import Chances, unsure
from flows.fake_provider.openai_api import OpenAIApi
from flows.fake_provider.openai_batches import FilesAndBatches
from flows.fake_provider.prompt_cache import NOT_CACHED, PromptCache
from flows.fake_provider.rate_limit import Limits

ANTHROPIC: Api = AnthropicApi()
OPENAI = OpenAIApi()
QUESTION_PATHS = {"/v1/messages", "/v1/chat/completions"}

NO_LOGPROBS = Refused(403, "You are not allowed to request logprobs from this model.")
SCHEMA_PARAMETERS = {"response_format", "output_config"}

Answer = Callable[[Asked], str]


@dataclass
class LoopbackProvider:
    """Start it as a context manager; it serves from a thread of its own.

    Limits and the rules of batches are read when it starts.
    """

    answer: Answer = fixed_text
    faults: Faults = lambda _: None
    latency_seconds: float | Callable[[Asked], float] = 0.0
    """Before each answer; batches have their own time."""
    retry_after_seconds: float | None = None
    """What 429 and 529 announce when they are faults."""
    key: str | None = None
    """The only key that is let in; None lets everybody in."""
    port: int = 0
    """0 takes a free one, and holds it afterwards."""
    requests_per_minute: float | None = None
    """Announced in the headers of every answer, and enforced with 429. Batches are not limited."""
    tokens_per_minute: float | None = None
    burst_seconds: float = 1.0
    """What may come at once after a pause: as much as the limits allow in so many seconds, at least one request."""
    call_seconds: float = 0.0
    """From a call about batches or files, which is done at once, to its reply."""
    batch_seconds: float = 0.05
    """From a batch's creation to its end."""
    batch_cancel_seconds: float = 0.05
    """From a batch's cancellation to its end."""
    batch_done_at_cancel: float = 0.0
    """Share of a canceled batch's requests that were done before, 0-1."""
    batch_max_requests: int | None = None
    """None is the provider's own limit: 100,000 or 50,000."""
    batch_max_bytes: int | None = None
    """None is the provider's own limit: 256 MB or 200 MB."""
    batch_enqueued_tokens: int | None = None
    """Prompt tokens that may wait in OpenAI's batches together. One that would be too much fails after its creation."""
    call_faults: Mapping[Call, Sequence[CallFault | None]] = field(default_factory=dict)
    """What the first calls about batches and files meet, in turn: `{"create": ["500", "lost_create"]}`."""
    says_usage: bool = True
    """Whether answers tell how many tokens they took; some servers that speak a provider's protocol don't."""
    takes_schemas: bool = True
    """Whether questions may bring a JSON schema. Some servers that speak a provider's protocol refuse them with 400."""
    logprobs: Literal["gives", "ignores", "refuses"] = "gives"
    """What OpenAI's side does when a question wants log-probabilities, in batches too. Many servers ignore that; models
    that think refuse it with 403."""
    chances: Chances = unsure
    """What the log-probabilities say."""
    prompt_cache: bool = True
    """Whether usage tells of cached prefixes. It then depends on what was asked before; without, only on the body."""
    keep_asked: bool = True
    """Whether `asked` is filled; a server that runs for long only counts."""
    asked: list[Asked] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """Usable answers by body, in batches too: 2 means that somebody paid twice."""
    most_in_flight: int = 0

    def __enter__(self) -> Self:
        self._seen: Counter[str] = Counter()
        self._questions: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._calls: Counter[Call] = Counter()
        self._in_flight = 0
        self._cache = PromptCache()
        self._limits = Limits(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            burst_seconds=self.burst_seconds,
            now=time.monotonic(),
        )
        self._server = HttpServer(self._handle, port=self.port)
        self.port = self._server.port
        self._message_batches = MessageBatches(
            self._batches(ANTHROPIC, "msgbatch"), self._noting(ANTHROPIC), url=self.url
        )
        self._files_and_batches = FilesAndBatches(self._batches(OPENAI, "batch"), self._noting(OPENAI))
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Address for the Anthropic SDK."""
        return f"http://{HOST}:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def counts(self) -> dict[str, int]:
        """What has happened so far; `requests` are questions, whether asked by themselves or in a batch. `calls` are
        HTTP requests of any kind."""
        return {
            "requests": self._seen.total(),
            "answered": self.answered.total(),
            "answered_twice": sum(count > 1 for count in self.answered.values()),
            "faults": self._counts["faults"],
            "rate_limited": self._counts["rate_limited"],
            "calls": self._counts["calls"],
            "batches": self._counts["batches"],
            "batch_requests": self._counts["batch_requests"],
            "most_in_flight": self.most_in_flight,
        }

    def files(self) -> list[str]:
        """Names of the files that OpenAI's side keeps: uploads by their own, others by the identifier."""
        return [file.filename for file in self._files_and_batches.files()]

    def questions(self) -> dict[str, int]:
        """How often each question came, by `question_name`, whether by itself or in a batch."""
        return dict(self._questions)

    async def _handle(self, request: Request) -> Reply | Break:
        api = _api_of(request)
        try:
            if request.path == "/counts":
                return json_reply(200, self.counts())
            if request.path == "/questions":
                return json_reply(200, self.questions())
            self._counts["calls"] += 1
            if not self._lets_in(request.headers):
                raise Refused(401, f"invalid key: {dict(request.headers)}")
            if request.method == "POST" and request.path in QUESTION_PATHS:
                return await self._question(api, request)
            if request.method == "POST" and request.path == "/v1/messages/count_tokens":
                return json_reply(200, {"input_tokens": _count_tokens(api, request.body)})
            return await self._call(api, request)
        except Refused as error:
            return error_reply(api, error)

    def _lets_in(self, headers: Mapping[str, str]) -> bool:
        key = headers.get("authorization", headers.get("x-api-key", "")).removeprefix("Bearer ")
        return self.key is None or key == self.key

    async def _question(self, api: Api, request: Request) -> Reply | Break:
        with _malformed_is_refused():
            body = json.loads(request.body)
            if body.get("stream"):
                raise Refused(400, "stream: this provider does not stream")
            if not self.takes_schemas and (named := SCHEMA_PARAMETERS & body.keys()):
                raise Refused(
                    400, f"Invalid parameter: {named} of type 'json_schema' is not supported with this model."
                )
            asked = self._note(api, body, request.headers)
        wait = self._limits.take(self._charge(api, asked), time.monotonic())
        if wait:
            self._counts["rate_limited"] += 1
            return error_reply(api, fault_error("429", asked), self._limit_headers(api) | api.wait_headers(wait))
        if self._refuses_logprobs(asked):
            return error_reply(api, NO_LOGPROBS, self._limit_headers(api))
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            latency = self.latency_seconds
            await asyncio.sleep(latency(asked) if callable(latency) else latency)
            return self._outcome_of_question(api, asked)
        finally:
            self._in_flight -= 1

    def _note(
        self, api: Api, body: JSON, headers: Mapping[str, str], batch: str | None = None, custom_id: str = ""
    ) -> Asked:
        digest = digest_of(body)
        asked = api.read_question(body, Received(headers, digest, self._seen[digest], batch, custom_id))
        self._seen[digest] += 1
        self._questions[question_name(asked.system, asked.user)] += 1
        if self.keep_asked:
            self.asked.append(asked)
        return asked

    def _charge(self, api: Api, asked: Asked) -> int:
        return 0 if self.tokens_per_minute is None else api.charged_tokens(asked, self._cache.look(asked))

    def _limit_headers(self, api: Api) -> dict[str, str]:
        return api.limit_headers(self._limits.standings(time.monotonic()), time.time())

    def _outcome_of_question(self, api: Api, asked: Asked) -> Reply | Break:
        fault = self._fault_of(asked)
        if fault == "reset" or fault == "hang" or fault == "drip":
            return fault
        headers = self._limit_headers(api)
        if fault == "malformed":
            return Reply(200, b'{"content": [{"type": "te', {"content-type": "application/json", **headers})
        if fault is not None and fault[:3].isdigit():
            error = fault_error(fault, asked)
            if self.retry_after_seconds is not None and error.status in (429, 529):
                headers["retry-after"] = str(self.retry_after_seconds)
            return error_reply(api, error, headers)
        return json_reply(200, self._answer(api, asked, fault), headers)

    def _refuses_logprobs(self, asked: Asked) -> bool:
        return self.logprobs == "refuses" and bool(asked.body.get("logprobs"))

    def _fault_of(self, asked: Asked) -> Fault | None:
        fault = self.faults(asked)
        if asked.batch is None and fault in ("expired", "canceled"):
            return None
        self._counts["faults"] += fault is not None
        return fault

    def _answer(self, api: Api, asked: Asked, fault: Fault | None) -> JSON:
        text = spoil(self.answer(asked), fault)
        if fault is None:
            self.answered[asked.digest] += 1
        answer = api.write_answer(asked, text, fault, self._cache.use(asked) if self.prompt_cache else NOT_CACHED)
        if asked.body.get("logprobs") and self.logprobs == "gives":
            answer = OPENAI.with_logprobs(asked, answer, self.chances)
        return answer if self.says_usage else {name: value for name, value in answer.items() if name != "usage"}

    async def _call(self, api: Api, request: Request) -> Reply | Break:
        """Do what is asked about batches or files."""
        routes = self._message_batches if api is ANTHROPIC else self._files_and_batches
        found = routes.find(request)
        if found is None:
            raise Refused(404, f"no such path: {request.method} {request.path}")
        call, respond = found
        fault = self._call_fault(call)
        if fault == "reset":
            return "reset"
        if fault is not None and fault != "lost_create":
            raise fault_error(fault, None)
        with _malformed_is_refused():
            reply = respond()
        self._counts["batches"] += call == "create"
        await asyncio.sleep(self.call_seconds)
        return "reset" if fault == "lost_create" else reply

    def _call_fault(self, call: Call) -> CallFault | None:
        planned = self.call_faults.get(call, ())
        self._calls[call] += 1
        return planned[self._calls[call] - 1] if self._calls[call] <= len(planned) else None

    def _batches(self, api: Api, prefix: str) -> Batches:
        rules = BatchRules(
            seconds=self.batch_seconds,
            cancel_seconds=self.batch_cancel_seconds,
            done_at_cancel=self.batch_done_at_cancel,
            max_requests=self.batch_max_requests,
            max_bytes=self.batch_max_bytes,
            enqueued_tokens=self.batch_enqueued_tokens,
        )
        return Batches(lambda asked: self._outcome_in_batch(api, asked), rules, prefix=prefix)

    def _noting(self, api: Api) -> Callable[[JSON, Mapping[str, str], str, str], Asked]:
        def note(body: JSON, headers: Mapping[str, str], batch: str, custom_id: str) -> Asked:
            self._counts["batch_requests"] += 1
            return self._note(api, body, headers, batch, custom_id)

        return note

    def _outcome_in_batch(self, api: Api, asked: Asked) -> Outcome:
        fault = self._fault_of(asked)
        if fault == "expired" or fault == "canceled":
            return Outcome(fault)
        if fault is not None and (fault[:3].isdigit() or fault in ("reset", "hang", "drip", "malformed")):
            error = fault_error(fault, asked)
            return Outcome("errored", error.status, api.write_error(error))
        if self._refuses_logprobs(asked):
            return Outcome("errored", NO_LOGPROBS.status, api.write_error(NO_LOGPROBS))
        return Outcome("succeeded", 200, self._answer(api, asked, fault))


@contextmanager
def _malformed_is_refused() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Refused(400, f"The body is not what this path takes: {error!r}") from error


def _count_tokens(api: Api, body: bytes) -> int:
    with _malformed_is_refused():
        return api.read_question(json.loads(body), Received({}, "", 0)).input_tokens


def _api_of(request: Request) -> Api:
    """By path; by a header that only one SDK sends where the path says nothing."""
    path = request.path
    if path == "/v1/messages" or path.startswith("/v1/messages/") or "anthropic-version" in request.headers:
        return ANTHROPIC
    return OPENAI
