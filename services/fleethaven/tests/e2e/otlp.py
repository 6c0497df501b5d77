"""An OpenTelemetry receiver: takes spans as protobuf over HTTP, and keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from instance import eventually
from receiving import HttpServer


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str  # empty for the first of a trace
    start: int
    end: int
    failed: bool
    attributes: dict[str, str | int]


def named(attributes: list[KeyValue]) -> dict[str, str | int]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Receiver(HttpServer):
    """`spans` holds what has come, in the order in which it came; `headers` those of the last request."""

    def __init__(self):
        self.spans: list[Span] = []
        self.headers: dict[str, str] = {}
        super().__init__()

    def answer(self, request):
        fits = request.path == "/v1/traces" and request.headers["content-type"] == "application/x-protobuf"
        if fits:
            self.headers = request.headers
            self.take(ExportTraceServiceRequest.FromString(request.body))
        answer = ExportTraceServiceResponse().SerializeToString()
        return 200 if fits else 404, answer, "application/x-protobuf"

    def take(self, request: ExportTraceServiceRequest):
        for resource in request.resource_spans:
            process = named(resource.resource.attributes)
            assert process["service.namespace"] == "fleethaven" and process["service.instance.id"], process
            for scope in resource.scope_spans:
                for span in scope.spans:
                    taken = Span(
                        service=process["service.name"],
                        name=span.name,
                        trace=span.trace_id.hex(),
                        id=span.span_id.hex(),
                        parent=span.parent_span_id.hex(),
                        start=span.start_time_unix_nano,
                        end=span.end_time_unix_nano,
                        failed=span.status.code == Status.STATUS_CODE_ERROR,
                        attributes=named(span.attributes),
                    )
                    self.spans.append(taken)

    def find(self, service: str, span_name: str, /, **attributes: str | int) -> Span:
        """Waits for a span; attributes are named without their prefix, such as `name` of `messaging.destination.name`."""

        def fits(span: Span) -> bool:
            short = {key.rsplit(".", 1)[-1]: value for key, value in span.attributes.items()}
            return (span.service, span.name) == (f"fleethaven-{service}", span_name) and attributes.items() <= short.items()

        def found():
            return next((span for span in list(self.spans) if fits(span)), None)

        return eventually(found, f"a span {span_name} of the {service} with {attributes}", 30)
