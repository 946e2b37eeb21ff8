"""What the requests of an OTLP exporter say, each in a file: one JSON array of spans."""

import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

spans = []
for path in sys.argv[1:]:
    request = ExportTraceServiceRequest()
    with open(path, "rb") as file:
        request.ParseFromString(file.read())
    for resource in request.resource_spans:
        of_resource = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                value = lambda it: getattr(it, it.WhichOneof("value"))
                spans.append({
                    "service": of_resource.get("service.name"),
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "attributes": {pair.key: value(pair.value) for pair in span.attributes},
                })
print(json.dumps(spans))
